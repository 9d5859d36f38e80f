package arrivals

import (
	"net"
	"syscall"
	"unsafe"
)

// Arrivals is what the kernel has received for a connection. Its methods are for one
// goroutine at a time.
type Arrivals struct {
	raw syscall.RawConn // nil: nothing can be told
	ask func(fd uintptr)
	n   int32
}

// Of returns the arrivals of c, a connection that wraps none.
func Of(c net.Conn) *Arrivals {
	a := new(Arrivals)
	if c, ok := c.(syscall.Conn); ok {
		a.raw, _ = c.SyscallConn() // nil if it has been closed
	}
	a.ask = func(fd uintptr) {
		syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&a.n))) // n stays 0 if it fails
	}
	return a
}

// Unread returns how many bytes there are, 0 if that cannot be told.
func (a *Arrivals) Unread() int {
	a.n = 0
	if a.raw == nil || a.raw.Control(a.ask) != nil {
		return 0
	}
	return int(a.n)
}
