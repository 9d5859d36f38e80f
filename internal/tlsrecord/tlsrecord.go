// Package tlsrecord has the TLS records of one write leave by one system call.
//
// crypto/tls writes each record, of 16 KiB at most, with a system call of its own, which
// sends it in segments of its own and wakes the peer for it. What stands beneath it here
// (see [Beneath]) holds the records of one write (see [Write]) and hands them on together.
package tlsrecord

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Size is the largest payload of a TLS record (RFC 8446 §5.1).
const Size = 16 << 10

// together is how much is held at most: the records of 66 KiB, which is what a large
// write of HTTP/2 is. More leaves in several calls.
const together = 68 << 10

// borrowers is how many writes in the process hold records at a time, which is 17 MiB.
// They hold them for as long as the peer takes nothing; the records of all others leave
// one by one.
const borrowers = 256

var (
	pool     = sync.Pool{New: func() any { return new([together]byte) }}
	borrowed atomic.Int32
)

// errUnread ends a connection whose peer has more answered than is held at most: whoever
// answers must not wait, with a lock of crypto/tls's that its Close takes as well.
var errUnread = errors.New("TLS: the peer asks for new keys and does not read")

// borrow returns memory for records, nil if there is none to be had.
func borrow() []byte {
	if borrowed.Add(1) > borrowers {
		borrowed.Add(-1)
		return nil
	}
	return pool.Get().(*[together]byte)[:0]
}

func giveBack(p []byte) {
	pool.Put((*[together]byte)(p[:together]))
	borrowed.Add(-1)
}

// A Conn stands between a network connection and the TLS connection on top of it.
type Conn struct {
	net.Conn

	mu      sync.Mutex
	holding bool          // between Hold and Release
	leaving bool          // what was held is being written
	left    chan struct{} // closed when leaving ends; nil: nobody waits
	held    []byte        // nil while there is nothing
	aside   []byte        // what has come while leaving: a few bytes, but for a peer that wants more
	err     error         // of writing what was held, of which crypto/tls has not been told
}

// New returns a Conn on top of c.
func New(c net.Conn) *Conn { return &Conn{Conn: c} }

// Beneath returns what is to stand beneath TLS in place of c: a Conn if c is TCP's of
// package net, and else c, whose type may matter to whoever made it.
func Beneath(c net.Conn) net.Conn {
	if _, ok := c.(*net.TCPConn); ok {
		return New(c)
	}
	return c
}

// A Listener accepts what is to stand beneath TLS.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Beneath(c), nil
}

// Under returns the Conn directly beneath a TLS connection, nil if there is none.
func Under(c net.Conn) *Conn {
	tc, ok := c.(interface{ NetConn() net.Conn })
	if !ok {
		return nil
	}
	b, _ := tc.NetConn().(*Conn)
	return b
}

// Write writes p to c, and has its records leave together if c is a TLS connection on top
// of a Conn. After an error, which may be that of a deadline, such a connection takes no
// more writes. There is one call at a time.
func Write(c net.Conn, p []byte) (int, error) {
	b := Under(c)
	if b == nil || len(p) <= Size {
		return c.Write(p)
	}
	b.Hold()
	n, err := c.Write(p)
	if e := b.Release(); e != nil && err == nil {
		return 0, e
	}
	return n, err
}

// NetConn returns what b is on top of.
func (b *Conn) NetConn() net.Conn { return b.Conn }

// SyscallConn implements syscall.Conn.
func (b *Conn) SyscallConn() (syscall.RawConn, error) {
	c, ok := b.Conn.(syscall.Conn)
	if !ok {
		return nil, syscall.EINVAL
	}
	return c.SyscallConn()
}

// Hold has the records that are written held until Release is called.
func (b *Conn) Hold() {
	b.mu.Lock()
	b.holding = true
	b.mu.Unlock()
}

// Release writes what is held, or waits until a Write of crypto/tls's own has: an answer
// that came behind the last record.
func (b *Conn) Release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = false
	for b.leaving {
		b.awaitLeft()
	}
	b.leave()
	return b.err
}

// awaitLeft waits until leaving has ended. b.mu is held; it is released while waiting.
func (b *Conn) awaitLeft() {
	if b.left == nil {
		b.left = make(chan struct{})
	}
	left := b.left
	b.mu.Unlock()
	<-left
	b.mu.Lock()
}

// Write is crypto/tls's, one call at a time. One may come while Release is at work, since
// crypto/tls answers by itself to some of what it reads, and announces an end: it keeps
// its place, and does not wait until the peer has taken what is before it, so that nobody
// who closes the connection does; if that becomes too much, the connection fails.
func (b *Conn) Write(p []byte) (int, error) {
	held, err := b.keep(p)
	switch {
	case err != nil:
		return 0, err
	case held:
		return len(p), nil
	}
	return b.Conn.Write(p)
}

// keep holds p, unless it may leave at once.
func (b *Conn) keep(p []byte) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.leaving && len(b.held)+len(p) > together:
		b.leave()
	case b.leaving && len(b.aside)+len(p) > together && b.err == nil:
		b.err = errUnread
	}
	switch {
	case b.err != nil:
		return false, b.err
	case b.leaving:
		b.aside = append(b.aside, p...)
		return true, nil
	case !b.holding:
		return false, nil
	}
	if b.held == nil {
		b.held = borrow()
	}
	if b.held == nil {
		return false, nil
	}
	b.held = append(b.held, p...)
	if ofHandshake(p) {
		b.leave()
	}
	return true, b.err
}

// ofHandshake reports whether p begins with a record of a handshake, which up to TLS 1.2
// may be a further one (renegotiation): crypto/tls writes nothing else, and thus does not
// come to Release, before the peer has answered.
func ofHandshake(p []byte) bool {
	const changeCipherSpec, handshake = 20, 22 // RFC 5246 §6.2.1; RFC 8446 hides later ones
	return len(p) > 0 && (p[0] == handshake || p[0] == changeCipherSpec)
}

// leave writes what is held, and what comes meanwhile. b.mu is held; it is released while
// writing.
func (b *Conn) leave() {
	if b.held == nil {
		return
	}
	b.leaving = true
	b.put(b.held)
	giveBack(b.held)
	b.held = nil
	for b.aside != nil && b.err == nil {
		p := b.aside
		b.aside = nil
		b.put(p)
	}
	b.aside, b.leaving = nil, false
	if b.left != nil {
		close(b.left)
		b.left = nil
	}
}

// put writes p. b.mu is held; it is released while writing.
func (b *Conn) put(p []byte) {
	b.mu.Unlock()
	_, err := b.Conn.Write(p)
	b.mu.Lock()
	if b.err == nil {
		b.err = err
	}
}
