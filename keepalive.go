package websocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/frame"
)

// keepAlive finds out whether a silent peer is alive. It is one timer: it fires
// when nothing has arrived for PingInterval, sends a Ping, and fires again when
// nothing has arrived for PingTimeout after that.
type keepAlive struct {
	on   bool
	last atomic.Int64 // when bytes last arrived, on Conn.clock

	mu       sync.Mutex
	timer    *time.Timer
	released bool
}

// received notes a sign of life.
func (k *keepAlive) received(clock func() time.Duration) {
	if k.on {
		k.last.Store(int64(clock()))
	}
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
	if c.limits.PingInterval < 0 {
		return
	}
	c.alive.on = true
	c.alive.last.Store(int64(c.clock()))
	c.alive.mu.Lock()
	defer c.alive.mu.Unlock()
	c.alive.timer = time.AfterFunc(c.limits.PingInterval, c.checkAlive)
}

// checkAlive runs on the timer's goroutine. If the peer has been silent for
// PingInterval it sends a Ping and waits for the Pong, reading itself if nobody
// else does. It ends after PingTimeout at the latest.
func (c *Conn) checkAlive() {
	if c.err.Load() != nil {
		return
	}
	last := c.alive.last.Load()
	if left := c.limits.PingInterval - (c.clock() - time.Duration(last)); left > 0 {
		c.alive.reset(left)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limits.PingTimeout)
	defer cancel()
	id, pong := c.pings.add()
	defer c.pings.remove(id)
	sent := c.writeControl(ctx, frame.Ping, id[:]) == nil
	if sent {
		c.awaitPong(ctx, pong)
	}
	now := c.alive.last.Load()
	switch {
	case c.err.Load() != nil:
	case now != last:
		c.alive.reset(max(0, c.limits.PingInterval-(c.clock()-time.Duration(now))))
	case !sent, c.backlogged():
		// A frame is on its way to a peer that takes it slowly, for which the
		// stall watch is responsible; or the application does not read.
		c.alive.reset(c.limits.PingInterval)
	default:
		c.abort(&CloseError{Code: StatusAbnormalClosure, Remote: true, Err: errDead})
	}
}

// backlogged reports whether as much was read ahead of the application as may
// be: then its silence says nothing about the peer.
func (c *Conn) backlogged() bool {
	if !c.reading.tryLock() {
		return false
	}
	defer c.unlockRead()
	return c.in.aheadFull()
}
