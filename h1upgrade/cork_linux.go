package h1upgrade

import (
	"net"
	"syscall"
)

// A cork makes TCP keep what does not fill a segment until the rest of a write is
// there (TCP_CORK, tcp(7)). What fills one is sent at once, and all of it 200 ms
// later at the latest. The zero cork does nothing.
type cork struct{ raw syscall.RawConn }

// corkOf returns the cork of c.
func corkOf(c net.Conn) cork {
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return cork{}
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return cork{} // it has been closed
	}
	return cork{raw}
}

// hold begins a write. A call of release follows.
func (c cork) hold() { c.set(corkIn) }

// release sends what was held back.
func (c cork) release() { c.set(corkOut) }

// set fails if the connection has been closed, and so do its writes.
func (c cork) set(to func(fd uintptr)) {
	if c.raw != nil {
		c.raw.Control(to)
	}
}

func corkIn(fd uintptr)  { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) }
func corkOut(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 0) }
