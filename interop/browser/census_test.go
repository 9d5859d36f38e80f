package browser

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
)

// A census knows the transport connections of a site, and what came by each.
type census struct {
	mu         sync.Mutex
	tcp        int                    // TCP connections so far
	handshakes int                    // on QUIC
	quic       map[string]*connection // those that carried something, by what TLS exports
	known      []*connection
}

// A connection is one TCP or QUIC connection. The counters are guarded by the
// census's mutex.
type connection struct {
	id       string         // "tcp-3" or "quic-1"
	requests map[string]int // by protocol
	paths    map[string]int // the same requests by path
	attempts int            // at sockets, those refused included
	sockets  int
}

func newCensus() *census { return &census{quic: make(map[string]*connection)} }

// add is called with mu held.
func (c *census) add(id string) *connection {
	conn := &connection{id: id, requests: make(map[string]int), paths: make(map[string]int)}
	c.known = append(c.known, conn)
	return conn
}

// A listener enters the TCP connections that it accepts into a census.
type listener struct {
	net.Listener
	census *census
}

// A tcpConn is a TCP connection that the census knows.
type tcpConn struct {
	net.Conn
	connection *connection
}

func (l listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.census.mu.Lock()
	defer l.census.mu.Unlock()
	l.census.tcp++
	return tcpConn{nc, l.census.add(fmt.Sprintf("tcp-%d", l.census.tcp))}, nil
}

// handshake is a tls.Config's GetConfigForClient. It changes no configuration:
// it sees QUIC connections come.
func (c *census) handshake(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if _, ok := hello.Conn.(tcpConn); ok {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handshakes++
	return nil, nil
}

type connectionKey struct{}

// connContext is a negotiate.Server's ConnContext.
func (c *census) connContext(ctx context.Context, nc net.Conn) context.Context {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	if tc, ok := nc.(tcpConn); ok {
		return context.WithValue(ctx, connectionKey{}, tc.connection)
	}
	return ctx
}

// of returns the connection that r came by. A QUIC connection is not known by
// its addresses: Chromium changes its port when it finds a path slow.
func (c *census) of(r *http.Request) *connection {
	if conn, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		return conn
	}
	name, err := r.TLS.ExportKeyingMaterial("EXPERIMENTAL census", nil, 16)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.quic[string(name)]
	if conn == nil {
		conn = c.add(fmt.Sprintf("quic-%d", len(c.quic)+1))
		c.quic[string(name)] = conn
	}
	return conn
}

// request enters an ordinary request.
func (c *census) request(r *http.Request) {
	conn := c.of(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.requests[r.Proto]++
	conn.paths[r.URL.Path]++
}

// attempt enters a request for a socket, which may be refused.
func (c *census) attempt(r *http.Request) {
	conn := c.of(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.attempts++
}

// socket enters an accepted socket.
func (c *census) socket(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.sockets++
}

// A tally says what a connection has carried.
type tally struct {
	id       string
	requests map[string]int // by protocol
	paths    map[string]int
	attempts int
	sockets  int
}

func (t tally) String() string {
	return fmt.Sprintf("%s: requests %v, %d of %d sockets accepted", t.id, t.requests, t.sockets, t.attempts)
}

// tallies returns the connections that have carried anything, in the order in
// which they came, and the number of those that have not.
func (c *census) tallies() (used []tally, unused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	unused = c.handshakes - len(c.quic)
	for _, conn := range c.known {
		if len(conn.requests) == 0 && conn.attempts == 0 {
			unused++
			continue
		}
		used = append(used, tally{
			conn.id, maps.Clone(conn.requests), maps.Clone(conn.paths), conn.attempts, conn.sockets,
		})
	}
	return used, unused
}
