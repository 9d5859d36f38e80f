package websocket

import (
	"runtime"
	"sync/atomic"
)

// Stats counts what a [Conn] has read and written since it began. Reads count
// when they are parsed, which can be before the application asks for them.
type Stats struct {
	// Messages and frames, complete ones. Control frames count as frames.
	MessagesRead, MessagesWritten int64
	FramesRead, FramesWritten     int64

	// Bytes of WebSocket data on the stream: frame headers and payloads.
	BytesRead, BytesWritten int64

	// Payload bytes of compressed messages, as they were on the wire and as
	// the application saw them.
	CompressedRead, CompressedWritten int64
	InflatedRead, DeflatedWritten     int64

	// PongsIgnored counts Pongs that nobody waited for.
	PongsIgnored int64
}

// counters are the statistics in the making. Those about writing belong to the
// holder of the output gate, or for deflated of the message gate; those about
// reading to the holder of the reading gate, who counts in inbound.count and
// publishes before it waits for the stream; what the gate's holder has not
// published Stats does. Any goroutine may load them.
type counters struct {
	framesWritten, othersWritten        counter // others: frames that end no data message
	bytesWritten                        counter
	compressedWritten, deflatedWritten  counter
	framesRead, othersRead, bytesRead   counter
	compressedRead, inflatedRead, pongs counter
}

// A counter is a number with one writer at a time: it needs no atomic addition.
type counter struct{ n atomic.Int64 }

func (c *counter) add(n int) { c.n.Store(c.n.Load() + int64(n)) }

// set stores n if it is new.
func (c *counter) set(n int64) {
	if c.n.Load() != n {
		c.n.Store(n)
	}
}

// readCount is what the holder of the reading gate counts.
type readCount struct {
	frames, others, bytes, compressed, inflated, pongs int64
}

// counts returns c.count, which it makes if need be.
func (c *Conn) counts() *counters {
	if n := c.count.Load(); n != nil {
		return n
	}
	c.count.CompareAndSwap(nil, new(counters))
	return c.count.Load()
}

// publishRead makes what was counted visible to Stats. The caller holds the reading
// gate.
func (c *Conn) publishRead() {
	r := &c.in.count
	if r.bytes == 0 && r.frames == 0 {
		return
	}
	n := c.counts()
	n.framesRead.set(r.frames)
	n.bytesRead.set(r.bytes)
	n.othersRead.set(r.others)
	n.compressedRead.set(r.compressed)
	n.inflatedRead.set(r.inflated)
	n.pongs.set(r.pongs)
}

// statsTries is how often Stats looks whether the reading gate is free.
const statsTries = 100

// publishHere is publishRead for somebody who does not read, if nobody else does. It
// reports whether that was so.
func (c *Conn) publishHere() bool {
	if !c.reading.tryLock() {
		return false
	}
	if c.in != nil {
		c.publishRead()
	}
	c.reading.unlock()
	return true
}

// Stats returns what has been counted so far.
func (c *Conn) Stats() Stats {
	for try := 0; !c.publishHere() && c.handling.Load() != nil && try < statsTries; try++ {
		runtime.Gosched() // a handled socket's messages are parsed without publishing
	}
	n := c.count.Load()
	if n == nil {
		return Stats{}
	}
	s := Stats{
		FramesRead:        n.framesRead.n.Load(),
		FramesWritten:     n.framesWritten.n.Load(),
		BytesRead:         n.bytesRead.n.Load(),
		BytesWritten:      n.bytesWritten.n.Load(),
		CompressedRead:    n.compressedRead.n.Load(),
		CompressedWritten: n.compressedWritten.n.Load(),
		InflatedRead:      n.inflatedRead.n.Load(),
		DeflatedWritten:   n.deflatedWritten.n.Load(),
		PongsIgnored:      n.pongs.n.Load(),
	}
	s.MessagesRead = max(0, s.FramesRead-n.othersRead.n.Load())
	s.MessagesWritten = max(0, s.FramesWritten-n.othersWritten.n.Load())
	return s
}
