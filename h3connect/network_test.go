package h3connect

import (
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// A network carries packets in memory, on the clock of the bubble it is used in.
type network struct {
	latency time.Duration
	mu      sync.Mutex
	hosts   map[netip.AddrPort]*host
	rand    *rand.Rand
	faults  int  // in a hundred packets: lost, as many doubled, as many late
	cut     bool // nothing arrives
}

func newNetwork() *network {
	return &network{latency: time.Millisecond, hosts: make(map[netip.AddrPort]*host), rand: rand.New(rand.NewPCG(1, 2))}
}

// A host is a UDP socket on a network.
type host struct {
	net     *network
	addr    netip.AddrPort
	inbox   chan packet
	mu      sync.Mutex
	expired chan struct{} // closed while the read deadline is in the past
	closed  chan struct{}
	once    sync.Once
}

type packet struct {
	payload []byte
	from    netip.AddrPort
}

func (n *network) host(addr string) *host {
	h := &host{
		net: n, addr: netip.MustParseAddrPort(addr), inbox: make(chan packet, 1000),
		expired: make(chan struct{}), closed: make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[h.addr] = h
	return h
}

func (n *network) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// delays returns when copies of a packet arrive.
func (n *network) delays() []time.Duration {
	if n.cut {
		return nil
	}
	switch r := n.rand.IntN(100); {
	case r < n.faults:
		return nil
	case r < 2*n.faults:
		return []time.Duration{n.latency, 2 * n.latency}
	case r < 3*n.faults:
		return []time.Duration{5 * n.latency}
	}
	return []time.Duration{n.latency}
}

func (h *host) WriteTo(p []byte, to net.Addr) (int, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	ap := to.(*net.UDPAddr).AddrPort()
	dst := h.net.hosts[netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())]
	if dst == nil {
		return len(p), nil
	}
	pkt := packet{append([]byte(nil), p...), h.addr}
	for _, d := range h.net.delays() {
		time.AfterFunc(d, func() {
			select {
			case dst.inbox <- pkt:
			case <-dst.closed:
			default: // the queue is full
			}
		})
	}
	return len(p), nil
}

func (h *host) ReadFrom(p []byte) (int, net.Addr, error) {
	h.mu.Lock()
	expired := h.expired
	h.mu.Unlock()
	select {
	case pkt := <-h.inbox:
		return copy(p, pkt.payload), net.UDPAddrFromAddrPort(pkt.from), nil
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	case <-h.closed:
		return 0, nil, net.ErrClosed
	}
}

// SetReadDeadline knows the past and never, which is all that quic-go uses.
func (h *host) SetReadDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.IsZero() {
		h.expired = make(chan struct{})
	} else {
		close(h.expired)
	}
	return nil
}

func (h *host) SetDeadline(t time.Time) error    { return h.SetReadDeadline(t) }
func (h *host) SetWriteDeadline(time.Time) error { return nil }
func (h *host) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(h.addr) }
func (h *host) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

const (
	serverHost = "10.0.0.1:443"
	clientHost = "10.0.0.2:1234"
)

// bubbleServer serves h on the network.
func bubbleServer(t testing.TB, n *network, s *Server, h http.Handler) {
	server, _ := wstest.Certificates()
	done := make(chan error, 1)
	go func() { done <- s.Serve(n.host(serverHost), h, server) }()
	t.Cleanup(func() {
		_ = s.Close()
		require.Equal(t, http.ErrServerClosed, <-done)
	})
}

// bubbleTransport is a Transport on the network.
func bubbleTransport(t testing.TB, n *network) *Transport {
	_, client := wstest.Certificates()
	client.ServerName = "localhost"
	h := n.host(clientHost)
	tr := &Transport{TLSClientConfig: client, udp: h, quic: &quic.Transport{Conn: h}}
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

// bubbleRaw is dialRaw on the network, from a host of its own.
func bubbleRaw(t testing.TB, n *network) *rawPeer {
	_, client := wstest.Certificates()
	client.ServerName, client.NextProtos = "localhost", []string{http3.NextProtoH3}
	h := n.host("10.0.0.3:1234")
	tr := &quic.Transport{Conn: h}
	qc, err := tr.Dial(t.Context(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(serverHost)), client, &quic.Config{KeepAlivePeriod: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = qc.CloseWithError(0x100, "")
		require.NoError(t, tr.Close())
		require.NoError(t, h.Close())
	})
	p := &rawPeer{t: t, qc: qc}
	p.openControl(settingsFrame())
	return p
}

func bubbleDial(t testing.TB, tr *Transport, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := tr.Dial(t.Context(), "wss://"+serverHost+"/", o)
	require.NoError(t, err)
	return c
}
