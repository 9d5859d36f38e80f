package h2connect

import (
	"cmp"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// On a server, streams that nobody reads can hold Limits.ConnBuffer between
// them, and then the connection's window stays closed to all. That is the
// bound's purpose, but those that are read must not starve for it. So when the
// window has been closed for Limits.ReadStall and none of a stream's bytes have
// been read in all that time while other streams may be waiting to receive, the
// stream is reset: those that hold most go first, until half of the buffer is
// free again. While nobody else is there to suffer, streams may wait for their
// readers as long as they like.
//
// A client needs none of this. Every stream is one that its application opened,
// and what they may hold is bounded by their windows.

// An unreadWatch is the timer of that rule. It is armed when credit has to be
// held back, left alone when it is not any more, and looks for itself when it
// fires. The connection's lock guards it.
type unreadWatch struct {
	timer *time.Timer
	armed bool
}

const errReadStall = timeoutError("nobody reads the stream, and others wait")

// watchUnread arms the watch and marks how far each stream has been read. c.mu
// is held.
func (c *conn) watchUnread() {
	w, limit := &c.unread, c.limits.ReadStall
	if w.armed || limit < 0 || c.dead() {
		return
	}
	w.armed = true
	for st := range c.readable {
		st.recv.setMark()
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(limit, c.checkUnread)
		return
	}
	w.timer.Reset(limit)
}

// readable yields the streams that may hold bytes for their handlers. c.mu is
// held.
func (c *conn) readable(yield func(*stream) bool) {
	for _, st := range c.streams {
		if !yield(st) {
			return
		}
	}
	for st := range c.leftovers {
		if !yield(st) {
			return
		}
	}
}

func (c *conn) checkUnread() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread.armed = false
	if c.dead() || !c.starved.Load() {
		return
	}
	if c.inConn.avail < maxFrame {
		c.endStalled()
	}
	if c.starved.Load() {
		c.watchUnread()
	}
	c.flush()
}

// endStalled resets streams whose bytes nobody has read since they were marked.
// c.mu is held.
func (c *conn) endStalled() {
	type stalled struct {
		st      *stream
		waiting int
	}
	var all []stalled
	starving := false
	for st := range c.readable {
		waiting, unread := st.recv.look()
		if unread {
			all = append(all, stalled{st, waiting})
		}
		if waiting == 0 && !st.recvEnded {
			starving = true // or has nothing to receive: there is no telling
		}
	}
	if !starving {
		return
	}
	slices.SortFunc(all, func(a, b stalled) int {
		return cmp.Or(cmp.Compare(b.waiting, a.waiting), cmp.Compare(a.st.id, b.st.id))
	})
	for _, s := range all {
		if c.buffered.Load() <= int64(c.limits.ConnBuffer)/2 {
			return
		}
		c.hits.count(limitReadStall)
		err := &StreamError{Code: http2.ErrCodeCancel, Err: errReadStall}
		c.reset(s.st, err)
		c.discard(s.st, err)
	}
}
