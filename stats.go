package websocket

import (
	"runtime"
	"sync/atomic"

	"github.com/wsmux/websocket/frame"
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

// A traffic is what is counted with every message. Its writer is the holder of the
// gate of its direction; any goroutine may load it. Who reads counts in inbound.count
// and publishes before it waits for the stream; what it has not published Stats does.
type traffic struct {
	frames, bytes counter

	// Payload bytes of compressed messages, on the wire and as the application sees
	// them. Of what is written the second belongs to the holder of the message gate.
	compressed, inflated counter
}

// counters are what is counted beside that. Those about writing belong to the holder of
// the output gate; those about reading to the holder of the reading gate.
type counters struct {
	othersRead, othersWritten counter // frames that end no data message
	pongs                     counter
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

// countPart counts the frame of a piece of a data message with its last piece.
func (c *Conn) countPart(ev *frame.Event) {
	if c.in.recv.Remaining() > 0 {
		return
	}
	c.in.count.frames++
	if !ev.Last {
		c.countOther()
	}
}

// countOther notes that the frame just counted ends no data message.
func (c *Conn) countOther() {
	c.publishRead()
	c.counts().othersRead.add(1)
}

// counts returns c's counters.
func (c *Conn) counts() *counters { return &c.theRarity().count }

// publishRead makes what was counted visible to Stats. The caller holds the reading
// gate.
func (c *Conn) publishRead() {
	in := c.in
	in.published.frames.set(in.count.frames)
	in.published.bytes.set(in.count.bytes)
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
	var s Stats
	if n := c.read.Load(); n != nil {
		s.FramesRead, s.BytesRead = n.frames.n.Load(), n.bytes.n.Load()
		s.CompressedRead, s.InflatedRead = n.compressed.n.Load(), n.inflated.n.Load()
	}
	if o := c.out.Load(); o != nil {
		w := &o.written
		s.FramesWritten, s.BytesWritten = w.frames.n.Load(), w.bytes.n.Load()
		s.CompressedWritten, s.DeflatedWritten = w.compressed.n.Load(), w.inflated.n.Load()
	}
	s.MessagesRead, s.MessagesWritten = s.FramesRead, s.FramesWritten
	if r := c.rare.Load(); r != nil {
		n := &r.count
		s.MessagesRead = max(0, s.FramesRead-n.othersRead.n.Load())
		s.MessagesWritten = max(0, s.FramesWritten-n.othersWritten.n.Load())
		s.PongsIgnored = n.pongs.n.Load()
	}
	return s
}
