package soak

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// The faults of a lossy socket, in packets of a thousand and for each direction.
const (
	lostOf1000    = 10
	doubledOf1000 = 5
	lateOf1000    = 20
)

// lossy is a UDP socket on which packets get lost, come twice, and overtake one
// another, in both directions, and with which a peer can lose contact.
type lossy struct {
	net.PacketConn

	mu   sync.Mutex
	rand *rand.Rand
	held *datagram         // to be sent behind the next one
	dark map[int]time.Time // until when a peer's port hears and is heard nothing; after that, everything
}

type datagram struct {
	payload []byte
	to      net.Addr
}

func newLossy(pc net.PacketConn, seed uint64) *lossy {
	return &lossy{PacketConn: pc, rand: rand.New(rand.NewPCG(seed, 3)), dark: make(map[int]time.Time)}
}

// blackout cuts the peer at port off, for a while.
func (l *lossy) blackout(port int, d time.Duration) { l.set(port, time.Now().Add(d)) }

// spare lets everything of the peer's at port pass: its last packet is sent once
// only, and the server would wait for it until the idle timeout.
func (l *lossy) spare(port int) { l.set(port, time.Time{}) }

func (l *lossy) set(port int, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark[port] = until
}

// forget makes port one like any other: it has become another peer's.
func (l *lossy) forget(port int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.dark, port)
}

// lost reports whether a packet to or from addr is. l.mu is held.
func (l *lossy) lost(addr net.Addr) bool {
	if until, set := l.dark[addr.(*net.UDPAddr).Port]; set {
		return time.Now().Before(until)
	}
	return l.rand.IntN(1000) < lostOf1000
}

// ReadFrom implements net.PacketConn.
func (l *lossy) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := l.PacketConn.ReadFrom(p)
		if err != nil {
			return n, addr, err
		}
		l.mu.Lock()
		lost := l.lost(addr)
		l.mu.Unlock()
		if !lost {
			return n, addr, nil
		}
	}
}

// WriteTo implements net.PacketConn.
func (l *lossy) WriteTo(p []byte, addr net.Addr) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost(addr) {
		return len(p), nil
	}
	late := l.held
	l.held = nil
	switch x := l.rand.IntN(1000); {
	case x < lateOf1000 && late == nil:
		l.held = &datagram{append([]byte(nil), p...), addr}
		return len(p), nil
	case x < lateOf1000+doubledOf1000:
		l.PacketConn.WriteTo(p, addr)
	}
	n, err := l.PacketConn.WriteTo(p, addr)
	if late != nil {
		l.PacketConn.WriteTo(late.payload, late.to)
	}
	return n, err
}
