package websocket

import (
	"context"
	"sync"
	"sync/atomic"
)

// The states of a gate.
const (
	gateFree int32 = iota
	gateHeld
	gateWanted // held, and somebody waits
)

// A gate is a lock whose waiters honour a context. It is fair: unlock hands it
// to the one who has waited longest. Without contention lock and unlock are one
// atomic operation each. The zero gate is free.
type gate struct {
	state   atomic.Int32
	waiters atomic.Pointer[waiters] // nil before anybody has had to wait
}

// waiters are those who wait for a gate.
type waiters struct {
	mu    sync.Mutex
	first *waiter // who has waited longest
}

// A waiter is one who waits for a gate.
type waiter struct {
	turn chan struct{} // closed when the gate is handed over
	next *waiter
}

// tryLock takes the gate if it is free.
func (g *gate) tryLock() bool { return g.state.CompareAndSwap(gateFree, gateHeld) }

// lock takes the gate and returns true, or returns false without it once ctx
// has ended or stop is closed. It prefers the gate: with a free gate a context
// that has ended does not matter.
func (g *gate) lock(ctx context.Context, stop <-chan struct{}) bool {
	w := g.lineUp()
	return w == nil || g.await(w, ctx, stop)
}

// lineUp takes the gate and returns nil, or returns a waiter behind all others,
// whom await lets wait or leave removes.
func (g *gate) lineUp() *waiter {
	if g.tryLock() {
		return nil
	}
	return g.enqueue()
}

// await waits for w's turn, as lock does.
func (g *gate) await(w *waiter, ctx context.Context, stop <-chan struct{}) bool {
	select {
	case <-w.turn:
		return true
	case <-ctx.Done():
	case <-stop:
	}
	g.leave(w)
	return false
}

// leave gives up w's turn, which may have come.
func (g *gate) leave(w *waiter) {
	if w == nil || !g.dequeue(w) {
		g.unlock()
	}
}

// line returns g.waiters, which it makes if need be.
func (g *gate) line() *waiters {
	if l := g.waiters.Load(); l != nil {
		return l
	}
	g.waiters.CompareAndSwap(nil, new(waiters))
	return g.waiters.Load()
}

// enqueue adds a waiter, or takes the gate and returns nil.
func (g *gate) enqueue() *waiter {
	l := g.line()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if g.tryLock() {
			return nil
		}
		if g.state.Load() == gateWanted || g.state.CompareAndSwap(gateHeld, gateWanted) {
			break
		}
	}
	w := &waiter{turn: make(chan struct{})}
	last := &l.first
	for *last != nil {
		last = &(*last).next
	}
	*last = w
	return w
}

// dequeue removes a waiter and reports whether it was still waiting.
func (g *gate) dequeue(w *waiter) bool {
	l := g.line()
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := &l.first; *at != nil; at = &(*at).next {
		if *at != w {
			continue
		}
		*at = w.next
		if l.first == nil {
			g.state.Store(gateHeld)
		}
		return true
	}
	return false
}

// wanted reports whether somebody waits for the gate.
func (g *gate) wanted() bool { return g.state.Load() == gateWanted }

// held reports whether somebody holds the gate.
func (g *gate) held() bool { return g.state.Load() != gateFree }

// unlock frees the gate or hands it to the first waiter.
func (g *gate) unlock() {
	if g.state.CompareAndSwap(gateHeld, gateFree) {
		return
	}
	l := g.line()
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.first
	if w == nil { // the last one has just gone away
		g.state.Store(gateFree)
		return
	}
	if l.first = w.next; l.first == nil {
		g.state.Store(gateHeld)
	}
	close(w.turn)
}
