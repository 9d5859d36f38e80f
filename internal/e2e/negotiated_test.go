package e2e

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// negotiated returns the same transport with negotiate's Accept, Server and
// Dialer.
func (tr transport) negotiated(t testing.TB) transport {
	if tr.hop != nil {
		return tr.hop.front.negotiated(t).through(t, tr.hop.back.negotiated(t), nil)
	}
	d := newDialer(t, tr.bootstrap)
	tr.accept = negotiate.Accept
	tr.dial = func(ctx context.Context, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
		pooled := *o
		pooled.TLSClientConfig = nil // the Dialer's own: connections are shared
		return d.Dial(ctx, url, &pooled)
	}
	tr.listen = func(t testing.TB, h http.Handler) string {
		return serveNegotiated(t, h, tr.tls).authority(tr.bootstrap)
	}
	return tr
}

// hasty are limits with which a connection that has ended does not stay for long.
var hasty = h2connect.Limits{Linger: 50 * time.Millisecond}

// newDialer returns a Dialer for one bootstrap.
func newDialer(t testing.TB, b websocket.Bootstrap) *negotiate.Dialer {
	_, config := wstest.Certificates()
	h3 := &h3connect.Transport{TLSClientConfig: config}
	d := &negotiate.Dialer{TLSClientConfig: config, HTTP3: h3, Policy: negotiate.Only(b), HTTP2Limits: hasty}
	t.Cleanup(func() {
		d.CloseIdleConnections()
		assert.NoError(t, h3.Close())
	})
	return d
}

// A negotiatedServer is a negotiate.Server that listens on loopback.
type negotiatedServer struct {
	*negotiate.Server
	tcp, udp string // authorities; udp only with TLS
}

// serveNegotiated serves HTTP/1.1, HTTP/2 and, with TLS, HTTP/3 until the test
// ends. The options change the Server before it serves.
func serveNegotiated(t testing.TB, h http.Handler, secure bool, options ...func(*negotiate.Server)) *negotiatedServer {
	t.Helper()
	l := listener(t)
	s := &negotiatedServer{
		Server: &negotiate.Server{Handler: h, HTTP2: &h2connect.Server{Limits: hasty}, UnencryptedHTTP2: true},
		tcp:    l.Addr().String(),
	}
	serve := func() error { return s.Serve(l) }
	if secure {
		pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		s.udp = pc.LocalAddr().String()
		s.TLSConfig, _ = wstest.Certificates()
		s.HTTP3 = new(h3connect.Server)
		serve = func() error { return s.ServeTLS(l, pc, "", "") }
	}
	for _, option := range options {
		option(s.Server)
	}
	served := begin(serve)
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return s
}

// authority returns where the server is to be had over a bootstrap.
func (s *negotiatedServer) authority(b websocket.Bootstrap) string {
	if b == websocket.HTTP3 {
		return s.udp
	}
	return s.tcp
}

// url returns the URL of a socket over a bootstrap.
func (s *negotiatedServer) url(b websocket.Bootstrap) string {
	if s.udp == "" {
		return "ws://" + s.tcp + "/socket"
	}
	return "wss://" + s.authority(b) + "/socket"
}
