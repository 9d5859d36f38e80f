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
	"time"

	"github.com/wsmux/websocket"
)

// A census is the server's knowledge of its transport connections: which there
// are, which of them a request came by, and how many TLS handshakes were made on
// each. What the demo says about sharing is what the census saw.
type census struct {
	mu      sync.Mutex
	made    map[string]int            // connections so far, by transport
	tcp     map[*connection]struct{}  // open ones
	quic    map[string]*connection    // the latest from each address
	tallies map[string]map[string]int // handshakes by TLS server name and connection
	numbers int                       // the number of the latest connection
}

// A connection is one TCP or QUIC connection. Its fields are guarded by the
// census's mutex, but for id, which does not change.
type connection struct {
	id       string    // "tcp-3" or "quic-1"
	number   int       // of all connections of either kind
	protocol string    // of its requests, "" before the first
	requests int       // ordinary ones, so far
	sockets  int       // open ones
	used     time.Time // when a request last came, or a socket ended
}

// quicIdle is how long a QUIC connection without a socket counts as open after
// its last request. A TCP connection is seen to end; QUIC's end is not.
const quicIdle = 10 * time.Second

// isUsed is called with the census's mu held.
func (c *connection) isUsed() bool {
	return c.sockets > 0 || c.requests > 0 && time.Since(c.used) < quicIdle
}

func newCensus() *census {
	return &census{
		made:    make(map[string]int),
		tcp:     make(map[*connection]struct{}),
		quic:    make(map[string]*connection),
		tallies: make(map[string]map[string]int),
	}
}

// add is called with mu held.
func (c *census) add(transport string) *connection {
	c.made[transport]++
	c.numbers++
	return &connection{
		id:     fmt.Sprintf("%s-%d", transport, c.made[transport]),
		number: c.numbers,
		used:   time.Now(),
	}
}

func (c *census) addTCP() *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.add("tcp")
	c.tcp[conn] = struct{}{}
	return conn
}

func (c *census) removeTCP(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tcp, conn)
}

// addQUIC is called with mu held.
func (c *census) addQUIC(from net.Addr) *connection {
	if len(c.quic) >= maxQUIC {
		maps.DeleteFunc(c.quic, func(_ string, conn *connection) bool { return !conn.isUsed() })
	}
	conn := c.add("quic")
	if len(c.quic) < maxQUIC {
		c.quic[from.String()] = conn
	}
	return conn
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
	conn := l.census.addTCP()
	return &countedConn{TCPConn: tc, connection: conn, leave: func() { l.census.removeTCP(conn) }}, nil
}

// A countedConn is a connection that the census knows.
type countedConn struct {
	*net.TCPConn
	connection *connection
	leave      func()
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
	var conn *connection
	if cc, ok := hello.Conn.(*countedConn); ok {
		conn = cc.connection
	} else {
		conn = c.addQUIC(hello.Conn.RemoteAddr())
	}
	name := strings.ToLower(hello.ServerName)
	tally := c.tallies[name]
	if tally == nil && len(c.tallies) < maxTallies {
		tally = make(map[string]int)
		c.tallies[name] = tally
	}
	if tally != nil && len(tally) < maxTallied {
		tally[conn.id]++
	}
	return nil, nil
}

// What a client can make a census remember beyond its connections' lives.
const (
	maxTallies = 64
	maxTallied = 4096
	maxQUIC    = 1024
)

// tally returns how many connections clients have opened that asked for the
// server of this name, and the handshakes made on them.
func (c *census) tally(serverName string) (connections, handshakes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.tallies[serverName] {
		handshakes += n
	}
	return len(c.tallies[serverName]), handshakes
}

// forget lets the QUIC connections of a tally count as ended. Those of TCP are
// seen to end.
func (c *census) forget(serverName string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tally := c.tallies[serverName]
	maps.DeleteFunc(c.quic, func(_ string, conn *connection) bool { return tally[conn.id] > 0 })
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

// of returns the connection that r came by, nil if it is not known.
func (c *census) of(r *http.Request) *connection {
	if conn, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		return conn
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quic[r.RemoteAddr]
}

// request enters an ordinary request on conn.
func (c *census) request(conn *connection, protocol websocket.Bootstrap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.protocol = protocol.String()
	conn.requests++
	conn.used = time.Now()
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
		conn.used = time.Now()
	}
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
	open := slices.Collect(maps.Keys(c.tcp))
	p := population{TCP: len(open), Connections: []account{}}
	for _, conn := range c.quic {
		if conn.isUsed() {
			p.QUIC++
			open = append(open, conn)
		}
	}
	slices.SortFunc(open, func(a, b *connection) int { return a.number - b.number })
	for _, conn := range open {
		p.Sockets += conn.sockets
		p.Connections = append(p.Connections, account{
			ID: conn.id, Protocol: conn.protocol, Sockets: conn.sockets, Requests: conn.requests,
		})
	}
	return p
}
