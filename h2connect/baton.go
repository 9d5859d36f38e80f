package h2connect

import (
	"sync"
	"time"
)

// A baton has the goroutines that wait in Read for what one read of the network has
// brought run one after the other. Were all woken at once, every processor would
// fetch some of them, to contend for the connection's lock and for each other's
// memory. The connection's reader lines them up and wakes the first. Whoever wakes up
// wakes the next before it does anything else, so nobody waits for what another does
// with its message: if that takes longer than a moment, an idle processor takes the
// next. The last one wakes the reader, if that waits to send what they have written.
//
// Where no processor is idle the line would stand still behind one who computes. It is
// given up then, and for a while everybody is woken at once.
type baton struct {
	mu     sync.Mutex
	line   []*stream // to be woken; those before next have been
	next   int
	holder *stream // has been woken and is to wake the next; nil: nobody is
	since  time.Duration
	slow   int       // how many more times streams are not lined up
	lined  bool      // the reader's: somebody has been lined up and the first perhaps not woken
	back   sync.Cond // signalled when the line has come to its end
}

// batonPatience is how long it may take, after one has been woken, until it wakes the
// next.
const batonPatience = time.Millisecond

// batonPenalty is how many times streams are woken at once after it took longer.
const batonPenalty = 256

// lineUp lines up a stream whose blocked read has got something, or reports that it is
// to be woken at once. The caller is the connection's reader.
func (c *conn) lineUp(st *stream) bool {
	b := c.baton.Load()
	if b == nil {
		b = new(baton)
		b.back.L = &b.mu
		c.baton.Store(b)
	}
	return b.add(st)
}

// add lines up a stream, or reports that for now all are woken at once.
func (b *baton) add(st *stream) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.slow > 0 {
		b.slow--
		return false
	}
	b.line = append(b.line, st)
	b.lined = true
	return true
}

// waiting reports whether anybody is in line or on the way.
func (b *baton) waiting() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holder != nil || len(b.line) > 0
}

// start wakes the first in line, unless it has been. The connection's reader calls it
// before anything that may last.
func (b *baton) start() {
	if b == nil || !b.lined {
		return
	}
	b.lined = false
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holder == nil {
		b.advance()
	}
}

// run is start, and waits until everybody has been woken.
func (b *baton) run() {
	b.start()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.holder != nil {
		b.back.Wait()
	}
}

// passBaton is called by the reader of a stream that was due, when it has woken up.
func (c *conn) passBaton(st *stream) {
	b := c.baton.Load()
	if b == nil {
		return // woken by something else, before it was lined up
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holder == st {
		b.advance()
	}
}

// advance wakes the next, or the reader. A stream is not due any more if something
// else has woken its reader. b.mu is held.
func (b *baton) advance() {
	now := clock()
	late := b.holder != nil && now-b.since > batonPatience
	if late {
		b.slow = batonPenalty
	}
	b.holder, b.since = nil, now
	for b.next < len(b.line) && (late || b.holder == nil) {
		st := b.line[b.next]
		b.line[b.next] = nil
		b.next++
		if !st.recv.due.Load() {
			continue
		}
		st.recv.cond.Broadcast()
		if !late {
			b.holder = st
		}
	}
	if b.holder == nil {
		b.line, b.next = b.line[:0], 0
		b.back.Signal()
	}
}

// wokeUp is called by a stream's reader behind a read that has got something. One that
// has not was not due, and there may be no inlet for it to look at.
func (st *stream) wokeUp() {
	r := &st.recv
	if r.due.Load() && r.due.Swap(false) {
		st.c.passBaton(st)
	}
}

// runBaton has those run whom the last read has woken, while what they write waits to
// be sent together. c.mu is held, but not meanwhile.
func (c *conn) runBaton() {
	b := c.baton.Load()
	if !b.waiting() {
		return
	}
	c.gathering = true
	c.mu.Unlock()
	b.run()
	c.mu.Lock()
	c.gathering = false
}
