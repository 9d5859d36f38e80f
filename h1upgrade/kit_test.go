package h1upgrade

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }

const patience = 10 * time.Second

var discardLog = log.New(io.Discard, "", 0)

// serve starts an HTTP server on loopback and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	return serveOn(t, nil, &http.Server{Handler: h})
}

// serveOn starts srv on l, nil meaning loopback, and returns the address.
func serveOn(t *testing.T, l net.Listener, srv *http.Server) string {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	if l != nil {
		ts.Listener.Close()
		ts.Listener = l
	}
	srv.ErrorLog = discardLog
	ts.Config = srv
	if srv.TLSConfig != nil {
		ts.TLS = srv.TLSConfig
		ts.StartTLS()
	} else {
		ts.Start()
	}
	t.Cleanup(ts.Close)
	return ts.Listener.Addr().String()
}

// accepted is what a handler did.
type accepted struct {
	conn *websocket.Conn
	err  error
}

// acceptor returns a handler that accepts by o, reports on the channel, and
// echoes messages until the socket ends.
func acceptor(o *websocket.AcceptOptions) (http.Handler, <-chan accepted) {
	results := make(chan accepted, 16)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, o)
		results <- accepted{c, err}
		if err == nil {
			echo(c)
		}
	}), results
}

// echo sends back what comes until the socket ends.
func echo(c *websocket.Conn) {
	for {
		typ, p, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if err := c.Write(context.Background(), typ, p); err != nil {
			return
		}
	}
}

// crlf turns a request written with line feeds into one as it is on the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const goodRequest = `GET /chat HTTP/1.1
Host: server.example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Version: 13

`

// dialTCP opens a raw connection with a deadline for all the test does.
func dialTCP(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// A bufferedConn is a connection of which a bufio.Reader has read more than it
// was asked for.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// upgradeRaw sends a request over c and returns the answer, and the peer on the
// socket if that is a 101.
func upgradeRaw(t *testing.T, c net.Conn, request string) (*http.Response, *wstest.Peer) {
	t.Helper()
	_, err := io.WriteString(c, request)
	require.NoError(t, err)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	require.NoError(t, err)
	return resp, wstest.NewClient(bufferedConn{c, br})
}

// handshakeError wants err to be a *websocket.HandshakeError.
func handshakeError(t *testing.T, err error) *websocket.HandshakeError {
	t.Helper()
	var e *websocket.HandshakeError
	require.ErrorAs(t, err, &e)
	return e
}

// A pipeListener hands out the server's ends of in-memory connections, for tests
// in a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

func (l *pipeListener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// servePipe starts srv on an in-memory listener inside a bubble. The returned
// function ends it.
func servePipe(srv *http.Server) (*pipeListener, func()) {
	l := newPipeListener()
	srv.ErrorLog = discardLog
	done := make(chan struct{})
	go func() {
		srv.Serve(l)
		close(done)
	}()
	return l, func() {
		srv.Close()
		<-done
	}
}

// wantEnd wants a raw connection to end with no further byte. A reset is an end
// too: net/http may close with input unread.
func wantEnd(t *testing.T, r io.Reader) {
	t.Helper()
	rest, err := io.ReadAll(r)
	require.Empty(t, string(rest))
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the connection was left open")
}
