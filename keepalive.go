package websocket

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// keepAlive finds out whether a silent peer is alive. It is one timer: when it
// fires it looks when bytes last arrived. If that was PingInterval ago it sends
// a Ping, and if nothing arrives for PingTimeout after that it gives up.
type keepAlive struct {
	on   bool
	last atomic.Int64 // when bytes last arrived, by clock

	mu       sync.Mutex
	timer    *time.Timer
	released bool
}

// A busy stream does not take the time on every read: once busyReads in a row
// came within busyGap of one another, only one in busySkip does. If it falls
// into a trickle then, a Ping may be sent too early, which does no harm.
const (
	busyReads = 64
	busySkip  = 16
	busyGap   = 10 * time.Millisecond
)

// readTimes is the reader's part of keepAlive, guarded by the reading gate.
type readTimes struct {
	quick int // reads in a row that came within busyGap
	skip  int // reads not to be timed
}

// received notes that bytes have arrived.
func (k *keepAlive) received(t *readTimes) {
	if !k.on {
		return
	}
	if t.skip > 0 {
		t.skip--
		return
	}
	now := clock()
	if now-time.Duration(k.last.Load()) > busyGap {
		t.quick = 0
	} else if t.quick++; t.quick >= busyReads {
		t.skip = busySkip - 1
	}
	k.last.Store(int64(now))
}

func (k *keepAlive) reset(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.released {
		k.timer.Reset(d)
	}
}

func (k *keepAlive) release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.released = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

func (c *Conn) startKeepAlive() {
	if c.set.limits.PingInterval < 0 {
		return
	}
	k := &c.alive
	k.on = true
	k.last.Store(int64(clock()))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(c.set.limits.PingInterval, c.checkAlive)
}

// untilPing returns how long the peer may still be silent.
func (c *Conn) untilPing() time.Duration {
	return c.set.limits.PingInterval - (clock() - time.Duration(c.alive.last.Load()))
}

// checkAlive runs on the timer's goroutine. If the peer has been silent for
// PingInterval it sends a Ping and waits for the Pong, reading itself if nobody
// else does. It ends after PingTimeout at the latest.
func (c *Conn) checkAlive() {
	if c.err.Load() != nil {
		return
	}
	if left := c.untilPing(); left > 0 {
		c.alive.reset(left)
		return
	}
	before := c.counts().bytesRead.n.Load()
	ctx, cancel := context.WithTimeout(context.Background(), c.set.limits.PingTimeout)
	defer cancel()
	dead := &CloseError{Code: StatusAbnormalClosure, Remote: true, Err: errDead}
	id, pong, err := c.writePing(ctx)
	// The stream may take nothing more and still have something to say.
	deaf := errors.As(err, &dead)
	if err == nil || deaf {
		c.awaitPong(ctx, pong)
		c.outbound().pings.remove(id)
	}
	switch {
	case c.err.Load() != nil:
	case c.counts().bytesRead.n.Load() != before:
		c.alive.reset(max(0, c.untilPing()))
	case err != nil && !deaf, c.backlogged():
		// A frame is on its way to it, for which the stall watch is responsible;
		// or the application does not read.
		c.alive.reset(c.set.limits.PingInterval)
	default:
		c.abort(dead)
	}
}

// backlogged reports whether as much was read ahead of the application as may
// be: then its silence says nothing about the peer.
func (c *Conn) backlogged() bool {
	if !c.tryLockInput() {
		return false
	}
	defer c.unlockRead()
	return c.in.aheadFull()
}
