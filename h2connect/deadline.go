package h2connect

import (
	"cmp"
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
	at    time.Duration // by clock; 0: there is none
	alarm *alarm        // nil before a call is blocked that has one
}

// An alarm is a deadline's timer.
type alarm struct {
	timer *time.Timer
	runs  bool
	at    time.Duration // when it fires
}

// epoch is what clock counts from.
var epoch = time.Now()

// clock returns a time that only goes forward.
func clock() time.Duration { return time.Since(epoch) }

// set moves the deadline. The caller wakes those who are blocked, to look at it
// again.
func (d *deadline) set(t time.Time) {
	d.at = 0
	if !t.IsZero() {
		// What is long ago, or far away, has to stay that in a sum.
		const far = math.MaxInt64 / 4
		d.at = cmp.Or(clock()+min(max(time.Until(t), -far), far), 1)
	}
}

// passed reports whether the deadline has passed.
func (d *deadline) passed() bool {
	return d.at != 0 && clock() >= d.at
}

// wait blocks in cond.Wait until something happens or the deadline passes. The
// caller looks which it was.
func (d *deadline) wait(cond *sync.Cond) {
	if d.at != 0 {
		d.arm(cond)
	}
	cond.Wait()
}

// arm sees to it that the timer fires at the deadline, or earlier.
func (d *deadline) arm(cond *sync.Cond) {
	a := d.alarm
	if a == nil {
		a = new(alarm)
		d.alarm = a
	}
	if a.runs && a.at <= d.at {
		return
	}
	a.runs, a.at = true, d.at
	left := d.at - clock()
	if a.timer == nil {
		a.timer = time.AfterFunc(left, func() { a.fire(cond) })
		return
	}
	a.timer.Reset(left)
}

func (a *alarm) fire(cond *sync.Cond) {
	cond.L.Lock()
	defer cond.L.Unlock()
	a.runs = false
	cond.Broadcast()
}

// stop releases the timer.
func (d *deadline) stop() {
	if d.alarm != nil {
		d.alarm.timer.Stop()
		d.alarm.runs = false
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
