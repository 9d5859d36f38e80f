package websocket

import (
	"context"
	"slices"
	"time"
)

// A pusher is a [Stream] that can hand over what arrives by calls, so that a
// handled socket needs no goroutine that waits in Read. A Stream implements it
// by having these methods.
type pusher interface {
	// Push makes the stream call Take or Resume from then on when something has
	// arrived and no Read is blocked: Resume at once if something waits already, or
	// if now is set. The calls do not overlap.
	//
	// Take is given bytes in the memory where they arrived, for as long as the
	// call lasts. It may last: the stream goes on receiving. It reports whether
	// Resume is to be called. Before Take, and before it receives anything else,
	// the stream calls Begin, which neither blocks nor calls the stream: if that
	// returns false the bytes wait for TryRead or Read, and Resume is called in
	// place of Take.
	//
	// Resume is called on a goroutine that may block, also when the peer has ended
	// its direction or the stream has failed: TryRead says what there is. A call
	// that ends its goroutine (runtime.Goexit) is followed by one of Resume.
	Push(to interface {
		Begin() bool
		Take(p []byte) (more bool)
		Resume()
	}, now bool)

	// Pull ends Push: what arrives waits for Read again. A call that is in
	// progress goes on.
	Pull()

	// TryRead is Read, but returns 0 and nil instead of waiting.
	TryRead(p []byte) (n int, err error)
}

// How a handled socket is served whose stream pushes: whoever the stream calls,
// one goroutine at a time, takes the reading gate, parses what is there, and
// gives the gate back while OnMessage runs. So an OnMessage may Ping and Close,
// which read for themselves what they wait for. Only while a socket is served, and
// after the Conn has ended, does anybody else read; whoever serves looks, when it
// goes idle, whether somebody has.

// The states of a handling whose stream pushes. From idle and serving it goes to
// ended, where OnClose has been called or is about to be.
const (
	pushIdle int32 = iota
	pushServing
	pushEnded
)

// push makes the stream push.
func (x *handling) push(p pusher) {
	begun := x.conn.begun()
	if begun {
		x.owed = true
	} else {
		x.state.Store(pushIdle)
	}
	p.Push(x, begun)
	if x.conn.err.Load() != nil {
		x.connEnded()
	}
}

// begun reports whether anything may have been read.
func (c *Conn) begun() bool {
	if !c.reading.tryLock() {
		return true
	}
	defer c.reading.unlock()
	return c.in != nil
}

// Begin implements what pusher asks for: it takes the reading gate for Take.
func (x *handling) Begin() bool {
	if !x.conn.tryLockInput() {
		return false
	}
	if !x.state.CompareAndSwap(pushIdle, pushServing) {
		x.conn.unlockRead()
		return false // it has ended
	}
	return true
}

// Take implements what pusher asks for. What could block is left to Resume:
// control frames, and the end.
func (x *handling) Take(p []byte) (more bool) {
	c := x.conn
	in := c.in
	c.received(len(p))
	borrowed := in.r == in.w
	if borrowed {
		in.dropBuffer()
		in.buf, in.w = p, len(p)
	} else {
		in.append(p)
	}
	x.owed = x.serve(borrowed) || x.rest()
	return x.owed
}

// Resume implements what pusher asks for. It goes on where Take has stopped, and
// does what Take does not do.
func (x *handling) Resume() {
	if !x.owed && !x.state.CompareAndSwap(pushIdle, pushServing) {
		return
	}
	x.owed = false
	x.lock()
	for {
		if x.conn.skipRest(context.Background()) != nil || x.serveAll() {
			x.conn.unlockRead()
			x.state.Store(pushEnded)
			x.close()
			return
		}
		x.conn.unlockRead()
		if !x.rest() {
			return
		}
		x.lock()
	}
}

// lock takes the reading gate for Resume. Whoever reads ahead makes way.
func (x *handling) lock() {
	x.conn.lockInput(context.Background(), nil)
	x.conn.in.lent = false
	if x.overtaken.Load() {
		x.overtaken.Store(false)
	}
}

// rest goes idle, unless the Conn has ended meanwhile, or somebody has read ahead:
// then there is more to do.
func (x *handling) rest() (more bool) {
	x.state.Store(pushIdle)
	return (x.conn.err.Load() != nil || x.overtaken.Load()) && x.state.CompareAndSwap(pushIdle, pushServing)
}

// connEnded is called by whoever has just ended the Conn. If nobody serves there
// is nothing more to deliver.
func (x *handling) connEnded() {
	if !x.pushes {
		return
	}
	x.conn.stream.(pusher).Pull()
	if x.state.CompareAndSwap(pushIdle, pushEnded) {
		go x.close() // ends with OnClose
	}
}

// serve delivers what is at hand, for Take: it gives the reading gate back in any
// case. It reports whether there is something that Resume has to do. With
// borrowed the input lies in memory that is not ours for longer than Take.
func (x *handling) serve(borrowed bool) (more bool) {
	c := x.conn
	in := c.in
	for {
		if in.controlNext() {
			more = true
			break
		}
		t, p, b, err := x.nextAtHand()
		if p == nil || err != nil {
			more = err != nil
			break
		}
		if borrowed && in.r == in.w && in.ahead == nil {
			in.dropBuffer() // p stays where it is until Take returns
			x.deliver(t, p, b, false)
			return false
		}
		if borrowed {
			in.own()
			borrowed = false
		}
		x.deliver(t, p, b, true)
		if !c.tryLockInput() {
			return true
		}
		in.lent = false
	}
	if borrowed {
		in.own()
	}
	c.publishRead()
	c.unlockRead()
	return more
}

// serveAll delivers what is at hand and what TryRead finds. It reports whether
// nothing more will come. The caller holds the reading gate.
func (x *handling) serveAll() (ended bool) {
	c := x.conn
	in := c.in
	for {
		for {
			t, p, b, err := x.nextAtHand()
			if err != nil {
				return true
			}
			if p == nil {
				break
			}
			x.deliver(t, p, b, true)
			x.lock()
		}
		n, err := 0, in.err
		if err == nil {
			in.makeRoom()
			n, err = c.stream.(pusher).TryRead(in.buf[in.w:])
		}
		switch {
		case n > 0:
			in.w += n
			in.err = err
			c.received(n)
		case err != nil:
			c.inputEnded(err)
		default:
			c.publishRead()
			return false
		}
	}
}

// deliver gives the reading gate back and calls OnMessage. b is the buffer that
// p was gathered in, if it was. With lent p may lie in the input's buffer.
func (x *handling) deliver(t MessageType, p []byte, b *[]byte, lent bool) {
	x.conn.in.lent = lent
	x.owed = true // should OnMessage end the goroutine
	x.conn.reading.unlock()
	x.conn.callHandler(x.handler, t, p)
	x.owed = false
	if b != nil {
		putMessageBuffer(b)
	}
}

// nextAtHand returns the next message, nil if it is not at hand. It lies where it
// arrived if it lies there in one piece, else in b. The caller holds the reading
// gate.
func (x *handling) nextAtHand() (t MessageType, p []byte, b *[]byte, err error) {
	c := x.conn
	in := c.in
	if ce := c.err.Load(); c.closedHere(ce) {
		return 0, nil, nil, ce
	}
	if !in.open && in.ahead == nil && in.r < in.w && c.err.Load() == nil {
		t, p, ok, err := c.takeFrame(context.Background())
		if ok || err != nil {
			return t, p, nil, err
		}
	}
	for {
		if !in.open || len(in.piece) == 0 && !in.last {
			p, ok, err := c.partAtHand()
			if !ok {
				return 0, nil, nil, err
			}
			in.begin(p)
			if p.first && p.last && !p.compressed {
				return MessageType(p.opcode), p.payload, nil, c.endMessage()
			}
		}
		var g gathering
		if in.gathered != nil {
			g.p, g.pooled, in.gathered = *in.gathered, in.gathered, nil
		}
		if err := c.takePiece(&g); err != nil {
			return 0, nil, nil, err
		}
		if b = g.buffer(); !in.last {
			in.gathered = b
			continue
		}
		in.usual = usualSize(len(*b))
		return in.messageType, *b, b, c.endMessage()
	}
}

// partAtHand is nextPart for somebody who does not wait.
func (c *Conn) partAtHand() (part, bool, error) {
	if c.in.ahead != nil {
		p, err := c.nextPart(context.Background())
		return p, true, err
	}
	if ce := c.err.Load(); ce != nil {
		return part{}, false, ce
	}
	return c.parse(context.Background())
}

// lockAhead takes the reading gate for somebody who wants to read ahead of the
// application, or returns false without it, when ctx has ended, stop is closed
// or a little time has passed. Where messages are pushed only the time while a
// message is being served is theirs.
func (c *Conn) lockAhead(ctx context.Context, stop <-chan struct{}) bool {
	if !c.lockInput(ctx, stop) {
		return false
	}
	x := c.handling.Load()
	if x == nil || !x.pushes || c.err.Load() != nil {
		return true
	}
	x.overtaken.Store(true)
	if x.state.Load() == pushServing {
		return true
	}
	c.unlockRead()
	wait := time.NewTimer(pushPause)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	case <-stop:
	case <-c.overChan():
	}
	return false
}

// pushPause is after how long somebody who waits for a control frame looks
// whether OnMessage runs, behind which it would have to wait.
const pushPause = 50 * time.Millisecond

// received accounts for n bytes read from the stream.
func (c *Conn) received(n int) {
	in := c.in
	if !in.used {
		c.useInput()
	}
	in.count.bytes += int64(n)
	c.alive.received(&in.times)
}

// controlNext reports whether a control frame is at hand, or the start of one.
func (in *inbound) controlNext() bool {
	return in.r < in.w && in.recv.Remaining() == 0 && in.buf[in.r]&0x8 != 0
}

// own moves what is left of the input into memory of its own.
func (in *inbound) own() {
	rest := in.buf[in.r:in.w]
	in.buf, in.pooled, in.r, in.w = nil, nil, 0, 0
	in.append(rest)
}

// append adds p to the input.
func (in *inbound) append(p []byte) {
	if len(p) == 0 {
		return
	}
	if in.buf == nil && len(p) > readBufferSize {
		in.buf, in.w = slices.Clone(p), len(p)
		return
	}
	in.makeRoom()
	if len(in.buf)-in.w < len(p) {
		in.buf = slices.Grow(in.buf[:in.w], len(p))
		in.buf = in.buf[:cap(in.buf)]
	}
	in.w += copy(in.buf[in.w:], p)
}

// detach leaves the memory of the input to the message that OnMessage is looking
// at, if there is one. Who takes the reading gate to read calls it first.
func (in *inbound) detach() {
	if in.lent {
		in.own()
		in.lent = false
	}
}
