package network

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// segment is how many bytes of a TCP stream an imitated packet carries.
const segment = 1448

// A Proxy imitates a link in this process, where there is no right to network
// namespaces: it passes TCP connections and UDP datagrams on to a server, late.
//
// Datagrams are lost for good, which is what QUIC would see. Of TCP it passes on the
// stream, so that a lost packet can only be imitated: the bytes from it on arrive a
// round trip later, as after a fast retransmission. Nobody's congestion control
// sees that loss. The rate is shared by everything that goes one way.
type Proxy struct {
	link     Link
	to       string
	listener net.Listener
	packets  net.PacketConn
	running  sync.WaitGroup // all goroutines but the two that
	handing  sync.WaitGroup // hand out datagrams
	up, down pace
	out, in  chan datagram // under way to the server, and to clients

	mu     sync.Mutex
	open   map[io.Closer]struct{}
	closed bool
}

// NewProxy returns a Proxy to the server at to, TCP and UDP, on ports of loopback
// that have the same number.
func NewProxy(to string, l Link) (*Proxy, error) {
	p := &Proxy{
		link: l, to: to, open: make(map[io.Closer]struct{}),
		out: make(chan datagram, 1<<14), in: make(chan datagram, 1<<14), // never full: queue and delay bound them
	}
	p.up.link, p.down.link = l, l
	var err error
	for range 8 { // a port that is free for one may not be for the other
		if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		if p.packets, err = net.ListenPacket("udp", p.listener.Addr().String()); err == nil {
			// One goroutine accepts connections and another takes datagrams, until
			// Close.
			p.running.Go(p.accept)
			p.running.Go(p.receive)
			// Two hand out datagrams when they are due, until nobody takes any more.
			p.handing.Go(func() { handDatagrams(p.out) })
			p.handing.Go(func() { handDatagrams(p.in) })
			return p, nil
		}
		p.listener.Close()
	}
	return nil, err
}

// Addr returns where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close cuts everything and returns when nothing is under way any more.
func (p *Proxy) Close() {
	p.listener.Close()
	p.packets.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
	close(p.out)
	close(p.in)
	p.handing.Wait()
}

// keep has c closed by Close. It returns false if that has been.
func (p *Proxy) keep(c io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.open[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c io.Closer) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// A pace says when packets that go one way arrive.
type pace struct {
	link Link
	mu   sync.Mutex
	free time.Time // when the packets before have left
}

// pass returns when a packet of n bytes arrives that is sent now, and whether there
// is room for it. If it must not be lost the room is not asked for.
func (p *pace) pass(n int, reliable bool) (at time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	if p.link.Rate > 0 {
		waiting := int64(p.free.Sub(now)) * p.link.Rate / 8 / int64(time.Second)
		if !reliable && waiting > int64(p.link.queue()) {
			return time.Time{}, false
		}
		p.free = p.free.Add(time.Duration(int64(n) * 8 * int64(time.Second) / p.link.Rate))
	}
	return p.free.Add(p.link.Delay), true
}

// accept serves connections, each with two goroutines for either direction, which
// end when it does.
func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(c) {
			return
		}
		p.running.Go(func() { p.connection(c) })
	}
}

// connection passes a connection on. Its opening takes a round trip.
func (p *Proxy) connection(c net.Conn) {
	defer p.drop(c)
	time.Sleep(2 * p.link.Delay)
	s, err := net.Dial("tcp", p.to)
	if err != nil || !p.keep(s) {
		return
	}
	defer p.drop(s)
	var both sync.WaitGroup
	both.Go(func() { p.stream(c.(*net.TCPConn), s.(*net.TCPConn), &p.up) })
	both.Go(func() { p.stream(s.(*net.TCPConn), c.(*net.TCPConn), &p.down) })
	both.Wait()
}

// window is how many imitated packets of a TCP stream may be under way: about
// 180 KiB.
const window = 128

// stream passes one direction on, late, and its end with it.
func (p *Proxy) stream(from, to *net.TCPConn, pace *pace) {
	under := make(chan packet, window)
	var out sync.WaitGroup
	out.Go(func() {
		for d := range under {
			time.Sleep(time.Until(d.at))
			if _, err := to.Write(d.data); err != nil {
				from.Close() // and the reading ends
			}
		}
		_ = to.CloseWrite()
	})
	buf := make([]byte, segment)
	var last time.Time // when what was before arrives: TCP keeps the order
	for {
		n, err := from.Read(buf)
		if n > 0 {
			at, _ := pace.pass(n+ipTCP, true)
			if rand.Float64() < p.link.Loss {
				at = at.Add(2 * p.link.Delay)
			}
			if at.Before(last) {
				at = last
			}
			last = at
			under <- packet{append([]byte(nil), buf[:n]...), at}
		}
		if err != nil {
			break
		}
	}
	close(under)
	out.Wait()
}

// Headers of a packet.
const (
	ipTCP = 52
	ipUDP = 28
)

// receive passes datagrams on, from each client's address by a socket of its own.
func (p *Proxy) receive() {
	routes := make(map[string]net.Conn)
	buf := make([]byte, 64<<10)
	for {
		n, from, err := p.packets.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		s := routes[from.String()]
		if s == nil {
			if s, err = net.Dial("udp", p.to); err != nil || !p.keep(s) {
				return
			}
			routes[from.String()] = s
			// The goroutine passes on what comes back, until Close.
			p.running.Go(func() { p.back(s, from) })
		}
		p.take(p.out, &p.up, buf[:n], func(b []byte) { _, _ = s.Write(b) })
	}
}

func (p *Proxy) back(s net.Conn, to net.Addr) {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // nobody listens there, at the moment
		}
		p.take(p.in, &p.down, buf[:n], func(b []byte) { _, _ = p.packets.WriteTo(b, to) })
	}
}

// A datagram is one that is under way.
type datagram struct {
	packet
	deliver func([]byte)
}

// take puts one under way, or loses it.
func (p *Proxy) take(under chan<- datagram, pace *pace, b []byte, deliver func([]byte)) {
	at, ok := pace.pass(len(b)+ipUDP, false)
	if !ok || rand.Float64() < p.link.Loss {
		return
	}
	select {
	case under <- datagram{packet{append([]byte(nil), b...), at}, deliver}:
	default:
	}
}

func handDatagrams(under <-chan datagram) {
	for d := range under {
		time.Sleep(time.Until(d.at))
		d.deliver(d.data)
	}
}
