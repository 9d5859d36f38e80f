package h2connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// echo accepts a socket and sends back what it receives until it ends.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		t, p, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), t, p); err != nil {
			return
		}
	}
}

func socketHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", ordinary())
	mux.HandleFunc("/ws", echo)
	return mux
}

func wantEcho(t testing.TB, c *websocket.Conn, text string) {
	t.Helper()
	ctx := testContext(t)
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(text)))
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, text, string(p))
}

func TestSocketOnAConnectionOfItsOwn(t *testing.T) {
	wstest.NoLeaks(t)
	s := startTLS(t, nil, socketHandler())
	_, config := wstest.Certificates()
	c, resp, err := Dial(testContext(t), "wss://"+s.addr+"/ws", &websocket.DialOptions{TLSClientConfig: config, Subprotocols: []string{"echo"}})
	require.NoError(t, err)
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "HTTP/2.0", resp.Proto)
	assert.Equal(t, "echo", c.Subprotocol())
	assert.Equal(t, websocket.HTTP2, c.Bootstrap())
	wantEcho(t, c, "hello")
	wantEcho(t, c, strings.Repeat("large ", 100_000))
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, "done"))
}

func TestSocketOverCleartext(t *testing.T) {
	s := startCleartext(t, nil, socketHandler())
	c, _, err := Dial(testContext(t), "ws://"+s.addr+"/ws", nil)
	require.NoError(t, err)
	wantEcho(t, c, "hello")
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
}

func TestXC20SocketsAndRequestsShareAConnection(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	tr := testTransport(t)
	a, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	b, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	client := &http.Client{Transport: tr}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			resp, err := client.Get(s.url("/hello"))
			if assert.NoError(t, err) {
				_, err = io.Copy(io.Discard, resp.Body)
				assert.NoError(t, err)
				resp.Body.Close()
			}
		})
		if i%10 == 0 {
			wantEcho(t, a, "a")
			wantEcho(t, b, strings.Repeat("b", i*100))
		}
	}
	all.Wait()
	require.NoError(t, a.Close(testContext(t), websocket.StatusNormalClosure, ""))
	wantEcho(t, b, "still here")
	require.NoError(t, b.Close(testContext(t), websocket.StatusNormalClosure, ""))
	tr.mu.Lock()
	defer tr.mu.Unlock()
	assert.Len(t, tr.conns[keyOf(mustURL(s.url("/")))], 1, "one connection carried it all")
}

func TestAThousandSocketsOnOneConnection(t *testing.T) {
	s := startTLS(t, &Server{Limits: Limits{ConcurrentStreams: 1000}}, socketHandler())
	tr := testTransport(t)
	tr.RequestStreams = -1
	first, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	conns := []*websocket.Conn{first}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 999 {
		all.Go(func() {
			c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
			if assert.NoError(t, err) {
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for i, c := range conns {
		all.Go(func() {
			text := fmt.Sprintf("message of socket %d", i)
			for range 3 {
				if !assert.NoError(t, c.Write(testContext(t), websocket.MessageText, []byte(text))) {
					return
				}
				_, p, err := c.Read(testContext(t))
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, text, string(p))
			}
		})
	}
	all.Wait()
	tr.mu.Lock()
	assert.Len(t, tr.conns[keyOf(mustURL(s.url("/")))], 1)
	tr.mu.Unlock()
	for _, c := range conns {
		all.Go(func() {
			assert.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
		})
	}
	all.Wait()
}

func TestAFurtherConnectionBeyondTheServersLimit(t *testing.T) {
	tests := []struct {
		streams, forRequests, sockets, conns int
	}{
		{streams: 2, forRequests: -1, sockets: 5, conns: 3},
		{streams: 1, sockets: 3, conns: 3},
		{streams: 2, sockets: 3, conns: 3},
		{streams: 10, sockets: 17, conns: 3}, // a fifth is left
		{streams: 30, sockets: 51, conns: 3, forRequests: 5},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d streams %d sockets", tt.streams, tt.sockets), func(t *testing.T) {
			s := startTLS(t, &Server{Limits: Limits{ConcurrentStreams: tt.streams}}, socketHandler())
			tr := testTransport(t)
			tr.RequestStreams = tt.forRequests
			conns := make([]*websocket.Conn, tt.sockets)
			var all sync.WaitGroup
			for i := range conns {
				all.Go(func() {
					c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
					if assert.NoError(t, err) {
						wantEcho(t, c, "hello")
					}
					conns[i] = c
				})
			}
			all.Wait()
			require.False(t, t.Failed())
			tr.mu.Lock()
			assert.Len(t, tr.conns[keyOf(mustURL(s.url("/")))], tt.conns)
			tr.mu.Unlock()
			if tt.streams > 1 && tt.forRequests >= 0 {
				resp, err := (&http.Client{Transport: tr}).Get(s.url("/hello"))
				require.NoError(t, err, "a stream is left for requests")
				readAll(t, resp.Body)
				tr.mu.Lock()
				assert.Len(t, tr.conns[keyOf(mustURL(s.url("/")))], tt.conns)
				tr.mu.Unlock()
			}
			for _, c := range conns {
				require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
			}
		})
	}
}

func TestXC16ServerWithoutTheSettingIsATypedError(t *testing.T) {
	s := startTLS(t, &Server{DisableExtendedConnect: true}, socketHandler())
	tr := testTransport(t)
	_, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.ErrorIs(t, err, websocket.ErrNotSupported)
	resp, err := (&http.Client{Transport: tr}).Get(s.url("/hello"))
	require.NoError(t, err)
	readAll(t, resp.Body)
}

func TestXC18RefusalKeepsTheConnection(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	tr := testTransport(t)
	for path, status := range map[string]int{"/missing": 404, "/ignore": 403, "/none": 501} {
		_, resp, err := tr.Dial(testContext(t), s.url(path), nil)
		var he *websocket.HandshakeError
		require.ErrorAs(t, err, &he, path)
		assert.Equal(t, status, resp.StatusCode, path)
	}
	_, resp, err := tr.Dial(testContext(t), s.url("/ws"), &websocket.DialOptions{Header: http.Header{"Origin": {"https://evil.example"}}})
	require.Error(t, err)
	assert.Equal(t, 403, resp.StatusCode)
	c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	wantEcho(t, c, "hello")
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
	tr.mu.Lock()
	defer tr.mu.Unlock()
	assert.Len(t, tr.conns[keyOf(mustURL(s.url("/")))], 1)
}

// wrapped is middleware that hides the engine's writer.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestAcceptUnderMiddleware(t *testing.T) {
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { echo(wrapped{wrapped{w}}, r) }))
	c, _, err := testTransport(t).Dial(testContext(t), s.url("/"), nil)
	require.NoError(t, err)
	wantEcho(t, c, "hello")
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
}

func TestXC14HandlersReturnClosesTheSocket(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func()
		code websocket.StatusCode
	}{
		"return": {func() {}, websocket.StatusNormalClosure},
		"panic":  {func() { panic(http.ErrAbortHandler) }, websocket.StatusInternalError},
	} {
		t.Run(name, func(t *testing.T) {
			s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := Accept(w, r, nil); assert.NoError(t, err) {
					tt.end()
				}
			}))
			c, _, err := testTransport(t).Dial(testContext(t), s.url("/"), nil)
			require.NoError(t, err)
			_, _, err = c.Read(testContext(t))
			var ce *websocket.CloseError
			require.ErrorAs(t, err, &ce)
			assert.Equal(t, tt.code, ce.Code)
			assert.True(t, ce.Remote)
		})
	}
}

func TestXC13AbortCancelsTheHandlersContext(t *testing.T) {
	ended := make(chan error, 1)
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		_, _, err = c.Read(context.Background())
		<-r.Context().Done()
		ended <- err
	}))
	c, _, err := testTransport(t).Dial(testContext(t), s.url("/"), nil)
	require.NoError(t, err)
	require.NoError(t, c.CloseNow())
	err = <-ended
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
	var se *StreamError
	require.ErrorAs(t, err, &se)
	assert.Equal(t, "CANCEL", se.Code.String())
	assert.True(t, se.Remote)
}

func TestOP01ShutdownSaysGoodbyeToSocketsAndWaits(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	tr := testTransport(t)
	var conns []*websocket.Conn
	for range 10 {
		c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
		require.NoError(t, err)
		wantEcho(t, c, "hello")
		conns = append(conns, c)
	}
	var all sync.WaitGroup
	for _, c := range conns {
		all.Go(func() {
			_, _, err := c.Read(testContext(t))
			var ce *websocket.CloseError
			if assert.ErrorAs(t, err, &ce) {
				assert.Equal(t, websocket.StatusGoingAway, ce.Code)
			}
		})
	}
	require.NoError(t, s.Shutdown(testContext(t)))
	all.Wait()
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		io.WriteString(w, "finished")
	}))
	done := make(chan error)
	go func() {
		<-begun
		go func() { done <- s.Shutdown(testContext(t)) }()
		close(goOn)
	}()
	resp, err := (&http.Client{Transport: testTransport(t)}).Get(s.url("/"))
	require.NoError(t, err)
	assert.Equal(t, "finished", readAll(t, resp.Body))
	require.NoError(t, <-done)
}

func TestServerTimeoutsDoNotReachSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const short = 50 * time.Millisecond
		tr := testTransport(t)
		tr.DialContext = serveInMemory(t, &http.Server{Handler: socketHandler(), ReadTimeout: short, WriteTimeout: short, IdleTimeout: short})
		c, _, err := tr.Dial(testContext(t), "wss://localhost/ws", nil)
		require.NoError(t, err)
		time.Sleep(4 * short)
		wantEcho(t, c, "still here")
		require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
	})
}

// serveInMemory runs srv, with TLS, on the connections that dial makes.
func serveInMemory(t testing.TB, srv *http.Server) (dial dialFunc) {
	srv.TLSConfig, _ = wstest.Certificates()
	require.NoError(t, ConfigureServer(srv, nil))
	conns := make(chan net.Conn)
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(given(conns), "", "") }()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := wstest.Pipe(wstest.PipeOptions{})
		conns <- far.NetConn()
		return near.NetConn(), nil
	}
}

// given is a listener to whom the connections are given.
type given chan net.Conn

func (g given) Accept() (net.Conn, error) {
	if c, ok := <-g; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (g given) Close() error {
	close(g)
	return nil
}

func (given) Addr() net.Addr { return &net.TCPAddr{} }

func TestHTTPTransportAndSocketsShareConnections(t *testing.T) {
	for _, first := range []string{"request", "socket"} {
		t.Run(first+" first", func(t *testing.T) {
			s := startTLS(t, nil, socketHandler())
			_, config := wstest.Certificates()
			t1, t2 := &http.Transport{TLSClientConfig: config}, &Transport{}
			require.NoError(t, ConfigureTransport(t1, t2))
			defer closeTransport(t2)
			client := &http.Client{Transport: t1}
			get := func() {
				resp, err := client.Post(s.url("/echo"), "x/y", bytes.NewReader([]byte("content")))
				require.NoError(t, err)
				assert.Equal(t, "content", readAll(t, resp.Body))
				assert.Equal(t, 2, resp.ProtoMajor)
			}
			if first == "request" {
				get()
			}
			c, _, err := t2.Dial(testContext(t), s.url("/ws"), nil)
			require.NoError(t, err)
			get()
			wantEcho(t, c, "hello")
			require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
			t2.mu.Lock()
			defer t2.mu.Unlock()
			assert.Len(t, t2.conns[keyOf(mustURL(s.url("/")))], 1)
		})
	}
}

func TestConfigureErrsWhereItWouldNotBeUsed(t *testing.T) {
	srv := &http.Server{}
	require.NoError(t, ConfigureServer(srv, nil))
	require.Error(t, ConfigureServer(srv, nil), "twice")
	srv = &http.Server{Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	require.Error(t, ConfigureServer(srv, nil), "HTTP/1 only")
	t1 := &http.Transport{}
	require.NoError(t, ConfigureTransport(t1, &Transport{}))
	require.Error(t, ConfigureTransport(t1, &Transport{}), "twice")
}

func TestCloseErrorsAreTyped(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	c, _, err := testTransport(t).Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	s.Close()
	_, _, err = c.Read(testContext(t))
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
	var conn *ConnError
	require.True(t, errors.As(err, &conn), "%v", err)
	assert.True(t, conn.Remote)
}

func TestServerWithoutHTTP2IsNotSupported(t *testing.T) {
	for name, protos := range map[string][]string{"refuses by alert": {"http/1.1"}, "knows no ALPN": nil} {
		config, client := wstest.Certificates()
		config.NextProtos = protos
		ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
		require.NoError(t, err)
		go func() {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				nc.(*tls.Conn).Handshake()
				nc.Close()
			}
		}()
		_, _, err = Dial(testContext(t), "wss://"+ln.Addr().String()+"/ws", &websocket.DialOptions{TLSClientConfig: client})
		require.ErrorIs(t, err, websocket.ErrNotSupported, name)
		ln.Close()
	}
}

func TestConnStateTellsOfStreams(t *testing.T) {
	states := make(chan http.ConnState, 10)
	s := startTLS(t, nil, socketHandler(), func(srv *http.Server) {
		srv.ConnState = func(_ net.Conn, state http.ConnState) { states <- state }
	})
	tr := testTransport(t)
	resp, err := (&http.Client{Transport: tr}).Get(s.url("/hello"))
	require.NoError(t, err)
	readAll(t, resp.Body)
	for _, want := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateActive, http.StateIdle} {
		require.Equal(t, want, <-states)
	}
	closeTransport(tr)
	require.NoError(t, s.Shutdown(testContext(t)))
	require.Equal(t, http.StateClosed, <-states) // net/http does not wait for who is told
	assert.Empty(t, states)
}
