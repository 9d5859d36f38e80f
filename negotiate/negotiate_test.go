package negotiate_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }

// A server under test, and what it saw.
type server struct {
	addr   string
	client *tls.Config
	conns  atomic.Int32 // TCP connections accepted
}

type countingListener struct {
	net.Listener
	n *atomic.Int32
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// handler echoes on /ws, refuses on /forbidden, and answers with the protocol
// elsewhere.
func handler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := negotiate.Accept(w, r, nil)
		if err != nil {
			t.Log("accept:", err)
			return
		}
		defer c.CloseNow()
		for {
			mt, p, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if c.Write(context.Background(), mt, p) != nil {
				return
			}
		}
	})
	mux.HandleFunc("/forbidden", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Proto+" "+string(p))
	})
	return mux
}

// start serves srv on loopback, with TLS or with both HTTP versions in cleartext.
func start(t *testing.T, srv *negotiate.Server, secure bool) *server {
	t.Helper()
	if !secure {
		srv.UnencryptedHTTP2 = true
		return startWith(t, srv, nil)
	}
	config, _ := wstest.Certificates()
	return startWith(t, srv, config)
}

// startWith serves srv on loopback with config, nil for no TLS.
func startWith(t *testing.T, srv *negotiate.Server, config *tls.Config) *server {
	t.Helper()
	s := new(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = l.Addr().String()
	if srv.Handler == nil {
		srv.Handler = handler(t)
	}
	done := make(chan error, 1)
	_, s.client = wstest.Certificates()
	counted := countingListener{l, &s.conns}
	srv.TLSConfig = config
	go func() {
		if config != nil {
			done <- srv.ServeTLS(counted, nil, "", "")
		} else {
			done <- srv.Serve(counted)
		}
	}()
	t.Cleanup(func() {
		srv.Close()
		assert.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return s
}

func echo(t *testing.T, c *websocket.Conn) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte("hello")))
	mt, p, err := c.Read(ctx)
	require.NoError(t, err)
	assert.Equal(t, websocket.MessageText, mt)
	assert.Equal(t, "hello", string(p))
}

func get(t *testing.T, d *negotiate.Dialer, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.GetBody = nil
	resp, err := (&http.Client{Transport: d}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(p)
}

func TestDialerChooses(t *testing.T) {
	plainHTTP2 := &h2connect.Server{DisableExtendedConnect: true}
	tests := []struct {
		name      string
		server    *h2connect.Server
		http1Only bool
		policy    negotiate.Policy
		cleartext bool
		want      websocket.Bootstrap
		conns     int32 // TCP connections for two sockets and two requests
		get       string
	}{
		{name: "h2 where there is extended CONNECT", want: websocket.HTTP2, conns: 1, get: "HTTP/2.0"},
		{name: "h1 where h2 has no extended CONNECT", server: plainHTTP2, want: websocket.HTTP1, conns: 3, get: "HTTP/2.0"},
		{name: "h1 where there is no h2", http1Only: true, want: websocket.HTTP1, conns: 3, get: "HTTP/1.1"},
		{name: "only h1", policy: negotiate.Only(websocket.HTTP1), want: websocket.HTTP1, conns: 3, get: "HTTP/1.1"},
		{name: "only h2", policy: negotiate.Only(websocket.HTTP2), want: websocket.HTTP2, conns: 1, get: "HTTP/2.0"},
		{name: "h3 preferred and not given", policy: negotiate.Prefer(websocket.HTTP3), want: websocket.HTTP2, conns: 1, get: "HTTP/2.0"},
		{name: "h1 without TLS", cleartext: true, want: websocket.HTTP1, conns: 3, get: "HTTP/1.1"},
		{name: "h2 by prior knowledge", cleartext: true, policy: negotiate.Only(websocket.HTTP2), want: websocket.HTTP2, conns: 1, get: "HTTP/2.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := start(t, &negotiate.Server{HTTP2: tt.server}, !tt.cleartext)
			d := &negotiate.Dialer{TLSClientConfig: s.client, Policy: tt.policy}
			defer d.CloseIdleConnections()
			if tt.http1Only {
				d.DialContext = (&http1Proxy{t: t, to: s.addr}).dial
			}
			scheme := "s://"
			if tt.cleartext {
				scheme = "://"
			}
			var conns []*websocket.Conn
			for range 2 {
				c, resp, err := d.Dial(t.Context(), "ws"+scheme+s.addr+"/ws", nil)
				require.NoError(t, err)
				require.NotNil(t, resp)
				assert.Equal(t, tt.want, c.Bootstrap())
				conns = append(conns, c)
			}
			for _, c := range conns {
				echo(t, c)
			}
			for range 2 {
				assert.Equal(t, tt.get+" body", get(t, d, "POST", "http"+scheme+s.addr+"/", "body"))
			}
			if !tt.http1Only {
				assert.Equal(t, tt.conns, s.conns.Load(), "TCP connections")
			}
			for _, c := range conns {
				require.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
			}
		})
	}
}

// http1Proxy ends TLS in front of a server and offers HTTP/1.1 alone.
type http1Proxy struct {
	t  *testing.T
	to string
}

func (p *http1Proxy) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	serverTLS, clientTLS := wstest.Certificates()
	serverTLS = serverTLS.Clone()
	serverTLS.NextProtos = []string{"http/1.1"}
	client, inner := net.Pipe()
	back, err := tls.Dial(network, p.to, func() *tls.Config {
		c := clientTLS.Clone()
		c.NextProtos = []string{"http/1.1"}
		return c
	}())
	if err != nil {
		return nil, err
	}
	front := tls.Server(inner, serverTLS)
	go func() { defer back.Close(); io.Copy(back, front) }()
	go func() { defer front.Close(); io.Copy(front, back) }()
	return client, nil
}

func TestDialerAnswersAreFinal(t *testing.T) {
	s := start(t, &negotiate.Server{}, true)
	d := &negotiate.Dialer{TLSClientConfig: s.client}
	defer d.CloseIdleConnections()
	_, resp, err := d.Dial(t.Context(), "wss://"+s.addr+"/forbidden", nil)
	var refused *websocket.HandshakeError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusForbidden, refused.Status)
	assert.True(t, refused.Remote)
	assert.Equal(t, "no\n", string(refused.Body))
	require.NotNil(t, resp)
	var failed *negotiate.DialError
	require.ErrorAs(t, err, &failed)
	assert.Len(t, failed.Attempts, 1, "a refusal is an answer: nothing else is tried")
	assert.EqualValues(t, 1, s.conns.Load())
}

func TestDialerSaysWhatIsNotSupported(t *testing.T) {
	s := start(t, &negotiate.Server{HTTP2: &h2connect.Server{DisableExtendedConnect: true}}, true)
	for _, policy := range []negotiate.Policy{negotiate.Only(websocket.HTTP2), negotiate.Only(websocket.HTTP3), negotiate.Only()} {
		d := &negotiate.Dialer{TLSClientConfig: s.client, Policy: policy}
		_, _, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
		require.ErrorIs(t, err, websocket.ErrNotSupported)
		var failed *negotiate.DialError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, "https://"+s.addr, failed.URL)
		d.CloseIdleConnections()
	}
}

func TestDialerErrorsHoldNoSecrets(t *testing.T) {
	d := &negotiate.Dialer{}
	_, _, err := d.Dial(t.Context(), "wss://user:secret@127.0.0.1:1/ws?token=secret", nil)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	_, _, err = d.Dial(t.Context(), "wss://user:secret@bad host/\x7f", nil)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	_, _, err = d.Dial(t.Context(), "ftp://127.0.0.1/", nil)
	assert.ErrorContains(t, err, `"ftp"`)
}

func TestDialerHonoursContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing, says nothing
	require.NoError(t, err)
	defer l.Close()
	for _, policy := range []negotiate.Policy{{}, negotiate.Only(websocket.HTTP1), negotiate.Only(websocket.HTTP2)} {
		d := &negotiate.Dialer{Policy: policy}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		_, _, err = d.Dial(ctx, "wss://"+l.Addr().String()+"/", nil)
		cancel()
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

func TestServerShutdownSays1001(t *testing.T) {
	for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2} {
		t.Run(b.String(), func(t *testing.T) {
			wstest.NoLeaks(t)
			srv := new(negotiate.Server)
			s := start(t, srv, true)
			d := &negotiate.Dialer{TLSClientConfig: s.client, Policy: negotiate.Only(b)}
			defer d.CloseIdleConnections()
			var conns []*websocket.Conn
			for range 5 {
				c, _, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
				require.NoError(t, err)
				echo(t, c)
				conns = append(conns, c)
			}
			ended := make(chan error, len(conns))
			for _, c := range conns {
				go func() {
					_, _, err := c.Read(context.Background())
					ended <- err
				}()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			require.NoError(t, srv.Shutdown(ctx))
			for range conns {
				var ce *websocket.CloseError
				require.ErrorAs(t, <-ended, &ce)
				assert.Equal(t, websocket.StatusGoingAway, ce.Code)
				assert.True(t, ce.Remote)
			}
			_, _, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
			assert.Error(t, err)
		})
	}
}

func TestServerIsUsedOnce(t *testing.T) {
	srv := &negotiate.Server{}
	s := start(t, srv, false)
	assert.Equal(t, "HTTP/1.1 ", get(t, &negotiate.Dialer{}, "GET", "http://"+s.addr+"/", ""))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	assert.ErrorContains(t, srv.Serve(l), "once")
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed, "the listener is closed all the same")
}

func TestServerNeedsACertificate(t *testing.T) {
	srv := &negotiate.Server{Addr: "127.0.0.1:0"}
	assert.ErrorContains(t, srv.ListenAndServeTLS("", ""), "certificate")
	assert.Error(t, (&negotiate.Server{Addr: "127.0.0.1:0"}).ListenAndServeTLS("no.pem", "no.pem"))
}
