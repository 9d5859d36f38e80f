package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wsmux/websocket/frame"
)

var errWriterClosed = errors.New("websocket: write: the message has ended")

// Writer begins a message of type t and returns a writer for its payload, which
// is sent in fragments as it comes; Close ends the message. The writer uses ctx
// for all its calls, and must be closed: until then no other message can be
// written, while control frames still pass. It is for one goroutine at a time.
//
// A message whose writing fails after its first fragment was sent cannot be
// taken back: the Conn ends (see [Conn]).
func (c *Conn) Writer(ctx context.Context, t MessageType) (io.WriteCloser, error) {
	op, err := c.lockMessage(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := c.beginStreaming(ctx); err != nil {
		c.unlockMessage()
		return nil, err
	}
	return &messageWriter{
		conn:       c,
		ctx:        ctx,
		header:     frame.Header{Opcode: op},
		isText:     op == frame.Text,
		compressed: c.compresses(t, int(^uint(0)>>1)),
		pooled:     writeBuffers.Get().(*[writeBufferSize]byte),
	}, nil
}

const (
	// fragmentSize is the payload size of the fragments that a Writer gathers.
	fragmentSize = joined

	// directFragment is the largest that it sends from where the caller has it.
	directFragment = 64 << 10
)

// A messageWriter writes one message. It holds the message gate until it is
// closed or has failed.
type messageWriter struct {
	conn       *Conn
	ctx        context.Context
	header     frame.Header // of the next fragment
	compressed bool         // payload passes through the deflater, once there is enough of it
	deflating  bool         // some has
	pooled     *[writeBufferSize]byte
	n          int    // bytes of pooled that were not passed on yet
	deflated   []byte // compressed and not sent yet
	isText     bool
	text       frame.UTF8 // of a compressed text, which the sender cannot check
	err        error
}

// Write adds p to the message.
func (w *messageWriter) Write(p []byte) (n int, err error) {
	if w.err != nil {
		return 0, w.err
	}
	for n < len(p) {
		switch rest := len(p) - n; {
		case w.n == 0 && !w.compressed && rest > fragmentSize:
			k := min(rest, directFragment)
			if err := w.send(false, p[n:n+k]); err != nil {
				return n, w.fail(err)
			}
			n += k
		case w.n == fragmentSize:
			if err := w.flush(false); err != nil {
				return n, w.fail(err)
			}
		default:
			k := copy(w.pooled[w.n:fragmentSize], p[n:])
			w.n += k
			n += k
		}
	}
	return n, nil
}

// Close ends the message.
func (w *messageWriter) Close() error {
	if w.err != nil {
		if w.err == errWriterClosed {
			return nil
		}
		return w.err
	}
	if err := w.flush(true); err != nil {
		return w.fail(err)
	}
	w.err = errWriterClosed
	w.release()
	return nil
}

// flush sends what is buffered as a fragment, the last one if fin.
func (w *messageWriter) flush(fin bool) error {
	c := w.conn
	p := w.pooled[:w.n]
	w.n = 0
	if fin && !w.deflating && len(p) < c.set.compression.Threshold {
		w.compressed = false
	}
	if !w.compressed {
		return w.send(fin, p)
	}
	if w.isText && (w.text.Check(p) < len(p) || fin && !w.text.Complete()) {
		return errNotUTF8
	}
	var err error
	w.deflating = true
	w.deflated, err = c.compressor().Append(w.deflated, p, fin)
	if err != nil {
		return fmt.Errorf("websocket: compress: %w", err)
	}
	c.outbound().written.inflated.add(len(p))
	if !fin && len(w.deflated) < fragmentSize {
		return nil
	}
	err = w.send(fin, w.deflated)
	w.deflated = w.deflated[:0]
	return err
}

// send sends p as a fragment.
func (w *messageWriter) send(fin bool, p []byte) error {
	w.header.Fin = fin
	w.header.RSV1 = w.compressed && w.header.Opcode != frame.Continuation
	if err := w.conn.writeData(w.ctx, w.header, p); err != nil {
		return err
	}
	if w.compressed && !w.header.RSV1 {
		w.conn.outbound().written.compressed.add(len(p))
	}
	w.header.Opcode = frame.Continuation
	return nil
}

// fail ends the writer, and the Conn if it has sent a fragment: unless that has
// ended, or the stream takes nothing more and reading is to find the end.
func (w *messageWriter) fail(err error) error {
	w.err = err
	c := w.conn
	if w.deflating {
		c.forgetContext()
	}
	if w.header.Opcode == frame.Continuation && !errors.As(err, new(*CloseError)) {
		c.endNow(&CloseError{Code: StatusAbnormalClosure, Err: fmt.Errorf("message cut short: %w", err)})
	}
	w.release()
	return err
}

// release gives back what the writer holds.
func (w *messageWriter) release() {
	writeBuffers.Put(w.pooled)
	w.pooled = nil
	w.conn.endStreaming()
}

// beginStreaming tells those who write messages in one frame that a Writer holds
// the message gate.
func (c *Conn) beginStreaming(ctx context.Context) error {
	if err := c.lockOutput(ctx); err != nil {
		return err
	}
	c.outbound().streaming.Store(true)
	c.unlockOutput()
	return nil
}

// endStreaming gives the message gate back. It does not wait for the output gate,
// which somebody may hold who goes by another context: the Writer's last frame has
// been written, or none ever will be.
func (c *Conn) endStreaming() {
	c.outbound().streaming.Store(false)
	c.unlockMessage()
}
