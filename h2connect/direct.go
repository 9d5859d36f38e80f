package h2connect

import (
	"encoding/binary"
	"sync"

	"golang.org/x/net/http2"
)

// This file is the short way out, of a connection that is TCP's alone and of which
// the system says that it takes a write without waiting, or how much of it
// (room.put). There a flusher need not ask for room before it writes, and a large
// write of a socket is not copied: its frames' headers and its caller's memory are
// written as they stand, by the caller. What the system has not taken is copied
// then, and becomes the flusher's goroutine's, as any batch for which there is no
// room.

// directLeast is how much a write must be to go out uncopied.
const directLeast = 8 << 10

// directFrames is how many frames go out in one system call: as many as a batch has.
const (
	directFrames = socketBytes/maxData + 1
	directParts  = 1 + 2*directFrames // with the batch so far
)

// directHead is the most that stands in front of a frame's payload: its header, and
// that of the WebSocket frame which begins in it.
const directHead = frameHeader + 14

// A volley is what one system call writes.
type volley struct {
	parts [directParts][]byte
	heads [directFrames * directHead]byte
	n     int // of parts
	size  int // of all together
	call  systemCall
}

var volleys = sync.Pool{New: func() any { return new(volley) }}

func (v *volley) release() {
	clear(v.parts[:v.n])
	v.n, v.size = 0, 0
	volleys.Put(v)
}

func (v *volley) add(p []byte) {
	if len(p) > 0 {
		v.parts[v.n] = p
		v.n++
		v.size += len(p)
	}
}

// after appends to dst what comes after the first n bytes.
func (v *volley) after(dst []byte, n int) []byte {
	for _, p := range v.parts[:v.n] {
		skip := min(n, len(p))
		dst, n = append(dst, p[skip:]...), n-skip
	}
	return dst
}

// takes reports whether a batch can be written without waiting, or as much of it as
// there is room for. c.mu is held.
func (c *conn) takes() bool {
	return c.rest == nil && (c.room.direct() || c.room.takes(len(c.out)))
}

// putBatch writes batch as far as there is room, and leaves the rest. c.mu is held; it
// is released while writing.
func (c *conn) putBatch(batch []byte) error {
	c.mu.Unlock()
	v := volleys.Get().(*volley)
	v.add(batch)
	n, err := c.room.put(v)
	v.release()
	c.mu.Lock()
	if err == nil && n < len(batch) {
		c.rest, c.restAt = batch, n
		return nil
	}
	c.recycle(batch)
	return err
}

// writeDirect sends what it can of the write that st has in progress without copying
// it: unless others wait, or somebody is writing. c.mu is held; it is released while
// writing.
func (c *conn) writeDirect(st *stream) {
	for c.room.direct() && c.mayDirect(st) {
		v := volleys.Get().(*volley)
		batch := c.takeBatch()
		v.add(batch)
		c.load(v, st)
		c.flushing = true
		c.mu.Unlock()
		n, err := c.room.put(v)
		c.mu.Lock()
		c.flushing = false
		if err == nil && n < v.size {
			c.rest, c.restAt = v.after(largeBatches.Get().(*[largeBatch]byte)[:0], n), 0
		}
		v.release()
		c.recycle(batch)
		if err != nil {
			c.end(&ConnError{Remote: true, Err: err})
			return
		}
		c.flush()
	}
}

// mayDirect reports whether st's write may go out now, past the queues: none waits in
// them that would go before it. c.mu is held.
func (c *conn) mayDirect(st *stream) bool {
	s := &st.send
	return !c.flushing && c.rest == nil && c.err == nil && s.err == nil && !s.endWanted && st.socket &&
		len(s.payload) >= directLeast && len(s.header) <= directHead-frameHeader && s.buffered.len() == 0 &&
		c.sched.sockets.head == nil && !c.sched.bulkWaits() && len(c.out) < smallBatch &&
		c.outConn.window >= directLeast && c.outBase.window(s.flow) >= directLeast
}

// load turns what st writes into DATA frames of v, as many as a batch has room for
// and the windows allow. c.mu is held.
func (c *conn) load(v *volley, st *stream) {
	s := &st.send
	heads := v.heads[:0]
	for range directFrames {
		n := int(min(int64(s.pending()), maxData, c.outConn.window, c.outBase.window(s.flow), int64(socketBytes-v.size-frameHeader)))
		if n <= len(s.header) {
			return
		}
		at := len(heads)
		heads = append(heads, byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameData), 0)
		heads = binary.BigEndian.AppendUint32(heads, st.id)
		heads = append(heads, s.header...)
		content := n - len(s.header)
		v.add(heads[at:])
		v.add(s.payload[:content])
		s.header, s.payload = nil, s.payload[content:]
		s.taken += int64(n)
		if len(s.payload) == 0 {
			s.stall.waiting = false // the peer has let everything go
		}
		c.sched.pass()
		c.sent(st, n)
		c.upkeep.sent(n)
	}
}
