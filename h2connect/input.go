package h2connect

import (
	"sync"
	"time"
)

// readBuffer is the size of a connection's read buffer: what one wake-up of the
// reader can bring. A connection on which little happens has one of idleBuffer: it
// gets the large one when a read has filled that, and gives it back when
// idleReads in a row would have had room in it.
const (
	readBuffer = 32 << 10
	idleBuffer = 2 << 10
	idleReads  = 64
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

	owed    int  // bytes that bursts have delivered, to be settled with the connection's window
	stirred bool // other goroutines may be about to write because of what has come since a flush
}

func (in *input) init(c *conn) { in.c, in.buf = c, make([]byte, idleBuffer) }

// fit gives the buffer the size that is right after a read of n bytes. Nothing in it
// is used any more.
func (in *input) fit(n int) {
	switch {
	case len(in.buf) == idleBuffer:
		if n == idleBuffer {
			in.buf, in.small = readBuffers.Get().(*[readBuffer]byte)[:], 0
		}
	case n > idleBuffer:
		in.small = 0
	default:
		if in.small++; in.small >= idleReads {
			readBuffers.Put((*[readBuffer]byte)(in.buf))
			in.buf = make([]byte, idleBuffer)
		}
	}
}

// readsOn is how many times in a row the reader reads on with something to send.
const readsOn = 16

// readOn reports whether what Handlers have written waits for the answers to what
// has arrived meanwhile: so that many small batches, once there are such, become
// one again. c.mu is held.
func (in *input) readOn() bool {
	c := in.c
	if term := c.lead.term.Load(); term == in.term || len(c.out) == 0 {
		return false // no Handler was called
	} else {
		in.term = term
	}
	if len(c.streams) < 2 || len(c.out) >= corkBytes || in.reads >= readsOn || c.flushing || c.lead.flushDue() {
		return false
	}
	in.reads++
	return c.room.more()
}

// fill waits for more bytes; there are none left. Before it waits, everything
// that the bytes so far have caused is sent.
func (in *input) fill() error {
	if in.err != nil {
		return in.err
	}
	c := in.c
	c.mu.Lock()
	c.settleOwed()
	if !in.readOn() {
		in.reads = 0
		c.flushRead()
	}
	if c.limits.ReadIdle > 0 {
		c.health.waiting = time.Now()
	}
	c.mu.Unlock()
	in.fit(in.w)
	n, err := c.nc.Read(in.buf)
	in.r, in.w = 0, n
	if n == 0 {
		in.err = err
		return err
	}
	in.err = err
	return nil
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
