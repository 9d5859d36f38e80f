package h2connect

import (
	"net"
	"os"
	"syscall"
	"unsafe"
)

// A room tells whether the kernel takes a small write at once.
type room struct {
	raw   syscall.RawConn // nil: it cannot be told
	poll  func(fd uintptr)
	sizes func(fd uintptr)
	size  int  // of the send buffer, in bytes
	plain bool // the connection is TCP's alone
	ready bool // there is room
	input bool // there is something to read
	fresh bool // ready was found out for the check that follows
	left  int  // bytes of the send buffer that small writes may still use unasked
}

const tcpNotSentLowat = 25 // TCP_NOTSENT_LOWAT, linux/tcp.h

// watch prepares the room of nc, which may be a TLS connection, and bounds what
// the kernel holds back.
func (r *room) watch(nc net.Conn) {
	_, r.plain = nc.(*net.TCPConn)
	for range 2 { // TLS, and what gathers its records
		if c, ok := nc.(interface{ NetConn() net.Conn }); ok {
			nc = c.NetConn()
		}
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	if _, ok := nc.(*net.TCPConn); ok {
		raw.Control(func(fd uintptr) {
			// Not every system has it; without it only fairness is coarser.
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, notSentLowat)
		})
	}
	r.raw = raw
	r.poll = func(fd uintptr) { r.ready, r.input = pollBoth(fd) }
	if _, ok := nc.(*net.TCPConn); ok {
		r.sizes = func(fd uintptr) { r.size, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF) }
	}
}

// more reports whether there is something to read at once, as far as the kernel
// knows. If not, a call of check is to follow before anything is written. The
// connection's lock is held.
func (r *room) more() bool {
	if r.raw == nil {
		return false
	}
	r.ready, r.input = false, false
	r.fresh = r.raw.Control(r.poll) == nil && !r.input
	return r.input
}

// readable reports whether there is something to read at once. The connection's lock
// is held.
func (r *room) readable() bool {
	r.input = false
	if r.raw == nil || r.raw.Control(r.poll) != nil {
		return false
	}
	r.fresh = false
	return r.input
}

// segmentBytes is what a small write uses of the send buffer at most, besides its
// bytes: what the kernel keeps of a segment, and the page that it begins.
const segmentBytes = 4 << 10

// takes reports whether n bytes can be written without waiting, which then must
// happen before takes or check is called again. Where the kernel has said that there
// is room, the small writes that follow use what it promised, and it is not asked for
// each. The connection's lock is held.
func (r *room) takes(n int) bool {
	if n+segmentBytes <= r.left {
		r.left -= n + segmentBytes
		return true
	}
	r.left = 0
	if n > inlineBytes {
		return r.hasSpace(n) && r.check()
	}
	if !r.check() {
		return false
	}
	if n <= askedBytes {
		r.left = r.space() - n - segmentBytes
	}
	return true
}

// askedBytes is up to where a write is followed by others that are not asked for: of
// larger ones too few have room for the question to pay.
const askedBytes = 1 << 10

// written is to be called before a write for which takes was not asked.
func (r *room) written() { r.left = 0 }

// hasSpace reports whether n bytes can be written once check says that there is room.
func (r *room) hasSpace(n int) bool { return n <= inlineMost && n <= r.space() }

// space returns how many bytes can be written once check says that there is room: a
// third of the send buffer then, part of which the kernel needs for itself, and so
// many that what has not been sent stays below notSentLowat. 0 if it cannot be told.
func (r *room) space() int {
	r.size = 0
	if r.sizes == nil || r.raw.Control(r.sizes) != nil {
		return 0
	}
	return min(r.size/4, inlineMost)
}

// check reports whether inlineBytes can be written without waiting. The
// connection's lock is held.
func (r *room) check() bool {
	if r.raw == nil {
		return false
	}
	if r.fresh {
		r.fresh = false
		return r.ready
	}
	r.ready = false
	if r.raw.Control(r.poll) != nil {
		return false
	}
	return r.ready
}

// pollFD is struct pollfd of poll(2).
type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

// Of poll(2).
const (
	pollIn  = 0x1 // POLLIN
	pollOut = 0x4 // POLLOUT
)

// pollBoth asks poll(2) whether fd is writable, and readable, now. Linux says that
// it is writable while a third of the send buffer is free, which is more than
// inlineBytes.
func pollBoth(fd uintptr) (out, in bool) {
	p := pollFD{fd: int32(fd), events: pollIn | pollOut}
	var now syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL,
		uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	known := errno == 0 && n == 1 && p.revents&^(pollIn|pollOut) == 0
	return known && p.revents&pollOut != 0, known && p.revents&pollIn != 0
}

// direct reports whether put can be used.
func (r *room) direct() bool { return r.plain && r.raw != nil }

// A systemCall is what put keeps for writev(2).
type systemCall struct {
	vectors [directParts]syscall.Iovec
	n       int // of vectors
	written int
	err     error
	try     func(fd uintptr) bool
}

// put writes as much of v as can be written at once, and returns how much. Whoever
// calls it is the connection's flusher.
func (r *room) put(v *volley) (int, error) {
	s := &v.call
	for i, p := range v.parts[:v.n] {
		s.vectors[i].Base = unsafe.SliceData(p)
		s.vectors[i].SetLen(len(p))
	}
	s.n, s.written, s.err = v.n, 0, nil
	if s.try == nil {
		s.try = s.writev
	}
	err := r.raw.Write(s.try)
	clear(s.vectors[:s.n])
	if err == nil {
		err = s.err
	}
	return s.written, err
}

// writev calls writev(2), which does not wait: fd is as package net has made it. It
// reports that it is done.
func (s *systemCall) writev(fd uintptr) bool {
	for {
		n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&s.vectors)), uintptr(s.n))
		switch errno {
		case 0:
			s.written = int(n)
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			s.err = &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("writev", errno)}
		}
		return true
	}
}
