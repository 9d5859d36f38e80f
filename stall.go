package websocket

import (
	"sync"
	"sync/atomic"
	"time"
)

// A stallWatch calls expired when a stream call has been writing for too long
// without an end. Its timer is left running over many writes, so that a write
// costs two atomic stores.
type stallWatch struct {
	limit   time.Duration // negative: no watch
	clock   func() time.Duration
	expired func()

	since atomic.Int64 // when the call in progress began; 0 without one
	armed atomic.Bool  // the timer runs

	mu       sync.Mutex
	timer    *time.Timer
	released bool
}

func (s *stallWatch) init(limit time.Duration, clock func() time.Duration, expired func()) {
	s.limit, s.clock, s.expired = limit, clock, expired
}

// begin says that a call begins that has to make progress.
func (s *stallWatch) begin() {
	if s.limit < 0 {
		return
	}
	s.since.Store(int64(s.clock()))
	if !s.armed.Load() && !s.armed.Swap(true) {
		s.arm(s.limit)
	}
}

// end says that it has returned.
func (s *stallWatch) end() {
	if s.limit >= 0 {
		s.since.Store(0)
	}
}

func (s *stallWatch) arm(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.released:
	case s.timer == nil:
		s.timer = time.AfterFunc(d, s.check)
	default:
		s.timer.Reset(d)
	}
}

// check runs when the timer fires: the limit after some write began, though
// perhaps not the one in progress.
func (s *stallWatch) check() {
	s.armed.Store(false)
	since := s.since.Load()
	if since == 0 {
		return
	}
	left := s.limit - (s.clock() - time.Duration(since))
	if left <= 0 {
		s.expired()
		return
	}
	if !s.armed.Swap(true) {
		s.arm(left)
	}
}

func (s *stallWatch) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
