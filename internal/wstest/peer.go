package wstest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsmux/websocket/frame"
)

// A Peer is the other end of the socket under test, played by the test itself:
// it sends what it is told to, legal or not, and says what it wants to see. It
// has no goroutine and answers nothing on its own.
//
// Its methods that take a testing.TB end the test when the wish is not
// granted, and therefore belong on the test's goroutine. Each takes the reason
// why the wish is right, to be printed with what came instead. Reading and
// writing may happen on two goroutines at once.
type Peer struct {
	// Patience bounds each wait for the other side, where the stream under the
	// Peer has deadlines. The constructors set it to 10 s. A bubble's
	// clock counts too: a test that waits for a timer of a minute needs more.
	Patience time.Duration

	rw     io.ReadWriter
	client bool
	key    uint32 // the next masking key
	in     []byte // read and not yet parsed
	err    error  // how reading ended
}

// NewClient returns a Peer that plays the client: it masks what it sends and
// wants what it reads not to be masked.
func NewClient(rw io.ReadWriter) *Peer {
	return &Peer{Patience: 10 * time.Second, rw: rw, client: true, key: 0x37FA213D}
}

// NewServer returns a Peer that plays the server.
func NewServer(rw io.ReadWriter) *Peer {
	return &Peer{Patience: 10 * time.Second, rw: rw}
}

// Append appends the frames to dst as this peer sends them.
func (p *Peer) Append(dst []byte, frames ...Frame) []byte {
	for _, f := range frames {
		dst = f.Append(dst, p.client, p.key)
		p.key = p.key*0x9E3779B1 + 1
	}
	return dst
}

// Send sends the frames in one write.
func (p *Peer) Send(t testing.TB, frames ...Frame) {
	t.Helper()
	p.SendRaw(t, p.Append(nil, frames...))
}

// SendRaw sends bytes that need not be frames.
func (p *Peer) SendRaw(t testing.TB, b []byte) {
	t.Helper()
	if err := p.write(b); err != nil {
		t.Fatalf("peer: sending %d bytes: %v", len(b), err)
	}
}

// TrySend sends the frames in one write and returns its error: for goroutines
// other than the test's, and for streams that may be gone.
func (p *Peer) TrySend(frames ...Frame) error {
	return p.write(p.Append(nil, frames...))
}

// write writes for as long as patience lasts.
func (p *Peer) write(b []byte) error {
	if d, ok := p.rw.(interface{ SetWriteDeadline(time.Time) error }); ok {
		d.SetWriteDeadline(time.Now().Add(p.Patience))
		defer d.SetWriteDeadline(time.Time{})
	}
	_, err := p.rw.Write(b)
	return err
}

// Next returns the next frame.
func (p *Peer) Next(t testing.TB, why string) Frame {
	t.Helper()
	f, err := p.TryNext()
	if err != nil {
		t.Fatalf("peer: no frame: %v (%s)", err, why)
	}
	return f
}

// TryNext returns the next frame, or how the stream ended: io.EOF in order,
// io.ErrUnexpectedEOF inside a frame, or the stream's error.
func (p *Peer) TryNext() (Frame, error) {
	for {
		f, n, err := ParseFrame(p.in, !p.client)
		if err == nil {
			p.in = p.in[n:]
			return f, nil
		}
		if err != errShort {
			return f, err
		}
		if err := p.fill(); err != nil {
			if err == io.EOF && len(p.in) > 0 {
				return f, io.ErrUnexpectedEOF
			}
			return f, err
		}
	}
}

// fill reads once, for as long as patience lasts.
func (p *Peer) fill() error {
	if p.err != nil {
		return p.err
	}
	if d, ok := p.rw.(interface{ SetReadDeadline(time.Time) error }); ok {
		d.SetReadDeadline(time.Now().Add(p.Patience))
		defer d.SetReadDeadline(time.Time{})
	}
	buf := make([]byte, 32<<10)
	n, err := p.rw.Read(buf)
	p.in = append(p.in, buf[:n]...)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.err = err
	}
	if n > 0 {
		return nil
	}
	return err
}

// Want wants the next frame to be f, in every bit that f can say.
func (p *Peer) Want(t testing.TB, f Frame, why string) {
	t.Helper()
	got := p.Next(t, why)
	if got.Opcode != f.Opcode || got.More != f.More || got.RSV1 != f.RSV1 ||
		got.RSV2 != f.RSV2 || got.RSV3 != f.RSV3 || !bytes.Equal(got.Payload, f.Payload) {
		t.Fatalf("peer: got  %v\nwant %v\n(%s)", got, f, why)
	}
}

// WantFrame wants the next frame to be final, without reserved bits, with this
// opcode and payload.
func (p *Peer) WantFrame(t testing.TB, opcode frame.Opcode, payload, why string) {
	t.Helper()
	p.Want(t, Frame{Opcode: opcode, Payload: []byte(payload)}, why)
}

// WantClose wants the next frame to be a Close frame with this code, 0 meaning
// none, and returns its reason.
func (p *Peer) WantClose(t testing.TB, code frame.StatusCode, why string) (reason string) {
	t.Helper()
	f := p.Next(t, why)
	got, reason, ok := f.CloseCode()
	if !ok || got != code || f.More || f.RSV1 || f.RSV2 || f.RSV3 {
		t.Fatalf("peer: got  %v\nwant close %d\n(%s)", f, code, why)
	}
	return reason
}

// WantEOF wants the stream to end in order, with no further byte.
func (p *Peer) WantEOF(t testing.TB, why string) {
	t.Helper()
	if f, err := p.TryNext(); err != io.EOF {
		t.Fatalf("peer: got %v, %v\nwant the end of the stream\n(%s)", f, err, why)
	}
}

// WantReset wants the stream to end by a reset. Bytes that came before it do
// not matter: a reset may overtake them or not.
func (p *Peer) WantReset(t testing.TB, why string) {
	t.Helper()
	for p.fill() == nil {
	}
	if p.err == nil || p.err == io.EOF {
		t.Fatalf("peer: got %v\nwant a reset\n(%s)", p.err, why)
	}
}

// WantIdle wants nothing to come: no byte and no end of the stream, once every
// other goroutine of the test's synctest bubble waits for something. It takes
// no time, and works over a [PipeStream] in a bubble only.
func (p *Peer) WantIdle(t testing.TB, why string) {
	t.Helper()
	synctest.Wait()
	if len(p.in) > 0 {
		t.Fatalf("peer: got the bytes %x\nwant nothing yet\n(%s)", p.in, why)
	}
	if !p.rw.(interface{ Idle() bool }).Idle() {
		f, err := p.TryNext()
		t.Fatalf("peer: got %v, %v\nwant nothing yet\n(%s)", f, err, why)
	}
}
