package h2connect

import (
	"encoding/binary"
	"sync"

	"golang.org/x/net/http2"
)

// This file takes many sockets' messages out of one read at the price of few
// locks. DATA frames of sockets that lie whole in the read buffer, without
// padding and not the last of their streams, are what a connection of sockets
// carries most. All that stand one behind the other are admitted under one lock,
// then delivered one by one. Any other frame, and one that breaks a rule, is left
// to readData and its neighbours.

// burstFrames is how many frames are admitted together.
const burstFrames = 64

// A burst is frames that have been admitted. Its state is not on the reader's
// stack, so that another goroutine can take over between two of them.
type burst struct {
	frames *[burstFrames]burstFrame // nil: none are in progress
	shares bool                     // there are several sockets
	next   int                      // the first that has not been delivered
	end    int
}

type burstFrame struct {
	st      *stream
	content []byte // in the read buffer
}

var bursts = sync.Pool{New: func() any { return new([burstFrames]burstFrame) }}

// nextData returns the DATA frame that stands first in the read buffer, if it is of
// the kind that a burst takes.
func (in *input) nextData() (id uint32, content []byte) {
	b := in.buf[in.r:in.w]
	if len(b) <= frameHeader || http2.FrameType(b[3]) != http2.FrameData || b[4] != 0 {
		return 0, nil
	}
	length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if length == 0 || length > len(b)-frameHeader || length > in.c.limits.FrameSize {
		return 0, nil
	}
	return binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1), b[frameHeader : frameHeader+length]
}

// admitBurst admits what stands in the read buffer, and reports whether there was
// anything for a burst.
func (c *conn) admitBurst() bool {
	in := &c.in
	id, content := in.nextData()
	if content == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settleOwed()
	u := &c.burst
	for ; content != nil; id, content = in.nextData() {
		st := c.streams[id]
		if st == nil || !st.socket || st.recvEnded || st.httpPart != nil && st.declared >= 0 || !c.inConn.take(uint32(len(content))) {
			break
		}
		if u.frames == nil {
			u.frames = bursts.Get().(*[burstFrames]burstFrame)
			u.shares = c.sockets > 1
		}
		u.frames[u.end] = burstFrame{st, content}
		u.end++
		c.upkeep.received()
		in.owed += len(content)
		in.r += frameHeader + len(content)
		if u.end == burstFrames {
			break
		}
	}
	return u.end > 0
}

// deliverBurst delivers what has been admitted.
func (c *conn) deliverBurst() error {
	u := &c.burst
	for u.next < u.end {
		f := u.frames[u.next]
		u.next++
		if err := c.deliver(f.st, f.content, len(f.content), true); err != nil {
			return err
		}
		if c.lead.flushDue() {
			c.mu.Lock()
			c.flush()
			c.mu.Unlock()
		}
	}
	clear(u.frames[:u.end])
	bursts.Put(u.frames)
	*u = burst{}
	return nil
}

// settleOwed returns the connection's credit for what bursts have delivered. c.mu
// is held.
func (c *conn) settleOwed() {
	if c.in.owed > 0 {
		c.giveConn(c.in.owed)
		c.in.owed = 0
	}
}
