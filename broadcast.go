package websocket

import (
	"context"
	"fmt"
	"iter"
	"net"
	"sync"

	"github.com/wsmux/websocket/frame"
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
// Sockets that have ended, or on which CloseWrite was called, are passed over and
// count as neither.
//
// m is encoded once for all sockets that agreed on the same parameters. Sockets
// over one HTTP/2 connection of h2connect cost a copy each, and are sent together.
// What another socket cannot take at once, or has a stream of its own, waits for a
// goroutine that writes it and ends when nothing waits, at the latest at
// [Limits.WriteStall]: up to 64 KiB, or one message, behind the one that it is
// writing. A socket that cannot take even that is slow.
//
// Broadcasts that follow one another keep their order on every socket. What is
// written in another way afterwards comes behind them, unless a message of somebody
// else's was being written when they came. ctx ends the waiting of SlowWaits, no
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
			c.abort(&CloseError{Code: StatusAbnormalClosure, Err: errSlowReceiver})
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

// takesNoMore reports whether the socket has ended, or CloseWrite has begun to say
// goodbye: then no message is written any more.
func (c *Conn) takesNoMore() bool { return c.err.Load() != nil || c.goodbyeSaid() != nil }

func (b *broadcast) count(n *int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*n++
}

// maxLater bounds, in bytes of payload, what of broadcasts waits for a socket.
const maxLater = 64 << 10

// A laterQueue holds messages of broadcasts that a socket could not take at once.
type laterQueue struct {
	conn *Conn

	mu       sync.Mutex
	messages []*PreparedMessage
	bytes    int
	running  bool
	room     chan struct{} // closed when messages becomes shorter; nil: nobody waits
}

func (c *Conn) laterQueue() *laterQueue {
	o := c.outbound()
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.later == nil {
		o.later = &laterQueue{conn: c}
	}
	return o.later
}

// write writes m, or lets it wait, if that is possible without waiting itself. If
// f is not nil m is sent when f is flushed.
func (q *laterQueue) write(m *PreparedMessage) (f flusher, taken bool) {
	c := q.conn
	q.mu.Lock()
	defer q.mu.Unlock()
	var h frame.Header
	var e *preparedFrame // with the gates held, if not nil
	if !q.running {
		h, e = c.lockLater(m)
	}
	if e != nil {
		if s, ok := c.stream.(laterWriter); ok {
			if f, taken = c.takeLater(s, h, e, m); taken {
				return f, true
			}
		}
	} else if c.takesNoMore() || q.bytes > 0 && q.bytes+len(m.payload) > maxLater {
		return nil, false
	}
	q.messages, q.bytes = append(q.messages, m), q.bytes+len(m.payload)
	if !q.running {
		q.running = true
		go q.run(h, e)
	}
	return nil, true
}

// run is the goroutine that writes what waits. It ends when nothing does, or with
// the socket, whose limits bound every write. If e is not nil it is the first
// message's frame, and the gates are held: so that what is written after a
// broadcast does not overtake it.
func (q *laterQueue) run(h frame.Header, e *preparedFrame) {
	c, ctx := q.conn, context.Background()
	for {
		m := q.next()
		if e != nil && (m == nil || c.compresses(m.messageType, len(m.payload)) != h.RSV1) {
			c.unlockLater(h)
			e = nil
		}
		switch {
		case m == nil && q.end():
			return
		case m == nil:
			continue
		case e == nil:
			if c.WritePrepared(ctx, m) != nil {
				q.drop()
			}
			continue
		}
		h.Opcode = m.messageType.opcode()
		e = c.encoded(m, h)
		if e.err != nil || c.writePreparedFrame(ctx, h, e) != nil {
			q.drop()
		} else if h.RSV1 {
			c.outbound().written.inflated.add(len(m.payload))
		}
	}
}

// next takes the first of what waits, nil if nothing does.
func (q *laterQueue) next() *PreparedMessage {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) == 0 {
		return nil
	}
	m := q.messages[0]
	q.messages, q.bytes = q.messages[1:], q.bytes-len(m.payload)
	q.changed()
	return m
}

// drop gives up what waits: the socket has ended.
func (q *laterQueue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages, q.bytes = nil, 0
	q.changed()
}

// end ends running if nothing waits.
func (q *laterQueue) end() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) > 0 {
		return false
	}
	q.messages, q.running = nil, false
	q.changed()
	return true
}

// changed wakes those who wait for room. q.mu is held.
func (q *laterQueue) changed() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// awaitRoom returns what is closed when something of what waits has been written.
func (q *laterQueue) awaitRoom() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}

// encoded returns m's frame for c, whose header is to be h.
func (c *Conn) encoded(m *PreparedMessage, h frame.Header) *preparedFrame {
	var form preparedForm
	if h.RSV1 {
		form.level = c.set.compression.Level
		form.bits, _ = c.writeParams()
	}
	return m.form(form)
}

// lockLater takes the gates for m if they are free and no message is in progress.
// The frame is nil if not.
func (c *Conn) lockLater(m *PreparedMessage) (h frame.Header, e *preparedFrame) {
	h = frame.Header{Fin: true, Opcode: m.messageType.opcode(), RSV1: c.compresses(m.messageType, len(m.payload))}
	if h.RSV1 {
		if !c.outbound().message.tryLock() {
			return h, nil
		}
		c.forgetContext()
	}
	e = c.encoded(m, h)
	if e.err == nil && c.output.tryLock() {
		if !c.outbound().streaming.Load() && c.outbound().err == nil && c.err.Load() == nil {
			return h, e
		}
		c.unlockOutput()
	}
	if h.RSV1 {
		c.outbound().message.unlock()
	}
	return h, nil
}

func (c *Conn) unlockLater(h frame.Header) {
	c.unlockOutput()
	if h.RSV1 {
		c.outbound().message.unlock()
	}
}

// takeLater has the stream take m's frame. The caller holds the gates, which are
// given back if it has.
func (c *Conn) takeLater(s laterWriter, h frame.Header, e *preparedFrame, m *PreparedMessage) (f flusher, taken bool) {
	p := e.server
	if c.set.client {
		h.Key = c.outbound().key()
		b := deflateBuffers.Get().(*[]byte)
		defer putDeflateBuffer(b)
		var err error
		*b, err = c.outbound().sender.Append((*b)[:0], h, e.payload)
		if err != nil { // it was written before, so that this cannot be
			return nil, false
		}
		p = *b
	}
	f, taken = s.WriteLater(p)
	if !taken {
		return nil, false
	}
	c.outbound().written.bytes.add(len(p))
	c.outbound().written.frames.add(1)
	if h.RSV1 {
		c.outbound().written.compressed.add(len(e.payload))
		c.outbound().written.inflated.add(len(m.payload))
	}
	if c.outbound().pongDue.Load() {
		go c.unlockLater(h) // a pong goes out with it; ends with that
	} else {
		c.unlockLater(h)
	}
	return f, true
}
