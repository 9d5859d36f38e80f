package websocket

// rest gives back what reading has made, if nothing is in it: a socket that does nothing
// after a message is nearly as small again as one that never had any. It is called when
// nothing has been written for a while, which is rarely enough that what it gives back
// does not have to be made again for every message. What a read waits with stays.
func (c *Conn) rest() {
	if !c.reading.tryLock() {
		return
	}
	// Somebody who serves a Handler has let go of the gate for an OnMessage, and
	// still looks at c.in. While nobody serves nobody begins without the gate.
	x := c.handling.Load()
	served := x != nil && x.pushes && x.state.Load() != pushIdle
	if in := c.in; in != nil && !served && c.err.Load() == nil && in.atRest(&c.set.limits) {
		c.publishRead() // who has not read since its last message has not
		r := c.theRarity()
		r.read.take(&in.published)
		c.read.Store(&r.read)
		c.in = nil // not for another's use: somebody may still be looking at what it counted
	}
	c.reading.unlock()
}

// atRest reports whether in holds nothing but counts.
func (in *inbound) atRest(l *Limits) bool {
	return in.used && in.buf == nil && len(in.piece) == 0 && in.err == nil && !in.lent &&
		!in.open && in.ahead == nil && in.reader == nil && in.gathered == nil && in.inflater == nil &&
		!in.recv.InMessage() && in.recv.Remaining() == 0 && in.control.full(l.ControlBurst, l.ControlRate)
}

// take makes t what published is.
func (t *traffic) take(published *traffic) {
	t.frames.set(published.frames.n.Load())
	t.bytes.set(published.bytes.n.Load())
	t.compressed.set(published.compressed.n.Load())
	t.inflated.set(published.inflated.n.Load())
}
