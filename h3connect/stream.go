package h3connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket"
)

// A quicStream is what a stream needs of a *quic.Stream.
type quicStream interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	Close() error // of the sending direction
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

var _ quicStream = (*quic.Stream)(nil)

// A link is what a stream knows of the connection that carries it.
type link struct {
	local, remote net.Addr
	tls           *tls.ConnectionState

	// fail closes the connection because the peer broke a rule of it. Nil
	// where the connection is out of reach: the stream is reset instead.
	fail func(code http3.ErrCode, reason string)

	// cancelRead takes the place of the stream's CancelRead, unless it is nil.
	cancelRead func(quic.StreamErrorCode)

	// released is called once, when the stream is done with. It may be nil.
	released func()
}

// A stream is a request stream behind a successful CONNECT. It frames its bytes
// itself, in DATA frames (RFC 9114 §4.4), because http3's own stream does not
// tell a truncated frame from the end of the stream, takes trailers where none
// are allowed, and leaves a frame unfinished when a write's deadline passes
// between the frame's header and its payload.
//
// It has no goroutine and no buffer.
type stream struct {
	qs quicStream

	mu       sync.Mutex
	writing  bool // a write is in progress
	cut      bool // a write has left a DATA frame unfinished: nothing can follow it
	finish   bool // nothing more may be written
	finished bool // the sending direction has been ended
	reset    bool // the peer has ended its direction with a reset
	eof      bool // the peer has ended its direction in order
	done     bool // closed or aborted
	writeErr error

	// Of the reader.
	readErr error // final
	in      deframer
	first   [64]byte // a short message, or what a longer one begins with

	link link
}

var _ websocket.Stream = (*stream)(nil)

// cancelled is the code for ending a stream without order (RFC 9220 §3).
const cancelled = quic.StreamErrorCode(http3.ErrCodeRequestCanceled)

// Read returns payload as it comes: the borders of DATA frames mean nothing
// (RFC 9114 §4.4).
func (s *stream) Read(p []byte) (int, error) {
	if s.readErr != nil {
		return 0, s.readErr
	}
	for len(p) > 0 {
		raw, err := s.qs.Read(p)
		n, ferr := s.in.deframe(p[:raw])
		switch {
		case ferr != nil:
			s.readErr = s.violated(ferr)
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			s.readErr = s.ended(err)
		}
		if n > 0 {
			return n, nil
		}
		if s.readErr != nil {
			return 0, s.readErr
		}
		if err != nil {
			return 0, err
		}
		// Frames without payload: the deframer bounds how many.
	}
	return 0, nil
}

// ReadLazy is Read into a buffer that b yields once there is something to read:
// the first bytes, often a whole message, are waited for in a little memory of the
// stream's. (Waiting in quic-go's Peek, and then reading, costs every message two
// calls.)
func (s *stream) ReadLazy(b interface {
	Buffer() []byte
	Borrow(p []byte)
},
) (int, error) {
	n, err := s.Read(s.first[:])
	if n > 0 {
		b.Borrow(s.first[:n])
	}
	return n, err
}

// violated answers a violation of the peer's and returns the final error.
func (s *stream) violated(err error) error {
	fe, ok := err.(*frameError)
	if !ok { // errTrailers
		return io.EOF
	}
	if fe.conn && s.link.fail != nil {
		s.link.fail(fe.code, fe.text)
		return &ConnError{Code: uint64(fe.code), Err: fe}
	}
	s.qs.CancelWrite(quic.StreamErrorCode(fe.code))
	s.cancelRead(quic.StreamErrorCode(fe.code))
	final := &StreamError{Code: uint64(fe.code), Err: fe}
	s.mu.Lock()
	s.finish, s.finished, s.writeErr = true, true, final
	s.mu.Unlock()
	return final
}

// ended returns the final error for the end of the peer's direction.
func (s *stream) ended(err error) error {
	if err == io.EOF && !s.in.whole() {
		return s.violated(&frameError{code: http3.ErrCodeFrameError, conn: true, text: "the stream ended within a frame"})
	}
	s.mu.Lock()
	s.eof, s.reset = err == io.EOF, err != io.EOF
	s.mu.Unlock()
	return mapError(err)
}

// Write sends p in one DATA frame.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.WriteBuffers(p, nil)
	return int(n), err
}

// inlined is how many bytes of payload are copied behind their DATA header rather
// than written by themselves: a write that quic-go can put into a packet at once
// is cheaper than two.
const inlined = 4 << 10

// frameBuffers holds buffers for DATA headers and inlined payload.
var frameBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, maxFrameHeader+inlined)
	return &b
}}

// WriteBuffers sends header and payload in one DATA frame. A write that ends by
// its deadline when quic-go has taken a byte of the frame, be it of the frame's
// own header, has taken one at least, and ends the sending direction: the frame
// cannot be withdrawn, and nothing else can be put into it.
func (s *stream) WriteBuffers(header, payload []byte) (int64, error) {
	if err := s.beginWrite(); err != nil {
		return 0, err
	}
	total := len(header) + len(payload)
	n, begun := 0, false
	var err error
	if total > 0 {
		n, begun, err = s.writeFrame(header, payload)
	}
	switch {
	case n == total && errors.Is(err, os.ErrDeadlineExceeded):
		err = nil // it was in time
	case begun:
		n = max(n, 1)
	}
	s.endWrite(begun && err != nil)
	return int64(n), mapError(err)
}

// writeFrame writes a DATA frame for header and payload, and says how many bytes
// of them were taken, and whether any of the frame was. The frame's header goes
// together with the beginning of what it announces: by itself quic-go would take
// it at any time, also when there is no room for anything else.
func (s *stream) writeFrame(header, payload []byte) (n int, begun bool, err error) {
	buf := frameBuffers.Get().(*[]byte)
	defer frameBuffers.Put(buf)
	b := appendDataHeader((*buf)[:0], len(header)+len(payload))
	head, room := len(b), inlined
	for _, p := range [2]*[]byte{&header, &payload} {
		k := min(room, len(*p))
		b = append(b, (*p)[:k]...)
		*p = (*p)[k:]
		room -= k
	}
	k, err := s.qs.Write(b)
	n, begun = max(0, k-head), k > 0
	for _, p := range [2][]byte{header, payload} {
		if err != nil || len(p) == 0 {
			continue
		}
		k, err = s.qs.Write(p)
		n += k
	}
	return n, begun, err
}

func (s *stream) beginWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeErr != nil {
		return s.writeErr
	}
	if s.finish || s.cut {
		return fmt.Errorf("write after the end of the sending direction: %w", net.ErrClosed)
	}
	s.writing = true
	return nil
}

// endWrite ends the sending direction if that was asked for during the write.
func (s *stream) endWrite(cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing, s.cut = false, cut
	if s.finish {
		s.fin()
	}
}

// CloseWrite sends FIN (RFC 9220 §3). During a Write it takes effect when the
// Write is over.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish = true
	if !s.writing {
		s.fin()
	}
	return nil
}

// fin ends the sending direction, once. It is called with mu held and without a
// write in progress.
func (s *stream) fin() {
	if s.finished {
		return
	}
	s.finished = true
	if s.cut {
		// FIN within a frame would cost the peer the connection (RFC 9114
		// §7.1).
		s.qs.CancelWrite(cancelled)
		return
	}
	// It fails if the peer has asked us to stop sending, or if the connection
	// is gone: the direction has ended then as well.
	_ = s.qs.Close()
}

// Close sends FIN unless that has been done, and stops the peer if it has not
// ended. If the peer's direction was reset, so is ours.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return nil
	}
	s.done = true
	s.finish = true
	switch {
	case s.reset && !s.finished:
		s.finished = true
		s.qs.CancelWrite(cancelled)
	case !s.writing:
		s.fin()
	}
	s.mu.Unlock()
	s.release()
	return nil
}

// Abort resets both directions: RESET_STREAM and STOP_SENDING with
// H3_REQUEST_CANCELLED (RFC 9220 §3). A stream whose both directions have ended
// in order has nothing to reset.
func (s *stream) Abort() error {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return nil
	}
	s.done = true
	s.finish = true
	if !s.finished || !s.eof {
		s.finished = true
		s.qs.CancelWrite(cancelled)
	}
	s.mu.Unlock()
	s.release()
	return nil
}

func (s *stream) cancelRead(code quic.StreamErrorCode) {
	if s.link.cancelRead != nil {
		s.link.cancelRead(code)
		return
	}
	s.qs.CancelRead(code)
}

func (s *stream) release() {
	s.cancelRead(cancelled) // does nothing at the end of the stream
	if s.link.released != nil {
		s.link.released()
	}
}

func (s *stream) SetReadDeadline(t time.Time) error  { return s.qs.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.qs.SetWriteDeadline(t) }
func (s *stream) Bootstrap() websocket.Bootstrap     { return websocket.HTTP3 }
func (s *stream) LocalAddr() net.Addr                { return s.link.local }
func (s *stream) RemoteAddr() net.Addr               { return s.link.remote }
func (s *stream) TLS() *tls.ConnectionState          { return s.link.tls }
