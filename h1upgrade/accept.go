package h1upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/sockets"
)

// answerTimeout bounds the writing of the 101, which nothing else does once the
// server's deadlines are gone. It is a few hundred bytes on a connection that has
// just delivered a request.
const answerTimeout = 10 * time.Second

// Accept accepts the socket that r asks for, by the rules of RFC 6455 §4.2; o
// may be nil. If the request is not a handshake that o allows, Accept has
// answered it when it returns, and the connection closes behind the answer: the
// handler writes nothing. The error is a *[websocket.HandshakeError] with the
// status that was sent: 403 for the origin, 426 for a request that is no upgrade
// to version 13 of WebSocket, 405, 431 or 505 for what their names say, 400 for
// any other mistake of the client, and 500 for options that cannot be used or a
// ResponseWriter that can be hijacked neither itself nor through Unwrap.
//
// For a request that came by HTTP/2 or HTTP/3 the status is 501 and the error
// wraps [websocket.ErrNotSupported].
//
// Nothing may have been written to w: net/http does not say whether something was,
// so that Accept would return a Conn whose client has got that for an answer.
//
// Fields that w.Header() holds are sent with the acceptance, before those of
// o.Header, unless they speak of content or belong to the handshake.
//
// The Conn ends with the handler at the latest, unless it is handed to a
// websocket.Handler. It owns the connection, and neither w nor r.Body may be used
// any more. Under a plain http.Server a panic of the handler looks like a return,
// status 1000; negotiate.Drain teaches the server the difference, and to say
// goodbye to its sockets when it shuts down.
func Accept(w http.ResponseWriter, r *http.Request, o *websocket.AcceptOptions) (*websocket.Conn, error) {
	if o == nil {
		o = &websocket.AcceptOptions{}
	}
	agreed, e := check(r, o)
	if e != nil {
		handshake.Refuse(w, r, e)
		return nil, e
	}
	if e := sockets.Admit(r); e != nil {
		handshake.Refuse(w, r, e)
		return nil, e
	}
	conn, buffered, e := hijack(w)
	if e != nil {
		if e.Status != 0 {
			handshake.Refuse(w, r, e)
		}
		return nil, e
	}
	s := newStream(conn, r.TLS)
	h := handshake.Inherit(w.Header())
	handshake.AcceptHeader(h, r, agreed, o)
	if err := answer(conn, h); err != nil {
		s.Abort()
		return nil, &websocket.HandshakeError{Reason: "the answer could not be written", Err: err}
	}
	params := agreed.Params(false, o.Compression, o.Limits)
	params.Buffered = buffered
	return sockets.Accepted(r, s, params), nil
}

// check decides whether r opens a socket.
func check(r *http.Request, o *websocket.AcceptOptions) (handshake.Agreement, *websocket.HandshakeError) {
	if r.ProtoMajor > 1 {
		return handshake.Agreement{}, &websocket.HandshakeError{
			Status: http.StatusNotImplemented,
			Reason: fmt.Sprintf("the request came by HTTP/%d: use h%[1]dconnect.Accept or negotiate.Accept", r.ProtoMajor),
			Err:    websocket.ErrNotSupported,
		}
	}
	if e := handshake.CheckUpgrade(r); e != nil {
		return handshake.Agreement{}, e
	}
	return handshake.Negotiate(r, r.TLS != nil, o)
}

// hijack takes the connection from its HTTP server, with what the server has read
// of it behind the request. A refusal without status cannot be sent.
func hijack(w http.ResponseWriter) (conn net.Conn, buffered []byte, e *websocket.HandshakeError) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		return nil, nil, &websocket.HandshakeError{
			Status: http.StatusInternalServerError,
			Reason: fmt.Sprintf("%T has neither Hijack nor Unwrap", innermost(w)),
			Err:    err,
		}
	}
	if err != nil {
		e := &websocket.HandshakeError{Reason: "the connection cannot be taken over", Err: err}
		if !errors.Is(err, http.ErrHijacked) { // a wrapper says no in words of its own
			e.Status = http.StatusInternalServerError
		}
		return nil, nil, e
	}
	buffered, err = rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil { // impossible: it is there
		conn.Close()
		return nil, nil, &websocket.HandshakeError{Reason: "the connection cannot be taken over", Err: err}
	}
	// net/http keeps this pair for as long as the handler runs. It is ours, so
	// what it holds, 8 KiB in the most part, is left to the collector. Reset
	// makes a zero value usable again, should somebody keep it in a pool.
	*rw.Reader, *rw.Writer = bufio.Reader{}, bufio.Writer{}
	return conn, buffered, nil
}

// innermost returns the ResponseWriter inside all wrappers.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// answer writes the 101 in one piece, and leaves no deadline behind: neither its
// own nor the server's, which were for requests.
func answer(conn net.Conn, h http.Header) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	b := append([]byte(nil), "HTTP/1.1 101 Switching Protocols\r\n"...)
	if _, err := conn.Write(appendFields(b, h)); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}
