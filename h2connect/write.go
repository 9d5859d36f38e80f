package h2connect

import (
	"runtime"
	"sync"
	"time"

	"github.com/wsmux/websocket/internal/tlsrecord"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// This file is the way out of a connection. Whoever has something to send
// appends its frames to the batch under the connection's lock and calls flush;
// whoever finds no flusher at work becomes it and writes the batch, and those
// who come while it writes leave their frames for its next round. Many writers
// at once become one TLS record and one system call, and a single one pays no
// hand-off.
//
// A writer must be able to return by its deadline, and the reader must never
// wait for the peer to read. So they flush by themselves only what the kernel
// is known to take at once; anything else is left to a goroutine (flushRest).

// inlineBytes is how much a caller of flush writes itself where the kernel says
// that it has room: no kernel says so with less. Where it can be asked how much
// room it has, up to inlineMost are written so: a batch that is messages of sockets.
const (
	inlineBytes = 8 << 10
	inlineMost  = socketBytes + tlsOverhead
	tlsOverhead = 1 << 10 // at most, for a batch
)

// notSentLowat is how many bytes the kernel holds that it has not sent yet
// before it says that it has no room, where that can be set (on Linux,
// TCP_NOTSENT_LOWAT): beyond what the network has in flight, data waits with us,
// where sockets go first. It says that it has room below half of that: with a whole
// batch besides it is not reached.
const notSentLowat = 2 * inlineMost

// inlineRounds is how many batches a caller of flush writes before a goroutine
// takes over, so that serving others does not keep it.
const inlineRounds = 4

// batchWriter is where the Framer writes to: the end of the batch.
type batchWriter struct{ c *conn }

func (w batchWriter) Write(p []byte) (int, error) {
	w.c.out = append(w.c.out, p...)
	return len(p), nil
}

// flush sends what has been appended. c.mu is held; it is released while
// writing.
func (c *conn) flush() { c.flushAfter(true) }

// flushRead is flush for the reader.
func (c *conn) flushRead() {
	c.wakeLate()
	c.runBaton()
	c.flushAfter(c.in.stirred)
	c.in.stirred = false
}

// flushAfter is flush, after others that stand ready have run, if there may be
// any.
func (c *conn) flushAfter(others bool) {
	away := c.lead.away() || c.gathering
	if c.flushing || !c.sendable() || away && len(c.out) < c.cork() {
		return
	}
	c.flushing, c.uncorked = true, away
	if others && !away && len(c.streams) > 1 {
		// The reader's last read may have woken many: let those who are about
		// to write do it first. It is this that makes one write of many.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	for range inlineRounds {
		c.fill()
		if !c.takes() {
			break
		}
		if !c.writeBatch(false) {
			c.flushing = false
			return
		}
	}
	go c.flushRest()
}

// cork returns how much waits while the reader is about to send more. With loops that
// have been woken a write more costs more than it saves. c.mu is held.
func (c *conn) cork() int {
	if c.uncorked || c.gathering || !c.brief {
		return corkBytes
	}
	return firstCorkBytes
}

// Flush sends what has been left behind by stream.WriteLater.
func (c *conn) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
}

// flushRest writes until nothing is left. It is started by flush, has been made
// the connection's flusher by it, and ends when there is nothing to send or the
// connection is cut, which happens at the latest when the peer has accepted
// nothing for Limits.WriteStall.
func (c *conn) flushRest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writeBatch(true) {
	}
	c.flushing = false
}

// sendable reports whether a flusher would find something to do. c.mu is held.
func (c *conn) sendable() bool {
	return c.err == nil && (c.rest != nil || len(c.out) > 0 || c.outConn.window > 0 && c.sched.waiting())
}

// writeBatch fills the batch, writes it, and reports whether there is more. What has
// been left of the one before goes first. Unless wait is set, it writes only what can
// be written at once, where that can be told. It and writeDirect are the only places
// that write to the network; c.flushing guards them. c.mu is held; it is released
// while writing.
func (c *conn) writeBatch(wait bool) (more bool) {
	if c.rest == nil {
		c.fill()
	}
	if !c.sendable() {
		return false
	}
	var err error
	if !wait && c.room.direct() {
		err = c.putBatch(c.takeBatch())
	} else {
		if wait {
			c.room.written()
		}
		err = c.waitBatch()
	}
	if err != nil {
		c.end(&ConnError{Remote: true, Err: err})
		return false
	}
	c.pollInput()
	return c.sendable()
}

// takeBatch takes the batch, which another one follows. c.mu is held.
func (c *conn) takeBatch() []byte {
	batch := c.out
	c.sentNow += len(batch)
	c.out, c.spare = c.spare[:0], nil
	c.queued, c.ends, c.lastData = 0, 0, nil
	return batch
}

// waitBatch writes the batch, or the rest of the last one, however long that takes.
// c.mu is held; it is released while writing.
func (c *conn) waitBatch() error {
	batch, at := c.rest, c.restAt
	if batch == nil {
		batch, at = c.takeBatch(), 0
	}
	c.rest, c.restAt = nil, 0
	c.writeSince = time.Now()
	c.watchWrite()
	c.mu.Unlock()
	_, err := tlsrecord.Write(c.nc, batch[at:])
	c.mu.Lock()
	c.writeSince = time.Time{}
	c.recycle(batch)
	return err
}

// A large batch lies in memory that it borrows, so that a connection on which
// little is sent holds little.
const (
	smallBatch = 4 << 10
	largeBatch = socketBytes + 22<<10 // a frame may overfill it, and there are control frames
)

var largeBatches = sync.Pool{New: func() any { return new([largeBatch]byte) }}

// reserve makes room for n more bytes of the batch. c.mu is held.
func (c *conn) reserve(n int) {
	need := len(c.out) + n
	if need <= cap(c.out) || need <= smallBatch || need > largeBatch {
		return // or as append finds right
	}
	large := append(largeBatches.Get().(*[largeBatch]byte)[:0], c.out...)
	c.recycle(c.out)
	c.out = large
}

// recycle takes the memory of a batch for the next one. c.mu is held.
func (c *conn) recycle(batch []byte) {
	switch {
	case cap(batch) == largeBatch:
		largeBatches.Put((*[largeBatch]byte)(batch[:largeBatch]))
	case cap(batch) <= 2*smallBatch:
		c.spare = batch[:0]
	}
}

// watchWrite cuts the connection when a single write takes longer than
// Limits.WriteStall. The timer runs only while it may be needed: it is left
// alone when a write ends and looks for itself when it fires. c.mu is held.
func (c *conn) watchWrite() {
	if c.stallArmed || c.limits.WriteStall < 0 {
		return
	}
	c.stallArmed = true
	if c.stallTimer == nil {
		c.stallTimer = time.AfterFunc(c.limits.WriteStall, c.checkWrite)
		return
	}
	c.stallTimer.Reset(c.limits.WriteStall)
}

func (c *conn) checkWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stallArmed = false
	if c.writeSince.IsZero() || c.err != nil {
		return
	}
	left := c.limits.WriteStall - time.Since(c.writeSince)
	if left > 0 {
		c.stallArmed = true
		c.stallTimer.Reset(left)
		return
	}
	c.expire(limitWriteStall, errWriteStall)
}

// writeControl appends a frame that the peer's own frames made necessary. Too
// many that the peer does not read end the connection: it is making us hold
// them (hardening: CVE-2019-9512, 9514, 9515). c.mu is held.
func (c *conn) writeControl(write func(*http2.Framer) error) {
	if c.dead() {
		return
	}
	c.lastData = nil
	write(c.fr) // into memory: it does not fail
	c.queued++
	if c.queued > c.limits.ControlFrames {
		c.die(tooMuch(limitControlFrames, "too many control frames queued"))
	}
}

// writeWindowUpdate announces credit; stream 0 is the connection. c.mu is held.
func (c *conn) writeWindowUpdate(stream, increment uint32) {
	if increment == 0 {
		return
	}
	c.writeControl(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(stream, increment) })
}

// writeHeaders appends a header block, in as many frames as it takes. Encoding
// and appending are one step under one lock, because the encoder's table is
// shared with the peer in the order of the bytes (RFC 7541 §2.2). c.mu is held.
func (c *conn) writeHeaders(stream uint32, fields []hpack.HeaderField, end bool) {
	c.lastData = nil
	if end {
		c.ends++
	}
	c.encoded.Reset()
	for _, f := range fields {
		c.enc.WriteField(f) // into memory: it does not fail
	}
	rest := c.encoded.Bytes()
	first := rest[:min(len(rest), maxFrame)]
	rest = rest[len(first):]
	c.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0,
	})
	for len(rest) > 0 {
		part := rest[:min(len(rest), maxFrame)]
		rest = rest[len(part):]
		c.fr.WriteContinuation(stream, len(rest) == 0, part)
	}
}

// appendData appends n bytes of what st has pending as DATA. c.mu is held.
func (c *conn) appendData(st *stream, n int, end bool) {
	c.beginData(st, n, end)
	c.out = st.send.take(c.out, n)
}

// beginData appends the header of a DATA frame of n bytes, or makes the DATA frame of
// st that ends the batch so much longer: small messages that wait together travel
// together. c.mu is held.
func (c *conn) beginData(st *stream, n int, end bool) {
	c.reserve(frameHeader + n)
	var flags http2.Flags
	if end {
		flags = http2.FlagDataEndStream
		c.ends++
	}
	if c.lastData == st {
		header := c.out[c.lastAt:]
		length := len(header) - frameHeader
		if length+n <= maxData {
			putLength(header, length+n)
			header[4] |= byte(flags)
			c.upkeep.sentMore(n)
			return
		}
	}
	c.upkeep.sent(n)
	c.lastData, c.lastAt = st, len(c.out)
	c.out = append(c.out, byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameData), byte(flags),
		byte(st.id>>24), byte(st.id>>16), byte(st.id>>8), byte(st.id))
}

// writeNow appends a socket's write as DATA if nothing is in its way, and reports
// whether it has: nothing of this stream or of another socket's waits, the windows
// and the batch have room, and it is not bulk's turn. c.mu is held.
func (c *conn) writeNow(st *stream, header, payload []byte) bool {
	s, n := &st.send, len(header)+len(payload)
	if !st.socket || s.outlet != nil && (s.writing || s.pending() > 0) || c.sched.sockets.head != nil ||
		len(c.out) >= batchBytes || int64(n) > min(maxData, c.outConn.window, c.outBase.window(s.flow)) || !c.sched.pass() {
		return false
	}
	c.beginData(st, n, false)
	c.out = append(append(c.out, header...), payload...)
	c.sent(st, n)
	return true
}

func putLength(header []byte, n int) {
	header[0], header[1], header[2] = byte(n>>16), byte(n>>8), byte(n)
}
