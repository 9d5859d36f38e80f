package meter

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DialTLS returns a function that opens a TCP connection and performs TLS on it,
// counted. conf's NextProtos say what is offered; the connection fails if the
// server chooses none of them.
//
// When a connection is closed its sending direction ends at once, and the rest,
// in the background, when the server's has, or a second later: so the last
// segments are counted too.
func (m *Meter) DialTLS(conf *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		m.dialing.Add(1)
		defer m.dialing.Done()
		d := net.Dialer{Control: m.Control}
		nc, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &conn{TCPConn: nc.(*net.TCPConn), meter: m}
		m.opened(c)
		conf := conf.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(addr)
		}
		t := tls.Client(c, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			t.Close()
			return nil, err
		}
		proto := t.ConnectionState().NegotiatedProtocol
		if len(conf.NextProtos) > 0 && !slices.Contains(conf.NextProtos, proto) {
			t.Close()
			return nil, &UnsupportedError{Offered: conf.NextProtos}
		}
		m.shaken(proto == "h2")
		return newPlain(t, c, proto == "h2"), nil
	}
}

// An UnsupportedError says that the server speaks none of the protocols offered.
type UnsupportedError struct{ Offered []string }

// Error names the protocols.
func (e *UnsupportedError) Error() string {
	s := "the server chose none of"
	for _, p := range e.Offered {
		s += " " + p
	}
	return s
}

// A plain is a connection above TLS. It counts into the conn below.
type plain struct {
	*tls.Conn
	c *conn
}

func newPlain(t *tls.Conn, c *conn, http2 bool) *plain {
	p := &plain{t, c}
	if http2 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.http2Up = &http2Flow{skip: prefaceLength, data: &c.up.Data}
		c.http2Down = &http2Flow{data: &c.down.Data}
	}
	return p
}

func (p *plain) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.down.Plain += int64(n)
	if p.c.http2Down != nil {
		p.c.http2Down.take(b[:n])
	}
	return n, err
}

// Write counts before it writes: the answer may come, and the connection end, before
// it has returned. What could not be written then has been counted all the same.
func (p *plain) Write(b []byte) (int, error) {
	p.c.mu.Lock()
	p.c.up.Plain += int64(len(b))
	if p.c.http2Up != nil {
		p.c.http2Up.take(b)
	}
	p.c.mu.Unlock()
	return p.Conn.Write(b)
}

// A conn is a TCP connection, below TLS.
type conn struct {
	*net.TCPConn
	meter *Meter

	mu                 sync.Mutex
	up, down           Flow // but for what the kernel counts
	http2Up, http2Down *http2Flow
	last               *segments // after the end

	reading   sync.Mutex // held while somebody reads
	deadlines sync.Mutex // held while closed or a deadline is set
	closing   sync.Once
	closed    atomic.Bool
	abort     atomic.Bool // it is to end by RST
}

func (c *conn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := c.read(b)
	if c.closed.Load() && n == 0 {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down.Sealed += int64(n)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	c.mu.Lock()
	c.up.Sealed += int64(len(b)) // before, as plain.Write
	c.mu.Unlock()
	return c.TCPConn.Write(b)
}

// SetLinger with 0 makes Close a reset.
func (c *conn) SetLinger(sec int) error {
	c.abort.Store(sec == 0)
	return c.TCPConn.SetLinger(sec)
}

// SetDeadline, SetReadDeadline and SetWriteDeadline do nothing once the connection
// is closed: its deadline is that of its end then.
func (c *conn) SetDeadline(t time.Time) error      { return c.deadline(c.TCPConn.SetDeadline, t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.deadline(c.TCPConn.SetReadDeadline, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.deadline(c.TCPConn.SetWriteDeadline, t) }

func (c *conn) deadline(set func(time.Time) error, t time.Time) error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	return set(t)
}

// linger is how long the server may take to end its direction.
const linger = time.Second

func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		err = nil
		c.deadlines.Lock()
		c.closed.Store(true)
		c.deadlines.Unlock()
		if c.abort.Load() {
			c.end()
			return
		}
		_ = c.TCPConn.SetDeadline(time.Now()) // whoever reads or writes stops
		_ = c.TCPConn.CloseWrite()
		// The goroutine waits for the server's FIN and ends the connection, which
		// is its own from here.
		c.meter.lingering.Go(func() {
			c.reading.Lock()
			defer c.reading.Unlock()
			_ = c.TCPConn.SetReadDeadline(time.Now().Add(linger))
			_, _ = io.Copy(io.Discard, readerFunc(c.read))
			c.end()
		})
	})
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// end asks the kernel for its counts a last time and closes the connection.
func (c *conn) end() {
	s := segmentsOf(c.TCPConn)
	if c.abort.Load() {
		s.out++ // the RST
	}
	c.mu.Lock()
	c.last = &s
	c.mu.Unlock()
	c.meter.ended(c)
	_ = c.TCPConn.Close()
}

func (c *conn) flows() (up, down Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.last
	if s == nil {
		now := segmentsOf(c.TCPConn)
		s = &now
	}
	up, down = c.up, c.down
	header := int64(ipv4Header + tcpHeader)
	if ip, ok := c.RemoteAddr().(*net.TCPAddr); ok && ip.IP.To4() == nil {
		header += ipv6Header - ipv4Header
	}
	if s.timestamps {
		header += timestampOption
	}
	up.Packets, up.Headers, up.Again = s.out, s.out*header+synOptions(s), s.again
	down.Packets, down.Headers = s.in, s.in*header+synOptions(s)
	return up, down
}

// Lengths of headers. A SYN has more options than other segments, on Linux 20
// bytes: maximum segment size (4), SACK permitted (2), timestamps (10), window
// scale (3) and a NOP, against two NOPs and timestamps. Without timestamps it is 12
// against none. SACK options, which loss brings about, are not counted.
const (
	ipv4Header      = 20
	ipv6Header      = 40
	tcpHeader       = 20
	udpHeader       = 8
	timestampOption = 12
)

// synOptions returns by how much the SYN is longer than the segments after it.
func synOptions(s *segments) int64 {
	switch {
	case s.out == 0 && s.in == 0:
		return 0 // nothing is known
	case s.timestamps:
		return 20 - timestampOption
	}
	return 12
}

// segments is what the kernel counts of a TCP connection.
type segments struct {
	out, in    int64
	again      int64 // bytes
	timestamps bool
}
