package h2connect

import (
	"math"
	"sync"
	"time"
)

// A deadline is one end of a stream's SetReadDeadline or SetWriteDeadline. It
// may be set again and again, before and after it has passed. Setting it costs
// nothing: a timer runs only while a call is blocked, and one that was armed
// for an earlier deadline is left to fire and look again. The condition's lock
// guards it.
type deadline struct {
	some  bool          // there is one
	runs  bool          // timer does
	at    time.Duration // by clock
	armed time.Duration // when timer fires
	timer *time.Timer
}

// epoch is what clock counts from.
var epoch = time.Now()

// clock returns a time that only goes forward.
func clock() time.Duration { return time.Since(epoch) }

// set moves the deadline. The caller wakes those who are blocked, to look at it
// again.
func (d *deadline) set(t time.Time) {
	if d.some = !t.IsZero(); d.some {
		// What is long ago, or far away, has to stay that in a sum.
		const far = math.MaxInt64 / 4
		d.at = clock() + min(max(time.Until(t), -far), far)
	}
}

// passed reports whether the deadline has passed.
func (d *deadline) passed() bool {
	return d.some && clock() >= d.at
}

// wait blocks in cond.Wait until something happens or the deadline passes. The
// caller looks which it was.
func (d *deadline) wait(cond *sync.Cond) {
	if d.some && (!d.runs || d.at < d.armed) {
		d.runs, d.armed = true, d.at
		left := d.at - clock()
		if d.timer == nil {
			d.timer = time.AfterFunc(left, func() { d.fire(cond) })
		} else {
			d.timer.Reset(left)
		}
	}
	cond.Wait()
}

func (d *deadline) fire(cond *sync.Cond) {
	cond.L.Lock()
	defer cond.L.Unlock()
	d.runs = false
	cond.Broadcast()
}

// stop releases the timer.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.runs = false
	}
}

// A signal is a sync.Cond that is made when somebody waits for it first. Its lock
// guards it.
type signal struct{ cond *sync.Cond }

// on returns the condition, whose lock is l.
func (s *signal) on(l sync.Locker) *sync.Cond {
	if s.cond == nil {
		s.cond = sync.NewCond(l)
	}
	return s.cond
}

// Broadcast wakes all who wait.
func (s *signal) Broadcast() {
	if s.cond != nil {
		s.cond.Broadcast()
	}
}
