//go:build unix

package browser

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"

	"github.com/quic-go/quic-go"
)

// A census knows the transport connections of a site, and what came by each.
type census struct {
	mu        sync.Mutex
	tcp, quic int // connections so far
	known     []*connection
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

// quicContext is an h3connect.Server's ConnContext. Addresses would not do to know
// a connection by: Chromium changes its port when it finds a path slow.
func (c *census) quicContext(ctx context.Context, _ *quic.Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quic++
	return context.WithValue(ctx, connectionKey{}, c.add(fmt.Sprintf("quic-%d", c.quic)))
}

// of returns the connection that r came by.
func (c *census) of(r *http.Request) *connection {
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
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
