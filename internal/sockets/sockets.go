// Package sockets ties server sockets to the HTTP handler that accepted them
// and to the server whose shutdown must say goodbye to them.
package sockets

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tunnel"
)

// A Set holds the open sockets of one server.
type Set struct {
	mu      sync.Mutex
	conns   map[tunnel.Socket]struct{}
	closing bool          // GoAway was called
	cut     bool          // CloseNow was called
	empty   chan struct{} // closed when conns becomes empty after closing began
}

// scope is the life of one handler call, kept in its request's context.
type scope struct {
	set  *Set // nil: no server keeps track
	mu   sync.Mutex
	conn tunnel.Socket // the socket the handler accepted

	outlives bool // it has a websocket.Handler
}

type scopeKey struct{}

// Handler returns h with a scope around each request that may become a socket:
// a socket accepted inside the call is added to set (which may be nil) and ends
// with the call, with status 1000 if the handler returns and 1011 if it panics
// (the close matrix's C12 and C13). The call lasts until the closing handshake
// is over, which is never longer than the socket's CloseTimeout. A socket that
// was given a websocket.Handler outlives a handler that returns.
func Handler(h http.Handler, set *Set) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !mayBecomeSocket(r) || r.Context().Value(scopeKey{}) != nil {
			h.ServeHTTP(w, r) // nothing to care for, or cared for by a Handler around this one
			return
		}
		serve(h, set, w, r)
	})
}

// Nested returns h with a scope of its own inside the scope that a request has: a
// socket ends with the call of h although the call around it goes on.
func Nested(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var set *Set
		if outer, _ := r.Context().Value(scopeKey{}).(*scope); outer != nil {
			set = outer.set
		}
		serve(h, set, w, r)
	})
}

// serve calls h with a scope.
func serve(h http.Handler, set *Set, w http.ResponseWriter, r *http.Request) {
	s := &scope{set: set}
	returned := false
	defer func() {
		if returned {
			s.end(websocket.StatusNormalClosure, false)
			return
		}
		s.end(websocket.StatusInternalError, true)
	}()
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), scopeKey{}, s)))
	returned = true
}

func mayBecomeSocket(r *http.Request) bool {
	return r.Method == http.MethodConnect || r.Header["Upgrade"] != nil
}

func (s *scope) end(code websocket.StatusCode, panicked bool) {
	s.mu.Lock()
	c, outlives := s.conn, s.outlives && !panicked
	s.mu.Unlock()
	if c == nil || outlives {
		return
	}
	c.Close(context.Background(), code, "")
	if _, ok := c.(*websocket.Conn); !ok && s.set != nil {
		s.set.remove(c)
	}
}

// tie makes c, which is not a Conn, the scope's socket: it leaves the set with
// the handler's call. Nil is nobody's; so is c without a scope but for r's
// context.
func (s *scope) tie(r *http.Request, c tunnel.Socket) {
	switch {
	case c == nil:
	case s == nil:
		context.AfterFunc(r.Context(), func() {
			c.Close(context.Background(), websocket.StatusNormalClosure, "")
		})
	default:
		s.mu.Lock()
		s.conn = c
		s.mu.Unlock()
		if s.set != nil {
			s.set.add(c)
		}
	}
}

// Accepted tells the scope of r that its handler accepted a socket: params is
// what the socket is to be made with. Without a scope, under a server that is not
// ours, the socket ends when r's context does, unless it is handled.
//
// Where somebody wants the stream without a Conn the result is nil, and what they
// have made of the stream takes the Conn's place.
func Accepted(r *http.Request, stream websocket.Stream, params websocket.Params) *websocket.Conn {
	s, _ := r.Context().Value(scopeKey{}).(*scope)
	if t := tunnel.AcceptingOf(r.Context()); t != nil {
		s.tie(r, t.Take(stream, params.Buffered))
		return nil
	}
	before := params.OnHandle
	onHandle := func(outlives func()) func() error {
		return func() error {
			if before != nil {
				if err := before(); err != nil {
					return err
				}
			}
			outlives()
			return nil
		}
	}
	if s == nil {
		var stop func() bool
		params.OnHandle = onHandle(func() { stop() })
		c := websocket.New(stream, params)
		stop = context.AfterFunc(r.Context(), func() {
			c.Close(context.Background(), websocket.StatusNormalClosure, "")
		})
		return c
	}
	params.OnHandle = onHandle(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.outlives = true
	})
	var c *websocket.Conn
	made := make(chan struct{})
	if s.set != nil {
		params.OnEnd = func() {
			<-made
			s.set.remove(c)
		}
	}
	c = websocket.New(stream, params)
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	if s.set != nil {
		s.set.add(c)
	}
	close(made)
	return c
}

func (s *Set) add(c tunnel.Socket) {
	s.mu.Lock()
	if s.conns == nil {
		s.conns = make(map[tunnel.Socket]struct{})
	}
	s.conns[c] = struct{}{}
	closing, cut := s.closing, s.cut
	s.mu.Unlock()
	switch {
	case cut:
		go c.CloseNow()
	case closing:
		go c.Close(context.Background(), websocket.StatusGoingAway, "")
	}
}

func (s *Set) remove(c tunnel.Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// Len returns the number of open sockets.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// GoAway sends Close 1001 to every socket of the set, also to those that are
// still being accepted, and waits until all have ended. When ctx ends it cuts
// the rest and returns ctx's cause. It returns nil only if every closing
// handshake was completed (the close matrix's C14).
func (s *Set) GoAway(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	conns := make([]tunnel.Socket, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()

	errs := make(chan error, len(conns))
	for _, c := range conns {
		// Each goroutine ends with its closing handshake, bounded by ctx and
		// by the socket's CloseTimeout.
		go func() { errs <- c.Close(ctx, websocket.StatusGoingAway, "") }()
	}
	var failed error
	for range conns {
		if err := <-errs; err != nil && failed == nil {
			failed = err
		}
	}
	s.mu.Lock()
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return failed
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return failed
	case <-ctx.Done():
		s.CloseNow()
		return errors.Join(failed, context.Cause(ctx))
	}
}

// CloseNow aborts every socket of the set, also those that are still being
// accepted.
func (s *Set) CloseNow() {
	s.mu.Lock()
	s.cut = true
	conns := make([]tunnel.Socket, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.CloseNow()
	}
}
