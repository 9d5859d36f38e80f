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
	mu      sync.Mutex
	waiters []chan struct{} // closed when the gate is handed over
	onWait  func()          // if not nil, called when somebody begins to wait
}

// tryLock takes the gate if it is free.
func (g *gate) tryLock() bool { return g.state.CompareAndSwap(gateFree, gateHeld) }

// lock takes the gate and returns true, or returns false without it once ctx
// has ended or stop is closed. It prefers the gate: with a free gate a context
// that has ended does not matter.
func (g *gate) lock(ctx context.Context, stop <-chan struct{}) bool {
	if g.tryLock() {
		return true
	}
	w := g.enqueue()
	if w == nil {
		return true
	}
	if g.onWait != nil {
		g.onWait()
	}
	select {
	case <-w:
		return true
	case <-ctx.Done():
	case <-stop:
	}
	if g.dequeue(w) {
		return false
	}
	g.unlock() // handed over in the meantime
	return false
}

// enqueue adds a waiter, or takes the gate and returns nil.
func (g *gate) enqueue() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		if g.tryLock() {
			return nil
		}
		if g.state.Load() == gateWanted || g.state.CompareAndSwap(gateHeld, gateWanted) {
			break
		}
	}
	w := make(chan struct{})
	g.waiters = append(g.waiters, w)
	return w
}

// dequeue removes a waiter and reports whether it was still waiting.
func (g *gate) dequeue(w chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.waiters {
		if g.waiters[i] != w {
			continue
		}
		g.waiters = append(g.waiters[:i], g.waiters[i+1:]...)
		if len(g.waiters) == 0 {
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
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiters) == 0 { // the last one has just gone away
		g.state.Store(gateFree)
		return
	}
	w := g.waiters[0]
	g.waiters = g.waiters[1:]
	if len(g.waiters) == 0 {
		g.waiters = nil
		g.state.Store(gateHeld)
	}
	close(w)
}
