package meter

import (
	"context"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

// Tracer is a quic.Config's Tracer: it counts the connection's packets and the
// frames in them. quic-go tells of each when it is sent or received.
func (m *Meter) Tracer(_ context.Context, _ bool, _ quic.ConnectionID) qlogwriter.Trace {
	return &trace{meter: m, header: ipv4Header + udpHeader}
}

// A trace is one connection's, as quic-go sees it. Some of what it tells comes by
// further producers, http3's for instance, which have nothing to count.
type trace struct {
	meter *Meter

	mu        sync.Mutex // never held while meter's is being locked
	up, down  quicFlow
	header    int64 // bytes of IP and UDP headers
	producers int
}

// A quicFlow is one direction.
type quicFlow struct {
	sealed, datagrams int64
	datagram          qlog.DatagramPayloadChecksum // of the packet before
	reached           map[qlog.StreamID]int64      // how far each stream has come
}

var _ qlogwriter.Recorder = (*trace)(nil)

// AddProducer returns t itself.
func (t *trace) AddProducer() qlogwriter.Recorder {
	t.mu.Lock()
	t.producers++
	first := t.producers == 1
	t.mu.Unlock()
	if first {
		t.meter.opened(t)
	}
	return t
}

// Close moves the connection to the past once all producers have closed.
func (t *trace) Close() error {
	t.mu.Lock()
	t.producers--
	last := t.producers == 0
	t.mu.Unlock()
	if last {
		t.meter.ended(t)
	}
	return nil
}

// RecordEvent counts.
func (t *trace) RecordEvent(e qlogwriter.Event) {
	if s, ok := e.(qlog.ConnectionStateUpdated); ok && s.State == qlog.ConnectionStateHandshakeComplete {
		t.meter.shaken(false)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := e.(type) {
	case qlog.StartedConnection:
		if e.Remote.IPv6.IsValid() {
			t.header = ipv6Header + udpHeader
		}
	case qlog.PacketSent:
		t.up.packet(e.Raw.Length, e.DatagramPayloadChecksum, e.Frames)
	case qlog.PacketReceived:
		t.down.packet(e.Raw.Length, e.DatagramPayloadChecksum, e.Frames)
	case qlog.PacketDropped:
		t.down.packet(e.Raw.Length, e.DatagramPayloadChecksum, nil)
	}
}

// packet counts a packet. Those of one datagram (RFC 9000 §12.2) have its checksum
// and come one after the other.
func (f *quicFlow) packet(length int, datagram qlog.DatagramPayloadChecksum, frames []qlog.Frame) {
	f.sealed += int64(max(length, 0))
	if datagram == 0 || datagram != f.datagram {
		f.datagrams++
	}
	f.datagram = datagram
	for _, fr := range frames {
		s, ok := fr.Frame.(*qlog.StreamFrame)
		if !ok {
			continue
		}
		if f.reached == nil {
			f.reached = make(map[qlog.StreamID]int64)
		}
		f.reached[s.StreamID] = max(f.reached[s.StreamID], s.Offset+s.Length)
	}
}

func (t *trace) flows() (up, down Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.up.flow(t.header), t.down.flow(t.header)
}

func (f *quicFlow) flow(header int64) Flow {
	w := Flow{Sealed: f.sealed, Packets: f.datagrams, Headers: f.datagrams * header}
	for _, n := range f.reached {
		w.Plain += n
	}
	return w
}
