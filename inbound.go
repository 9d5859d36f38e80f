package websocket

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/deflate"
)

const (
	// readBufferSize is what one read of the stream asks for. The buffer is
	// held only while bytes of it are unread, or a read is waiting.
	readBufferSize = 8 << 10

	// directRead is the number of payload bytes still to come from which a
	// read goes straight to where the message is gathered.
	directRead = 512

	// firstRoom bounds the memory for a message of which little has come.
	firstRoom = 8 * readBufferSize

	// maxAhead bounds what is read ahead of the application, in bytes and in
	// parts.
	maxAhead      = 64 << 10
	maxAheadParts = 1 << 10
)

var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

// inbound is what the holder of the reading gate owns.
type inbound struct {
	buf    []byte                // received bytes; buf[r:w] are not parsed yet
	pooled *[readBufferSize]byte // what buf came from, nil if it is not from the pool
	r, w   int
	count  struct{ frames, bytes int64 }
	times  readTimes
	err    error // came with the last bytes of buf

	lent  bool  // an OnMessage that runs may be looking at buf's memory
	used  bool  // something has come: it is not given up while nothing is in it
	usual uint8 // the last message that was gathered had at most 1<<usual bytes

	// The message being read by the application.
	open        bool // it has begun and not been read to its end
	last        bool // piece ends it
	compressed  bool
	messageType MessageType
	text        frame.UTF8
	reader      *messageReader // the Reader that has begun to hand it out, if any

	ahead     *ahead // parsed before the application asked; nil for nothing
	recv      frame.Receiver
	published traffic // what is known of count

	// More of the message.
	piece    []byte  // received, not consumed yet; may alias buf
	size     int64   // inflated bytes so far
	limit    int64   // Limits.Message when it began
	gathered *[]byte // what has come of it and was not handed out, in a message buffer; or nil
	inflater *deflate.Inflater

	control bucket // inbound Ping and Pong frames
}

// A part is a piece of a data message, parsed.
type part struct {
	opcode      frame.Opcode
	first, last bool
	compressed  bool
	limit       int64 // Limits.Message when its message began
	payload     []byte
}

// An ahead is what was read ahead of the application: one part at least.
type ahead struct {
	parts []part
	bytes int
	room  chan struct{} // closed when there is room for more; nil: nobody waits for that
}

// lockRead takes the reading gate for a read by the application. A Conn that
// was closed on this side reads nothing more; one that the peer ended, also by
// its answer to CloseWrite, yields first what was read ahead. A context that has
// ended does not matter then: there is nothing to wait for. Nor does it where the
// stream has ended, which on HTTP/2 ends the request's context: it is the stream's
// end that is to be told.
func (c *Conn) lockRead(ctx context.Context) error {
	ce := c.err.Load()
	if c.closedHere(ce) {
		return ce
	}
	if ce == nil && ctx.Err() != nil {
		if !c.knowsEnd() {
			return gaveUp("read", ctx)
		}
		ctx = context.WithoutCancel(ctx)
	}
	if c.handling.Load() != nil {
		return errHandled
	}
	if !c.lockInput(ctx, nil) {
		if !c.knowsEnd() {
			return gaveUp("read", ctx)
		}
		c.lockInput(context.WithoutCancel(ctx), nil) // whoever reads finds the end
	}
	if c.handling.Load() != nil { // who serves a Handler does not look for what is read here
		c.unlockRead()
		return errHandled
	}
	return nil
}

// knowsEnd reports whether the stream is known to have ended.
func (c *Conn) knowsEnd() bool {
	e, ok := c.stream.(endKnower)
	return ok && e.InputEnded()
}

// lockInput takes the reading gate, as gate.lock does. Whoever reads ahead of the
// application is asked to make way.
func (c *Conn) lockInput(ctx context.Context, stop <-chan struct{}) bool {
	if c.tryLockInput() {
		return true
	}
	if w := c.reading.enqueue(); w != nil {
		if r := c.rare.Load(); r != nil {
			if yield := r.yield.Load(); yield != nil {
				(*yield)()
			}
		}
		if !c.reading.await(w, ctx, stop) {
			return false
		}
	}
	c.needInput()
	return true
}

// tryLockInput takes the reading gate if it is free.
func (c *Conn) tryLockInput() bool {
	if !c.reading.tryLock() {
		return false
	}
	c.needInput()
	return true
}

func (c *Conn) needInput() {
	if c.in == nil {
		c.in = c.newInbound()
	}
}

// useInput is called when something has come.
func (c *Conn) useInput() {
	in := c.in
	in.used = true
	if t := c.read.Load(); t != nil { // it goes on where another one stopped
		in.published.take(t)
		in.count.frames, in.count.bytes = t.frames.n.Load(), t.bytes.n.Load()
	}
	c.read.Store(&in.published)
}

var inbounds = sync.Pool{New: func() any { return new(inbound) }}

func (c *Conn) newInbound() *inbound {
	in := inbounds.Get().(*inbound)
	limits := &c.set.limits
	side := frame.Server
	if c.set.client {
		side = frame.Client
	}
	in.recv = frame.Receiver{
		Side:              side,
		Deflate:           c.set.deflate != nil,
		MaxCompressed:     limits.CompressedMessage,
		MaxFragments:      limits.Fragments,
		MaxEmptyFragments: limits.EmptyFragments,
	}
	in.control.init(limits.ControlBurst)
	return in
}

// unlockRead gives the reading gate back, and the buffer if nothing is in it.
func (c *Conn) unlockRead() {
	in := c.in
	if in.r == in.w && len(in.piece) == 0 && in.err == nil {
		in.dropBuffer()
		if !in.used { // nor has anything ever been
			c.in = nil
			inbounds.Put(in)
		}
	}
	c.reading.unlock()
}

// dropBuffer gives up the buffer and what is in it, unless a piece that is still
// to be read lies there.
func (in *inbound) dropBuffer() {
	if len(in.piece) > 0 {
		return
	}
	if in.pooled != nil && !in.lent {
		readBuffers.Put(in.pooled)
	}
	in.buf, in.pooled, in.r, in.w = nil, nil, 0, 0
}

// closedHere reports whether ce, which may be nil, ended the Conn so that nothing
// more is to be read.
func (c *Conn) closedHere(ce *CloseError) bool {
	return ce != nil && !ce.Remote && ce != c.goodbyeSaid()
}

// awaitInput waits until something has arrived that was not consumed. The caller
// holds the reading gate.
func (c *Conn) awaitInput(ctx context.Context) error {
	in := c.in
	if ce := c.err.Load(); ce != nil && in.ahead == nil {
		return ce
	}
	if in.r < in.w || in.open || in.ahead != nil || in.err != nil {
		return nil
	}
	return c.fill(ctx)
}

// nextPart returns the next piece of a data message. Control frames on the way
// to it are dealt with. The payload is valid until the next call of fill.
func (c *Conn) nextPart(ctx context.Context) (part, error) {
	in := c.in
	if a := in.ahead; a != nil {
		p := a.parts[0]
		a.parts = a.parts[1:]
		a.bytes -= len(p.payload)
		if a.room != nil && !in.aheadFull() {
			close(a.room)
			a.room = nil
		}
		if len(a.parts) == 0 {
			in.ahead = nil
		}
		return p, nil
	}
	for {
		if ce := c.err.Load(); ce != nil {
			return part{}, ce
		}
		p, ok, err := c.parse(ctx)
		if ok || err != nil {
			return p, err
		}
		if err := c.fill(ctx); err != nil {
			return part{}, err
		}
	}
}

// setLimit applies what SetReadLimit has changed, between messages.
func (c *Conn) setLimit() {
	if !c.in.recv.InMessage() {
		c.in.recv.MaxMessage = c.messageLimit()
	}
}

// parse returns the next piece of a data message that the buffer holds, and
// false if it holds none.
func (c *Conn) parse(ctx context.Context) (part, bool, error) {
	in := c.in
	for in.r < in.w {
		c.setLimit()
		var ev frame.Event
		n, err := in.recv.NextInto(&ev, in.buf[in.r:in.w])
		in.r += n
		if err != nil {
			return part{}, false, c.breach(err)
		}
		switch ev.Kind {
		case frame.NeedMore:
			return part{}, false, nil
		case frame.Control:
			if err := c.takeControl(ctx, ev); err != nil {
				return part{}, false, err
			}
		case frame.Data:
			return c.takePart(ev), true, nil
		}
	}
	return part{}, false, nil
}

func (c *Conn) takeControl(ctx context.Context, ev frame.Event) error {
	c.in.count.frames++
	c.countOther()
	return c.handleControl(ctx, ev)
}

func (c *Conn) takePart(ev frame.Event) part {
	in := c.in
	c.countPart(&ev)
	if ev.Compressed {
		in.published.compressed.add(len(ev.Payload))
	}
	return part{ev.Opcode, ev.First, ev.Last, ev.Compressed, in.recv.MaxMessage, ev.Payload}
}

// fill reads from the stream into the buffer, behind what is not parsed yet.
func (c *Conn) fill(ctx context.Context) error {
	in := c.in
	if in.r == in.w && len(in.piece) == 0 && in.recv.Remaining() == 0 {
		if s, ok := c.stream.(lazyReader); ok {
			in.dropBuffer()
			n, err := c.readStream(ctx, nil, s)
			in.w = n
			return err
		}
	}
	in.makeRoom()
	n, err := c.readStream(ctx, in.buf[in.w:], nil)
	in.w += n
	return err
}

// Buffer implements what lazyReader asks for.
func (in *inbound) Buffer() []byte {
	if in.buf == nil {
		in.pooled = readBuffers.Get().(*[readBufferSize]byte)
		in.buf = in.pooled[:]
	}
	return in.buf
}

// Borrow implements what lazyReader asks for.
func (in *inbound) Borrow(p []byte) { in.buf = p }

// makeRoom makes sure that buf has room behind w.
func (in *inbound) makeRoom() {
	if in.r == in.w && in.pooled == nil {
		in.dropBuffer() // what was given to New, or borrowed, has been parsed
	}
	if rest := in.buf[in.r:in.w]; in.pooled == nil && len(rest) < readBufferSize {
		in.buf = nil
		in.r, in.w = 0, copy(in.Buffer(), rest)
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if in.w == len(in.buf) { // Buffered ended in mid-frame
		in.buf = append(in.buf, make([]byte, readBufferSize)...)
	}
}

// readStream reads at least one byte of the stream into p, or returns an error:
// gaveUp's, which leaves everything as it is, or the one that the Conn ended with.
// An error that comes together with bytes is kept for the next call. With lazy, the
// stream, it reads into in.Buffer instead of p.
func (c *Conn) readStream(ctx context.Context, p []byte, lazy lazyReader) (n int, err error) {
	in := c.in
	if in.err != nil {
		return 0, c.inputEnded(in.err)
	}
	i := c.beginRead(ctx)
	defer i.end()
	again := false // without ctx
	for {
		if lazy != nil {
			n, err = lazy.ReadLazy(in)
		} else {
			n, err = c.stream.Read(p)
		}
		ended, err := c.didRead(ctx, n, err)
		switch {
		case n > 0 || err != nil:
			return n, err
		case ended && again:
			return 0, gaveUp("read", ctx)
		case ended:
			again = true
			i.end() // what the stream still has does not wait
		}
	}
}

// beginRead prepares a read of the stream that ctx may end, for which it returns
// what is to be told of the read's end; nil for nothing.
func (c *Conn) beginRead(ctx context.Context) *interrupt {
	c.publishRead()
	end := ender(ctx)
	if end == nil {
		return nil
	}
	i := c.interruptFor(&c.theRarity().readInterrupt, false)
	i.begin(ctx, end)
	return i
}

// endRead settles a read with an arrival that beginRead has prepared. With neither
// bytes nor an error readStream knows what to do.
func (c *Conn) endRead(ctx context.Context, i *interrupt, n int, err error) error {
	i.end()
	c.needInput()
	c.in.w = n
	_, err = c.didRead(ctx, n, err)
	return err
}

// didRead deals with what a read of the stream has returned. With neither bytes nor
// an error there is to be another one; ended says that it is ctx that has ended this
// one, behind the stream's end.
func (c *Conn) didRead(ctx context.Context, n int, err error) (ended bool, _ error) {
	deadline := err != nil && errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case n > 0:
		c.received(n)
		if !deadline {
			c.in.err = err
		}
	case err != nil && !deadline:
		return false, c.inputEnded(err)
	case deadline && ctx.Err() != nil && c.knowsEnd():
		return true, nil
	case ctx.Err() != nil:
		return false, gaveUp("read", ctx)
	case deadline && c.err.Load() != nil: // aborted meanwhile
		return false, c.err.Load()
	}
	return false, nil // perhaps nothing, as a stream may return for an empty DATA frame
}

// inputEnded deals with the end of the stream's input: without a Close frame
// before it, that is status 1006 (RFC 6455 §7.1.5).
func (c *Conn) inputEnded(err error) error {
	orderly := err == io.EOF
	if orderly {
		err = io.ErrUnexpectedEOF
	}
	ce := &CloseError{Code: StatusAbnormalClosure, Remote: true, Err: err}
	first := c.fail(ce)
	c.setOver(ce)
	if first {
		c.giveUp(orderly)
	}
	return c.err.Load()
}

// breach ends the Conn because the peer broke a rule or passed a limit: Close
// with the code that belongs to it, then END (the close matrix's C10).
func (c *Conn) breach(err error) error {
	var fe *frame.Error
	if !errors.As(err, &fe) {
		fe = &frame.Error{Code: StatusProtocolError, Rule: err.Error()}
	}
	ce := &CloseError{Code: fe.Code, Reason: fe.Rule, Err: err}
	switch {
	case fe.Code == StatusMessageTooBig:
		ce.Err = ErrMessageTooBig
	case fe.Code == StatusPolicyViolation && !errors.Is(err, errControlFlood):
		ce.Err = ErrTooManyFragments
	}
	c.publishRead() // nobody reads for the application any more
	c.fail(ce)
	c.setOver(ce)
	c.finishAfter(ce.Code, ce.Reason, true)
	return c.err.Load()
}

// readAhead reads on behalf of somebody who waits for a control frame while
// nobody else reads: data is kept for the application, up to maxAhead. It returns
// when stop is closed, when somebody else wants to read or when no more may be
// kept (all nil), or with ctx's error or the Conn's. The caller holds the
// reading gate.
func (c *Conn) readAhead(ctx context.Context, stop <-chan struct{}) error {
	in := c.in
	in.detach()
	in.piece = slices.Clone(in.piece) // it may alias the buffer
	yield, cancel := context.WithCancel(ctx)
	defer cancel()
	ask := &c.theRarity().yield
	ask.Store(&cancel)
	defer ask.Store(nil)
	for !in.aheadFull() && !c.reading.wanted() {
		if ce := c.err.Load(); ce != nil {
			return ce
		}
		p, ok, err := c.parse(ctx)
		if err != nil {
			return err
		}
		if ok {
			in.keep(p)
			continue
		}
		select {
		case <-stop:
			return nil
		default:
		}
		if err := c.fill(yield); err != nil {
			if yield.Err() != nil && ctx.Err() == nil {
				return nil
			}
			return err
		}
	}
	return nil
}

func (in *inbound) keep(p part) {
	p.payload = slices.Clone(p.payload)
	if in.ahead == nil {
		in.ahead = new(ahead)
	}
	in.ahead.parts = append(in.ahead.parts, p)
	in.ahead.bytes += len(p.payload)
}

func (in *inbound) aheadFull() bool {
	a := in.ahead
	return a != nil && (a.bytes >= maxAhead || len(a.parts) >= maxAheadParts)
}

// aheadRoom returns what is closed when the application has taken so much that more may
// be read ahead of it, nil if that is so.
func (in *inbound) aheadRoom() <-chan struct{} {
	if !in.aheadFull() {
		return nil
	}
	if in.ahead.room == nil {
		in.ahead.room = make(chan struct{})
	}
	return in.ahead.room
}
