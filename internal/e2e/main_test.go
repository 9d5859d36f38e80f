package e2e

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/sockets"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

func TestMain(m *testing.M) {
	// Loopback does not need the buffers that quic-go would like to have.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(wstest.Main(m))
}

type (
	acceptFunc = func(http.ResponseWriter, *http.Request, *websocket.AcceptOptions) (*websocket.Conn, error)
	dialFunc   = func(context.Context, string, *websocket.DialOptions) (*websocket.Conn, *http.Response, error)
)

// A transport is a bootstrap and what it runs on, or what a client and a server
// have of two of them with a proxy between: then dial and rawDial are the front's,
// accept is the back's, and listen and rawListen serve behind a proxy and return
// that one's authority.
type transport struct {
	name      string
	bootstrap websocket.Bootstrap
	tls       bool
	accept    acceptFunc
	dial      dialFunc

	hop *hop // of a path through a proxy; nil on a direct one

	// listen serves h on a loopback port until the test ends, and returns the
	// authority.
	listen func(t testing.TB, h http.Handler) string

	// rawDial opens a socket by hand and returns the stream behind it.
	rawDial func(t testing.TB, authority string) rawStream

	// rawListen accepts sockets by hand, each of which is passed to f on a
	// goroutine of its own, and returns the authority.
	rawListen func(t testing.TB, f func(rawStream)) string
}

// A rawStream carries a socket's bytes, with no Conn on it.
type rawStream interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	CloseWrite() error // END
	Abort() error      // reset
}

var transports = []transport{
	{"h1", websocket.HTTP1, false, h1upgrade.Accept, h1upgrade.Dial, nil, listenTCP(false, http1), rawDialH1(false), rawListenH1(false)},
	{"h1+TLS", websocket.HTTP1, true, h1upgrade.Accept, h1upgrade.Dial, nil, listenTCP(true, http1), rawDialH1(true), rawListenH1(true)},
	{"h2", websocket.HTTP2, true, h2connect.Accept, h2connect.Dial, nil, listenTCP(true, http2Engine), rawDialH2(true), rawListenH2(true)},
	{"h2c", websocket.HTTP2, false, h2connect.Accept, h2connect.Dial, nil, listenTCP(false, http2Engine), rawDialH2(false), rawListenH2(false)},
	{"h3", websocket.HTTP3, true, h3connect.Accept, h3connect.Dial, nil, listenQUIC, rawDialH3, rawListenH3},
}

// url returns the URL of a socket on a server.
func (tr transport) url(authority string) string {
	if tr.tls {
		return "wss://" + authority + "/socket?a=b"
	}
	return "ws://" + authority + "/socket?a=b"
}

// origin returns the origin of a server.
func (tr transport) origin(authority string) string {
	if tr.tls {
		return "https://" + authority
	}
	return "http://" + authority
}

// http1 makes srv serve HTTP/1.1 only. Sockets end with their handlers, as they
// do under negotiate.Server.
func http1(t testing.TB, srv *http.Server) {
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Handler = sockets.Handler(srv.Handler, nil)
}

// http2Engine makes srv serve HTTP/2 by our engine.
func http2Engine(t testing.TB, srv *http.Server) {
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	require.NoError(t, h2connect.ConfigureServer(srv, &h2connect.Server{Limits: h2connect.Limits{ConcurrentStreams: 1200}}))
}

// listenTCP returns the listen function of a transport on TCP.
func listenTCP(overTLS bool, configure func(testing.TB, *http.Server)) func(testing.TB, http.Handler) string {
	return func(t testing.TB, h http.Handler) string {
		t.Helper()
		srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
		srv.TLSConfig, _ = wstest.Certificates()
		configure(t, srv)
		l := listener(t)
		if overTLS {
			l = negotiate.BeneathTLS(l)
		}
		served := make(chan error, 1)
		go func() {
			if overTLS {
				served <- srv.ServeTLS(l, "", "")
			} else {
				served <- srv.Serve(l)
			}
		}()
		t.Cleanup(func() {
			assert.NoError(t, srv.Close())
			assert.ErrorIs(t, <-served, http.ErrServerClosed)
		})
		return l.Addr().String()
	}
}

func listenQUIC(t testing.TB, h http.Handler) string {
	t.Helper()
	server, _ := wstest.Certificates()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	srv := new(h3connect.Server)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(pc, h, server) }()
	t.Cleanup(func() {
		assert.NoError(t, srv.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return pc.LocalAddr().String()
}

func listener(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// patience bounds what happens on loopback unless something is wrong.
const patience = 20 * time.Second

// soon is a context for what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// quick are limits with which a test does not wait for long, and which a closing
// handshake keeps on a slow machine, with a proxy and an uproar in its way.
var quick = websocket.Limits{CloseTimeout: 8 * time.Second}

// A pair are the two ends of a socket over a real transport.
type pair struct{ server, client *websocket.Conn }

// connect opens a socket whose ends both belong to the test. The handler
// returns when the test has ended.
func (tr transport) connect(t testing.TB, ao *websocket.AcceptOptions, do *websocket.DialOptions) pair {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	authority := tr.listen(t, tr.handler(t, ao, func(c *websocket.Conn) {
		accepted <- c
		<-t.Context().Done()
	}))
	client := tr.mustDial(t, authority, do)
	server := <-accepted
	t.Cleanup(func() {
		client.CloseNow()
		server.CloseNow()
	})
	return pair{server, client}
}

// handler accepts sockets and passes them to serve.
func (tr transport) handler(t testing.TB, o *websocket.AcceptOptions, serve func(*websocket.Conn)) http.Handler {
	if o == nil {
		o = &websocket.AcceptOptions{Limits: quick}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := tr.accept(w, r, o)
		if assert.NoError(t, err) {
			serve(c)
		}
	})
}

// tryDial dials with the test's certificates.
func (tr transport) tryDial(ctx context.Context, authority string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	if o == nil {
		o = &websocket.DialOptions{Limits: quick}
	}
	with := *o
	_, with.TLSClientConfig = wstest.Certificates()
	return tr.dial(ctx, tr.url(authority), &with)
}

func (tr transport) mustDial(t testing.TB, authority string, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, resp, err := tr.tryDial(soon(t), authority, o)
	require.NoError(t, err)
	require.NotNil(t, resp)
	require.Equal(t, tr.bootstrap, c.Bootstrap())
	return c
}

// ends returns the pair in both orders, with names: tests that have a direction
// run in both.
func (p pair) ends() map[string][2]*websocket.Conn {
	return map[string][2]*websocket.Conn{
		"server to client": {p.server, p.client},
		"client to server": {p.client, p.server},
	}
}

// wantEnd wants err to be the CloseError with which a Conn ended.
func wantEnd(t testing.TB, err error, code websocket.StatusCode, remote bool) *websocket.CloseError {
	t.Helper()
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, code, ce.Code, "%v", err)
	assert.Equal(t, remote, ce.Remote, "%v", err)
	return ce
}

// wantMessage wants the next message to be this one.
func wantMessage(t testing.TB, c *websocket.Conn, kind websocket.MessageType, want []byte) {
	t.Helper()
	got, p, err := c.Read(soon(t))
	require.NoError(t, err)
	require.Equal(t, kind, got)
	require.True(t, string(want) == string(p), "%d bytes, want %d", len(p), len(want))
}

// begin runs f on a goroutine of its own and returns what will hold its result.
func begin[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// echo returns what it reads until the socket ends.
func echo(c *websocket.Conn) {
	for {
		kind, p, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if c.Write(context.Background(), kind, p) != nil {
			return
		}
	}
}
