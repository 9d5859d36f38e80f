package websocket

import (
	"context"
	"sync"
	"time"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// An interrupt lets a context end one direction's blocked stream call, by
// moving that direction's deadline into the past and back. It stays registered
// with the context between calls, so that a loop that passes the same context
// pays for the registration once.
type interrupt struct {
	setDeadline func(time.Time) error

	mu     sync.Mutex
	done   <-chan struct{} // of the context registered
	stop   func() bool     // ends the registration
	active bool            // between begin and end
	fired  bool            // the deadline is in the past
}

// begin says that a call starts which ctx may end. A call of end follows it.
func (i *interrupt) begin(ctx context.Context) {
	done := ctx.Done()
	if done == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done != done {
		if i.stop != nil {
			i.stop()
		}
		i.done = done
		i.stop = context.AfterFunc(ctx, func() { i.fire(done) })
	}
	i.active = true
	if ctx.Err() != nil {
		i.fireLocked()
	}
}

// end says that the call is over, and makes the deadline harmless again.
func (i *interrupt) end(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.active = false
	if i.fired {
		i.fired = false
		i.setDeadline(time.Time{})
	}
}

func (i *interrupt) fire(done <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done == done && i.active {
		i.fireLocked()
	}
}

func (i *interrupt) fireLocked() {
	if !i.fired {
		i.fired = true
		i.setDeadline(longAgo)
	}
}

// release ends the registration.
func (i *interrupt) release() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stop != nil {
		i.stop()
	}
	i.stop, i.done = nil, nil
}
