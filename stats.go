package websocket

import "sync/atomic"

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

// counters is Stats in the making. Each has one writer at a time, the holder of
// the reading or of the output gate; any goroutine may load them.
type counters struct {
	messagesRead, messagesWritten     counter
	framesRead, framesWritten         counter
	bytesRead, bytesWritten           counter
	compressedRead, compressedWritten counter
	inflatedRead, deflatedWritten     counter
	pongsIgnored                      counter
}

// A counter is a number with one writer at a time: it needs no atomic addition.
type counter struct{ n atomic.Int64 }

func (c *counter) add(n int) { c.n.Store(c.n.Load() + int64(n)) }

// Stats returns what has been counted so far.
func (c *Conn) Stats() Stats {
	n := &c.count
	return Stats{
		MessagesRead:      n.messagesRead.n.Load(),
		MessagesWritten:   n.messagesWritten.n.Load(),
		FramesRead:        n.framesRead.n.Load(),
		FramesWritten:     n.framesWritten.n.Load(),
		BytesRead:         n.bytesRead.n.Load(),
		BytesWritten:      n.bytesWritten.n.Load(),
		CompressedRead:    n.compressedRead.n.Load(),
		CompressedWritten: n.compressedWritten.n.Load(),
		InflatedRead:      n.inflatedRead.n.Load(),
		DeflatedWritten:   n.deflatedWritten.n.Load(),
		PongsIgnored:      n.pongsIgnored.n.Load(),
	}
}
