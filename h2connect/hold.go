package h2connect

import "time"

// This file has bulk wait where there are too many bytes on their way: see flight.
// Where TCP cannot be asked, or on a client, nothing is bounded.

// A hold is bulk's waiting for an answer. The timer is armed when it begins, left
// alone when it ends, and looks for itself when it fires. The connection's lock
// guards it.
type hold struct {
	since time.Time // zero: bulk is not held
	timer *time.Timer
	armed bool
}

// bulkSent is called behind each frame of bulk. c.mu is held.
func (c *conn) bulkSent() {
	f := &c.flight
	if c.sockets == 0 || c.side == clientSide {
		return
	}
	if f.limit == 0 {
		net, ok := c.network()
		if !ok {
			return
		}
		f.begin(c.dataSent, net.rate())
	}
	if f.due(c.dataSent) {
		c.probe()
	}
	if f.full(c.dataSent) {
		c.holdBulk()
	}
}

// probe sends a probe. c.mu is held.
func (c *conn) probe() {
	net, _ := c.network()
	c.lastData = nil
	c.fr.WritePing(false, probeContent(c.flight.probe(c.dataSent, net.rtt, time.Now())))
}

// holdBulk makes bulk wait. c.mu is held.
func (c *conn) holdBulk() {
	h := &c.hold
	if !h.since.IsZero() {
		return
	}
	c.sched.held, h.since = true, time.Now()
	if h.armed {
		return
	}
	h.armed = true
	if h.timer == nil {
		h.timer = time.AfterFunc(c.flight.patience(c.dataSent), c.checkHold)
		return
	}
	h.timer.Reset(c.flight.patience(c.dataSent))
}

// releaseBulk lets bulk go on. c.mu is held.
func (c *conn) releaseBulk() { c.sched.held, c.hold.since = false, time.Time{} }

// probeAnswered takes a PING's acknowledgement and reports whether it was a
// probe's that was due. c.mu is held.
func (c *conn) probeAnswered(data [8]byte) bool {
	number, ok := probeNumber(data)
	if !ok || !c.flight.answered(number, time.Now()) {
		return false
	}
	if c.flight.dueNow(c.dataSent) {
		c.probe()
	}
	if !c.flight.full(c.dataSent) {
		c.releaseBulk()
	}
	return true
}

func (c *conn) checkHold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.hold
	h.armed = false
	if h.since.IsZero() || c.dead() {
		return
	}
	if left := c.flight.patience(c.dataSent) - time.Since(h.since); left > 0 {
		h.armed = true
		h.timer.Reset(left)
		return
	}
	c.flight.abandon(c.dataSent, time.Now())
	c.releaseBulk()
	c.flush()
}

// socketEnded is called when a socket has left the table. Bulk is bounded for
// the sake of sockets only. c.mu is held.
func (c *conn) socketEnded() {
	c.sockets--
	if c.sockets == 0 {
		c.flight.limit = 0
		c.releaseBulk()
	}
}
