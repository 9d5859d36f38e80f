package e2e

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

// A hop is what a path through a ReverseProxy has more than one without.
type hop struct {
	front, back transport

	// via serves a ReverseProxy that leads to this authority, and returns the
	// proxy's own. Configure may be nil.
	via func(t testing.TB, authority string, configure func(*negotiate.ReverseProxy)) string
}

// served is the transport that handlers see.
func (tr transport) served() transport {
	if tr.hop != nil {
		return tr.hop.back
	}
	return tr
}

// via returns where a client goes whose server is at this authority.
func (tr transport) via(t testing.TB, authority string) string {
	if tr.hop != nil {
		return tr.hop.via(t, authority, nil)
	}
	return authority
}

// usesTCPAlone says whether a leg of the way has no windows but TCP's.
func (tr transport) usesTCPAlone() bool {
	return tr.bootstrap == websocket.HTTP1 || tr.served().bootstrap == websocket.HTTP1
}

// through returns the path to a ReverseProxy that goes on to another transport.
// Configure may be nil.
func (tr transport) through(t testing.TB, back transport, configure func(*negotiate.ReverseProxy)) transport {
	front := tr
	dialer := newDialer(t, back.bootstrap)
	via := func(t testing.TB, authority string, more func(*negotiate.ReverseProxy)) string {
		p := reverseProxy(dialer, back, authority)
		for _, f := range []func(*negotiate.ReverseProxy){configure, more} {
			if f != nil {
				f(p)
			}
		}
		return front.listen(t, p)
	}
	tr.name += " to " + back.name
	tr.hop, tr.accept = &hop{front, back, via}, back.accept
	tr.listen = func(t testing.TB, h http.Handler) string { return via(t, back.listen(t, h), nil) }
	tr.rawListen = func(t testing.TB, f func(rawStream)) string { return via(t, back.rawListen(t, f), nil) }
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
