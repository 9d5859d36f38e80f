package h2connect

import (
	"syscall"
	"unsafe"
)

// arrivals is how many bytes the kernel has received that have not been read.
type arrivals struct {
	n     int32
	known bool
	ask   func(fd uintptr)
}

// yield reports whether a read of the connection, which has TLS, brings something
// without waiting: there is a record, however large.
func (a *arrivals) yield(r *room) bool {
	if r.raw == nil {
		return false
	}
	if a.ask == nil {
		a.ask = func(fd uintptr) {
			_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&a.n)))
			a.known = errno == 0
		}
	}
	a.known = false
	return r.raw.Control(a.ask) == nil && a.known && a.n >= largestRecord
}
