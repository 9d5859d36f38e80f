//go:build unix

package foreign

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/negotiate"
)

// endPatience is how long the server may take to see the end of a client's sockets
// when that has gone.
const endPatience = 20 * time.Second

// A site is our server, with what it has seen.
type site struct {
	origin string
	port   string
	id     *identity
	mux    *http.ServeMux

	mu          sync.Mutex
	connections int // TCP connections accepted
	sockets     []*socket
	requests    []seen
	open, peak  int // sockets
}

// A seen is a request as the server saw it.
type seen struct {
	method     string
	path       string
	proto      string
	connection int
}

// A socket is what a site saw of one socket. Its fields are complete when done is
// closed.
type socket struct {
	test       string // the client's case
	bootstrap  websocket.Bootstrap
	method     string
	protocol   string // :protocol
	header     http.Header
	connection int
	end        error // what reading, or closing, returned at last
	stats      websocket.Stats
	done       chan struct{}
}

// newSite starts a site over TLS, or without, with HTTP/3 over TLS. It is closed
// at the end of the test.
func newSite(t *testing.T, secure bool) *site {
	id, err := newIdentity()
	require.NoError(t, err)
	s := &site{id: id, mux: http.NewServeMux()}
	s.routeSockets()
	s.routeRequests()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	server := &negotiate.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.requests = append(s.requests, seen{r.Method, r.URL.Path, r.Proto, connectionOf(r)})
			s.mu.Unlock()
			s.mux.ServeHTTP(w, r)
		}),
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{id.certificate}},
		ConnContext: s.connContext,

		UnencryptedHTTP2: true,
	}
	served := make(chan error, 1)
	if secure {
		s.origin = "https://127.0.0.1:" + s.port
		server.HTTP3 = &h3connect.Server{}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		require.NoError(t, err)
		go func() { served <- server.ServeTLS(l, pc, "", "") }() // ends with the server
	} else {
		s.origin = "http://127.0.0.1:" + s.port
		go func() { served <- server.Serve(l) }() // likewise
	}
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return s
}

type connectionKey struct{}

// connContext numbers the TCP connections.
func (s *site) connContext(ctx context.Context, _ net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections++
	return context.WithValue(ctx, connectionKey{}, s.connections)
}

// connectionOf returns the number of the connection that r came by, 0 over QUIC.
func connectionOf(r *http.Request) int {
	n, _ := r.Context().Value(connectionKey{}).(int)
	return n
}

// enter begins the account of an accepted socket.
func (s *site) enter(r *http.Request, c *websocket.Conn) *socket {
	entry := &socket{
		test:       r.URL.Query().Get("case"),
		bootstrap:  c.Bootstrap(),
		method:     r.Method,
		protocol:   r.Header.Get(":protocol"),
		header:     r.Header.Clone(),
		connection: connectionOf(r),
		done:       make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets = append(s.sockets, entry)
	s.open++
	s.peak = max(s.peak, s.open)
	return entry
}

// leave ends the account.
func (s *site) leave(entry *socket, c *websocket.Conn, end error) {
	entry.end, entry.stats = end, c.Stats()
	close(entry.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// of returns the sockets of a case, or all for "", when they have ended.
func (s *site) of(t *testing.T, test string) []*socket {
	s.mu.Lock()
	all := s.sockets
	s.mu.Unlock()
	var list []*socket
	for _, entry := range all {
		if test != "" && entry.test != test {
			continue
		}
		select {
		case <-entry.done:
			list = append(list, entry)
		case <-time.After(endPatience):
			require.FailNow(t, "a socket is open although the client has gone", "%s", entry.test)
		}
	}
	return list
}

// accepted returns how many TCP connections there were.
func (s *site) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// atOnce returns the largest number of sockets that were open at one time.
func (s *site) atOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// got returns the requests seen of a path, or all for "".
func (s *site) got(path string) []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []seen
	for _, r := range s.requests {
		if path == "" || r.path == path {
			list = append(list, r)
		}
	}
	return list
}

// accept returns a handler that accepts sockets with o, converses, and keeps
// account. What talk returns is how the socket ended.
func (s *site) accept(o *websocket.AcceptOptions, talk func(context.Context, *websocket.Conn) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := negotiate.Accept(w, r, o)
		if err != nil {
			return // the client is told, and says so
		}
		defer c.CloseNow()
		entry := s.enter(r, c)
		// The request's own context ends with the stream: a read that begins
		// after that tells of the context, not of how the socket ended.
		s.leave(entry, c, talk(context.WithoutCancel(r.Context()), c))
	}
}

// routeSockets adds the sockets' routes.
func (s *site) routeSockets() {
	s.mux.HandleFunc("/echo", s.accept(nil, echo))
	s.mux.HandleFunc("/fragments", s.accept(nil, echoAndFragments))
	s.mux.HandleFunc("/ping", s.accept(nil, pings))
	s.mux.HandleFunc("/deflate", s.accept(&websocket.AcceptOptions{Compression: &websocket.Compression{
		ServerContextTakeover: true, ClientContextTakeover: true, Threshold: -1,
	}}, echo))
	s.mux.HandleFunc("/close", s.accept(nil, func(ctx context.Context, c *websocket.Conn) error {
		return c.Close(ctx, 4000, longReason)
	}))
	s.mux.HandleFunc("/cut", s.accept(nil, func(ctx context.Context, c *websocket.Conn) error {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
		return c.CloseNow()
	}))
	s.mux.HandleFunc("/forbidden", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	})
}

// echo sends every message back until the socket ends.
func echo(ctx context.Context, c *websocket.Conn) error {
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, kind, p); err != nil {
			return err
		}
	}
}

// echoAndFragments sends one message back, another one in fragments with a Ping
// between them, and then echoes.
func echoAndFragments(ctx context.Context, c *websocket.Conn) error {
	kind, p, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if err := c.Write(ctx, kind, p); err != nil {
		return err
	}
	w, err := c.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	for _, half := range [][]byte{make([]byte, 150000), make([]byte, 150000)} {
		if _, err := w.Write(half); err != nil {
			return err
		}
		if err := c.Ping(ctx); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return echo(ctx, c)
}

// pings waits for a message, sends three Pings, each of which returns when its
// Pong is here, says so, and then echoes.
func pings(ctx context.Context, c *websocket.Conn) error {
	if _, _, err := c.Read(ctx); err != nil {
		return err
	}
	const n = 3
	for range n {
		if err := c.Ping(ctx); err != nil {
			return err
		}
	}
	if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%d pongs", n)); err != nil {
		return err
	}
	return echo(ctx, c)
}
