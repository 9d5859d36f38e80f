//go:build unix

package peers

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/program"
	"github.com/wsmux/websocket/interop/internal/proxy"
	"github.com/wsmux/websocket/negotiate"
)

// A chain is a peer with a negotiate.ReverseProxy on one side of it.
type chain struct {
	proxy.Proxy
	first bool // the ReverseProxy is where the client is
}

// Another proxy may stand on either side of ReverseProxy.
func TestReverseProxyBesideOthers(t *testing.T) {
	for _, peer := range []proxy.Proxy{proxy.HAProxy(t), proxy.Nghttpx(t)} {
		t.Run("before "+peer.Name(), func(t *testing.T) { runChain(t, chain{peer, true}) })
		t.Run("behind "+peer.Name(), func(t *testing.T) { runChain(t, chain{peer, false}) })
	}
}

func runChain(t *testing.T, c chain) {
	for _, w := range ways {
		t.Run(w.String(), func(t *testing.T) {
			b := newBridge(t, c, w, nil)
			t.Run("bootstrap", func(t *testing.T) { b.testBootstrap(t, c) })
			t.Run("echo", b.testEcho)
			t.Run("fragments", b.testFragments)
			t.Run("ping", b.testPing)
			t.Run("deflate", b.testDeflate)
			t.Run("close by client", b.testCloseClient)
			t.Run("close by server", b.testCloseServer)
			t.Run("refusal", b.testRefusal)
			t.Run("requests beside", b.testRequests)
			if t.Failed() {
				t.Log(b.proxy.Tail())
			}
		})
	}
}

// Serve starts both. Before the peer ours speaks to it as clients do, by the way's
// front; behind it, to the server by the way's back.
func (c chain) Serve(t testing.TB, w proxy.Way, id *authority.Identity, backend string) (*program.Program, string) {
	if c.first {
		p, addr := c.Proxy.Serve(t, w, id, backend)
		return p, reverseProxy(t, id, "https", addr, w.Front)
	}
	scheme := "https"
	if w.Clear {
		scheme = "http"
	}
	return c.Proxy.Serve(t, proxy.Way{Front: w.Front, Back: w.Back}, id, reverseProxy(t, id, scheme, backend, w.Back))
}

// reverseProxy serves a ReverseProxy until the test ends and returns its address.
func reverseProxy(t testing.TB, id *authority.Identity, scheme, backend string, b websocket.Bootstrap) string {
	d := &negotiate.Dialer{TLSClientConfig: id.ClientConfig(), Policy: negotiate.Only(b)}
	srv := &negotiate.Server{TLSConfig: id.ServerConfig(), Handler: &negotiate.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(&url.URL{Scheme: scheme, Host: backend})
			pr.Out.Host = pr.In.Host
		},
		Dialer: d,
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(l, nil, "", "") }()
	t.Cleanup(func() {
		d.CloseIdleConnections()
		_ = srv.Close()
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return l.Addr().String()
}
