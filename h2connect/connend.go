package h2connect

import (
	"errors"
	"io"
	"net"
	"time"
)

// This file ends connections: at once, or with a last frame that gets the time to
// arrive.

// expire ends the connection, without a word, because the limit of time l has
// passed. c.mu is held.
func (c *conn) expire(l limit, what timeoutError) {
	if c.err == nil {
		c.hits.count(l)
		c.end(&ConnError{Err: what})
	}
}

// dead reports whether nothing may be queued any more: the connection has ended
// or said its last word. c.mu is held.
func (c *conn) dead() bool { return c.err != nil || c.dying.Load() }

// die answers a broken rule with GOAWAY (RFC 9113 §5.4.1). The streams end now;
// the frame gets Limits.Linger to arrive, and whatever comes meanwhile is
// discarded. c.mu is held.
func (c *conn) die(v *violation) {
	if c.dead() {
		return
	}
	c.hits.count(v.limit)
	c.lastData = nil
	last := c.lastIn
	if c.goAwaySent {
		last = c.lastTaken // "Endpoints MUST NOT increase the value" (RFC 9113 §6.8)
	}
	c.fr.WriteGoAway(last, v.code, []byte(v.Error()))
	c.dying.Store(true)
	c.failStreams(&ConnError{Code: v.code, Debug: v.Error()})
	c.role.ended()
	c.linger()
	c.flush()
}

// linger closes the connection when the last frame, which is queued or on its
// way, has had time to arrive. A reset of the connection, which is what closing
// it with bytes unread comes to, could overtake it. c.mu is held.
func (c *conn) linger() {
	if c.lingering {
		return
	}
	c.lingering = true
	c.lingerTimer = time.AfterFunc(c.lingerTime(), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil && (c.flushing || c.sendable()) {
			// The peer is slow to take it; WriteStall bounds how slow.
			c.lingerTimer.Reset(c.lingerTime())
			return
		}
		c.end(&ConnError{Err: net.ErrClosed})
	})
}

// lingerTime is how long linger waits. A client that has gone away as well has
// nothing more to say that could be unread, so that our last frame needs no more
// than to be written. c.mu is held.
func (c *conn) lingerTime() time.Duration {
	if c.peerAway && !c.dying.Load() {
		return min(c.limits.Linger, 10*time.Millisecond)
	}
	return c.limits.Linger
}

// end ends the connection at once. The first cause stays. c.mu is held.
func (c *conn) end(cause *ConnError) {
	if c.err != nil {
		return
	}
	c.err = cause
	c.failStreams(cause)
	for _, t := range []*time.Timer{c.hsTimer, c.stallTimer, c.idleTimer, c.lingerTimer, c.unread.timer, c.health.timer, c.hold.timer} {
		if t != nil {
			t.Stop()
		}
	}
	close(c.done)
	c.role.ended()
	// Closing a TLS connection writes an alert, for which crypto/tls waits 5 s at most; and
	// first, without a bound, for what it writes by itself, as an answer to what it reads.
	go func() {
		c.nc.SetWriteDeadline(longAgo)
		c.nc.Close()
	}()
}

// failStreams ends every stream, with err. Streams that the peer has said it
// did not look at (RFC 9113 §6.8) are told so elsewhere. c.mu is held.
func (c *conn) failStreams(err *ConnError) {
	if len(c.streams) > 0 && c.cut == nil {
		c.cut = err
	}
	for _, st := range c.streams {
		c.forget(st, err)
	}
}

// networkError turns what the reader got into the connection's end.
func networkError(err error) *ConnError {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &ConnError{Remote: !errors.Is(err, net.ErrClosed), Err: err}
}
