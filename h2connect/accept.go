package h2connect

import (
	"net/http"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/sockets"
)

// Accept accepts the socket that r, an extended CONNECT request on HTTP/2, asks
// for (RFC 8441 §5). o may be nil. Where the request cannot be accepted, Accept
// writes the refusal itself and returns a *websocket.HandshakeError, which says why:
// 403 for the origin, 405 for another method, 501 for another :protocol, 400 for a
// bad handshake, 500 for options that cannot be used. For a request that came by
// HTTP/1.1 or HTTP/3, or with a ResponseWriter that can be flushed neither itself nor
// through Unwrap, the status is 501 and the error wraps websocket.ErrNotSupported.
// Malformed requests are reset by the server and reach no handler.
//
// The handler goes on with the socket and returns when it is done: that ends the
// socket with status 1000, a panic with 1011; or it hands the socket to a
// websocket.Handler and returns at once. w may be wrapped, if its Unwrap
// method says by what, as http.ResponseController demands.
//
// Under an HTTP/2 server that is not this package's, net/http's or
// golang.org/x/net's with GODEBUG=http2xconnect=1, Accept works too. The socket
// then ends abruptly when its handler returns without closing it, and cannot be
// handed to a websocket.Handler. It is read from the request's Body: where middleware
// has put nil or http.NoBody there, the status is 501 too.
func Accept(w http.ResponseWriter, r *http.Request, o *websocket.AcceptOptions) (*websocket.Conn, error) {
	if o == nil {
		o = &websocket.AcceptOptions{}
	}
	if r.ProtoMajor != 2 {
		refusal := &websocket.HandshakeError{
			Status: http.StatusNotImplemented, Reason: "not a request on HTTP/2", Err: websocket.ErrNotSupported,
		}
		handshake.Refuse(w, r, refusal)
		return nil, refusal
	}
	rw := responseWriterOf(w)
	if refusal := checkRequest(r, rw != nil); refusal != nil {
		handshake.Refuse(w, r, refusal)
		return nil, refusal
	}
	if rw == nil && !flushes(w) {
		refusal := &websocket.HandshakeError{
			Status: http.StatusNotImplemented, Reason: "the ResponseWriter cannot be flushed", Err: websocket.ErrNotSupported,
		}
		handshake.Refuse(w, r, refusal)
		return nil, refusal
	}
	if rw == nil && (r.Body == nil || r.Body == http.NoBody) {
		refusal := &websocket.HandshakeError{
			Status: http.StatusNotImplemented, Reason: "the request's Body has been replaced", Err: websocket.ErrNotSupported,
		}
		handshake.Refuse(w, r, refusal)
		return nil, refusal
	}
	agreement, refusal := handshake.Negotiate(r, r.TLS != nil, o)
	if refusal != nil {
		handshake.Refuse(w, r, refusal)
		return nil, refusal
	}
	if refusal := sockets.Admit(r); refusal != nil {
		handshake.Refuse(w, r, refusal)
		return nil, refusal
	}
	handshake.AcceptHeader(w.Header(), r, agreement, o)
	if rw == nil {
		return acceptOther(w, r, &agreement, o)
	}
	return rw.acceptSocket(r, &agreement, o)
}

// acceptSocket answers r and makes the socket. Writing the answer goes deep, and a
// handler's stack that has grown for it stays large: so nothing large is in a frame
// meanwhile.
func (w *responseWriter) acceptSocket(r *http.Request, a *handshake.Agreement, o *websocket.AcceptOptions) (*websocket.Conn, error) {
	st, err := w.accept()
	if err != nil {
		return nil, &websocket.HandshakeError{Reason: "the stream cannot become a socket", Err: err}
	}
	return st.newConn(r, a, o), nil
}

// acceptOther is acceptSocket under another package's server.
func acceptOther(w http.ResponseWriter, r *http.Request, a *handshake.Agreement, o *websocket.AcceptOptions) (*websocket.Conn, error) {
	return acceptForeign(w, r, a.Params(false, o.Compression, o.Limits))
}

// newConn makes the Conn of a stream that has become a socket.
func (st *stream) newConn(r *http.Request, a *handshake.Agreement, o *websocket.AcceptOptions) *websocket.Conn {
	params := a.Params(false, o.Compression, o.Limits)
	params.OnHandle = st.outlive
	return sockets.Accepted(r, st, params)
}

// AcceptByHand says that the handler speaks WebSocket by itself, on the request's
// Body and on w, and that a 2xx which it then writes to an extended CONNECT opens a
// socket. It is for handlers with a codec of their own that were written for
// net/http's or golang.org/x/net's HTTP/2, and is called before WriteHeader. It does
// nothing but that: the rules of the handshake, the origin among them, and the
// socket's end are the handler's.
//
// Without it, and without [Accept], this package's server answers 501 (Not
// Implemented) where a handler would answer 2xx: see the package's comment.
func AcceptByHand(w http.ResponseWriter) { handshake.MarkAccepted(w.Header()) }

// responseWriterOf finds the engine's writer under middleware's, nil if there is
// none.
func responseWriterOf(w http.ResponseWriter) *responseWriter {
	for {
		switch x := w.(type) {
		case *responseWriter:
			return x
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return nil
		}
	}
}

// checkRequest checks what the handler was given by the rules for extended
// CONNECT. Our engine has applied them to the header block, but for those that
// concern the protocol asked for; another server may have applied none.
func checkRequest(r *http.Request, checked bool) *websocket.HandshakeError {
	if values := r.Header[":protocol"]; checked && r.Method == http.MethodConnect &&
		len(values) == 1 && strings.EqualFold(values[0], "websocket") {
		return nil
	}
	c := &handshake.Connect{
		Method: r.Method, Scheme: "http", Authority: r.Host, Path: r.URL.RequestURI(),
		Header: r.Header.Clone(), TLS: r.TLS != nil,
	}
	if c.TLS {
		c.Scheme = "https" // :scheme is not in an http.Request
	}
	if values, ok := r.Header[":protocol"]; ok && len(values) == 1 {
		c.HasProtocol, c.Protocol = true, values[0]
	} else {
		c.Scheme, c.Path = "", "" // a plain CONNECT has neither
	}
	delete(c.Header, ":protocol")
	if r.Method != http.MethodConnect {
		c.HasProtocol, c.Protocol = false, ""
	}
	c.EndStream = !checked && r.ContentLength == 0
	switch err := handshake.CheckConnect(c).(type) {
	case nil:
		return nil
	case *websocket.HandshakeError:
		return err
	default:
		return &websocket.HandshakeError{Status: http.StatusBadRequest, Reason: err.Error()}
	}
}
