package h2connect

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// This file lets a connection's reader call the Handlers of its sockets itself
// and nevertheless never wait for one (leader and followers). The reader leads:
// it owns everything about the way in. When a call takes longer than leadPatience,
// or blocks in a write, another goroutine takes the lead over and reads on. The
// one that was deposed finds out when the call returns; it then serves its socket
// as long as there is something for it, and ends.
//
// A socket whose Handler was slow, and for a while the connection's other sockets
// too, are served by goroutines of their own.

// leadPatience is how long a call may take before the lead is taken over. It is
// noticed after no more than twice as long, on a connection that is busy. Where the
// timer has found nobody in a call it looks less and less often, down to leadPause,
// because each look wakes an idle process: there it is noticed after no more than
// leadPause and leadPatience.
const (
	leadPatience = time.Millisecond
	leadPause    = 8 * leadPatience
)

// leadPenalty is how many times a socket is served by a goroutine of its own
// after its Handler was slow.
const leadPenalty = 64

// corkBytes is how much of what Handlers write waits for the end of what has been
// read, to be sent together. Where that was less than briefBytes the last time, it is
// firstCorkBytes of what they write first: the peer is at work on that while they write
// the rest, and neither end sleeps while the other is busy. With more, the peer is at
// work on corkBytes soon enough.
const (
	corkBytes      = 6 << 10
	firstCorkBytes = 2 << 10
	briefBytes     = 2 * corkBytes
)

// errDeposed tells the reader that another goroutine leads.
var errDeposed = errors.New("another goroutine reads the connection")

// A lead is the state of that.
type lead struct {
	st   *stream       // whose Handler the reader calls; it is the reader's
	term atomic.Uint64 // the last call's number, and above it while the call lasts the stream's id
	slow atomic.Int32  // how many more times sockets are served by goroutines of their own

	ticks   atomic.Uint32 // how often the timer has fired
	flushed uint32        // the reader's: ticks when it last asked

	watched atomic.Bool // the timer runs
	mu      sync.Mutex
	timer   *time.Timer
	pause   time.Duration // what the timer was last set to
	seen    uint64        // term when the timer last fired
}

// The numbers of calls are counted in so many bits of a term. They begin again from
// the start, but nobody holds on to a term for longer than some milliseconds.
const termBits = 32

// calls returns the id of the stream whose Handler the reader calls in a term, 0 if
// it calls none.
func calls(term uint64) (id uint32) { return uint32(term >> termBits) }

// ended returns the term in which a call has ended.
func ended(term uint64) uint64 { return uint64(uint32(term)) }

// enter says that the reader calls the Handler of stream id. What it returns is for
// leave.
func (l *lead) enter(id uint32) (term uint64) {
	term = uint64(id)<<termBits | ended(l.term.Load()+1)
	l.term.Store(term)
	if !l.watched.Load() {
		l.watch(term, leadPatience)
	}
	return term
}

// flushLater has the timer send what waits, at the latest after leadPause, for a reader
// that is about to read on and calls no Handler. The connection's lock is held.
func (l *lead) flushLater() {
	if !l.watched.Load() {
		l.watch(l.term.Load(), leadPause)
	}
}

// leave says that the call has returned, and reports whether the caller still is
// the reader.
func (l *lead) leave(term uint64) bool { return l.term.CompareAndSwap(term, ended(term)) }

// away reports whether the reader is in a Handler's hands: it will flush.
func (l *lead) away() bool { return calls(l.term.Load()) != 0 }

// flushDue reports, to the reader, whether what Handlers have written has waited
// long enough, although more has been read that they may answer.
func (l *lead) flushDue() bool {
	now := l.ticks.Load()
	due := now != l.flushed
	l.flushed = now
	return due
}

// watch starts the timer, which first fires after pause.
func (l *lead) watch(term uint64, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched.Store(true)
	l.seen, l.pause = term, pause
	l.timer.Reset(l.pause)
}

// overdue is called when the timer fires. It returns the term of a call that has
// lasted since it fired before, 0 if there is none. The timer goes on while the
// reader calls Handlers.
func (l *lead) overdue() (term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticks.Add(1)
	now := l.term.Load()
	if now == l.seen && calls(now) == 0 {
		l.watched.Store(false)
		// A reader that has seen watched set meanwhile relies on it.
		if now = l.term.Load(); now == l.seen {
			return 0
		}
		l.watched.Store(true)
	}
	if now == l.seen {
		term = now
	}
	l.seen = now
	if calls(now) != 0 {
		l.pause = leadPatience
	} else {
		l.pause = min(2*l.pause, leadPause)
	}
	l.timer.Reset(l.pause)
	return term
}

func (c *conn) initLead() {
	c.lead.timer = time.AfterFunc(time.Hour, func() {
		if term := c.lead.overdue(); term != 0 {
			c.depose(term)
			return
		}
		// What Handlers and the reader have written waits while the reader reads on.
		// What TLS has then may be a part of a record, for the rest of which it waits.
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flush()
	})
	c.lead.timer.Stop()
}

// depose takes the lead from a reader that is in a call of this term, and reports
// whether it was.
func (c *conn) depose(term uint64) bool {
	if !c.lead.term.CompareAndSwap(term, ended(term)) {
		return false
	}
	// The new reader: it ends with the connection or when it is deposed in turn.
	go func() {
		c.lead.st.slow.Store(leadPenalty)
		c.lead.slow.Store(leadPenalty)
		c.in.leave()
		c.mu.Lock()
		c.flush()
		c.mu.Unlock()
		c.run()
	}()
	return true
}

// inline reports whether the reader may call st's Handler itself.
func (c *conn) inline(st *stream) bool {
	if c.lead.slow.Load() == 0 && st.slow.Load() == 0 {
		return true
	}
	for _, n := range [2]*atomic.Int32{&c.lead.slow, &st.slow} {
		if n.Load() > 0 {
			n.Add(-1)
		}
	}
	return false
}

// push gives bytes that have arrived to st's Handler, and returns errDeposed if
// the caller is not the reader any more.
func (c *conn) push(st *stream, p []byte) error {
	c.wakeLate()
	c.baton.Load().start()
	c.lead.st = st
	term := c.lead.enter(st.id)
	returned := false
	defer func() {
		if !returned { // runtime.Goexit in a Handler
			c.depose(term)
			st.pushed(len(p), true)
			go st.serve()
		}
	}()
	more := st.recv.to.Take(p)
	returned = true
	more = st.pushed(len(p), more)
	if c.lead.leave(term) {
		if more {
			go st.serve()
		}
		return nil
	}
	if more {
		st.serve()
	}
	return errDeposed
}

// pushed settles a call of Take with n bytes, and reports whether Resume is to be
// called.
func (st *stream) pushed(n int, more bool) bool {
	increment, more := st.recv.pushed(n, more)
	if increment > 0 {
		c := st.c
		c.mu.Lock()
		c.credit(st, increment)
		c.flush()
		c.mu.Unlock()
	}
	return more
}

// serve has the stream's Handler served on a goroutine that may block: one that is
// started for it, or a deposed reader. It ends when nothing is left for the
// Handler.
func (st *stream) serve() {
	returned := false
	defer func() {
		if !returned { // runtime.Goexit in a Handler
			go st.serve()
		}
	}()
	for more := true; more; {
		begun := time.Now()
		st.recv.to.Resume()
		if time.Since(begun) > leadPatience {
			if st.slow.Swap(leadPenalty) == 0 {
				st.c.lead.slow.Store(leadPenalty)
			}
		}
		more = st.recv.resumed()
	}
	returned = true
}

// Push implements what package websocket asks of a stream that can call when
// something has arrived.
func (st *stream) Push(to pushTarget, now bool) {
	r := &st.recv
	r.mu.Lock()
	r.to, r.pushing, r.busy = to, true, true
	serve := now || r.callAgain()
	r.mu.Unlock()
	if serve {
		go st.serve()
	}
}

// Pull ends Push.
func (st *stream) Pull() {
	st.recv.mu.Lock()
	defer st.recv.mu.Unlock()
	st.recv.pushing = false
}

// TryRead is Read that does not wait.
func (st *stream) TryRead(p []byte) (int, error) {
	n, increment, err := st.recv.tryRead(p)
	if n > 0 {
		st.c.consumed(st, n, increment)
	}
	return n, err
}
