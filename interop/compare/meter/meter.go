// Package meter counts what a client's HTTP connections put on the wire, each way
// and layer by layer: above TLS, below it, and the packets that carry that.
//
// It looks and does not touch: connections work as they would without it, but for
// their end, see [Meter.DialTLS].
package meter

import (
	"sync"
	"syscall"
	"time"
)

// A Flow is what has gone one way.
type Flow struct {
	// Plain is the bytes above TLS, and of QUIC streams: HTTP with all it
	// carries. A byte that QUIC sent again counts once.
	Plain int64

	// Data is those of them that are the content of HTTP/2's DATA frames, without
	// padding. It is 0 on other versions.
	Data int64

	// Sealed is the bytes below TLS: of TCP's byte stream, or the content of UDP
	// datagrams.
	Sealed int64

	// Again is bytes of Sealed that TCP sent again, as far as this end knows: of
	// what goes up.
	Again int64

	// Headers is the bytes of IP, TCP and UDP headers.
	Headers int64

	// Packets is IP packets as this end sent or received them.
	Packets int64
}

// Wire returns the bytes of IP packets.
func (f Flow) Wire() int64 { return f.Sealed + f.Again + f.Headers }

// add adds g, or takes it away if sign is −1.
func (f Flow) add(g Flow, sign int64) Flow {
	f.Plain += sign * g.Plain
	f.Data += sign * g.Data
	f.Sealed += sign * g.Sealed
	f.Again += sign * g.Again
	f.Headers += sign * g.Headers
	f.Packets += sign * g.Packets
	return f
}

// Totals are what all connections of a Meter have done so far.
type Totals struct {
	Up, Down    Flow // from the client, and to it
	Connections int  // opened
	Handshakes  int  // of TLS, completed
	HTTP2       bool // a connection spoke HTTP/2: Flow.Data counts
}

// Since returns what has been added since an earlier moment.
func (t Totals) Since(earlier Totals) Totals {
	t.Up = t.Up.add(earlier.Up, -1)
	t.Down = t.Down.add(earlier.Down, -1)
	t.Connections -= earlier.Connections
	t.Handshakes -= earlier.Handshakes
	return t
}

// A Meter counts. The zero value is ready; it must not be copied. Its methods may
// be called from any goroutine.
type Meter struct {
	// Control is net.Dialer's, for TCP. It is set before the first connection.
	Control func(network, address string, c syscall.RawConn) error

	mu        sync.Mutex
	past      Totals // of connections that have ended, and all opened
	live      map[source]struct{}
	dialing   sync.WaitGroup // one for each connection that is being opened
	change    chan struct{}  // closed when a connection ends; nil: nobody waits
	lingering sync.WaitGroup // one for each goroutine that ends a connection
}

// A source is an open connection.
type source interface {
	flows() (up, down Flow)
}

// Now returns what has been counted so far.
func (m *Meter) Now() Totals {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.past
	for s := range m.live {
		up, down := s.flows()
		t.Up, t.Down = t.Up.add(up, 1), t.Down.add(down, 1)
	}
	return t
}

// patience is how long Wait waits.
const patience = 3 * time.Second

// Wait returns when all connections have ended, which somebody has closed or is
// about to close; or after three seconds, as some may be closed by nobody.
func (m *Meter) Wait() {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		m.mu.Lock()
		if len(m.live) == 0 {
			m.mu.Unlock()
			m.lingering.Wait()
			return
		}
		if m.change == nil {
			m.change = make(chan struct{})
		}
		change := m.change
		m.mu.Unlock()
		select {
		case <-change:
		case <-timeout.C:
			return
		}
	}
}

// WaitOpen returns when no connection is being opened any more.
func (m *Meter) WaitOpen() { m.dialing.Wait() }

func (m *Meter) opened(s source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == nil {
		m.live = make(map[source]struct{})
	}
	m.live[s] = struct{}{}
	m.past.Connections++
}

func (m *Meter) shaken(http2 bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past.Handshakes++
	m.past.HTTP2 = m.past.HTTP2 || http2
}

// ended moves what s has counted to the past.
func (m *Meter) ended(s source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.live[s]; !ok {
		return
	}
	delete(m.live, s)
	if m.change != nil {
		close(m.change)
		m.change = nil
	}
	up, down := s.flows()
	m.past.Up, m.past.Down = m.past.Up.add(up, 1), m.past.Down.add(down, 1)
}
