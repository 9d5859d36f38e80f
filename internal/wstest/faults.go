package wstest

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Faults is a schedule of what goes wrong on a connection. The zero value is a
// connection on which nothing does. Byte counts are of what this end writes;
// the peer's direction is disturbed by wrapping the peer's end.
type Faults struct {
	// Seed chooses the sizes and delays. The same seed gives the same ones.
	Seed uint64

	// Slice cuts what is written, and bounds what a Read returns, to pieces of
	// 1 to Slice bytes. Zero: whole.
	Slice int

	// Delay waits up to this long before each piece that is written.
	Delay time.Duration

	// StallAfter makes writing block, after that many bytes, until the
	// connection is closed or the write deadline passes. Zero: never.
	StallAfter int64

	// CutAfter closes the connection in order after that many bytes. Zero:
	// never.
	CutAfter int64

	// ResetAfter resets the connection after that many bytes: a TCP
	// connection sends RST. Zero: never.
	ResetAfter int64
}

// Wrap returns c with the faults of f. Closing the result closes c.
func (f Faults) Wrap(c net.Conn) net.Conn {
	return &faulty{
		Conn:    c,
		faults:  f,
		reads:   rand.New(rand.NewPCG(f.Seed, 1)),
		writes:  rand.New(rand.NewPCG(f.Seed, 2)),
		closed:  make(chan struct{}),
		changed: make(chan struct{}, 1),
	}
}

// A faulty is a net.Conn that fails on schedule. As on any net.Conn, Read and
// Write may run at the same time, and each takes its pieces from a source of
// its own, so that the schedule of one does not depend on the other.
type faulty struct {
	net.Conn
	faults Faults

	readMu  sync.Mutex
	reads   *rand.Rand
	writeMu sync.Mutex
	writes  *rand.Rand
	written int64

	closing sync.Once
	closed  chan struct{} // closed by Close

	deadlineMu sync.Mutex
	deadline   time.Time     // for writes
	changed    chan struct{} // holds one token when deadline has changed
}

// Read reads one piece.
func (f *faulty) Read(p []byte) (int, error) {
	f.readMu.Lock()
	p = p[:f.piece(f.reads, len(p))]
	f.readMu.Unlock()
	return f.Conn.Read(p)
}

// Write writes piece by piece, until a fault is due.
func (f *faulty) Write(p []byte) (int, error) {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	n := 0
	for len(p) > 0 {
		size := f.piece(f.writes, len(p))
		if size = f.untilFault(size); size == 0 {
			return n, f.fault()
		}
		if f.faults.Delay > 0 {
			if err := f.wait(time.Duration(f.writes.Int64N(int64(f.faults.Delay)))); err != nil {
				return n, err
			}
		}
		m, err := f.Conn.Write(p[:size])
		n, f.written = n+m, f.written+int64(m)
		if err != nil {
			return n, err
		}
		p = p[size:]
	}
	return n, nil
}

// piece returns the size of the next piece of at most n bytes.
func (f *faulty) piece(r *rand.Rand, n int) int {
	if f.faults.Slice <= 0 || n == 0 {
		return n
	}
	return min(n, 1+r.IntN(f.faults.Slice))
}

// untilFault returns how many of the next n bytes come before a fault.
func (f *faulty) untilFault(n int) int {
	for _, at := range []int64{f.faults.StallAfter, f.faults.CutAfter, f.faults.ResetAfter} {
		if at > 0 {
			n = int(min(int64(n), max(at-f.written, 0)))
		}
	}
	return n
}

// fault does what is due after the bytes written.
func (f *faulty) fault() error {
	switch at := f.written; {
	case f.faults.ResetAfter > 0 && at >= f.faults.ResetAfter:
		if tcp, ok := f.Conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		f.Close()
		return &net.OpError{Op: "write", Net: "faulty", Err: syscall.ECONNRESET}
	case f.faults.CutAfter > 0 && at >= f.faults.CutAfter:
		f.Close()
		return &net.OpError{Op: "write", Net: "faulty", Err: syscall.EPIPE}
	}
	return f.wait(-1)
}

// wait waits for d, or for ever if d is negative. It returns early with an
// error when the connection is closed or the write deadline passes.
func (f *faulty) wait(d time.Duration) error {
	var done <-chan time.Time
	if d >= 0 {
		done = time.After(d)
	}
	for {
		var late <-chan time.Time
		f.deadlineMu.Lock()
		if !f.deadline.IsZero() {
			late = time.After(time.Until(f.deadline))
		}
		f.deadlineMu.Unlock()
		select {
		case <-done:
			return nil
		case <-f.changed:
		case <-late:
			return &net.OpError{Op: "write", Net: "faulty", Err: os.ErrDeadlineExceeded}
		case <-f.closed:
			return &net.OpError{Op: "write", Net: "faulty", Err: net.ErrClosed}
		}
	}
}

// Close closes the connection and ends a stall.
func (f *faulty) Close() error {
	f.closing.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// CloseWrite passes a half-close on where the connection below has one.
func (f *faulty) CloseWrite() error {
	if c, ok := f.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return f.Close()
}

// SetDeadline sets both deadlines.
func (f *faulty) SetDeadline(t time.Time) error {
	f.setWriteDeadline(t)
	return f.Conn.SetDeadline(t)
}

// SetWriteDeadline sets the deadline that also ends stalls and delays.
func (f *faulty) SetWriteDeadline(t time.Time) error {
	f.setWriteDeadline(t)
	return f.Conn.SetWriteDeadline(t)
}

func (f *faulty) setWriteDeadline(t time.Time) {
	f.deadlineMu.Lock()
	f.deadline = t
	f.deadlineMu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}
