package negotiate

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/sockets"
	"github.com/wsmux/websocket/internal/tunnel"
)

// Bridge lets a handler that knows only sockets over HTTP/1.1, with a library of
// its own and http.Hijacker, serve those over HTTP/2 and HTTP/3 too. It goes
// around the handler, a router with all its routes for instance, and changes
// nothing for requests of other kinds. A nil h is http.DefaultServeMux.
//
// To h an extended CONNECT for websocket (RFC 8441, RFC 9220) looks as if it had
// come by HTTP/1.1: a GET with Connection, Upgrade, a fresh Sec-WebSocket-Key and
// no content, so that it matches a route such as "GET /ws", on a ResponseWriter
// that can be hijacked, also through http.ResponseController. The 101 that h's
// library writes, by WriteHeader or on the hijacked connection, becomes the 200
// that the client wants, with its subprotocol, extensions and cookies. The
// hijacked net.Conn is the stream: deadlines that may be moved, CloseWrite,
// addresses, byte for byte. As with net/http it belongs to h from then on, may
// outlive h's call, and must be closed; RemoteAddr and LocalAddr are those of
// the connection that carries the stream beside others. Fields that h set on the
// ResponseWriter's Header are not sent with a 101 that is written onto the
// connection, which is net/http's way too. SetLinger(0) makes Close a reset.
//
// A status other than 101 refuses the socket, and arrives as it is with its
// content. A few have another meaning for an extended CONNECT: a 2xx, which would
// accept the socket, becomes 501 without content, as the handler has no socket
// there; 426, which needs a field that HTTP/2 and HTTP/3 do not have, 400.
// Whatever else cannot be done right fails, with an error to h and a 500 or a
// reset to the client: a 101 that does not answer the request or that chooses
// what was not offered, a hijacked connection that is closed without an answer.
//
// The origin check, the limits and the closing handshake are the library's. What
// http.Server.Shutdown does not do for hijacked connections, the servers of this
// module do not do for these: use http.Server.RegisterOnShutdown, or end them
// before. A handler inside h that calls [Accept] gets the client's own bootstrap.
//
// A handler that must not be bridged can send its clients to HTTP/1.1:
// h2connect.RequireHTTP1, called in front of Bridge.
func Bridge(h http.Handler) http.Handler {
	h = orDefaultMux(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !isExtendedConnect(r):
			h.ServeHTTP(w, r)
		case admits(w, r):
			serveBridged(h, w, r)
		}
	})
}

// isExtendedConnect says whether r is an extended CONNECT for websocket. HTTP/2
// servers have :protocol in the header, HTTP/3's in r.Proto.
func isExtendedConnect(r *http.Request) bool {
	if r.Method != http.MethodConnect {
		return false
	}
	switch r.ProtoMajor {
	case 2:
		p := r.Header[":protocol"]
		return len(p) == 1 && strings.EqualFold(p[0], "websocket")
	case 3:
		return strings.EqualFold(r.Proto, "websocket")
	}
	return false
}

// admits applies all rules of the handshake that come before the application's
// decision, and has written the refusal if one of them is broken. It is Accept up
// to the point at which it would decide.
func admits(w http.ResponseWriter, r *http.Request) bool {
	undecided := new(websocket.HandshakeError)
	ask := &tunnel.Accepting{
		Agree:     func() (tunnel.Answer, *websocket.HandshakeError) { return tunnel.Answer{}, undecided },
		Undecided: undecided,
	}
	_, err := Accept(w, r.WithContext(tunnel.WithAccepting(r.Context(), ask)), nil)
	return err == error(undecided)
}

// serveBridged has h serve an extended CONNECT as an upgrade. It returns when h
// has, and when the connection that h hijacked has been closed: until then the
// stream belongs to h.
func serveBridged(h http.Handler, w http.ResponseWriter, r *http.Request) {
	b := &bridge{w: w, r: r, key: handshake.FreshKey(), header: w.Header().Clone()}
	if b.header == nil {
		b.header = make(http.Header)
	}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), bridgeKey{}, b))
	returned := false
	defer func() {
		cancel()
		if !returned {
			b.abandon()
		}
	}()
	sockets.Nested(h).ServeHTTP(b, b.upgrade(ctx))
	returned = true
	cancel()
	b.finish()
}

type bridgeKey struct{}

// bridgeOf returns the bridge that r came over, nil if it came by itself.
func bridgeOf(r *http.Request) *bridge {
	b, _ := r.Context().Value(bridgeKey{}).(*bridge)
	return b
}

// upgrade returns the request as it would have come by HTTP/1.1 (RFC 6455 §4.1).
func (b *bridge) upgrade(ctx context.Context) *http.Request {
	r := asUpgrade(b.r, ctx)
	delete(r.Header, ":protocol")
	r.Header["Connection"] = []string{"Upgrade"}
	r.Header["Upgrade"] = []string{"websocket"}
	r.Header["Sec-Websocket-Key"] = []string{b.key}
	joinCookies(r.Header)
	return r
}

// own undoes upgrade: it returns the client's own request as h has made it what r is,
// with another path, host or fields.
func (b *bridge) own(r *http.Request) *http.Request {
	own, in := *r, b.r
	own.Method, own.RequestURI, own.TLS = in.Method, in.RequestURI, in.TLS
	own.Proto, own.ProtoMajor, own.ProtoMinor = in.Proto, in.ProtoMajor, in.ProtoMinor
	own.Body, own.ContentLength, own.TransferEncoding, own.Trailer = in.Body, in.ContentLength, in.TransferEncoding, in.Trailer
	u := *in.URL
	u.Path, u.RawPath, u.RawQuery, u.ForceQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.ForceQuery
	own.URL = &u
	own.Header = r.Header.Clone()
	for _, name := range [...]string{"Connection", "Upgrade", "Sec-Websocket-Key", ":protocol"} {
		delete(own.Header, name)
		if values, ok := in.Header[name]; ok {
			own.Header[name] = values
		}
	}
	return &own
}

// asUpgrade returns a copy of r that is a GET by HTTP/1.1 as a server knows it,
// whatever r came by. Its header is r's.
func asUpgrade(r *http.Request, ctx context.Context) *http.Request {
	up := r.Clone(ctx)
	up.Method = http.MethodGet
	up.Proto, up.ProtoMajor, up.ProtoMinor = "HTTP/1.1", 1, 1
	up.RequestURI = r.URL.RequestURI()
	up.URL = &url.URL{
		Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery,
	}
	up.Body, up.ContentLength, up.TransferEncoding, up.Trailer = http.NoBody, 0, nil, nil
	return up
}
