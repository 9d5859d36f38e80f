package wstest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/wsmux/websocket"
)

// ErrReset is what the other end of a [PipeStream] gets, wrapped in a
// *net.OpError, once this end has been aborted, and what its writes get once
// this end has been closed.
var ErrReset = errors.New("stream reset by peer")

// PipeOptions say how a [Pipe] behaves. The zero value is an HTTP/2-like pair
// with 64 KiB of room in each direction.
type PipeOptions struct {
	// Buffer is how many bytes each direction holds before a Write blocks.
	// Zero: 64 KiB.
	Buffer int

	// ReadChunk is the most that one Read returns, however much there is.
	// Zero: no such limit.
	ReadChunk int

	// EmptyReads makes every other Read that could return data return (0, nil)
	// instead, as HTTP/3 does for an empty DATA frame.
	EmptyReads bool

	// WriteChunk is how many bytes of a Write become readable at a time: the
	// lock is released in between, so that the reader sees partial frames.
	// Zero: as many as there is room for.
	WriteChunk int

	// Record keeps every byte written, for [PipeStream.Written] and
	// [PipeStream.Writes].
	Record bool

	// Bootstrap is what both ends report. Zero: HTTP2.
	Bootstrap websocket.Bootstrap

	// TLS is what both ends report. It may be nil.
	TLS *tls.ConnectionState
}

// Pipe returns the two ends of an in-memory stream. Unlike net.Pipe it is
// buffered: a Write returns as soon as all of its bytes are in the buffer.
//
// Inside a synctest bubble both ends belong to that bubble.
func Pipe(o PipeOptions) (a, b *PipeStream) {
	if o.Buffer == 0 {
		o.Buffer = 64 << 10
	}
	if o.Bootstrap == 0 {
		o.Bootstrap = websocket.HTTP2
	}
	ab, ba := newHalf(o), newHalf(o)
	a = &PipeStream{options: o, in: ba, out: ab, local: "a", remote: "b"}
	b = &PipeStream{options: o, in: ab, out: ba, local: "b", remote: "a"}
	return a, b
}

// A PipeStream is one end of a [Pipe]: a websocket.Stream to the letter of its
// contract, and an end that tests can look into and break.
type PipeStream struct {
	options       PipeOptions
	in, out       *half
	local, remote pipeAddr

	mu    sync.Mutex
	ended End
}

var (
	_ websocket.Stream = (*PipeStream)(nil)
	_ net.Conn         = pipeConn{}
)

// An End says how far the user of a [PipeStream] has ended it.
type End int

// The ways to end a stream, in the order in which one may follow another.
const (
	EndNone       End = iota // nothing was called
	EndCloseWrite            // CloseWrite was called
	EndClose                 // Close was called
	EndAbort                 // Abort was called, and Close was not
)

// String returns the name of the method that was called.
func (e End) String() string {
	return [...]string{"none", "CloseWrite", "Close", "Abort"}[e]
}

// Read implements websocket.Stream.
func (s *PipeStream) Read(p []byte) (int, error) {
	n, err := s.in.read(p)
	return n, s.opError("read", err)
}

// Write implements websocket.Stream.
func (s *PipeStream) Write(p []byte) (int, error) {
	n, err := s.out.write(p)
	return n, s.opError("write", err)
}

// CloseWrite implements websocket.Stream: the other end reads io.EOF after
// everything that was written.
func (s *PipeStream) CloseWrite() error {
	s.end(EndCloseWrite)
	s.out.finish()
	return nil
}

// Close implements websocket.Stream: the other end reads io.EOF after
// everything that was written, and its writes fail with [ErrReset].
func (s *PipeStream) Close() error {
	if !s.end(EndClose) {
		return nil
	}
	s.out.finish()
	s.out.fail(nil, net.ErrClosed)
	s.in.fail(net.ErrClosed, ErrReset)
	return nil
}

// Abort implements websocket.Stream: what the other end has not read is lost,
// and its reads and writes fail with [ErrReset].
func (s *PipeStream) Abort() error {
	if !s.end(EndAbort) {
		return nil
	}
	s.out.fail(ErrReset, net.ErrClosed)
	s.in.fail(net.ErrClosed, ErrReset)
	return nil
}

// end notes how the stream was ended and reports whether that is news.
func (s *PipeStream) end(how End) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended >= EndClose || s.ended == how {
		return false
	}
	s.ended = how
	return true
}

// SetReadDeadline implements websocket.Stream.
func (s *PipeStream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(s.in, &s.in.readDeadline, t)
}

// SetWriteDeadline implements websocket.Stream.
func (s *PipeStream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(s.out, &s.out.writeDeadline, t)
}

func (s *PipeStream) setDeadline(h *half, d *deadline, t time.Time) error {
	if s.Ended() >= EndClose {
		return s.opError("set", net.ErrClosed)
	}
	h.setDeadline(d, t)
	return nil
}

// Bootstrap implements websocket.Stream.
func (s *PipeStream) Bootstrap() websocket.Bootstrap { return s.options.Bootstrap }

// LocalAddr implements websocket.Stream. The ends are called "a" and "b".
func (s *PipeStream) LocalAddr() net.Addr { return s.local }

// RemoteAddr implements websocket.Stream.
func (s *PipeStream) RemoteAddr() net.Addr { return s.remote }

// TLS implements websocket.Stream.
func (s *PipeStream) TLS() *tls.ConnectionState { return s.options.TLS }

// Vectored returns the same end as a stream that also offers WriteBuffers, so
// that a Conn takes its path for headers and payloads kept apart.
func (s *PipeStream) Vectored() websocket.Stream { return &vectored{s} }

// NetConn returns the same end as a net.Conn, for code that wants one: its
// Close is Close.
func (s *PipeStream) NetConn() net.Conn { return pipeConn{s} }

// Break fails both ends at once with err, as the loss of the connection below
// does. What has not been read is lost.
func (s *PipeStream) Break(err error) {
	s.in.fail(err, err)
	s.out.fail(err, err)
}

// StopSending makes the other end's writes fail with err and leaves its reads
// alone, as STOP_SENDING does on HTTP/3.
func (s *PipeStream) StopSending(err error) { s.in.fail(nil, err) }

// ResetWrite makes the other end's reads fail with err, unread bytes being
// lost, and leaves its writes alone, as RESET_STREAM does on HTTP/3.
func (s *PipeStream) ResetWrite(err error) { s.out.fail(err, net.ErrClosed) }

// Ended reports what the user of this end has called.
func (s *PipeStream) Ended() End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// Readable returns how many bytes this end could read now.
func (s *PipeStream) Readable() int { return s.in.len() }

// Idle reports whether a Read of this end would block now.
func (s *PipeStream) Idle() bool { return s.in.idle() }

// WrittenBytes returns how many bytes were written to this end so far.
func (s *PipeStream) WrittenBytes() int64 { return s.out.total() }

// Written returns a copy of all that was written to this end. It needs
// [PipeOptions].Record.
func (s *PipeStream) Written() []byte { return s.out.recorded() }

// Writes returns a copy of all that was written to this end, one slice per
// call of Write or WriteBuffers that has ended. It needs [PipeOptions].Record.
func (s *PipeStream) Writes() [][]byte { return s.out.calls() }

func (s *PipeStream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "pipe", Source: s.local, Addr: s.remote, Err: err}
}

// A vectored is a PipeStream with WriteBuffers.
type vectored struct{ *PipeStream }

// WriteBuffers writes the header and then the payload as one.
func (v *vectored) WriteBuffers(header, payload []byte) (int64, error) {
	n, err := v.out.write(header, payload)
	return int64(n), v.opError("write", err)
}

// A pipeConn is a PipeStream with the method that a net.Conn has more.
type pipeConn struct{ *PipeStream }

// SetDeadline implements net.Conn.
func (c pipeConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// A pipeAddr names one end of a pipe.
type pipeAddr string

// Network returns "pipe".
func (pipeAddr) Network() string { return "pipe" }

// String returns the end's name.
func (a pipeAddr) String() string { return string(a) }
