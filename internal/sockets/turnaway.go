package sockets

import (
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/observe"
)

// A StreamRejecter is the http.ResponseWriter of a bootstrap with streams.
type StreamRejecter interface {
	// RejectStream gives the stream of a request for a socket back as one that
	// nobody has looked at, which the client may at once ask for again on another
	// connection: RST_STREAM with REFUSED_STREAM (RFC 9113 §8.7), or
	// H3_REQUEST_REJECTED (RFC 9114 §4.1.1). It is called before the handler would
	// be, and reports whether it did: a request for anything else it leaves alone.
	RejectStream() bool
}

// rejecterOf finds it behind wrappers, nil if there is none.
func rejecterOf(w http.ResponseWriter) StreamRejecter {
	for {
		switch x := w.(type) {
		case StreamRejecter:
			return x
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return nil
		}
	}
}

// turnsAway reports whether set is saying goodbye to its sockets and has therefore
// given back a request that would become one, before h could see it. A client that
// comes back on the connection on which it was just told to go is not made to wait,
// as it would be by the 503 of Admit, which is for requests that h has seen already,
// and for HTTP/1.1.
func (s *Set) turnsAway(h http.Handler, w http.ResponseWriter, r *http.Request) bool {
	if s == nil || !s.saysGoodbye() {
		return false
	}
	if rejecter := rejecterOf(w); rejecter == nil || !rejecter.RejectStream() {
		return false
	}
	ctx := r.Context()
	if o, ok := h.(interface{ Observed() *observe.Hooks }); ok && o.Observed() != nil {
		ctx = observe.Accepting(ctx, o.Observed()) // h has not come to do it
	}
	observe.Refused(ctx, r.ProtoMajor, &websocket.HandshakeError{Reason: goingAway, Err: http.ErrServerClosed})
	return true
}

func (s *Set) saysGoodbye() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.cut
}

// goingAway is why a server refuses sockets when it says goodbye.
const goingAway = "the server is shutting down"
