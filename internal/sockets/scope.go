package sockets

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/lifetime"
	"github.com/wsmux/websocket/internal/observe"
	"github.com/wsmux/websocket/internal/tunnel"
)

// A Scope is the life of one handler call that may accept a socket, and of that
// socket. It is kept in the request's context.
type Scope struct {
	sets *[]*Set // of the servers that keep track, set before the handler runs

	mu       sync.Mutex
	ctx      *lifetime.Context // the request's; nil once the handler has returned
	conn     tunnel.Socket     // the socket the handler accepted, if any
	stream   websocket.Stream  // under conn
	outlives bool              // the socket has a websocket.Handler
	life     life
	admitted uint16 // which of the sets have, as bits in their order

	place int32 // in the list of the first set, whose lock guards it
}

// A life is how far a scope's socket has come.
type life uint8

const (
	lifeUntied life = iota // there is none, or Accepted has still something to do
	lifeEarly              // it has ended before Accepted was done
	lifeTied               // Accepted has done its part
	lifeEnded              // it has ended
)

func scopeOf(r *http.Request) *Scope {
	s, _ := r.Context().Value(lifetime.Key{}).(*Scope)
	return s
}

// errSocketEnded is the cause with which a request's context ends when its socket
// has ended and its handler still runs.
var errSocketEnded = errors.New("the socket has ended")

// Handler returns h with a scope around each request that may become a socket:
// a socket accepted inside the call is added to set (which may be nil) and ends
// with the call, with status 1000 if the handler returns and 1011 if it panics
// (the close matrix's C12 and C13). The call lasts until the closing handshake
// is over, which is never longer than the socket's CloseTimeout. A socket that
// was given a websocket.Handler outlives a handler that returns. The request's
// context ends with the socket.
//
// Within another Handler it adds its own set to that one's scope.
//
// Once set says goodbye, requests for sockets do not reach h where their streams can
// be given back: see StreamRejecter.
func Handler(h http.Handler, set *Set) http.Handler {
	sets := []*Set{set}
	if set == nil {
		sets = nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !mayBecomeSocket(r) {
			h.ServeHTTP(w, r)
			return
		}
		if s := scopeOf(r); s != nil {
			s.join(set)
			if !set.turnsAway(h, w, r) {
				h.ServeHTTP(w, r)
			}
			return
		}
		serve(h, &sets, w, r)
	})
}

// Nested returns h with a scope of its own inside the scope that a request has: a
// socket ends with the call of h although the call around it goes on.
func Nested(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sets := new([]*Set)
		if outer := scopeOf(r); outer != nil {
			sets = outer.sets
		}
		serve(h, sets, w, r)
	})
}

// serve calls h with a scope.
func serve(h http.Handler, sets *[]*Set, w http.ResponseWriter, r *http.Request) {
	f := lifetime.NewFamily(r.Context())
	defer f.Release()
	s, ctx := NewScope(f, sets)
	s.Serve(h, w, r.WithContext(ctx))
}

// NewScope returns a scope and the context for its request, which is one of f. It is
// for servers that make their requests themselves: all that Handler says goes for the
// scope's Serve, which is to be called once. sets is not changed, but kept.
func NewScope(f *lifetime.Family, sets *[]*Set) (*Scope, *lifetime.Context) {
	s := &Scope{sets: sets}
	s.ctx = f.New(s)
	return s, s.ctx
}

// Serve calls h.
//
// What it puts on the stack stays there as long as a handler reads from its socket.
func (s *Scope) Serve(h http.Handler, w http.ResponseWriter, r *http.Request) {
	s.enter()
	returned := false
	defer func() {
		if returned {
			s.end(websocket.StatusNormalClosure, false)
			return
		}
		s.end(websocket.StatusInternalError, true)
	}()
	if !s.turnsAway(h, w, r) {
		h.ServeHTTP(w, r)
	}
	returned = true
}

// turnsAway is that of the scope's sets. What it needs is not to be in Serve's frame: a
// loop that waits on 4 KiB of stack would have 8 for it.
//
//go:noinline
func (s *Scope) turnsAway(h http.Handler, w http.ResponseWriter, r *http.Request) bool {
	for _, set := range *s.sets {
		if set.turnsAway(h, w, r) {
			return true
		}
	}
	return false
}

// enter makes the scope known to its sets. As to its frame see turnsAway.
//
//go:noinline
func (s *Scope) enter() {
	for i, set := range *s.sets {
		set.add(s, i)
	}
}

func mayBecomeSocket(r *http.Request) bool {
	return r.Method == http.MethodConnect || r.Header["Upgrade"] != nil
}

// join makes the scope known to set. No handler that could accept runs yet.
func (s *Scope) join(set *Set) {
	if set == nil {
		return
	}
	sets := append(slices.Clip(*s.sets), set)
	s.sets = &sets
	set.add(s, len(sets)-1)
}

// end is called when the handler has returned.
func (s *Scope) end(code websocket.StatusCode, panicked bool) {
	s.mu.Lock()
	c, outlives := s.conn, s.outlives && !panicked
	s.mu.Unlock()
	if c != nil && !outlives {
		err := c.Close(context.Background(), code, "")
		if _, ok := c.(*websocket.Conn); !ok {
			s.socketEnded(err)
		}
	}
	s.cancelContext(context.Canceled)
	s.mu.Lock()
	s.ctx = nil
	over := s.conn == nil || s.life == lifeEnded
	s.mu.Unlock()
	if over {
		s.leave()
	}
}

// socketEnded is called once, when the socket has ended: err says how its closing
// handshake went.
func (s *Scope) socketEnded(err error) {
	s.mu.Lock()
	s.life = lifeEnded
	over := s.ctx == nil
	s.mu.Unlock()
	for _, set := range *s.sets {
		set.ended(s.stream.Bootstrap(), err)
	}
	s.cancelContext(errSocketEnded)
	if over {
		s.leave()
	}
}

// connEnded is called by the socket's Conn, once, when that has ended and released
// its stream.
func (s *Scope) connEnded() {
	s.mu.Lock()
	c := s.conn
	if s.life == lifeUntied {
		s.life = lifeEarly
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	// The result is there: this Close begins nothing and does not wait.
	s.socketEnded(c.Close(context.Background(), websocket.StatusNormalClosure, ""))
}

// cancelContext ends the request's context, unless the handler's return has.
func (s *Scope) cancelContext(cause error) {
	s.mu.Lock()
	ctx := s.ctx
	s.mu.Unlock()
	if ctx != nil {
		ctx.End(cause)
	}
}

// leave is called once, when the handler has returned and the socket, if there
// was one, has ended.
func (s *Scope) leave() {
	for i, set := range *s.sets {
		set.remove(s, i)
	}
}

// goAway says goodbye to the socket, if there is one yet, and returns when that
// is written, or never will be.
func (s *Scope) goAway(ctx context.Context) {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	// The socket's end tells whether it went well.
	switch c := c.(type) {
	case nil:
	case *websocket.Conn:
		_ = c.CloseWrite(ctx, websocket.StatusGoingAway, "")
	default:
		_ = c.Close(ctx, websocket.StatusGoingAway, "")
	}
}

// cut ends the context, with cause, and aborts the socket, also one that is just
// being closed.
func (s *Scope) cut(cause error) {
	s.mu.Lock()
	c, stream := s.conn, s.stream
	s.mu.Unlock()
	s.cancelContext(cause)
	if c != nil {
		stream.Abort()
		c.CloseNow()
	}
}

// Admit is asked before a socket is accepted: it refuses, with 503, when the
// server has begun to say goodbye to its sockets. What it has admitted is waited
// for.
func Admit(r *http.Request) *websocket.HandshakeError {
	s := scopeOf(r)
	if s == nil {
		return nil
	}
	for i, set := range *s.sets {
		if !set.admit(s, i) {
			for k, before := range (*s.sets)[:i] {
				before.dismiss(s, k)
			}
			return &websocket.HandshakeError{
				Status: http.StatusServiceUnavailable,
				Reason: goingAway,
				Header: http.Header{"Retry-After": {retryAfter}},
				Err:    http.ErrServerClosed,
			}
		}
	}
	return nil
}

// retryAfter is how many seconds a client is asked to wait for the server that
// takes the place of one that is shutting down (RFC 9110 §10.2.3).
const retryAfter = "5"

// tie makes c the scope's socket.
func (s *Scope) tie(c tunnel.Socket, stream websocket.Stream) {
	s.mu.Lock()
	s.conn, s.stream = c, stream
	s.mu.Unlock()
	for _, set := range *s.sets {
		set.opened(s)
	}
}

// Accepted tells the scope of r, which Admit has let in, that its handler accepted
// a socket: params is what the socket is to be made with, and Accepted makes it.
// Without a scope, under a server that is not ours, the socket ends when r's
// context does, unless it is handled: with status 1000 if it can be told so, or as
// its stream has ended.
//
// Where somebody wants the stream without a Conn the result is nil, and what they
// have made of the stream takes the Conn's place. It ends with the handler.
func Accepted(r *http.Request, stream websocket.Stream, params websocket.Params) *websocket.Conn {
	s := scopeOf(r)
	if t := tunnel.AcceptingOf(r.Context()); t != nil {
		switch c := t.Take(stream, params.Buffered); {
		case c == nil:
		case s == nil:
			endWith(r, c)
		default:
			s.tie(c, stream)
		}
		return nil
	}
	if s == nil {
		var stop func() bool
		params.OnHandle = also(params.OnHandle, func() { stop() })
		c := observe.New(r.Context(), stream, params)
		if e, ok := stream.(ending); ok {
			stop = endAfter(r, c, e)
		} else {
			stop = endWith(r, c)
		}
		return c
	}
	params.OnHandle = also(params.OnHandle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.outlives = true
	})
	params.OnEnd = s.connEnded
	c := observe.New(r.Context(), stream, params)
	s.tie(c, stream)
	s.mu.Lock()
	early := s.life == lifeEarly
	s.life = lifeTied
	s.mu.Unlock()
	if early {
		s.connEnded()
	}
	return c
}

// endWith ends c when r's context does.
func endWith(r *http.Request, c tunnel.Socket) (stop func() bool) {
	return context.AfterFunc(r.Context(), func() {
		c.Close(context.Background(), websocket.StatusNormalClosure, "")
	})
}

// An ending is a stream that ends with the request's context: it takes no Close
// frame any more then.
type ending interface {
	// Ended waits until it is known how the stream has ended, and reports whether
	// that was the peer.
	Ended() (byPeer bool)
}

// endAfter ends c when r's context does. What the peer has ended is read to its end,
// which tells c how that was; nothing is waited for then.
func endAfter(r *http.Request, c *websocket.Conn, e ending) (stop func() bool) {
	return context.AfterFunc(r.Context(), func() {
		if !e.Ended() {
			c.Close(context.Background(), websocket.StatusNormalClosure, "")
			return
		}
		for err := error(nil); err == nil; {
			_, _, err = c.Read(context.Background())
		}
	})
}

// also returns a Params.OnHandle that calls before, if there is one, and if that
// does not object then.
func also(before func() error, then func()) func() error {
	return func() error {
		if before != nil {
			if err := before(); err != nil {
				return err
			}
		}
		then()
		return nil
	}
}
