package h2connect

import "time"

// readBuffer is the size of a connection's read buffer: what one wake-up of the
// reader can bring.
const readBuffer = 32 << 10

// An input is the connection's read buffer. The Framer reads frame headers and
// short payloads through it; DATA is taken from it directly.
type input struct {
	c    *conn
	buf  []byte // buf[r:w] has been received and not been used
	r, w int
	err  error // the network's last word
}

func (in *input) init(c *conn) { in.c, in.buf = c, make([]byte, readBuffer) }

// fill waits for more bytes; there are none left. Before it waits, everything
// that the bytes so far have caused is sent.
func (in *input) fill() error {
	if in.err != nil {
		return in.err
	}
	c := in.c
	c.mu.Lock()
	c.flush()
	if c.limits.ReadIdle > 0 {
		c.health.waiting = time.Now()
	}
	c.mu.Unlock()
	n, err := c.nc.Read(in.buf)
	in.r, in.w = 0, n
	if n == 0 {
		in.err = err
		return err
	}
	in.err = err
	return nil
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
