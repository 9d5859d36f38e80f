package websocket

import (
	"context"
	"sync"
	"time"

	"github.com/wsmux/websocket/frame"
)

// keepAliveSteps is how many times within PingInterval a keepAlive looks at a
// peer that is not silent.
const keepAliveSteps = 8

// keepAlive finds out whether a silent peer is alive. It is one timer, and costs
// a read nothing: when the timer fires it looks whether bytes have arrived. When
// none have for PingInterval it sends a Ping, and when none have for PingTimeout
// after that it gives up.
//
// A socket that is silent from the start, or after a Ping was answered, gets its
// Ping exactly at the interval; one that falls silent, up to an eighth later.
type keepAlive struct {
	mu       sync.Mutex
	timer    *time.Timer
	seen     int64         // the bytes read when it last looked
	silent   time.Duration // for how long there have not been more
	wait     time.Duration // what the timer was set to
	released bool
}

// set starts the timer. k.mu is held.
func (k *keepAlive) set(d time.Duration) {
	k.wait = d
	if !k.released {
		k.timer.Reset(d)
	}
}

// look takes the number of bytes read, and reports whether there have been no
// new ones for interval; if there have, it looks again later.
func (k *keepAlive) look(read int64, interval time.Duration) (silent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if read == k.seen {
		k.silent += k.wait
	} else {
		k.seen, k.silent = read, 0
	}
	if k.silent >= interval {
		return true
	}
	k.set(interval / keepAliveSteps)
	return false
}

// restart begins to watch anew.
func (k *keepAlive) restart(read int64, interval time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen, k.silent = read, 0
	k.set(interval)
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
	k := &c.alive
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wait = c.limits.PingInterval
	k.timer = time.AfterFunc(k.wait, c.checkAlive)
}

// checkAlive runs on the timer's goroutine. If the peer has been silent for
// PingInterval it sends a Ping and waits for the Pong, reading itself if nobody
// else does. It ends after PingTimeout at the latest.
func (c *Conn) checkAlive() {
	before := c.count.bytesRead.n.Load()
	if c.err.Load() != nil || !c.alive.look(before, c.limits.PingInterval) {
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
	now := c.count.bytesRead.n.Load()
	switch {
	case c.err.Load() != nil:
	case now != before, !sent, c.backlogged():
		// It is alive; or a frame is on its way to it, for which the stall watch
		// is responsible; or the application does not read.
		c.alive.restart(now, c.limits.PingInterval)
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
