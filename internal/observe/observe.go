// Package observe is how sockets and handshakes are reported to a
// negotiate.Observer, whichever bootstrap they use: by hooks in the context of the
// opening handshake, which is the one thing that passes through every bootstrap's
// Accept and Dial. Without hooks nothing is done but to look for them, once for
// each handshake.
package observe

import (
	"context"
	"errors"
	"time"

	"github.com/wsmux/websocket"
)

// Hooks are called for what happens. All are set.
type Hooks struct {
	Opened  func(ctx context.Context, s Socket)
	Closed  func(ctx context.Context, s Socket, e End)
	Refused func(ctx context.Context, b websocket.Bootstrap, e *websocket.HandshakeError)
	Limit   func(b websocket.Bootstrap, client bool, name string)
}

// A Socket is one that was opened.
type Socket struct {
	Conn   *websocket.Conn
	Client bool
}

// An End is how a socket ended.
type End struct {
	Err    *websocket.CloseError
	Clean  bool // the closing handshake was completed
	Lasted time.Duration
}

// A side says for which end of a socket hooks are, so that a handler that dials
// with its request's context is not taken for its server.
type side bool

const (
	serving side = false
	dialing side = true
)

// Accepting returns a context for the requests of a server whose hooks are h.
func Accepting(ctx context.Context, h *Hooks) context.Context {
	return context.WithValue(ctx, serving, h)
}

// Dialing returns a context for dialling by a client whose hooks are h.
func Dialing(ctx context.Context, h *Hooks) context.Context {
	return context.WithValue(ctx, dialing, h)
}

// Refused reports a handshake that the server refuses, or cannot complete.
func Refused(ctx context.Context, protoMajor int, e *websocket.HandshakeError) {
	if h, _ := ctx.Value(serving).(*Hooks); h != nil {
		h.Refused(ctx, websocket.Bootstrap(protoMajor), e)
	}
}

// New is websocket.New for a Conn whose opening handshake had the context ctx.
func New(ctx context.Context, s websocket.Stream, p websocket.Params) *websocket.Conn {
	h, _ := ctx.Value(side(p.Client)).(*Hooks)
	if h == nil {
		return websocket.New(s, p)
	}
	var socket Socket
	var start time.Time
	made := make(chan struct{})
	before := p.OnEnd
	p.OnEnd = func() {
		<-made
		h.ended(ctx, socket, time.Since(start))
		if before != nil {
			before()
		}
	}
	start = time.Now()
	socket = Socket{websocket.New(s, p), p.Client}
	h.Opened(ctx, socket)
	close(made)
	return socket.Conn
}

// ended reports the end of a socket.
func (h *Hooks) ended(ctx context.Context, s Socket, lasted time.Duration) {
	e := End{Lasted: lasted}
	// Both find the result, begin nothing and do not wait.
	errors.As(s.Conn.Write(context.Background(), websocket.MessageText, nil), &e.Err)
	e.Clean = s.Conn.Close(context.Background(), websocket.StatusNormalClosure, "") == nil
	if name := limitOf(e.Err); name != "" {
		h.Limit(s.Conn.Bootstrap(), s.Client, name)
	}
	h.Closed(ctx, s, e)
}

// limitOf returns the field of websocket.Limits that a socket ended by, "" if it
// did not.
func limitOf(err *websocket.CloseError) string {
	var limit interface{ Limit() string }
	switch {
	case err == nil:
	case errors.Is(err, websocket.ErrMessageTooBig):
		return "Message"
	case errors.Is(err, websocket.ErrTooManyFragments):
		return "Fragments"
	case errors.As(err, &limit):
		return limit.Limit()
	}
	return ""
}
