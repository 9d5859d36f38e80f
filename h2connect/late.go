package h2connect

import (
	"crypto/tls"
	"net"

	"github.com/wsmux/websocket/internal/arrivals"
)

// This file has a blocked read with much room get at one wake-up what stands ready. TLS
// yields record by record. Were a proxy's pump woken for each, it would write each by
// itself: most of the work is that of a wake-up and of a write, however much is written.
//
// A wake-up is put off only while the connection's reader does not wait: it takes what
// has been read, and then reads what the kernel has, as long as that is a whole record
// and there is nothing to send.

// lateSpace is how much room a read must have left: more than comes until it is woken.
// Who reads a message of 64 KiB has less, and works on one record while the next is
// decrypted.
const lateSpace = 2 * arrivals.Together

// A late is a wake-up that is put off. It is the connection's reader's.
type late struct {
	st      *stream            // whose blocked read has got something; nil: none is put off
	n       int                // bytes since, whosever they are
	arrived *arrivals.Arrivals // nil before the first question
}

// putOff puts off the wake-up of st's reader, which has got n bytes, and reports whether
// it has. A stream that shares the connection with other sockets has the baton for that.
func (c *conn) putOff(st *stream, n int, shares bool) bool {
	l := &c.in.late
	if !c.in.layered || n < largePiece || shares || l.st != nil || st.recv.space() < lateSpace {
		return false
	}
	l.st, l.n = st, n
	return true
}

// wakeLate ends what putOff has begun. The reader calls it before anything that may
// last.
func (c *conn) wakeLate() {
	if st := c.in.late.st; st != nil {
		c.in.late.st, c.in.stirred = nil, true
		st.recv.wake()
	}
}

// readLate reads on while a wake-up is put off, if neither the read waits nor anything
// for it.
func (in *input) readLate() (n int, err error, ok bool) {
	c, l := in.c, &in.late
	c.baton.Load().start()
	c.mu.Lock()
	c.settleOwed()
	silent := c.flushing || !c.sendable()
	c.mu.Unlock()
	if !silent || l.n >= arrivals.Together || !l.hasRecord(c.nc) {
		return 0, nil, false
	}
	n, err = in.readNetwork()
	l.n += n
	return n, err, true
}

// hasRecord reports whether nc, which has TLS, yields something without waiting.
func (l *late) hasRecord(nc net.Conn) bool {
	if l.arrived == nil {
		l.arrived = arrivals.Of(nc.(*tls.Conn).NetConn())
	}
	return l.arrived.Records() > 0
}
