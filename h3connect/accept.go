package h3connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/observe"
	"github.com/wsmux/websocket/internal/sockets"
)

// Accept accepts a socket on a request stream of HTTP/3 (RFC 9220). It is called
// from a handler under any http3.Server, best under a [Server] or after
// [ConfigureServer], and writes the answer itself: 200 if it returns a Conn, and
// otherwise the refusal, which the error, a *websocket.HandshakeError, explains:
// 403 for the Origin, 501 for another :protocol, 405 for another method, 400 for
// a bad handshake, 425 for one that came as early data, 431 for too many fields.
// A malformed request is answered with the stream error H3_MESSAGE_ERROR (RFC
// 9114 §4.1.2) instead of a status.
//
// The request's Body must not have been read, but may have been replaced. Wrapped
// ResponseWriters work if they have an Unwrap method as http.ResponseController
// knows it. o may be nil.
//
// Under a Server or after ConfigureServer the socket lives no longer than the
// handler that accepted it, unless it is handed to a websocket.Handler. Under an
// http3.Server as it is, which takes no interest in a stream that was taken over, it
// lives until it is closed.
func Accept(w http.ResponseWriter, r *http.Request, o *websocket.AcceptOptions) (*websocket.Conn, error) {
	if o == nil {
		o = new(websocket.AcceptOptions)
	}
	streamer, ok := streamerOf(w)
	if r.ProtoMajor != 3 || !ok {
		return nil, refuse(w, r, &websocket.HandshakeError{
			Status: http.StatusNotImplemented,
			Reason: "not a request stream of HTTP/3",
			Err:    websocket.ErrNotSupported,
		})
	}
	if handshake.MarkedAccepted(w.Header()) {
		// http3 panics where a response is written to a stream that was taken.
		return nil, &websocket.HandshakeError{Reason: "the stream cannot become a socket: the request has been accepted already"}
	}
	// A CONNECT in early data could be a replay (RFC 9114 §10.9, RFC 8470
	// §5.2).
	if r.TLS == nil || !r.TLS.HandshakeComplete {
		return nil, refuse(w, r, &websocket.HandshakeError{
			Status: http.StatusTooEarly,
			Reason: "opening handshake in early data",
		})
	}
	if err := handshake.CheckConnect(connectOf(w, r)); err != nil {
		return nil, reject(w, r, err)
	}
	agreement, he := handshake.Negotiate(r, true, o)
	if he != nil {
		return nil, refuse(w, r, he)
	}
	if he := sockets.Admit(r); he != nil {
		return nil, refuse(w, r, he)
	}
	handshake.AcceptHeader(w.Header(), r, agreement, o)
	s, err := takeOver(w, r, streamer)
	if err != nil {
		return nil, &websocket.HandshakeError{Reason: "the stream cannot become a socket", Err: err}
	}
	// Without a scope of ours the socket would end with the request's context,
	// which on http3 ends with our sending direction: with the first Close
	// frame, or when a peer that has something to say stops listening.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	params := agreement.Params(false, o.Compression, o.Limits)
	if sc := scopeOf(r.Context()); sc != nil {
		params.OnHandle = sc.handled
	}
	return sockets.Accepted(r, s, params), nil
}

// AcceptByHand says that the handler speaks WebSocket by itself, on the request's
// Body and on w or on its [http3.HTTPStreamer], and that a 2xx which it then writes
// to an extended CONNECT opens a socket. It is for handlers with a codec of their
// own that were written for http3, and is called before WriteHeader. It does nothing
// but that: the rules of the handshake, the origin among them, and the socket's end
// are the handler's.
//
// Without it, and without [Accept], a [Server] answers 501 (Not Implemented) where a
// handler would answer 2xx: any 2xx opens the tunnel, and a handler that knows
// nothing of sockets would have its page read as frames. Other statuses, and what
// is answered to a CONNECT for other protocols, pass.
func AcceptByHand(w http.ResponseWriter) { handshake.MarkAccepted(w.Header()) }

func refuse(w http.ResponseWriter, r *http.Request, e *websocket.HandshakeError) error {
	handshake.Refuse(w, r, e)
	return e
}

// reject answers a request that CheckConnect found wanting.
func reject(w http.ResponseWriter, r *http.Request, err error) error {
	if he, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		return refuse(w, r, he)
	}
	handshake.MarkAccepted(w.Header()) // or what guards the response would answer
	resetStream(w, http3.ErrCodeMessageError)
	he := &websocket.HandshakeError{Reason: err.Error(), Err: err}
	observe.Refused(r.Context(), r.ProtoMajor, he)
	return he
}

// resetStream resets a request's stream in both directions, without a response.
func resetStream(w http.ResponseWriter, code http3.ErrCode) {
	// http3 must not send a response on its way out. A write deadline in the
	// past keeps the versions from it that would.
	_ = http.NewResponseController(w).SetWriteDeadline(longAgo)
	s, ok := streamerOf(w)
	if !ok {
		return
	}
	if hs, err := s.take(); err == nil {
		hs.CancelRead(quic.StreamErrorCode(code))
		hs.CancelWrite(quic.StreamErrorCode(code))
	}
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// connectOf returns the request as it stood on the wire, as far as http3 lets on.
func connectOf(w http.ResponseWriter, r *http.Request) *handshake.Connect {
	c := &handshake.Connect{
		Method:    r.Method,
		Scheme:    r.URL.Scheme,
		Authority: r.Host,
		Path:      r.RequestURI,
		Header:    r.Header,
		TLS:       true,
	}
	if r.Method != http.MethodConnect || r.Proto == "HTTP/3.0" {
		// Not an extended CONNECT: http3 has checked the pseudo-header fields,
		// and nothing hangs on the two that it does not pass on.
		c.Scheme, c.Path = "", ""
		return c
	}
	c.Protocol = r.Proto
	if c.Scheme == "" {
		c.Scheme = "https" // newer versions keep it to themselves
	}
	if !strings.HasPrefix(c.Path, "/") {
		c.Path = r.URL.RequestURI() // older versions have :authority there
	}
	if r.Trailer != nil {
		c.Header = maps.Clone(r.Header)
		c.Header["Trailer"] = []string{""} // http3 has moved it
	}
	c.EndStream = ended(w, r)
	return c
}

// ended says whether the client's FIN came with the end of its header section.
// With the read deadline in the past a read takes no byte: it can only find out
// that there is none. A FIN in a packet of its own may be found too late; the
// socket then opens and ends.
func ended(w http.ResponseWriter, r *http.Request) bool {
	content := contentOf(r)
	rc := http.NewResponseController(w)
	if content == nil || rc.SetReadDeadline(longAgo) != nil {
		return false
	}
	_, err := content.Read(make([]byte, 1))
	_ = rc.SetReadDeadline(time.Time{})
	return err == io.EOF
}

// contentOf returns what http3 gave r for a Body, whatever middleware has put in its
// place; nil if that cannot be found.
func contentOf(r *http.Request) io.Reader {
	if sc := scopeOf(r.Context()); sc != nil {
		return sc.content
	}
	if _, ok := r.Body.(interface{ StreamID() quic.StreamID }); ok { // http3's type
		return r.Body
	}
	return nil
}

// takeOver sends the 200 and takes the stream from http3.
func takeOver(w http.ResponseWriter, r *http.Request, s streamer) (taken *stream, err error) {
	sc := scopeOf(r.Context())
	if sc != nil {
		// Before the client can know: it may end its part at once.
		sc.accepted()
		defer func() {
			if err != nil {
				sc.cancel()
			}
		}()
	}
	handshake.MarkAccepted(w.Header())
	// Exactly 200: browsers take nothing else.
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return nil, fmt.Errorf("h3connect: sending the acceptance: %w", mapError(err))
	}
	hs, err := s.take()
	if err != nil {
		return nil, fmt.Errorf("h3connect: taking the stream: %w", mapError(err))
	}
	qs := hs.QUICStream()
	// Where the peer supports it, a reset cannot overtake the 200.
	qs.SetReliableBoundary()
	_ = qs.SetDeadline(time.Time{})
	// Http3 keeps an account of its streams, and closes it when they are cancelled
	// through its own type.
	l := link{tls: r.TLS, cancelRead: hs.CancelRead}
	l.local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	l.remote, _ = r.Context().Value(http3.RemoteAddrContextKey).(net.Addr)
	if sc != nil {
		l.fail, l.released = sc.conn.fail, sc.released
	}
	return &stream{qs: qs, link: l}, nil
}

// A streamer is http3's ResponseWriter as an [http3.HTTPStreamer], whose method
// has changed its signature.
type streamer struct{ v any }

// streamerOf finds it behind wrappers.
func streamerOf(w http.ResponseWriter) (streamer, bool) {
	for w != nil {
		switch w.(type) {
		case interface{ HTTPStream() (*http3.Stream, error) }, interface{ HTTPStream() *http3.Stream }:
			return streamer{w}, true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	return streamer{}, false
}

func (s streamer) take() (*http3.Stream, error) {
	if v, ok := s.v.(interface{ HTTPStream() *http3.Stream }); ok {
		return v.HTTPStream(), nil
	}
	return s.v.(interface{ HTTPStream() (*http3.Stream, error) }).HTTPStream()
}
