package websocket

import (
	"sync"
	"sync/atomic"
	"time"
)

// stallSteps is how many times within the limit a stallWatch looks.
const stallSteps = 30

// A stallWatch ends the Conn when a stream call has taken no byte for limit. A
// write costs it one load: its timer is started by the first write, looks at the
// number of bytes written when it fires, and goes on while writing does. When there
// was no write since it last looked, it ends, and takes with it what an idle socket
// has no use for.
//
// A write that starts the timer is caught exactly at the limit; one that finds
// it running, up to a thirtieth later.
type stallWatch struct {
	armed    atomic.Bool // the timer runs
	mu       sync.Mutex
	released bool
	idle     bool // nothing was being written when the timer last fired
	conn     *Conn
	timer    *time.Timer
	seen     int64         // what written was
	still    time.Duration // for how long it has not changed, as far as is known
	wait     time.Duration // what the timer was set to
}

// limit returns Limits.WriteStall; negative means no watch.
func (s *stallWatch) limit() time.Duration { return s.conn.set.limits.WriteStall }

func (s *stallWatch) writing() bool { return s.conn.output.held() }

// written returns how many bytes the stream has taken.
func (s *stallWatch) written() int64 { return s.conn.outbound().written.bytes.n.Load() }

// begin says that a call begins that has to make progress.
func (s *stallWatch) begin() {
	if !s.armed.Load() && s.limit() >= 0 {
		s.start()
	}
}

func (s *stallWatch) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed.Store(true)
	s.seen, s.still, s.idle = s.written(), 0, false
	s.set(s.limit() / stallSteps)
}

// restart is called when the write in progress was given up without a byte taken.
func (s *stallWatch) restart() {
	if s.limit() >= 0 {
		s.start()
	}
}

// set starts the timer. s.mu is held.
func (s *stallWatch) set(d time.Duration) {
	s.wait = d
	switch {
	case s.released:
	case s.timer == nil:
		s.timer = time.AfterFunc(d, s.check)
	default:
		s.timer.Reset(d)
	}
}

// check runs when the timer fires.
func (s *stallWatch) check() {
	stalled, quiet := s.look()
	switch {
	case stalled:
		s.conn.stalled()
	case quiet:
		s.conn.rest()
	}
}

// look reports whether a write has stalled, or there was none since it last looked.
// Otherwise it looks again.
func (s *stallWatch) look() (stalled, quiet bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, writing := s.written(), s.writing()
	if now == s.seen && !writing {
		s.armed.Store(false)
		s.timer, s.idle = nil, true
		// Somebody who has begun since, and has seen armed, is not watched until
		// the next write; so look again.
		if !s.writing() || s.armed.Swap(true) {
			return false, true
		}
		writing = true
	}
	if now != s.seen || s.idle { // it has not been waiting since then
		s.still = 0
	} else {
		s.still += s.wait
	}
	s.seen, s.idle = now, !writing
	limit := s.limit()
	if s.still >= limit {
		return true, false
	}
	s.set(min(limit/stallSteps, limit-s.still))
	return false, false
}

func (s *stallWatch) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
