package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// served is the transport that handlers see.
func (tr transport) served() transport {
	if tr.behind != nil {
		return *tr.behind
	}
	return tr
}

// usesTCPAlone says whether a leg of the way has no windows but TCP's.
func (tr transport) usesTCPAlone() bool {
	return tr.bootstrap == websocket.HTTP1 || tr.served().bootstrap == websocket.HTTP1
}

// through returns the transport to a ReverseProxy that goes on to another.
// Configure may be nil.
func (tr transport) through(t testing.TB, back transport, configure func(*negotiate.ReverseProxy)) transport {
	front := tr
	dialer := newDialer(t, back.bootstrap)
	tr.name += " to " + back.name
	tr.behind, tr.accept = &back, back.accept
	proxy := func(t testing.TB, authority string) string {
		p := reverseProxy(dialer, back, authority)
		if configure != nil {
			configure(p)
		}
		return front.listen(t, p)
	}
	tr.listen = func(t testing.TB, h http.Handler) string { return proxy(t, back.listen(t, h)) }
	tr.rawListen = func(t testing.TB, f func(rawStream)) string { return proxy(t, back.rawListen(t, f)) }
	tr.dial = func(ctx context.Context, u string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
		return front.dial(ctx, u, o)
	}
	return tr
}

// reverseProxy returns a proxy to a server on a transport.
func reverseProxy(d *negotiate.Dialer, back transport, authority string) *negotiate.ReverseProxy {
	return &negotiate.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(&url.URL{Scheme: back.scheme(), Host: authority})
			pr.SetXForwarded()
			pr.Out.Host = pr.In.Host
		},
		Dialer:        d,
		RewriteOrigin: true,
	}
}

func (tr transport) scheme() string {
	if tr.tls {
		return "https"
	}
	return "http"
}

// onProxies runs a test through a ReverseProxy, from each kind of transport to
// each.
func onProxies(t *testing.T, test func(t *testing.T, tr transport)) {
	t.Helper()
	for _, front := range transports {
		for _, back := range transports {
			if front.name == "h1+TLS" || back.name == "h1+TLS" && front.name != "h2" {
				continue // as h1 on that side
			}
			t.Run(front.name+" to "+back.name, func(t *testing.T) {
				wstest.NoLeaks(t)
				test(t, front.through(t, back, nil))
			})
		}
	}
}

// countDials returns a DialContext that counts its calls.
func countDials(n *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}
