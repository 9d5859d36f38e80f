// Package tunnel is how package negotiate comes by the byte stream of a socket
// in place of a Conn: for handlers that have a codec of their own, and to join
// two streams without looking at what they carry.
//
// The seam is a value in the context of the opening handshake, which is the one
// thing that passes through every bootstrap's Accept and Dial. Whoever puts one
// there gets nil in place of a Conn, and the stream here. All else is as ever:
// the rules of the handshake, the pools of connections, the retries, the answer.
//
// internal/handshake and internal/sockets look for an [Accepting], and
// internal/handshake and the bootstraps' clients for a [Dialing].
package tunnel

import (
	"context"
	"errors"
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/observe"
)

// An Accepting takes the place of AcceptOptions in a call of Accept.
type Accepting struct {
	// Agree decides on a request that is fine as far as the bootstrap and the
	// version of the protocol are concerned: it stands for the origin check and
	// for what is negotiated. The error is the refusal.
	Agree func() (Answer, *websocket.HandshakeError)

	// Undecided, if not nil, is what Agree returns to end the call without a
	// decision: it is no refusal, and neither written nor reported.
	Undecided *websocket.HandshakeError

	// Refuse, if not nil, is asked to write a refusal. If it returns false, the
	// refusal is written as usual.
	Refuse func(w http.ResponseWriter, e *websocket.HandshakeError) bool

	// Take is given the stream when the acceptance has been sent, and what the
	// client had sent behind its request. What it returns, nil for nothing, is
	// tied to the handler's call and to the server's shutdown as a Conn is.
	Take func(s websocket.Stream, buffered []byte) Socket
}

// An Answer is what an acceptance says. The values are valid; Header has no
// field that belongs to the handshake or to the connection.
type Answer struct {
	Subprotocol string
	Extensions  string
	Header      http.Header
}

// A Socket is what a server keeps track of: a Conn, or what stands for one.
type Socket interface {
	Close(ctx context.Context, code websocket.StatusCode, reason string) error
	CloseNow() error
}

// A Dialing takes the place of some of DialOptions in a call of Dial, and is
// filled in by it.
type Dialing struct {
	// Subprotocols and Extensions are offered as they are: valid values of the
	// fields Sec-WebSocket-Protocol and Sec-WebSocket-Extensions.
	Subprotocols []string
	Extensions   []string

	// RefusalLimit is how many bytes of a refusal's content are read.
	RefusalLimit int64

	// Of a refusal: whether its content went on, or ended too early.
	Cut bool

	// Of an acceptance: the stream, what came behind the answer, and what is to
	// be called once when the stream has been released, nil for nothing.
	Answer   Answer
	Stream   websocket.Stream
	Buffered []byte
	OnEnd    func()
}

// A Tracker is told of a stream that a client has opened a socket on, and what it
// returns is called when the stream has been released.
type Tracker func(s websocket.Stream) (released func())

// ErrReset is what the errors of HTTP/2 and HTTP/3 are, by errors.Is, that say
// that one stream was reset: the connection that carries it lives on.
var ErrReset = errors.New("stream reset")

type (
	acceptingKey struct{}
	dialingKey   struct{}
	trackerKey   struct{}
)

// WithAccepting returns a context for a request that is to be accepted.
func WithAccepting(ctx context.Context, a *Accepting) context.Context {
	return context.WithValue(ctx, acceptingKey{}, a)
}

// AcceptingOf returns what WithAccepting was given, nil if there is none.
func AcceptingOf(ctx context.Context) *Accepting {
	a, _ := ctx.Value(acceptingKey{}).(*Accepting)
	return a
}

// WithDialing returns a context for dialling.
func WithDialing(ctx context.Context, d *Dialing) context.Context {
	return context.WithValue(ctx, dialingKey{}, d)
}

// DialingOf returns what WithDialing was given, nil if there is none.
func DialingOf(ctx context.Context) *Dialing {
	d, _ := ctx.Value(dialingKey{}).(*Dialing)
	return d
}

// WithTracker returns a context for dialling whose sockets t is told of.
func WithTracker(ctx context.Context, t Tracker) context.Context {
	return context.WithValue(ctx, trackerKey{}, t)
}

// NewConn is websocket.New for a client whose opening handshake was made with
// ctx: if that has a Dialing, the Dialing gets the stream, and the Conn is nil.
func NewConn(ctx context.Context, s websocket.Stream, p websocket.Params) *websocket.Conn {
	if track, _ := ctx.Value(trackerKey{}).(Tracker); track != nil {
		released, before := track(s), p.OnEnd
		p.OnEnd = func() {
			if before != nil {
				before()
			}
			released()
		}
	}
	d := DialingOf(ctx)
	if d == nil {
		return observe.New(ctx, s, p)
	}
	d.Stream, d.OnEnd = s, p.OnEnd
	d.Buffered = append([]byte(nil), p.Buffered...)
	return nil
}
