package h1upgrade

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/arrivals"
	"github.com/wsmux/websocket/internal/tlsrecord"
)

// A TLS connection announces its end by an alert (close_notify), which has to be
// written like data and can block like data. These bound it. A peer that takes
// nothing for so long does not get to know how its connection ended.
const (
	closeWritePatience = 5 * time.Second        // in CloseWrite
	closePatience      = 100 * time.Millisecond // in Close without CloseWrite before it
)

// A stream is a connection of its own as a [websocket.Stream].
type stream struct {
	conn net.Conn // what is read and written

	// Conn's CloseWrite writes, as TLS does; it takes several buffers in one call;
	// CloseWrite had to close both directions; Close or Abort was called; or
	// one of them or CloseWrite was.
	alert, vectored           bool
	whole, ended, outputEnded atomic.Bool

	first   [64]byte           // the reader's: a short message, or what a longer one begins with
	arrived *arrivals.Arrivals // the reader's; nil before the first question

	state *tls.ConnectionState
	large *large // the writer's; nil before it needs it
}

// A large is what large writes need: two buffers for one call where conn is vectored,
// kept to save two allocations, and else the cork.
type large struct {
	buffers net.Buffers
	parts   [2][]byte
	cork    cork
}

var _ websocket.Stream = (*stream)(nil)

// maxWrappers bounds how deep newStream looks: a wrapper whose NetConn returns
// itself would have no end.
const maxWrappers = 16

// newStream returns the stream over a connection whose opening handshake is done
// and which has no deadlines. State is that of its TLS, nil without.
func newStream(conn net.Conn, state *tls.ConnectionState) *stream {
	s := &stream{conn: conn, state: state}
	n := 0
	for range s.chain {
		n++
	}
	s.alert = n > 1
	switch s.conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		s.vectored = true
	}
	return s
}

// chain yields conn, and what it wraps, to the innermost.
func (s *stream) chain(yield func(net.Conn) bool) {
	conn := s.conn
	for n := 1; conn != nil && yield(conn) && n < maxWrappers; n++ {
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		conn = w.NetConn()
	}
}

// base is the connection inside all wrappers.
func (s *stream) base() (base net.Conn) {
	for base = range s.chain {
	}
	return base
}

// InputEnded reports whether the peer's direction has ended, if conn knows: one of
// negotiate.Bridge does. See package websocket.
func (s *stream) InputEnded() bool {
	e, ok := s.conn.(interface{ InputEnded() bool })
	return ok && e.InputEnded()
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.conn.Read(p)
	if err != nil && s.whole.Load() && !s.ended.Load() {
		err = io.EOF
	}
	return n, err
}

// Records returns how many TLS records have come, at least: so many Reads, each of which
// yields what is left of one, do not wait. It is called between Reads. 0 if that cannot
// be told.
func (s *stream) Records() int {
	tc, ok := s.conn.(*tls.Conn)
	if !ok {
		return 0
	}
	if s.arrived == nil {
		s.arrived = arrivals.Of(tc.NetConn())
	}
	return s.arrived.Records()
}

// ReadLazy is Read into a buffer that b yields once there is something to read.
// What TLS has decrypted it hands out in any pieces; so the first bytes, often a
// whole message, are waited for in a little memory of the stream's. Without TLS a
// read of its own for them would cost too much.
func (s *stream) ReadLazy(b interface {
	Buffer() []byte
	Borrow(p []byte)
},
) (int, error) {
	if !s.alert {
		return s.Read(b.Buffer())
	}
	n, err := s.Read(s.first[:])
	if n > 0 {
		b.Borrow(s.first[:n])
	}
	return n, err
}

// Write writes p. On TLS a record that the deadline has cut, perhaps before its
// first byte, can neither be withdrawn nor continued: crypto/tls fails all later
// writes. Such a record's bytes count as taken, one at least, so that the Conn
// gives the stream up and does not go on with one that can only be read.
func (s *stream) Write(p []byte) (int, error) {
	n, err := tlsrecord.Write(s.conn, p)
	if s.alert && n < len(p) && errors.Is(err, os.ErrDeadlineExceeded) {
		n++
	}
	return n, err
}

// cork returns what holds the records of a frame together where TLS is not on top of a
// tlsrecord.Conn: crypto/tls writes each with a system call of its own, and without it
// TCP sends each as a segment of its own, the header's too, for which both ends pay. The
// further steps of a long frame (see Conn) do without: they keep TCP busy, and holding
// each back cost more than it saved.
func (s *stream) cork() cork {
	if s.large == nil {
		s.large = &large{cork: corkOf(s.base())}
	}
	return s.large.cork
}

// vectoredSize is the payload size from which two buffers in one system call are
// cheaper than a copy.
const vectoredSize = 4 << 10

// WriteBuffers writes header and payload by one system call where the connection
// can do that and the payload is large. Elsewhere the header is copied in front
// of the payload's first part, so that it does not become a TLS record, a segment
// and a system call of its own; unless there are as many with the copy, since the
// header pushes as much out of the payload's last record: then nothing is copied.
func (s *stream) WriteBuffers(header, payload []byte) (int64, error) {
	if s.vectored && len(payload) >= vectoredSize {
		return s.writeVector(header, payload)
	}
	if s.alert && len(header)+len(payload) > tlsrecord.Size {
		return s.writeTogether(header, payload)
	}
	return s.writeRecords(header, payload)
}

// writeTogether has all records leave together.
func (s *stream) writeTogether(header, payload []byte) (int64, error) {
	b := tlsrecord.Under(s.conn)
	if b == nil {
		c := s.cork()
		c.hold()
		defer c.release()
		return s.writeRecords(header, payload)
	}
	b.Hold()
	n, err := s.writeRecords(header, payload)
	if e := b.Release(); err == nil {
		err = e
	}
	return n, err
}

func (s *stream) writeRecords(header, payload []byte) (int64, error) {
	if len(payload) > 0 && recordsOf(len(header)+len(payload)) > recordsOf(len(payload)) {
		return s.writeApart(header, payload)
	}
	return s.writeMerged(header, payload)
}

func (s *stream) writeVector(header, payload []byte) (int64, error) {
	if s.large == nil {
		s.large = new(large)
	}
	v := s.large
	v.parts = [2][]byte{header, payload}
	v.buffers = v.parts[:]
	n, err := v.buffers.WriteTo(s.conn)
	v.buffers, v.parts = nil, [2][]byte{}
	return n, err
}

// recordsOf returns how many TLS records n bytes are.
func recordsOf(n int) int { return (n + tlsrecord.Size - 1) / tlsrecord.Size }

func (s *stream) writeApart(header, payload []byte) (int64, error) {
	first, err := s.Write(header)
	if err != nil {
		return int64(first), err
	}
	rest, err := s.Write(payload)
	return int64(first) + int64(rest), err
}

var records = sync.Pool{New: func() any { return new([tlsrecord.Size]byte) }}

func (s *stream) writeMerged(header, payload []byte) (int64, error) {
	b := records.Get().(*[tlsrecord.Size]byte)
	n := copy(b[:], header)
	taken := copy(b[n:], payload)
	first, err := s.Write(b[:n+taken])
	records.Put(b)
	if err != nil || taken == len(payload) {
		return int64(first), err
	}
	rest, err := s.Write(payload[taken:])
	return int64(first) + int64(rest), err
}

// CloseWrite sends close_notify on TLS, and FIN. If the peer does not take the
// close_notify within 5 s the connection is aborted. On a connection that cannot
// be closed in one direction only, as a net.Pipe, both are closed, and Read
// returns io.EOF: whoever waits for our end must see it.
func (s *stream) CloseWrite() error { return s.endOutput(closeWritePatience) }

func (s *stream) endOutput(patience time.Duration) error {
	if s.outputEnded.Swap(true) {
		return nil
	}
	if s.alert {
		// The timer's goroutine runs only if it fires, and ends at once:
		// Abort does not block, and unblocks what we wait for.
		defer time.AfterFunc(patience, func() { s.Abort() }).Stop()
	}
	var failed error
	half := false
	for c := range s.chain { // close_notify goes before FIN
		if c, ok := c.(interface{ CloseWrite() error }); ok {
			half = true
			if err := c.CloseWrite(); err != nil && failed == nil {
				failed = err
			}
		}
	}
	if half {
		// crypto/tls bounds its close_notify too, and may be first.
		var late net.Error
		if errors.As(failed, &late) && late.Timeout() {
			s.Abort()
		}
		return failed
	}
	s.whole.Store(true)
	return s.conn.Close()
}

// Close sends close_notify and FIN, if CloseWrite has not, and gives the
// connection back to the system, which delivers what was written. It waits at
// most 100 ms for the peer to take a close_notify.
func (s *stream) Close() error {
	if s.ended.Load() {
		return nil
	}
	err := s.endOutput(closePatience)
	if s.ended.Swap(true) {
		return err
	}
	return s.closeAll()
}

// closeAll closes the innermost connection first: what wraps it then has nobody
// left to talk to and cannot block.
func (s *stream) closeAll() error {
	err := s.base().Close()
	if s.alert {
		s.conn.Close()
	}
	return err
}

// Abort resets the connection, without close_notify, so that a peer cannot take
// it for an orderly end: "close without linger" is RST on TCP.
func (s *stream) Abort() error {
	s.outputEnded.Store(true)
	if s.ended.Swap(true) {
		return nil
	}
	if c, ok := s.base().(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0)
	}
	return s.closeAll()
}

func (s *stream) SetReadDeadline(t time.Time) error  { return s.conn.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) }

func (s *stream) Bootstrap() websocket.Bootstrap { return websocket.HTTP1 }
func (s *stream) LocalAddr() net.Addr            { return s.conn.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr           { return s.conn.RemoteAddr() }
func (s *stream) TLS() *tls.ConnectionState      { return s.state }
