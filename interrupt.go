package websocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// An interrupt lets a context end one direction's blocked stream call, by
// moving that direction's deadline into the past and back. It stays registered
// with the context between calls, so that a loop that passes the same context
// pays for the registration once, and two atomic operations for each call.
type interrupt struct {
	current <-chan struct{} // of the context registered; of the one who calls begin
	state   atomic.Int32

	mu       sync.Mutex
	released bool
	write    bool // whose deadline: that of Write, or of Read
	stream   Stream
	done     <-chan struct{} // current, for fire
	stop     func() bool     // ends the registration
}

// The states of an interrupt. Between begin and end it is active, or has fired:
// then the deadline is in the past, or will be before mu is free.
const (
	interruptIdle int32 = iota
	interruptActive
	interruptFired
)

// begin says that a call starts which ctx may end; done is ctx's, not nil. A call
// of end follows it.
func (i *interrupt) begin(ctx context.Context, done <-chan struct{}) {
	if i.current != done {
		i.register(ctx, done)
	}
	i.state.Store(interruptActive)
	if ctx.Err() != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fireLocked()
	}
}

// end says that the call is over, and makes the deadline harmless again. There may
// be no interrupt.
func (i *interrupt) end() {
	if i == nil {
		return
	}
	if i.state.CompareAndSwap(interruptActive, interruptIdle) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.Store(interruptIdle)
	i.setDeadline(time.Time{})
}

func (i *interrupt) register(ctx context.Context, done <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stop != nil {
		i.stop()
	}
	i.current, i.done, i.stop = done, done, nil
	if !i.released {
		i.stop = context.AfterFunc(ctx, func() { i.fire(done) })
	}
}

func (i *interrupt) fire(done <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done == done {
		i.fireLocked()
	}
}

func (i *interrupt) fireLocked() {
	if i.state.CompareAndSwap(interruptActive, interruptFired) {
		i.setDeadline(longAgo)
	}
}

func (i *interrupt) setDeadline(t time.Time) {
	if i.write {
		i.stream.SetWriteDeadline(t)
	} else {
		i.stream.SetReadDeadline(t)
	}
}

// release ends the registration.
func (i *interrupt) release() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stop != nil {
		i.stop()
	}
	i.stop, i.released = nil, true
}

// interruptRead returns c.readInterrupt, which it makes if need be.
func (c *Conn) interruptRead() *interrupt {
	if i := c.readInterrupt.Load(); i != nil {
		return i
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.readInterrupt.Load(); i != nil {
		return i
	}
	i := &interrupt{stream: c.stream, released: c.isGone}
	c.readInterrupt.Store(i)
	return i
}
