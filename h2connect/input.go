package h2connect

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// readBuffer is the size of a connection's read buffer: what one wake-up of the
// reader can bring. A connection on which little happens has one of idleBuffer: it
// gets the large one when a read has filled that, and gives it back when
// idleReads in a row would have had room in it. Without TLS, which yields a record of
// 16 KiB at most, the large one is plainBuffer: a message of 64 KiB in one read.
const (
	readBuffer  = 32 << 10
	plainBuffer = largestStorage
	idleBuffer  = 1 << 10
	idleReads   = 64
)

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// An input is the connection's read buffer. The Framer reads frame headers and
// short payloads through it; DATA is taken from it directly.
type input struct {
	c    *conn
	buf  []byte // buf[r:w] has been received and not been used
	r, w int
	err  error // the network's last word

	term  uint64 // the lead's when it was last filled
	reads int    // since a flush
	small int    // reads in a row of no more than idleBuffer

	late     late
	owed     int  // bytes that bursts have delivered, to be settled with the connection's window
	stirred  bool // other goroutines may be about to write because of what has come since a flush
	layered  bool // reads pass through TLS, above something with deadlines
	indirect bool // what the kernel has may not be enough for a read: it is not TCP's own
}

func (in *input) init(c *conn) {
	in.c, in.buf = c, make([]byte, idleBuffer)
	_, in.layered = c.nc.(*tls.Conn)
	_, plain := c.nc.(*net.TCPConn)
	in.indirect = !plain
}

// fit gives the buffer the size that is right after a read of n bytes. Nothing in it
// is used any more.
func (in *input) fit(n int) {
	switch {
	case len(in.buf) == idleBuffer:
		if n == idleBuffer {
			in.borrow()
		}
	case n > idleBuffer:
		in.small = 0
	default:
		if in.small++; in.small >= idleReads {
			in.giveBack()
		}
	}
}

// borrow takes a large buffer.
func (in *input) borrow() {
	in.small = 0
	if in.layered {
		in.buf = readBuffers.Get().(*[readBuffer]byte)[:]
		return
	}
	in.buf = getStorage(plainBuffer)[:plainBuffer]
}

// giveBack takes a small one in its place.
func (in *input) giveBack() {
	if len(in.buf) == readBuffer {
		readBuffers.Put((*[readBuffer]byte)(in.buf))
	} else {
		putStorage(in.buf)
	}
	in.buf = make([]byte, idleBuffer)
}

// readsOn is how many times in a row the reader reads on with something to send.
const readsOn = 16

// readOn reports whether what Handlers have written, or those that have been woken
// are about to, waits for the answers to what has arrived meanwhile, if anything has:
// so that many small batches, once there are such, become one again. c.mu is held.
func (in *input) readOn() bool {
	c := in.c
	term := c.lead.term.Load()
	called := term != in.term && len(c.out) > 0
	in.term = term
	stirred := in.stirred || c.baton.Load().waiting()
	if !called && !stirred || c.sockets < 2 || len(c.out) >= corkBytes || in.reads >= readsOn || c.flushing || c.lead.flushDue() {
		return false
	}
	in.reads++
	return true
}

// fill waits for more bytes; there are none left. Before it waits, everything
// that the bytes so far have caused is sent.
func (in *input) fill() error {
	if in.err != nil {
		return in.err
	}
	c := in.c
	in.fit(in.w)
	if in.late.st != nil {
		if n, err, ok := in.readLate(); ok {
			return in.filled(n, err)
		}
		c.wakeLate()
	}
	c.mu.Lock()
	c.settleOwed()
	on := in.readOn()
	if on && in.layered {
		c.mu.Unlock()
		if n, err, ok := in.readHere(); ok {
			return in.filled(n, err)
		}
		c.mu.Lock()
	}
	if !on || !c.room.more() {
		in.reads = 0
		c.flushRead()
		c.uncorked, c.brief, c.sentNow = false, c.sentNow < briefBytes, 0
	} else {
		c.baton.Load().start()
		if in.indirect && c.sendable() {
			c.lead.flushLater() // what has come may be a part of a record
		}
	}
	if c.limits.ReadIdle > 0 {
		c.health.waiting = time.Now()
	}
	c.endSummons() // readHere may have put back the deadline of one
	c.mu.Unlock()
	n, err := in.readNetwork()
	return in.filled(n, err)
}

// filled takes the result of a read.
func (in *input) filled(n int, err error) error {
	in.r, in.w, in.err = 0, n, err
	if n == 0 {
		return err
	}
	return nil
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// readHere reads what TLS has at hand, if it has anything. A read of the network may
// bring many records, which TLS yields one by one: with a deadline that has passed it
// yields the next, and does not get as far as the network.
func (in *input) readHere() (n int, err error, ok bool) {
	nc := in.c.nc
	if nc.SetReadDeadline(longAgo) != nil { // what is below TLS has no deadlines
		in.layered = false
		return 0, nil, false
	}
	n, err = nc.Read(in.buf)
	nc.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err, n > 0 || err != nil
}

// leave leaves the buffer to a Handler that still looks at it, and takes what is
// left in it along.
func (in *input) leave() {
	buf := make([]byte, len(in.buf))
	in.w = copy(buf, in.buf[in.r:in.w])
	in.r, in.buf = 0, buf
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}

// next returns up to n bytes, at least one, which are valid until the next call.
func (in *input) next(n int) ([]byte, error) {
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	n = min(n, in.w-in.r)
	p := in.buf[in.r : in.r+n]
	in.r += n
	return p, nil
}

// skip drops n bytes.
func (in *input) skip(n int) error {
	for n > 0 {
		p, err := in.next(n)
		if err != nil {
			return err
		}
		n -= len(p)
	}
	return nil
}
