package websocket

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// keepAlive finds out whether a silent peer is alive. When its time has come it is
// looked at when bytes last arrived. If that was PingInterval ago a Ping is sent,
// and if nothing arrives for PingTimeout after that the peer is given up.
type keepAlive struct {
	last atomic.Int64 // when bytes last arrived, by clock; or unheard

	watch *watch // nil if it is off

	// watch.mu guards this, and Conn.place.
	due time.Duration // when it is to be looked at; never: it is being
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
	quick int16 // reads in a row that came within busyGap
	skip  int16 // reads not to be timed
}

// received notes that bytes have arrived.
func (k *keepAlive) received(t *readTimes) {
	if k.watch == nil {
		return
	}
	last := k.last.Load()
	if t.skip > 0 && last != unheard {
		t.skip--
		return
	}
	now := clock()
	if last == unheard || now-time.Duration(last) > busyGap {
		t.quick = 0
	} else if t.quick = min(t.quick+1, busyReads); t.quick == busyReads {
		t.skip = busySkip - 1
	}
	k.last.Store(int64(now))
}

// unheard stands for the time when bytes last arrived while it is to be found out
// whether any do.
const unheard = math.MinInt64

// listen begins to find that out. It returns what is for heard.
func (k *keepAlive) listen() (last int64) { return k.last.Swap(unheard) }

// heard reports whether bytes have arrived since listen.
func (k *keepAlive) heard(last int64) bool { return !k.last.CompareAndSwap(unheard, last) }

// watchAgain has the Conn looked at after d.
func (c *Conn) watchAgain(d time.Duration) {
	w := c.alive.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	c.alive.due = clock() + d
	if c.place >= 0 {
		w.arm(c.alive.due)
	}
}

func (c *Conn) stopKeepAlive() {
	if w := c.alive.watch; w != nil {
		w.remove(c)
	}
}

func (c *Conn) startKeepAlive() {
	if c.set.limits.PingInterval < 0 {
		return
	}
	k := &c.alive
	now := clock()
	k.last.Store(int64(now))
	k.due = now + c.set.limits.PingInterval
	if s, ok := c.stream.(sharer); ok {
		k.watch = s.Shared(func() any { return new(watch) }).(*watch)
	} else {
		k.watch = new(watch)
	}
	k.watch.add(c)
}

// never is later than any time.
const never = time.Duration(math.MaxInt64)

// A watch looks after the Conns of one connection, so that an idle one needs no
// timer of its own. The timer runs for the earliest.
type watch struct {
	mu    sync.Mutex
	timer *time.Timer   // nil before the first Conn
	at    time.Duration // when it fires; never: it does not run
	conns []*Conn
}

// Of more than watchFew Conns the watch goes through all no more often than
// every watchPause: it may be that much late.
const (
	watchFew   = 16
	watchPause = 250 * time.Millisecond
)

func (w *watch) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(time.Hour, w.look)
		w.timer.Stop()
		w.at = never
	}
	c.place = int32(len(w.conns))
	w.conns = append(w.conns, c)
	w.arm(c.alive.due)
}

func (w *watch) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.place < 0 {
		return
	}
	last := len(w.conns) - 1
	moved := w.conns[last]
	w.conns[c.place], moved.place = moved, c.place
	w.conns[last] = nil
	w.conns, c.place = w.conns[:last], -1
	if cap(w.conns) > 4*watchFew && last < cap(w.conns)/4 {
		w.conns = append(make([]*Conn, 0, cap(w.conns)/2), w.conns...)
	}
	if last == 0 {
		w.timer.Stop()
		w.at = never
	}
}

// arm sees to it that the timer fires at due, or earlier. w.mu is held.
func (w *watch) arm(due time.Duration) {
	if due < w.at {
		w.at = due
		w.timer.Reset(due - clock())
	}
}

// look runs on the timer's goroutine.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, next := clock(), never
	for _, c := range w.conns {
		k := &c.alive
		if k.due <= now {
			k.due = now + c.untilPing()
		}
		if k.due <= now {
			k.due = never
			go c.checkAlive()
		}
		next = min(next, k.due)
	}
	w.at = never
	if len(w.conns) > watchFew {
		next = max(next, now+watchPause)
	}
	w.arm(next)
}

// untilPing returns how long the peer may still be silent.
func (c *Conn) untilPing() time.Duration {
	return c.set.limits.PingInterval - (clock() - time.Duration(c.alive.last.Load()))
}

// checkAlive has a goroutine of its own, which the watch starts when the peer has
// been silent for PingInterval: it sends a Ping and waits for the Pong, reading
// itself if nobody else does. It ends after PingTimeout at the latest.
func (c *Conn) checkAlive() {
	if c.err.Load() != nil {
		return
	}
	if left := c.untilPing(); left > 0 {
		c.watchAgain(left)
		return
	}
	last := c.alive.listen()
	behind := c.backlogged() // what was read ahead then may be taken while it waits
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
	heard := c.alive.heard(last)
	switch {
	case c.err.Load() != nil:
	case heard:
		c.watchAgain(max(0, c.untilPing()))
	case err != nil && !deaf, behind, c.backlogged():
		// A frame is on its way to it, for which the stall watch is responsible;
		// or the application does not read.
		c.watchAgain(c.set.limits.PingInterval)
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
