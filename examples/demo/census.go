package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"github.com/wsmux/websocket"
)

// A census is the server's knowledge of its transport connections: which there
// are, which of them a request came by, and how many TLS handshakes were made on
// each. What the demo says about sharing is what the census saw.
type census struct {
	mu      sync.Mutex
	made    map[string]int // connections so far, by transport
	open    map[*connection]struct{}
	tallies map[string]*tally // by TLS server name
	numbers int               // the number of the latest connection

	// Set before serving: the ports of the page's origin and of the one with
	// HTTP/1.1 alone, which have the same routes.
	port, http1Port int
}

// A tally is what clients did that asked for one TLS server name.
type tally struct {
	handshakes  int
	connections map[*connection]struct{} // those they made them on
}

// A connection is one TCP or QUIC connection. Its fields are guarded by the
// census's mutex, but for id, which does not change.
type connection struct {
	transport string // "tcp" or "quic"
	id        string // "tcp-3" or "quic-1"
	number    int    // of all connections of either kind
	protocol  string // of its requests, "" before the first
	requests  int    // ordinary ones, so far
	sockets   int    // open ones

	// traffic returns its bytes so far; it does not need the mutex.
	traffic func() traffic
}

func newCensus() *census {
	return &census{
		made:    make(map[string]int),
		open:    make(map[*connection]struct{}),
		tallies: make(map[string]*tally),
	}
}

// add enters an open connection. bytes returns what it has carried so far.
func (c *census) add(transport string, bytes func() traffic) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[transport]++
	c.numbers++
	conn := &connection{
		transport: transport,
		id:        fmt.Sprintf("%s-%d", transport, c.made[transport]),
		number:    c.numbers,
		traffic:   bytes,
	}
	c.open[conn] = struct{}{}
	return conn
}

// remove enters that a connection has ended.
func (c *census) remove(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

// A countingListener enters the connections it accepts into a census.
type countingListener struct {
	*net.TCPListener
	census *census
}

func (l countingListener) Accept() (net.Conn, error) {
	tc, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	cc := &countedConn{TCPConn: tc}
	cc.connection = l.census.add("tcp", cc.traffic)
	cc.leave = func() { l.census.remove(cc.connection) }
	return cc, nil
}

// A countedConn is a connection that the census knows, and its bytes, TLS
// included.
type countedConn struct {
	*net.TCPConn
	connection *connection
	leave      func()

	received, sent atomic.Uint64
}

func (c *countedConn) traffic() traffic { return traffic{c.received.Load(), c.sent.Load()} }

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.received.Add(uint64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.sent.Add(uint64(n))
	return n, err
}

func (c *countedConn) Close() error {
	c.leave()
	return c.TCPConn.Close()
}

// handshake is a tls.Config's GetConfigForClient, which is called once for each
// handshake that a client begins, on TCP and on QUIC. It changes no
// configuration.
func (c *census) handshake(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tallyOf(hello.ServerName); t != nil {
		t.handshakes++
		if cc, ok := hello.Conn.(*countedConn); ok {
			t.enter(cc.connection)
		}
	}
	return nil, nil
}

// What a client can make a census remember beyond its connections' lives.
const (
	maxTallies = 64
	maxTallied = 4096
)

// tallyOf returns the tally of a server name, nil if there are too many. It is
// called with mu held.
func (c *census) tallyOf(serverName string) *tally {
	name := strings.ToLower(serverName)
	t := c.tallies[name]
	if t == nil && len(c.tallies) < maxTallies {
		t = &tally{connections: make(map[*connection]struct{})}
		c.tallies[name] = t
	}
	return t
}

func (t *tally) enter(conn *connection) {
	if len(t.connections) < maxTallied {
		t.connections[conn] = struct{}{}
	}
}

// tally returns how many connections clients have opened that asked for the
// server of this name, and the handshakes made on them.
func (c *census) tally(serverName string) (connections, handshakes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tallies[serverName]; t != nil {
		return len(t.connections), t.handshakes
	}
	return 0, 0
}

type connectionKey struct{}

// connContext is a negotiate.Server's ConnContext: requests on TCP carry their
// connection in their context.
func (c *census) connContext(ctx context.Context, nc net.Conn) context.Context {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	if cc, ok := nc.(*countedConn); ok {
		return context.WithValue(ctx, connectionKey{}, cc.connection)
	}
	return ctx
}

// quicContext is an h3connect.Server's ConnContext: it enters a QUIC connection,
// until it ends, and its requests carry it in their context.
func (c *census) quicContext(ctx context.Context, qc *quic.Conn) context.Context {
	conn := c.add("quic", func() traffic {
		s := qc.ConnectionStats()
		return traffic{s.BytesReceived, s.BytesSent}
	})
	context.AfterFunc(qc.Context(), func() { c.remove(conn) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tallyOf(qc.ConnectionState().TLS.ServerName); t != nil {
		t.enter(conn)
	}
	return context.WithValue(ctx, connectionKey{}, conn)
}

// of returns the connection that r came by, nil if it is not known.
func (c *census) of(r *http.Request) *connection {
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	return conn
}

// request enters an ordinary request on conn.
func (c *census) request(conn *connection, protocol websocket.Bootstrap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.protocol = protocol.String()
	conn.requests++
}

// socket enters a socket on conn, and returns what is to be called when it has
// ended.
func (c *census) socket(conn *connection, protocol websocket.Bootstrap) (ended func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.protocol = protocol.String()
	conn.sockets++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		conn.sockets--
	}
}

// traffic returns the bytes that the open connections have carried so far.
func (c *census) traffic() map[*connection]traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes := make(map[*connection]traffic, len(c.open))
	for conn := range c.open {
		bytes[conn] = conn.traffic()
	}
	return bytes
}

// state returns the protocol of a connection's requests and its bytes so far.
func (c *census) state(conn *connection) (protocol string, bytes traffic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return conn.protocol, conn.traffic()
}

// A population is the census at one moment.
type population struct {
	TCP         int       `json:"tcp"`  // open connections
	QUIC        int       `json:"quic"` // likewise
	Sockets     int       `json:"sockets"`
	Connections []account `json:"connections"` // oldest first
}

// An account is what a population says of one connection.
type account struct {
	ID       string `json:"id"`
	Protocol string `json:"protocol"` // empty if no request has come yet
	Sockets  int    `json:"sockets"`
	Requests int    `json:"requests"`
}

// now counts.
func (c *census) now() population {
	c.mu.Lock()
	defer c.mu.Unlock()
	open := slices.Collect(maps.Keys(c.open))
	p := population{Connections: []account{}}
	slices.SortFunc(open, func(a, b *connection) int { return a.number - b.number })
	for _, conn := range open {
		if conn.transport == "tcp" {
			p.TCP++
		} else {
			p.QUIC++
		}
		p.Sockets += conn.sockets
		p.Connections = append(p.Connections, account{
			ID: conn.id, Protocol: conn.protocol, Sockets: conn.sockets, Requests: conn.requests,
		})
	}
	return p
}
