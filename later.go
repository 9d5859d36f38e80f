package websocket

import (
	"context"
	"sync"

	"github.com/wsmux/websocket/frame"
)

// maxLater bounds, in bytes, what of broadcasts waits for a socket.
const maxLater = 64 << 10

// weight returns how much of maxLater m takes: something, even if it is empty.
func (m *PreparedMessage) weight() int { return frame.MaxHeaderSize + len(m.payload) }

// A laterQueue holds messages of broadcasts that a socket could not take at once.
// What waits has its place among those who wait for the gates from the moment in
// which it came: so nothing that is written after a broadcast overtakes it, and a
// socket to which broadcasts come faster than its peer reads them can be written to
// in other ways all the same.
type laterQueue struct {
	conn *Conn

	mu       sync.Mutex
	messages []*PreparedMessage
	bytes    int
	running  bool
	held     bool          // run holds the gates
	room     chan struct{} // closed when messages becomes shorter; nil: nobody waits

	// If behind is not nil somebody wants the gates who came after the first before
	// of messages, and before the others, whose turn it is.
	behind *turn
	before int
}

// A turn is a place in line for the message gate and the output gate. The zero turn
// has come: both are held.
type turn struct {
	message *waiter // nil: the gate is held
	output  *waiter // nil: the gate is held, or will be waited for behind the other
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
	if q.running {
		if q.bytes > 0 && q.bytes+m.weight() > maxLater {
			return nil, false
		}
		if q.held && q.behind == nil && (c.outbound().message.wanted() || c.output.wanted()) {
			t := c.lineUpAgain()
			q.behind, q.before = &t, len(q.messages)
		}
		// Who ends the socket says so before he lines up for the Close frame: m comes
		// before that, or it is seen here.
		if c.takesNoMore() {
			return nil, false
		}
		q.append(m)
		return nil, true
	}
	t := c.lineUp()
	if t == (turn{}) && c.writableNow(context.Background()) == nil {
		if s, ok := c.stream.(laterWriter); ok {
			if f, taken = c.takeLater(s, m); taken {
				return f, true
			}
		}
	} else if c.takesNoMore() { // as above
		c.leave(t)
		return nil, false
	}
	q.append(m)
	q.running = true
	go q.run(t)
	return nil, true
}

// append adds m to what waits. q.mu is held.
func (q *laterQueue) append(m *PreparedMessage) {
	q.messages, q.bytes = append(q.messages, m), q.bytes+m.weight()
}

// run is the goroutine that writes what waits, when it is its turn. It ends when
// nothing waits, or with the socket, whose limits bound every write.
func (q *laterQueue) run(t turn) {
	c := q.conn
	for {
		if !c.await(t) {
			q.abandon()
			return
		}
		next := q.writeAll()
		c.writePongIfFree()
		if next == nil {
			return
		}
		t = *next
	}
}

// writeAll writes what waits for this turn, gives the gates back, and returns the
// next turn, nil if nothing waits.
func (q *laterQueue) writeAll() *turn {
	for {
		m, next := q.next()
		if m == nil {
			return next
		}
		if q.conn.writeLater(m) != nil {
			q.drop()
		}
		q.conn.writeDuePong()
	}
}

// next takes the first of what waits for this turn. If nothing does it gives the
// gates back, in the same moment: who comes next finds them held, or nothing that
// waits. t is the next turn, nil if there is none and run is to end.
func (q *laterQueue) next() (m *PreparedMessage, t *turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = true
	if q.behind == nil || q.before > 0 {
		if m = q.first(); m != nil {
			return m, nil
		}
	}
	t = q.behind
	q.behind, q.held = nil, false
	c := q.conn
	c.output.unlock()
	if t == nil || t.message != nil {
		c.unlockMessage()
	}
	if t == nil {
		q.messages, q.running = nil, false
		q.changed()
	}
	return nil, t
}

// first takes the first of what waits, nil if nothing does. q.mu is held.
func (q *laterQueue) first() *PreparedMessage {
	if len(q.messages) == 0 {
		return nil
	}
	m := q.messages[0]
	q.messages[0] = nil // the array stays for as long as something waits
	q.messages, q.bytes, q.before = q.messages[1:], q.bytes-m.weight(), q.before-1
	q.changed()
	return m
}

// drop gives up what waits, after a write that has failed.
func (q *laterQueue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages, q.bytes, q.before = nil, 0, 0
	q.changed()
}

// abandon gives up what waits, and ends running: the socket has ended, and the
// gates are not held.
func (q *laterQueue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages, q.bytes, q.running = nil, 0, false
	q.changed()
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

// lineUp takes the gates, or places in line for them, without waiting.
func (c *Conn) lineUp() (t turn) {
	if t.message = c.outbound().message.lineUp(); t.message == nil {
		t.output = c.output.lineUp()
	}
	return t
}

// lineUpAgain returns a turn behind those who wait for the gates. The caller holds
// both, and gives those back that the turn waits for.
func (c *Conn) lineUpAgain() turn {
	if m := &c.outbound().message; m.wanted() {
		return turn{message: m.lineUp()}
	}
	return turn{output: c.output.lineUp()}
}

// await waits for t, and returns false, without the gates, if the socket ends
// first.
func (c *Conn) await(t turn) bool {
	if t == (turn{}) {
		return true
	}
	ctx, over, message := context.Background(), c.overChan(), &c.outbound().message
	if t.message != nil && !message.await(t.message, ctx, over) {
		c.forgetAtEnd()
		return false
	}
	if t.output == nil && c.output.lock(ctx, over) || t.output != nil && c.output.await(t.output, ctx, over) {
		return true
	}
	c.unlockMessage()
	return false
}

// leave gives up t.
func (c *Conn) leave(t turn) {
	if t.message != nil {
		c.outbound().message.leave(t.message)
		c.forgetAtEnd()
		return
	}
	c.output.leave(t.output)
	c.unlockMessage()
}

// writeLater writes m. The caller holds the gates. A Close that has begun since m
// came waits for them, and sends its frame behind m.
func (c *Conn) writeLater(m *PreparedMessage) error {
	if ce := c.outbound().err; ce != nil {
		return ce
	}
	h, e := c.prepared(m)
	if e.err != nil {
		return e.err
	}
	return c.writePreparedFrame(context.Background(), h, e, m)
}

// writeBeforeClose writes what waits for the message gate, for somebody who does not
// wait for it: he is about to write the Close frame, and nothing is added any more.
// The caller holds the output gate.
func (c *Conn) writeBeforeClose(ctx context.Context) error {
	o := c.outbound()
	c.mu.Lock()
	q, over := o.later, c.isOver
	c.mu.Unlock()
	if q == nil || over || o.sender.InMessage() {
		return nil
	}
	for {
		q.mu.Lock()
		m := q.first()
		q.mu.Unlock()
		if m == nil {
			return nil
		}
		h, e := c.lastPrepared(m)
		if e.err != nil {
			continue
		}
		if err := c.writePreparedFrame(ctx, h, e, m); err != nil {
			return err
		}
		c.writeDuePong()
	}
}

// takeLater has the stream take m's frame. The caller holds the gates, which are
// given back if it has.
func (c *Conn) takeLater(s laterWriter, m *PreparedMessage) (f flusher, taken bool) {
	h, e := c.prepared(m)
	if e.err != nil {
		return nil, false
	}
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
	c.countCompressed(h, e, m)
	c.unlockMessage()
	c.output.unlock()
	if c.pongIsDue() {
		go c.writePongIfFree() // ends with the write
	}
	return f, true
}
