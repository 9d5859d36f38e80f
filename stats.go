package websocket

import (
	"sync"
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

// counters are the statistics about writing. The holder of the output gate, or
// for deflated of the message gate, adds to them; any goroutine may load them.
type counters struct {
	messages, frames, bytes, compressed, deflated counter
}

// A counter is a number with one writer at a time: it needs no atomic addition.
type counter struct{ n atomic.Int64 }

func (c *counter) add(n int) { c.n.Store(c.n.Load() + int64(n)) }

// readStats are the statistics about reading as they were when reading last had
// to wait for the stream. Between that the holder of the reading gate counts in
// inbound.count, without synchronization.
type readStats struct {
	mu    sync.Mutex
	stats Stats
}

// publishRead is called by the holder of the reading gate before it waits.
func (c *Conn) publishRead() {
	c.readStats.mu.Lock()
	defer c.readStats.mu.Unlock()
	c.readStats.stats = c.in.count
}

// Stats returns what has been counted so far.
func (c *Conn) Stats() Stats {
	if c.reading.tryLock() {
		c.publishRead()
		c.reading.unlock()
	}
	c.readStats.mu.Lock()
	s := c.readStats.stats
	c.readStats.mu.Unlock()
	n := &c.written
	s.MessagesWritten = n.messages.n.Load()
	s.FramesWritten = n.frames.n.Load()
	s.BytesWritten = n.bytes.n.Load()
	s.CompressedWritten = n.compressed.n.Load()
	s.DeflatedWritten = n.deflated.n.Load()
	return s
}
