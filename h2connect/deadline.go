package h2connect

import (
	"sync"
	"time"
)

// A deadline is one end of a stream's SetReadDeadline or SetWriteDeadline. It
// may be set again and again, before and after it has passed. Setting it costs
// nothing: a timer runs only while a call is blocked, and one that was armed
// for an earlier deadline is left to fire and look again. The condition's lock
// guards it.
type deadline struct {
	at    time.Time // zero: none
	armed time.Time // when timer fires; zero: it does not run
	timer *time.Timer
}

// set moves the deadline; calls that are blocked look at it again.
func (d *deadline) set(t time.Time, cond *sync.Cond) {
	d.at = t
	cond.Broadcast()
}

// passed reports whether the deadline has passed.
func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// wait blocks in cond.Wait until something happens or the deadline passes. The
// caller looks which it was.
func (d *deadline) wait(cond *sync.Cond) {
	if !d.at.IsZero() && (d.armed.IsZero() || d.at.Before(d.armed)) {
		d.armed = d.at
		left := time.Until(d.at)
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
	d.armed = time.Time{}
	cond.Broadcast()
}

// stop releases the timer.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.armed = time.Time{}
	}
}
