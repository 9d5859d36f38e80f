package websocket

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/deflate"
)

// errSuperseded is returned by a Reader whose message was given up for the next
// one.
var errSuperseded = errors.New("websocket: a later read has begun")

// superseded stands for the Reader of a message that is being skipped, perhaps by more
// than one read.
var superseded messageReader

// Read reads the next message, whole. The caller owns the bytes returned.
//
// If ctx ends first, Read returns an error that wraps ctx's and the Conn stays
// usable: what had arrived of the message is kept for the next read. What a
// [Conn.Reader] has left of its message is skipped.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	return c.ReadInto(ctx, nil)
}

// ReadInto is Read into the memory of buf: the message is returned in
// buf[:0:cap(buf)] if it fits, and else in new memory, which the caller may pass
// to the next call. What buf holds is lost.
func (c *Conn) ReadInto(ctx context.Context, buf []byte) (MessageType, []byte, error) {
	if err := c.lockRead(ctx); err != nil {
		return 0, nil, err
	}
	for s := c.shallow(); s != nil; {
		i := c.beginRead(ctx)
		c.shed()
		n, err := s.ReadLazy((*arrival)(c)) // where a loop waits for its next message
		if err = c.endRead(ctx, i, n, err); err != nil {
			c.unlockRead()
			return 0, nil, err
		}
		if n > 0 || ctx.Err() != nil {
			break
		}
	}
	t, p, err := c.readMessage(ctx, buf)
	c.unlockRead()
	return t, p, err
}

// shallow returns the stream, if it is a lazyReader and the first bytes of a message
// are all that ReadInto has to wait for. Then it waits in its own frame: the
// collector halves the stack of a goroutine that waits and uses less than a quarter
// of it, less a reserve of 800 bytes; so a loop over an idle socket keeps 4 KiB of
// what a write has made 8 or more, unless the frames from its start to there are
// larger than 1.2 KiB. The caller holds the reading gate.
func (c *Conn) shallow() lazyReader {
	in := c.in
	if in.r < in.w || in.open || in.ahead != nil || in.reader != nil || in.err != nil ||
		in.recv.Remaining() > 0 || c.err.Load() != nil {
		return nil
	}
	s, _ := c.stream.(lazyReader)
	if s != nil {
		in.dropBuffer()
	}
	return s
}

// awaitFirst is what ReadInto does with shallow, for those who may wait deeper.
func (c *Conn) awaitFirst(ctx context.Context) error {
	for s := c.shallow(); s != nil; {
		i := c.beginRead(ctx)
		c.shed()
		n, err := s.ReadLazy((*arrival)(c))
		if err = c.endRead(ctx, i, n, err); err != nil || n > 0 || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// An arrival is a Conn whose reader waits for the first bytes of a message, as a
// lazyReader knows it: what there was no use for before is made when they come. The
// reader holds the reading gate for it.
type arrival Conn

// Buffer implements what lazyReader asks for.
func (a *arrival) Buffer() []byte {
	c := (*Conn)(a)
	c.needInput()
	return c.in.Buffer()
}

// Borrow implements what lazyReader asks for.
func (a *arrival) Borrow(p []byte) {
	c := (*Conn)(a)
	c.needInput()
	c.in.Borrow(p)
}

// shed gives up c.in while nothing has ever come. The caller holds the reading gate,
// and waits with an arrival.
func (c *Conn) shed() {
	if in := c.in; !in.used {
		c.in = nil
		inbounds.Put(in)
	}
}

// readMessage is ReadInto for the holder of the reading gate.
func (c *Conn) readMessage(ctx context.Context, buf []byte) (MessageType, []byte, error) {
	in := c.in
	if in.reader != nil {
		if err := c.skipRest(ctx); err != nil {
			return 0, nil, err
		}
	}
	t, p, ok, err := c.readFrame(ctx)
	switch {
	case err != nil:
		return 0, nil, err
	case ok:
		return t, append(buf[:0], p...), nil
	}
	g := gathering{p: buf[:0], keep: true}
	if t, err = c.gather(ctx, &g); err != nil {
		return 0, nil, err
	}
	return t, g.kept(buf), nil
}

// readFrame is the short way for the common case: an uncompressed message in one
// frame that the buffer holds whole, and it yields it there. Otherwise it returns
// false and leaves the rest to the long way.
func (c *Conn) readFrame(ctx context.Context) (MessageType, []byte, bool, error) {
	in := c.in
	if in.open || in.ahead != nil {
		return 0, nil, false, nil
	}
	if in.r == in.w && c.err.Load() == nil {
		if err := c.fill(ctx); err != nil {
			return 0, nil, false, err
		}
	}
	if c.err.Load() != nil { // perhaps closed while it waited
		return 0, nil, false, nil
	}
	return c.takeFrame(ctx)
}

// takeFrame parses what is first in the buffer, and returns it if it is an
// uncompressed message in one frame, all there. Of a data message that is not, it
// begins the first piece. No message is open, and none read ahead.
func (c *Conn) takeFrame(ctx context.Context) (t MessageType, payload []byte, ok bool, err error) {
	in := c.in
	c.setLimit()
	var ev frame.Event
	n, err := in.recv.NextInto(&ev, in.buf[in.r:in.w])
	in.r += n
	switch {
	case err != nil:
		return 0, nil, false, c.breach(err)
	case ev.Kind == frame.Control:
		return 0, nil, false, c.takeControl(ctx, ev)
	case ev.Kind == frame.NeedMore:
		return 0, nil, false, nil
	case !ev.Last || ev.Compressed:
		in.begin(c.takePart(ev))
		return 0, nil, false, nil
	}
	in.count.frames++
	return MessageType(ev.Opcode), ev.Payload, true, nil
}

// Reader begins to read the next message and returns a reader that yields its
// payload as it arrives, then io.EOF. The reader uses ctx for all its calls. It
// is to be read to its end; the next call of Read or Reader skips what is left
// of the message.
//
// Text is checked as it arrives: what the reader has returned before an error is
// the beginning of a valid text, and may end within a character.
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error) {
	if err := c.lockRead(ctx); err != nil {
		return 0, nil, err
	}
	defer c.unlockRead()
	if err := c.skipRest(ctx); err != nil {
		return 0, nil, err
	}
	in := c.in
	if !in.open {
		if err := c.nextPiece(ctx, nil); err != nil {
			return 0, nil, err
		}
	} else if ce := c.err.Load(); ce != nil && !in.last && in.ahead == nil {
		return 0, nil, ce // a Read was abandoned in it, and it will not go on
	}
	in.reader = &messageReader{conn: c, ctx: ctx}
	return in.messageType, in.reader, nil
}

// A messageReader hands out one message.
type messageReader struct {
	conn *Conn
	ctx  context.Context
	err  error // sticky, io.EOF at the end of the message; guarded by conn.reading
}

func (r *messageReader) Read(p []byte) (int, error) {
	c := r.conn
	if err := c.lockRead(r.ctx); err != nil {
		return 0, err
	}
	defer c.unlockRead()
	switch {
	case r.err != nil:
		return 0, r.err
	case c.in.reader != r:
		r.err = errSuperseded
		return 0, r.err
	case len(p) == 0:
		return 0, nil
	}
	n, err := c.readPiece(r.ctx, p)
	if err != nil && (err == io.EOF || r.ctx.Err() == nil) {
		r.err = err
	}
	return n, err
}

// readPiece reads some of the message in progress into p, and returns io.EOF
// behind its last byte.
func (c *Conn) readPiece(ctx context.Context, p []byte) (int, error) {
	in := c.in
	for {
		if in.gathered != nil {
			return in.takeGathered(p), nil
		}
		dst, done := p[:0:len(p)], false
		var err error
		if in.compressed {
			dst, done, err = c.inflate(dst, len(p))
		} else {
			n := copy(p, in.piece)
			dst, in.piece = p[:n:len(p)], in.piece[n:]
			done = in.last && len(in.piece) == 0
		}
		if err != nil {
			return len(dst), err
		}
		if len(dst) > 0 {
			return len(dst), nil
		}
		if done {
			if err := c.endMessage(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		if err := c.nextPiece(ctx, &dst); err != nil {
			return len(dst), err
		}
		if len(dst) > 0 { // read straight into p
			return len(dst), nil
		}
	}
}

// nextPiece gets the next piece of the message in progress, or the first one of
// the next message, into in.piece. With dst, which has the bytes before it, it
// may put the piece behind them instead: then in.piece is empty.
func (c *Conn) nextPiece(ctx context.Context, dst *[]byte) error {
	in := c.in
	if in.open && (len(in.piece) > 0 || in.last) {
		return nil // still there from a read that was abandoned
	}
	if dst != nil {
		if rest := in.directNext(); rest > 0 {
			return c.readDirect(ctx, dst, rest)
		}
	}
	p, err := c.nextPart(ctx)
	if err != nil {
		return err
	}
	in.begin(p)
	return nil
}

// begin makes p the piece to be consumed next.
func (in *inbound) begin(p part) {
	if p.first {
		in.open = true
		in.messageType = MessageType(p.opcode)
		in.compressed = p.compressed
		in.size, in.limit = 0, p.limit
		in.text.Reset()
	}
	in.piece, in.last = p.payload, p.last
}

// directNext returns how much is to come of the frame in progress, if what comes next
// should be read straight to where its message is put together, and 0 otherwise.
func (in *inbound) directNext() int64 {
	if !in.open || in.compressed || in.last || len(in.piece) > 0 || in.ahead != nil || in.r < in.w {
		return 0
	}
	rest := in.recv.Remaining()
	if rest < directRead {
		return 0
	}
	return rest
}

// readDirect reads payload of the frame in progress, of which rest bytes are to
// come and which is not compressed, straight behind dst's bytes, where there is room.
func (c *Conn) readDirect(ctx context.Context, dst *[]byte, rest int64) error {
	in := c.in
	if ce := c.err.Load(); ce != nil {
		return ce
	}
	d := *dst
	room := d[len(d):cap(d)]
	if int64(len(room)) > rest {
		room = room[:rest]
	}
	n, err := c.readStream(ctx, room, nil)
	if err != nil {
		return err
	}
	var ev frame.Event
	_, err = in.recv.NextInto(&ev, room[:n])
	if err != nil {
		return c.breach(err)
	}
	got := len(ev.Payload)
	*dst = d[:len(d)+got]
	in.piece, in.last = nil, ev.Last
	c.countPart(&ev)
	if got < n { // bad UTF-8 behind it
		_, _, err := in.recv.Next(room[got:n])
		return c.breach(err)
	}
	return nil
}

// skipRest reads the rest of a message that a Reader has begun to hand out. Its
// limits hold on the way, and the decompressor sees all of it.
func (c *Conn) skipRest(ctx context.Context) error {
	in := c.in
	if in.reader == nil {
		return nil
	}
	if !in.open {
		in.reader = nil
		return nil
	}
	scratch := scratchBuffers.Get().(*[readBufferSize]byte)
	defer scratchBuffers.Put(scratch)
	in.reader, in.gathered = &superseded, nil
	for {
		_, err := c.readPiece(ctx, scratch[:])
		if err == io.EOF {
			in.reader = nil
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var scratchBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

// endMessage is called when the message in progress has been read to its end.
func (c *Conn) endMessage() error {
	in := c.in
	in.open, in.last, in.piece = false, false, nil
	if in.compressed && in.messageType == MessageText && !in.text.Complete() {
		return c.breach(&frame.Error{Code: StatusInvalidPayload, Rule: "text ends within a character"})
	}
	if in.inflater != nil {
		if _, takeover := c.readParams(); !takeover {
			in.inflater.Free()
			in.inflater = nil
		}
	}
	return nil
}

// readParams returns the agreed window bits and takeover of what the peer writes.
func (c *Conn) readParams() (bits int, takeover bool) {
	if c.set.client {
		return c.set.deflate.ServerMaxWindowBits, !c.set.deflate.ServerNoContextTakeover
	}
	return c.set.deflate.ClientMaxWindowBits, !c.set.deflate.ClientNoContextTakeover
}

// inflate inflates what there is of in.piece behind dst, at most most bytes. It
// reports whether the message is complete. The size limit counts inflated bytes
// (PMD-01, PMD-11); text is checked as it is inflated (PMD-07).
func (c *Conn) inflate(dst []byte, most int) ([]byte, bool, error) {
	in := c.in
	if in.inflater == nil {
		in.inflater = deflate.NewInflater(c.readParams())
	}
	before := len(dst)
	limit := in.limit
	if rest := limit - in.size; limit > 0 && rest < int64(most) {
		most = int(rest) + 1
	}
	var n int
	var done bool
	var err error
	if in.last {
		dst, n, done, err = in.inflater.Finish(dst, in.piece, most)
	} else {
		dst, n, err = in.inflater.Inflate(dst, in.piece, most)
	}
	in.piece = in.piece[n:]
	fresh := dst[before:]
	in.size += int64(len(fresh))
	in.published.inflated.add(len(fresh))
	if limit > 0 && in.size > limit {
		return dst[:before], false, c.breach(&frame.Error{Code: StatusMessageTooBig, Rule: "message too big after inflating"})
	}
	if in.messageType == MessageText {
		if n := in.text.Check(fresh); n < len(fresh) {
			return dst[:before+n], false, c.breach(&frame.Error{Code: StatusInvalidPayload, Rule: "text is not UTF-8"})
		}
	}
	if err != nil {
		return dst, false, c.breach(&frame.Error{Code: StatusInvalidPayload, Rule: "compressed data is corrupt"})
	}
	return dst, done, nil
}
