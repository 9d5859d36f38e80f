// Package sockets ties server sockets to the HTTP handler that accepted them
// and to the server whose shutdown must say goodbye to them.
package sockets

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsmux/websocket"
)

// A Set holds the open sockets of one server, and the handler calls that may
// accept one. The zero value is ready.
type Set struct {
	mu      sync.Mutex
	scopes  []*Scope            // whose first set this is
	others  map[*Scope]struct{} // whose set it is beside another
	waiting int                 // scopes that were admitted
	open    int                 // sockets
	closing bool                // GoAway was called
	cut     bool                // CloseNow was called
	idle    chan struct{}       // closed when waiting becomes 0 after closing began
	unclean Unclean             // since closing began
}

// goodbyeTime is how long a server waits for its Close frames to be written
// before it goes on saying goodbye to its connections.
const goodbyeTime = time.Second

// add makes s the set number i of sc.
func (s *Set) add(sc *Scope, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i == 0 {
		sc.place = int32(len(s.scopes))
		s.scopes = append(s.scopes, sc)
		return
	}
	if s.others == nil {
		s.others = make(map[*Scope]struct{})
	}
	s.others[sc] = struct{}{}
}

// admit notes in sc, whose set number i this is, that it is waited for, unless the set
// admits nobody any more.
func (s *Set) admit(sc *Scope, i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.cut {
		return false
	}
	if !sc.setAdmitted(i, true) {
		s.waiting++
	}
	return true
}

// setAdmitted notes whether set number i waits for sc, and returns whether it did.
func (s *Scope) setAdmitted(i int, admitted bool) (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bit := uint16(1) << i
	before = s.admitted&bit != 0
	s.admitted &^= bit
	if admitted {
		s.admitted |= bit
	}
	return before
}

// dismiss takes back what admit did.
func (s *Set) dismiss(sc *Scope, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sc.setAdmitted(i, false) {
		s.left()
	}
}

// remove takes back what add and admit did.
func (s *Set) remove(sc *Scope, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sc.setAdmitted(i, false) {
		s.left()
	}
	if i > 0 {
		delete(s.others, sc)
		return
	}
	last := len(s.scopes) - 1
	moved := s.scopes[last]
	s.scopes[sc.place], moved.place = moved, sc.place
	s.scopes[last] = nil
	s.scopes = s.scopes[:last]
	if cap(s.scopes) > leastScopes && last < cap(s.scopes)/4 {
		s.scopes = append(make([]*Scope, 0, cap(s.scopes)/2), s.scopes...)
	}
}

// leastScopes is a size of a list from which it is worth while to make it smaller.
const leastScopes = 64

// left counts one that is not waited for any more. s.mu is held.
func (s *Set) left() {
	s.waiting--
	if s.waiting == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// opened is called when sc has got its socket. One that was admitted in time and
// accepted too late ends as the sockets before it did: nobody would come back
// for it.
func (s *Set) opened(sc *Scope) {
	s.mu.Lock()
	s.open++
	closing, cut := s.closing, s.cut
	s.mu.Unlock()
	switch {
	case cut:
		go sc.cut(http.ErrServerClosed)
	case closing:
		go sc.goAway(context.Background()) // ends at CloseTimeout
	}
}

// ended is called when a socket has; err says how its closing handshake went.
func (s *Set) ended(b websocket.Bootstrap, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if err != nil && s.closing {
		s.unclean.add(b, err)
	}
}

// Len returns the number of open sockets.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// list returns the scopes there are.
func (s *Set) list() []*Scope {
	return slices.AppendSeq(slices.Clone(s.scopes), maps.Keys(s.others))
}

// Refuse makes Admit refuse new sockets, as GoAway does.
func (s *Set) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}

// GoAway says goodbye (the close matrix's C14). From now on Admit refuses new
// sockets; every socket gets Close 1001 and may finish: what its client had sent
// before it answered is read. GoAway waits until all sockets have ended and their
// handlers have returned. When ctx ends first it cuts the rest, as CloseNow does.
//
// It calls told, if that is not nil, once: when the Close frames have been
// written, or a second has passed in which peers that take no data have not let
// theirs be.
//
// It returns nil if every closing handshake was completed and every handler has
// returned, else an *[Unclean].
func (s *Set) GoAway(ctx context.Context, told func()) error {
	s.mu.Lock()
	s.closing = true
	scopes := s.list()
	if s.waiting > 0 && s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	if say := goodbyes(ctx, scopes); told != nil {
		late := time.NewTimer(goodbyeTime)
		select {
		case <-say:
		case <-late.C:
		case <-ctx.Done():
		}
		late.Stop()
		told()
	}
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			return s.abandon(context.Cause(ctx))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unclean.orNil()
}

// goodbyes says goodbye to all, and closes the channel that it returns when that
// is done.
func goodbyes(ctx context.Context, scopes []*Scope) <-chan struct{} {
	var all sync.WaitGroup
	for _, sc := range scopes {
		// Each goroutine ends when its Close frame is written, at the latest
		// with ctx or at the socket's CloseTimeout.
		all.Go(func() { sc.goAway(ctx) })
	}
	done := make(chan struct{})
	go func() { // ends with them
		all.Wait()
		close(done)
	}()
	return done
}

// abandon cuts what is left and says what that was.
func (s *Set) abandon(cause error) error {
	s.mu.Lock()
	left := Unclean{Cause: cause, Errs: s.unclean.Errs}
	for b, n := range s.unclean.Sockets {
		left.count(b, n)
	}
	for _, sc := range s.list() {
		switch b, open, admitted := sc.openSocket(); {
		case open:
			left.count(b, 1)
		case admitted:
			left.Handlers++
		}
	}
	s.mu.Unlock()
	s.CloseNow()
	return left.orNil()
}

// openSocket returns the bootstrap of the scope's socket, if it has one that is
// open, and whether the scope was admitted.
func (s *Scope) openSocket() (b websocket.Bootstrap, open, admitted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	admitted = s.admitted != 0
	if s.conn == nil || s.life == lifeEnded {
		return 0, false, admitted
	}
	return s.stream.Bootstrap(), true, admitted
}

// CloseNow aborts every socket of the set, also those that are still being
// accepted, and ends the contexts of all handlers with http.ErrServerClosed as
// their cause.
func (s *Set) CloseNow() {
	s.mu.Lock()
	s.cut = true
	scopes := s.list()
	s.mu.Unlock()
	for _, sc := range scopes {
		sc.cut(http.ErrServerClosed)
	}
}

// Unclean says what did not end as it should have when a server said goodbye.
type Unclean struct {
	// Sockets counts, by bootstrap, sockets that ended without a complete
	// closing handshake.
	Sockets map[websocket.Bootstrap]int

	// Handlers counts handlers that had not returned although their sockets
	// had ended.
	Handlers int

	// Cause is that of the context, if it ended before all was done.
	Cause error

	// Errs has how some of the sockets ended.
	Errs []error
}

// examples is how many errors are kept.
const examples = 8

func (u *Unclean) count(b websocket.Bootstrap, n int) {
	if u.Sockets == nil {
		u.Sockets = make(map[websocket.Bootstrap]int)
	}
	u.Sockets[b] += n
}

func (u *Unclean) add(b websocket.Bootstrap, err error) {
	u.count(b, 1)
	if len(u.Errs) < examples {
		u.Errs = append(u.Errs, err)
	}
}

// orNil returns a copy, or nil if everything was clean.
func (u *Unclean) orNil() error {
	if len(u.Sockets) == 0 && u.Handlers == 0 && u.Cause == nil {
		return nil
	}
	c := *u
	return &c
}

// Error counts.
func (u *Unclean) Error() string {
	var parts []string
	for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3} {
		if n := u.Sockets[b]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d sockets over %v without a complete closing handshake", n, b))
		}
	}
	if u.Handlers > 0 {
		parts = append(parts, fmt.Sprintf("%d handlers still running", u.Handlers))
	}
	if u.Cause != nil {
		parts = append(parts, u.Cause.Error())
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns Cause and Errs.
func (u *Unclean) Unwrap() []error {
	if u.Cause == nil {
		return u.Errs
	}
	return append([]error{u.Cause}, u.Errs...)
}
