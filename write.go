package websocket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/deflate"
)

const (
	// writeBufferSize is the size of a pooled buffer for frames, held only
	// while a frame is being written. With the header of a DATA frame before it,
	// of nine bytes, it fills a TLS record: a piece is never two of each.
	writeBufferSize = 16<<10 - 9

	// joined is the payload size up to which a frame is put together in one
	// buffer for a stream that takes no two. Larger payloads are not copied.
	joined = writeBufferSize - frame.MaxHeaderSize

	// writeStep bounds what one call asks of the stream: when it returns, the
	// peer has made progress.
	writeStep = 64 << 10
)

var writeBuffers = sync.Pool{New: func() any { return new([writeBufferSize]byte) }}

// outbound is the part of a Conn that writes. What is not said to be anybody's else
// belongs to the holder of the output gate.
type outbound struct {
	err       *CloseError // why writing failed, for later writes
	failed    atomic.Bool // the stream takes nothing more; for those who hold no gate
	sender    frame.Sender
	twice     bool        // the stream is a buffersWriter
	streaming atomic.Bool // a Writer holds the message gate; set with the output gate held
	written   traffic
	header    [frame.MaxHeaderSize]byte
	pongDue   atomic.Bool
	stall     stallWatch

	pong     pendingPong
	conn     *Conn
	message  gate // held over a data message; guards deflater
	deflater *deflate.Deflater
	left     int8        // how many of keys are unused
	keys     *[64]byte   // random bytes for a client's masking keys; nil before the first
	later    *laterQueue // of Broadcast; nil before the first; guarded by Conn.mu

	interrupt atomic.Pointer[interrupt] // nil before a call that a context may end

	ponging      chan struct{} // closed when sendPong need not wait any more; guarded by Conn.mu
	pings        pings
	awaitingPong gate // held by the one Ping that may read ahead
}

// outbound returns c.out, which it makes if need be.
func (c *Conn) outbound() *outbound {
	if o := c.out.Load(); o != nil {
		return o
	}
	return c.makeOutbound()
}

func (c *Conn) makeOutbound() *outbound {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.out.Load(); o != nil {
		return o
	}
	side := frame.Server
	if c.set.client {
		side = frame.Client
	}
	o := &outbound{conn: c, sender: frame.Sender{Side: side, Deflate: c.set.deflate != nil}}
	_, o.twice = c.stream.(buffersWriter)
	o.stall.conn, o.stall.released = c, c.isGone
	c.out.Store(o)
	return o
}

// release ends what runs by itself. Conn.isGone is set.
func (o *outbound) release() {
	if i := o.interrupt.Load(); i != nil {
		i.release()
	}
	o.stall.release()
	if o.message.tryLock() {
		o.conn.forgetContext()
		o.message.unlock()
	}
}

// key returns a fresh masking key. "The masking key needs to be unpredictable"
// (RFC 6455 §5.3): each is four bytes of crypto/rand, used once.
func (o *outbound) key() (key [4]byte) {
	if o.left == 0 {
		if o.keys == nil {
			o.keys = new([64]byte)
		}
		rand.Read(o.keys[:])
		o.left = int8(len(o.keys))
	}
	o.left -= int8(len(key))
	copy(key[:], o.keys[o.left:])
	clear(o.keys[o.left : int(o.left)+len(key)])
	return key
}

// Write writes p as one message in one frame. p is not modified, and not used
// after Write has returned. Text that is not UTF-8 is an error and nothing is
// written. Messages of concurrent calls do not mix; their order is that in which
// they got their turn.
//
// See [Conn] for what happens when ctx ends first.
func (c *Conn) Write(ctx context.Context, t MessageType, p []byte) error {
	if c.compresses(t, len(p)) {
		return c.writeCompressed(ctx, t, p)
	}
	op, err := c.lockForMessage(ctx, t)
	if err != nil {
		return err
	}
	err = c.writeFrame(ctx, frame.Header{Fin: true, Opcode: op}, p)
	c.unlockOutput()
	return err
}

// writeCompressed writes p as one compressed message.
func (c *Conn) writeCompressed(ctx context.Context, t MessageType, p []byte) error {
	op, err := c.lockMessage(ctx, t)
	if err != nil {
		return err
	}
	defer c.unlockMessage()
	if op == frame.Text && !utf8.Valid(p) {
		return errNotUTF8
	}
	b := deflateBuffers.Get().(*[]byte)
	defer putDeflateBuffer(b)
	if bits, takeover := c.writeParams(); takeover {
		*b, err = c.compressor().Append((*b)[:0], p, true)
	} else { // nothing is kept from message to message
		*b, err = deflate.AppendMessage((*b)[:0], p, c.set.compression.Level, bits)
	}
	if err != nil {
		return fmt.Errorf("websocket: compress: %w", err)
	}
	c.outbound().written.inflated.add(len(p))
	err = c.writeData(ctx, frame.Header{Fin: true, RSV1: true, Opcode: op}, *b)
	if err != nil {
		c.forgetContext()
	}
	return err
}

var (
	errNotUTF8     = errors.New("websocket: write: text is not UTF-8")
	errMessageType = errors.New("websocket: write: neither text nor binary")
)

// opcode returns the opcode of a message of type t, 0 if there is none.
func (t MessageType) opcode() frame.Opcode {
	switch t &^ uncompressed {
	case MessageText:
		return frame.Text
	case MessageBinary:
		return frame.Binary
	}
	return 0
}

// lockForMessage takes the output gate for a message in one frame: no Writer is
// in the middle of one.
func (c *Conn) lockForMessage(ctx context.Context, t MessageType) (frame.Opcode, error) {
	op := t.opcode()
	if op == 0 {
		return 0, errMessageType
	}
	if err := c.lockOutput(ctx); err != nil {
		return 0, err
	}
	if !c.outbound().streaming.Load() {
		return op, nil
	}
	c.unlockOutput()
	// Wait for the Writer that holds the message gate, and let go of that behind the
	// output gate only: so those who wait come in the order in which they came.
	if !c.outbound().message.lock(ctx, c.overChan()) {
		c.forgetAtEnd()
		return 0, c.whyNotWritten(ctx)
	}
	defer c.unlockMessage()
	if err := c.lockOutput(ctx); err != nil {
		return 0, err
	}
	return op, nil
}

// lockMessage takes the message gate: for a message in fragments, or one that
// passes through the deflater.
func (c *Conn) lockMessage(ctx context.Context, t MessageType) (frame.Opcode, error) {
	op := t.opcode()
	if op == 0 {
		return 0, errMessageType
	}
	if err := c.writable(ctx); err != nil {
		return 0, err
	}
	if m := &c.outbound().message; !m.tryLock() && !m.lock(ctx, c.overChan()) {
		c.forgetAtEnd()
		return 0, c.whyNotWritten(ctx)
	}
	return op, nil
}

// unlockMessage gives the message gate back.
func (c *Conn) unlockMessage() {
	c.outbound().message.unlock()
	c.forgetAtEnd()
}

// forgetAtEnd is called by whoever has held the message gate, or has waited for it and
// perhaps given up his turn. If the Conn has ended meanwhile release may have found it
// held.
func (c *Conn) forgetAtEnd() {
	if m := &c.outbound().message; c.err.Load() != nil && m.tryLock() {
		c.forgetContext()
		m.unlock()
	}
}

// writable returns why nothing can be written now: the Conn has ended, or ctx.
func (c *Conn) writable(ctx context.Context) error {
	if ce := c.err.Load(); ce != nil {
		return ce
	}
	if ctx.Err() != nil {
		return gaveUp("write", ctx)
	}
	return nil
}

func (c *Conn) whyNotWritten(ctx context.Context) error {
	if ce := c.err.Load(); ce != nil {
		return ce
	}
	return gaveUp("write", ctx)
}

// compresses reports whether a message of type t and n bytes is compressed.
func (c *Conn) compresses(t MessageType, n int) bool {
	return c.set.deflate != nil && t&uncompressed == 0 && n >= c.set.compression.Threshold
}

// writeParams returns the agreed window bits and takeover of what we write.
func (c *Conn) writeParams() (bits int, takeover bool) {
	if c.set.client {
		return c.set.deflate.ClientMaxWindowBits, !c.set.deflate.ClientNoContextTakeover
	}
	return c.set.deflate.ServerMaxWindowBits, !c.set.deflate.ServerNoContextTakeover
}

// compressor returns the deflater. The caller holds the message gate.
func (c *Conn) compressor() *deflate.Deflater {
	if c.outbound().deflater == nil {
		bits, takeover := c.writeParams()
		c.outbound().deflater = deflate.NewDeflater(c.set.compression.Level, bits, takeover)
	}
	return c.outbound().deflater
}

// forgetContext makes the next compressed message refer to no earlier one. That
// is always allowed, and necessary after a message that the peer's
// decompressor has seen and our compressor has not, or the other way round.
func (c *Conn) forgetContext() {
	if c.outbound().deflater != nil {
		c.outbound().deflater.Release()
		c.outbound().deflater = nil
	}
}

// maxDeflateBuffer is the size in bytes up to which a buffer is kept.
const maxDeflateBuffer = 64 << 10

var deflateBuffers = sync.Pool{New: func() any { return new([]byte) }}

func putDeflateBuffer(b *[]byte) {
	if cap(*b) <= maxDeflateBuffer {
		deflateBuffers.Put(b)
	}
}

// writeData writes one data frame. The caller holds the message gate.
func (c *Conn) writeData(ctx context.Context, h frame.Header, p []byte) error {
	if err := c.lockOutput(ctx); err != nil {
		return err
	}
	defer c.unlockOutput()
	if err := c.writeFrame(ctx, h, p); err != nil {
		return err
	}
	if h.RSV1 {
		c.outbound().written.compressed.add(len(p))
	}
	return nil
}

// lockOutput takes the output gate for a frame.
func (c *Conn) lockOutput(ctx context.Context) error {
	if !c.output.tryLock() && !c.output.lock(ctx, c.overChan()) {
		if c.pongIsDue() { // perhaps the turn had come, and was given up
			go c.writePongIfFree() // ends with the write
		}
		return c.whyNotWritten(ctx)
	}
	err := c.writableNow(ctx)
	if err != nil {
		c.unlockOutput()
	}
	return err
}

// writableNow returns why the holder of the output gate can write nothing, as
// writable does, or that it has failed before.
func (c *Conn) writableNow(ctx context.Context) error {
	if err := c.writable(ctx); err != nil {
		return err
	}
	if ce := c.outbound().err; ce != nil {
		return ce
	}
	return nil
}

// unlockOutput gives the output gate back, after the pong that may have become
// due while it was held.
func (c *Conn) unlockOutput() {
	c.writeDuePong()
	c.output.unlock()
	c.writePongIfFree()
}

// writePongIfFree writes a pong that is due if nobody holds the output gate, who
// would write it.
func (c *Conn) writePongIfFree() {
	for c.pongIsDue() && c.output.tryLock() {
		failed := c.outbound().err != nil
		c.writeDuePong()
		c.output.unlock()
		if failed {
			return
		}
	}
}

func (c *Conn) pongIsDue() bool { return c.outbound().pongDue.Load() && c.err.Load() == nil }

// writeDuePong writes a pong if one is due. The caller holds the output gate.
func (c *Conn) writeDuePong() {
	if !c.pongIsDue() || c.outbound().err != nil {
		return
	}
	var b [frame.MaxControlPayload]byte
	if p, ok := c.outbound().takePong(b[:0]); ok {
		c.writeFrame(context.Background(), frame.Header{Fin: true, Opcode: frame.Pong}, p)
	}
}

// writePing writes a Ping and returns its payload, and what is closed by its
// answer. The caller removes it from c.pings unless there is an error.
func (c *Conn) writePing(ctx context.Context) (id [pingSize]byte, pong <-chan struct{}, err error) {
	if err := c.writable(ctx); err != nil {
		return id, nil, err
	}
	if err := c.lockOutput(ctx); err != nil {
		return id, nil, err
	}
	defer c.unlockOutput()
	id, pong = c.outbound().pings.add()
	err = c.writeFrame(ctx, frame.Header{Fin: true, Opcode: frame.Ping}, id[:])
	if err != nil {
		c.outbound().pings.remove(id)
	}
	return id, pong, err
}

// writeClose writes our Close frame, once.
func (c *Conn) writeClose(ctx context.Context, payload []byte) error {
	return c.writeCloseThen(ctx, payload, nil)
}

// writeFrame writes one frame. The caller holds the output gate.
func (c *Conn) writeFrame(ctx context.Context, h frame.Header, p []byte) error {
	if c.set.client {
		h.Key = c.outbound().key()
	}
	before := c.outbound().sender
	header, err := c.outbound().sender.AppendHeader(c.outbound().header[:0], h, p)
	if err != nil {
		return fmt.Errorf("websocket: write: %w", err)
	}
	var n int64
	switch {
	case c.set.client:
		n, err = c.writeMasked(ctx, header, p, h.Key)
	case !c.outbound().twice && len(p) <= joined:
		b := writeBuffers.Get().(*[writeBufferSize]byte)
		n, err = c.writeStream(ctx, append(append(b[:0], header...), p...), nil)
		writeBuffers.Put(b)
	case len(p) <= writeStep:
		n, err = c.writeStream(ctx, header, p)
	default:
		n, err = c.writeSteps(ctx, header, p)
	}
	if err != nil {
		return c.writeFailed(ctx, h.Opcode, n, err, before)
	}
	c.outbound().written.frames.add(1)
	if !h.Fin || h.Opcode.IsControl() {
		c.counts().othersWritten.add(1)
	}
	return nil
}

// writeSteps writes a frame whose payload is not masked and more than writeStep
// bytes.
func (c *Conn) writeSteps(ctx context.Context, header, p []byte) (int64, error) {
	n, err := c.writeStream(ctx, header, p[:writeStep])
	for done := writeStep; err == nil && done < len(p); {
		next := min(len(p), done+writeStep)
		_, err = c.writeStream(ctx, p[done:next], nil)
		done = next
	}
	return n, err
}

// writeMasked writes a frame whose payload is masked into a buffer piece by
// piece.
func (c *Conn) writeMasked(ctx context.Context, header, p []byte, key [4]byte) (n int64, err error) {
	b := writeBuffers.Get().(*[writeBufferSize]byte)
	defer writeBuffers.Put(b)
	f := append(b[:0], header...)
	for pos := 0; ; f = b[:0] {
		k := min(len(p)-pos, len(b)-len(f))
		var m int64
		m, err = c.writeStream(ctx, frame.AppendMasked(f, p[pos:pos+k], key, pos), nil)
		n, pos = n+m, pos+k
		if err != nil || pos == len(p) {
			return n, err
		}
	}
}

// writeStream writes a and then b, if there is one, and returns the number of
// bytes that the stream took.
func (c *Conn) writeStream(ctx context.Context, a, b []byte) (n int64, err error) {
	o := c.outbound()
	if end := ender(ctx); end != nil {
		i := c.interruptFor(&o.interrupt, true)
		i.begin(ctx, end)
		defer i.end()
	}
	o.stall.begin()
	if o.twice && len(b) > 0 {
		n, err = c.stream.(buffersWriter).WriteBuffers(a, b)
	} else {
		var m int
		m, err = c.stream.Write(a)
		n = int64(m)
		if err == nil && len(b) > 0 {
			m, err = c.stream.Write(b)
			n += int64(m)
		}
	}
	o.written.bytes.add(int(n))
	return n, err
}

// writeFailed decides what a failed write means, n bytes of whose frame the
// stream has taken.
func (c *Conn) writeFailed(ctx context.Context, op frame.Opcode, n int64, err error, before frame.Sender) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		if n == 0 {
			c.outbound().sender = before
			c.outbound().stall.restart()
			return gaveUp("write", ctx)
		}
		return c.abort(&CloseError{Code: StatusAbnormalClosure, Err: fmt.Errorf("frame cut short: %w", ctx.Err())})
	}
	// The peer takes nothing more. What it has sent before stays readable, its
	// Close frame perhaps (the close matrix's C6): reading finds the end.
	c.outbound().err = &CloseError{Code: StatusAbnormalClosure, Remote: true, Err: err}
	c.outbound().failed.Store(true)
	if ce := c.err.Load(); ce != nil && op != frame.Close {
		return ce
	}
	return c.outbound().err
}
