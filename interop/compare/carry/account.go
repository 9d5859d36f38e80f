package carry

import (
	"sync"
	"sync/atomic"

	"github.com/wsmux/websocket"
)

// A Tally is what applications' bytes have gone one way, as the channels know them.
type Tally struct {
	Payload int64 // messages, and the content of ordinary requests
	Framing int64 // what marks messages in a stream or content
}

// Since returns what has been added since an earlier moment.
func (t Tally) Since(earlier Tally) Tally {
	return Tally{t.Payload - earlier.Payload, t.Framing - earlier.Framing}
}

// An account counts a client's bytes.
type account struct {
	up, down counters

	mu      sync.Mutex
	sockets []*websocket.Conn // all there were: their framing is what they know themselves
}

type counters struct{ payload, framing atomic.Int64 }

func (c *counters) add(payload, framing int) {
	c.payload.Add(int64(payload))
	c.framing.Add(int64(framing))
}

func (a *account) opened(c *websocket.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets = append(a.sockets, c)
}

// tallies counts. For sockets the payload is the messages', and framing all other
// bytes of WebSocket: frame headers, masks and control frames.
func (a *account) tallies() (up, down Tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var read, written int64
	for _, c := range a.sockets {
		s := c.Stats()
		read += s.BytesRead
		written += s.BytesWritten
	}
	up = Tally{a.up.payload.Load(), a.up.framing.Load() + written}
	down = Tally{a.down.payload.Load(), a.down.framing.Load() + read}
	return up, down
}
