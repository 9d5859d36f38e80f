package h2connect

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

// A testServer is an http.Server on loopback with the engine behind it.
type testServer struct {
	*http.Server
	addr string
	log  *logBuffer
}

// A logBuffer collects what a server logs.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// startTLS starts a server with TLS, startCleartext one without.
func startTLS(t testing.TB, conf *Server, h http.Handler, change ...func(*http.Server)) *testServer {
	t.Helper()
	return start(t, true, conf, h, change...)
}

func startCleartext(t testing.TB, conf *Server, h http.Handler, change ...func(*http.Server)) *testServer {
	t.Helper()
	return start(t, false, conf, h, change...)
}

func start(t testing.TB, secure bool, conf *Server, h http.Handler, change ...func(*http.Server)) *testServer {
	t.Helper()
	s := &testServer{Server: &http.Server{Handler: h}, log: &logBuffer{}}
	s.ErrorLog = log.New(s.log, "", 0)
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(!secure)
	if secure {
		s.TLSConfig, _ = wstest.Certificates()
	}
	for _, f := range change {
		f(s.Server)
	}
	require.NoError(t, ConfigureServer(s.Server, conf))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = ln.Addr().String()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if secure {
			s.ServeTLS(ln, "", "")
		} else {
			s.Serve(ln)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return s
}

func (s *testServer) url(path string) string { return "https://" + s.addr + path }

// testTransport returns a Transport that trusts testServers.
func testTransport(t testing.TB) *Transport {
	_, client := wstest.Certificates()
	tr := &Transport{TLSClientConfig: client, AllowHTTP: true}
	t.Cleanup(func() { closeTransport(tr) })
	return tr
}

// closeTransport cuts all connections of a Transport.
func closeTransport(t *Transport) {
	t.mu.Lock()
	var all []*ClientConn
	for _, conns := range t.conns {
		all = append(all, conns...)
	}
	t.mu.Unlock()
	for _, cc := range all {
		cc.Close()
		<-cc.Done()
	}
}

// goClient returns an http.Client with net/http's own HTTP/2.
func goClient(t testing.TB) *http.Client {
	_, client := wstest.Certificates()
	tr := &http.Transport{TLSClientConfig: client, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func readAll(t testing.TB, r io.ReadCloser) string {
	t.Helper()
	defer r.Close()
	p, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(p)
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}
