// Package lifetime has the contexts of the requests of one connection: as small as
// they can be while nobody asks for more than whether they have ended.
package lifetime

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Family is the contexts of one connection's requests. They end with its own
// context at the latest.
type Family struct {
	ctx  context.Context
	stop func() bool

	mu    sync.Mutex
	over  bool     // end has begun
	first *Context // those that have a listener
}

// NewFamily returns a Family whose contexts have the values of ctx and end with it.
// Release is to be called unless ctx ends one day.
func NewFamily(ctx context.Context) *Family {
	f := &Family{ctx: ctx}
	f.stop = context.AfterFunc(ctx, f.end)
	return f
}

// Release is called when all of f's contexts have ended.
func (f *Family) Release() { f.stop() }

// end tells all listeners, on a goroutine that context.AfterFunc starts and that ends
// with it.
func (f *Family) end() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	for {
		f.mu.Lock()
		c := f.first
		f.mu.Unlock()
		if c == nil {
			return
		}
		c.tellAll()
	}
}

// A Context does what the result of context.WithCancelCause does, and has one value of
// its own. But it is one object, which the Family's context does not know of: not
// before somebody asks for its channel, or derives from it a context that ends.
type Context struct {
	family *Family
	value  any // for Key
	cut    atomic.Bool

	mu    sync.Mutex
	cause error // given to End
	told  []Listener
	whole *whole // nil before somebody has asked for it

	prev, next *Context // in family, whose lock guards them, while told is not empty
}

// A whole is what package context makes of the same.
type whole struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Key is the key of a Context's own value.
type Key struct{}

// A Listener is told, once, that a Context has ended, on a goroutine of its own, which
// ends with the call.
type Listener interface {
	ContextEnded(c *Context)
}

// New returns a Context whose value for Key is value, nil for none.
func (f *Family) New(value any) *Context { return &Context{family: f, value: value} }

// End ends c: context.Cause returns cause from then on. If c has ended it does nothing.
func (c *Context) End(cause error) {
	c.mu.Lock()
	if c.cut.Load() || c.family.ctx.Err() != nil {
		c.mu.Unlock()
		return
	}
	c.cause = cause
	c.cut.Store(true)
	w := c.whole
	c.mu.Unlock()
	if w != nil {
		w.cancel(cause)
	}
	c.tellAll()
}

// Err implements context.Context.
func (c *Context) Err() error {
	if c.cut.Load() {
		return context.Canceled
	}
	return c.family.ctx.Err()
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.family.ctx.Deadline() }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} { return c.makeWhole().Done() }

// Value implements context.Context.
func (c *Context) Value(key any) any {
	switch key {
	case Key{}:
		if c.value != nil {
			return c.value
		}
	case cancelKey:
		return c.makeWhole().Value(key)
	}
	return c.family.ctx.Value(key)
}

// cancelKey is the key for which package context asks a context when it wants to know
// its cause, or how to be told of its end: the answer must come from one of its own.
var cancelKey = func() any {
	var p probe
	context.Cause(&p)
	return p.key
}()

// A probe notes what it is asked for.
type probe struct {
	context.Context
	key any
}

func (*probe) Err() error          { return context.Canceled }
func (p *probe) Value(key any) any { p.key = key; return nil }

func (c *Context) makeWhole() *whole {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.whole != nil {
		return c.whole
	}
	parent := c.family.ctx
	if c.cut.Load() {
		parent = context.WithoutCancel(parent) // which may have ended since, for another reason
	}
	ctx, cancel := context.WithCancelCause(parent)
	c.whole = &whole{ctx, cancel}
	if c.cut.Load() {
		cancel(c.cause)
	}
	return c.whole
}

// Tell has l told when c ends, if it has not: then Err says so already.
func (c *Context) Tell(l Listener) {
	f := c.family
	f.mu.Lock()
	defer f.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.over || c.cut.Load() {
		return
	}
	if c.told = append(c.told, l); len(c.told) == 1 {
		f.add(c)
	}
}

// TellNot takes Tell back. l may be about to be told all the same.
func (c *Context) TellNot(l Listener) {
	f := c.family
	f.mu.Lock()
	defer f.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.told, l)
	if i < 0 {
		return
	}
	if c.told = slices.Delete(c.told, i, i+1); len(c.told) == 0 {
		f.remove(c)
	}
}

// tellAll tells c's listeners.
func (c *Context) tellAll() {
	f := c.family
	f.mu.Lock()
	c.mu.Lock()
	told := c.told
	if c.told = nil; len(told) > 0 {
		f.remove(c)
	}
	c.mu.Unlock()
	f.mu.Unlock()
	for _, l := range told {
		go l.ContextEnded(c)
	}
}

// add puts c into the list. f.mu is held.
func (f *Family) add(c *Context) {
	c.next = f.first
	if c.next != nil {
		c.next.prev = c
	}
	f.first = c
}

// remove takes c out of the list. f.mu is held.
func (f *Family) remove(c *Context) {
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		f.first = c.next
	}
	c.prev, c.next = nil, nil
}
