package websocket

import (
	"context"
	"fmt"
	"iter"
	"net"
	"sync"
)

// A SlowReceiver says what [Broadcast] does about a socket for which so much waits
// already that no more may.
type SlowReceiver uint8

const (
	// SlowMisses leaves the message out for that socket.
	SlowMisses SlowReceiver = iota

	// SlowEnds ends that socket, as [Conn.CloseNow] does: its peer sees status
	// 1006, and may come back and ask for what it has missed.
	SlowEnds

	// SlowWaits has Broadcast wait for that socket, after it has written to all
	// others.
	SlowWaits
)

// Broadcast writes m to many sockets, none of which holds up the others, and
// returns how many of them get it and how many do not, because they are slow.
// Sockets that have ended, on which CloseWrite was called or a write has failed,
// are passed over and count as neither.
//
// m is encoded once for all sockets that agreed on the same parameters. Sockets
// over one HTTP/2 connection of h2connect cost a copy each, and are sent together.
// What another socket cannot take at once, or has a stream of its own, waits for a
// goroutine that writes it and ends when nothing waits, at the latest at
// [Limits.WriteStall]: up to 64 KiB, or one message, behind the one that it is
// writing. A socket that cannot take even that is slow.
//
// Broadcasts that follow one another keep their order on every socket. What is
// written in another way afterwards comes behind them, unless somebody was at a
// message of several frames or one to be compressed, or waited to begin it, when
// they came. Close's frame comes behind them even then, unless a part of a message
// has been sent already, which it cuts short. Nor do broadcasts that never cease
// keep others from writing to a slow socket. ctx ends the waiting of SlowWaits, no
// more.
func Broadcast(ctx context.Context, m *PreparedMessage, to iter.Seq[*Conn], slow SlowReceiver) (written, missed int) {
	b := broadcast{ctx: ctx, message: m, slow: slow}
	for c := range to {
		b.write(c)
	}
	if b.last != nil {
		b.last.Flush()
	}
	for f := range b.others {
		f.Flush()
	}
	b.waiting.Wait()
	return b.written + b.waited, b.missed + b.failed
}

// A broadcast is one in progress.
type broadcast struct {
	ctx             context.Context
	message         *PreparedMessage
	slow            SlowReceiver
	written, missed int

	// Connections to be flushed. Sockets of one usually come in a row.
	last   flusher
	others map[flusher]struct{}

	// Those that are waited for.
	waiting        sync.WaitGroup
	mu             sync.Mutex
	waited, failed int
}

type flusher = interface{ Flush() }

// write writes to c without waiting.
func (b *broadcast) write(c *Conn) {
	if c.err.Load() != nil {
		return
	}
	q := c.laterQueue()
	if f, taken := q.write(b.message); taken {
		b.written++
		b.flushLater(f)
		return
	}
	switch {
	case c.takesNoMore():
	case b.slow == SlowWaits:
		b.waiting.Go(func() { b.wait(q) }) // ends when there is room, with the socket, or with ctx
	default:
		b.missed++
		if b.slow == SlowEnds {
			c.endNow(&CloseError{Code: StatusAbnormalClosure, Err: errSlowReceiver})
		}
	}
}

var errSlowReceiver = fmt.Errorf("too slow for a broadcast: %w", net.ErrClosed)

func (b *broadcast) flushLater(f flusher) {
	if f == nil || f == b.last {
		return
	}
	if b.last != nil {
		if b.others == nil {
			b.others = make(map[flusher]struct{})
		}
		b.others[b.last] = struct{}{}
	}
	b.last = f
}

func (b *broadcast) wait(q *laterQueue) {
	for {
		room := q.awaitRoom()
		f, taken := q.write(b.message)
		if f != nil {
			f.Flush()
		}
		if taken {
			b.count(&b.waited)
			return
		}
		if q.conn.takesNoMore() {
			return
		}
		select {
		case <-room:
		case <-b.ctx.Done():
			b.count(&b.failed)
			return
		}
	}
}

// takesNoMore reports whether the socket has ended, a write has failed, or CloseWrite
// has begun to say goodbye: then no message is written any more.
func (c *Conn) takesNoMore() bool {
	return c.err.Load() != nil || c.outbound().failed.Load() || c.goodbyeSaid() != nil
}

func (b *broadcast) count(n *int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*n++
}
