package websocket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/deflate"
)

// A PreparedMessage is a message to be written to many sockets: it is encoded,
// and compressed, once for all that agreed on the same parameters, when the
// first of them needs it. It may be used by any number of goroutines.
type PreparedMessage struct {
	messageType MessageType
	payload     []byte

	mu    sync.Mutex
	forms map[preparedForm]*preparedFrame
}

// preparedForm is what encodings differ by. The zero value is uncompressed.
type preparedForm struct{ level, bits int }

// preparedFrame is one encoding.
type preparedFrame struct {
	once    sync.Once
	server  []byte // the whole frame, as a server sends it
	payload []byte // the part of it that a client masks
	err     error
}

// NewPreparedMessage prepares p, which it copies, as a message of type t. Text
// that is not UTF-8 is an error.
func NewPreparedMessage(t MessageType, p []byte) (*PreparedMessage, error) {
	op := t.opcode()
	if op == 0 {
		return nil, errMessageType
	}
	if op == frame.Text && !utf8.Valid(p) {
		return nil, errNotUTF8
	}
	return &PreparedMessage{
		messageType: t,
		payload:     slices.Clone(p),
		forms:       make(map[preparedForm]*preparedFrame),
	}, nil
}

// form returns m's encoding for f.
func (m *PreparedMessage) form(f preparedForm) *preparedFrame {
	m.mu.Lock()
	e := m.forms[f]
	if e == nil {
		e = new(preparedFrame)
		m.forms[f] = e
	}
	m.mu.Unlock()
	e.once.Do(func() { e.encode(m, f) })
	return e
}

func (e *preparedFrame) encode(m *PreparedMessage, f preparedForm) {
	h := frame.Header{Fin: true, Opcode: m.messageType.opcode()}
	payload := m.payload
	if f.bits > 0 {
		h.RSV1 = true
		payload, e.err = deflate.AppendMessage(nil, m.payload, f.level, f.bits)
		if e.err != nil {
			return
		}
	}
	h.Length = int64(len(payload))
	e.server = append(h.Append(make([]byte, 0, h.Size()+len(payload))), payload...)
	e.payload = e.server[h.Size():]
}

// WritePrepared writes m as [Conn.Write] would: what it costs is the copying to
// the stream. On a socket with context takeover the compressor forgets the
// messages before m.
func (c *Conn) WritePrepared(ctx context.Context, m *PreparedMessage) error {
	if c.compresses(m.messageType, len(m.payload)) {
		// The message gate keeps the deflater's messages and this one in order.
		if _, err := c.lockMessage(ctx, m.messageType); err != nil {
			return err
		}
		defer c.unlockMessage()
	}
	h, e := c.prepared(m)
	if e.err != nil {
		return fmt.Errorf("websocket: compress: %w", e.err)
	}
	if h.RSV1 {
		if err := c.lockOutput(ctx); err != nil {
			return err
		}
	} else if _, err := c.lockForMessage(ctx, m.messageType); err != nil {
		return err
	}
	defer c.unlockOutput()
	return c.writePreparedFrame(ctx, h, e, m)
}

var errCutShort = errors.New("websocket: write: the message before was cut short")

// prepared returns m's frame for c, and its header. If it is compressed the caller
// holds the message gate, and the compressor forgets the messages before it.
func (c *Conn) prepared(m *PreparedMessage) (h frame.Header, e *preparedFrame) {
	if h, e = c.lastPrepared(m); h.RSV1 {
		c.forgetContext()
	}
	return h, e
}

// lastPrepared is prepared for somebody behind whom no message is written.
func (c *Conn) lastPrepared(m *PreparedMessage) (h frame.Header, e *preparedFrame) {
	h = frame.Header{Fin: true, Opcode: m.messageType.opcode()}
	var f preparedForm
	if c.compresses(m.messageType, len(m.payload)) {
		h.RSV1 = true
		f.level = c.set.compression.Level
		f.bits, _ = c.writeParams()
	}
	return h, m.form(f)
}

// writePreparedFrame writes e, m's frame, whose header is h. The caller holds the
// output gate, and the message gate if e is compressed.
func (c *Conn) writePreparedFrame(ctx context.Context, h frame.Header, e *preparedFrame, m *PreparedMessage) error {
	if c.set.client {
		err := c.writeFrame(ctx, h, e.payload)
		if err == nil {
			c.countCompressed(h, e, m)
		}
		return err
	}
	// The frame is whole: the sender has nothing else to check and nothing to
	// remember.
	switch s := &c.outbound().sender; {
	case s.Closed():
		return fmt.Errorf("websocket: write: %w", frame.ErrClosed)
	case s.InMessage():
		return errCutShort
	}
	var n int64
	var err error
	if len(e.payload) <= writeStep {
		n, err = c.writeStream(ctx, e.server, nil)
	} else {
		n, err = c.writeSteps(ctx, e.server[:len(e.server)-len(e.payload)], e.payload)
	}
	if err != nil {
		return c.writeFailed(ctx, h.Opcode, n, err, c.outbound().sender)
	}
	c.outbound().written.frames.add(1)
	c.countCompressed(h, e, m)
	return nil
}

// countCompressed counts e, m's frame, if it is compressed.
func (c *Conn) countCompressed(h frame.Header, e *preparedFrame, m *PreparedMessage) {
	if h.RSV1 {
		c.outbound().written.compressed.add(len(e.payload))
		c.outbound().written.inflated.add(len(m.payload))
	}
}
