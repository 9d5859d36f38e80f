package websocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/internal/lifetime"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// An interrupt lets a context end one direction's blocked stream call, by
// moving that direction's deadline into the past and back. It stays registered
// with the context between calls, so that a loop that passes the same context
// pays for the registration once, and two atomic operations for each call.
type interrupt struct {
	current any // the ender registered; changed with mu held by the one who calls begin
	state   atomic.Int32

	mu       sync.Mutex
	released bool
	write    bool // whose deadline: that of Write, or of Read
	stream   Stream
	stop     func() bool // ends the registration, where current is a channel
}

// ender returns what stands for ctx's end, nil if there will be none: the context of a
// request of ours, which tells of its end, or else the channel.
func ender(ctx context.Context) any {
	if c, ok := ctx.(*lifetime.Context); ok {
		return c
	}
	if done := ctx.Done(); done != nil {
		return done
	}
	return nil
}

// The states of an interrupt. Between begin and end it is active, or has fired:
// then the deadline is in the past, or will be before mu is free.
const (
	interruptIdle int32 = iota
	interruptActive
	interruptFired
)

// begin says that a call starts which ctx may end; end is its ender, not nil. A call
// of end follows it.
func (i *interrupt) begin(ctx context.Context, end any) {
	if i.current != end {
		i.register(ctx, end)
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

func (i *interrupt) register(ctx context.Context, end any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unregister()
	i.current = end
	if i.released {
		return
	}
	if c, ok := end.(*lifetime.Context); ok {
		c.Tell(i)
		return
	}
	i.stop = context.AfterFunc(ctx, func() { i.fire(end) })
}

// unregister ends the registration. i.mu is held.
func (i *interrupt) unregister() {
	if i.stop != nil {
		i.stop()
		i.stop = nil
	}
	if c, ok := i.current.(*lifetime.Context); ok {
		c.TellNot(i)
	}
}

// ContextEnded implements lifetime.Listener.
func (i *interrupt) ContextEnded(c *lifetime.Context) { i.fire(c) }

func (i *interrupt) fire(end any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == end {
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
	i.unregister()
	i.released = true
}

// interruptFor returns the interrupt of c that is at p, for reads or for writes, which
// it makes if need be.
func (c *Conn) interruptFor(p *atomic.Pointer[interrupt], write bool) *interrupt {
	if i := p.Load(); i != nil {
		return i
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := p.Load(); i != nil {
		return i
	}
	i := &interrupt{stream: c.stream, write: write, released: c.isGone}
	p.Store(i)
	return i
}
