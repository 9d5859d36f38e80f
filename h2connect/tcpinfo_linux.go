//go:build linux && !386

package h2connect

import (
	"syscall"
	"time"
	"unsafe"
)

// network asks TCP about the way to the peer; false if there is no TCP
// underneath. The connection's lock is held.
func (r *room) network() (n network, ok bool) {
	if r.raw == nil {
		return network{}, false
	}
	var info syscall.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	err := r.raw.Control(func(fd uintptr) {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0
	})
	if err != nil || !ok {
		return network{}, false
	}
	return network{
		rtt:    time.Duration(info.Rtt) * time.Microsecond,
		window: int64(info.Snd_cwnd) * int64(info.Snd_mss),
	}, true
}
