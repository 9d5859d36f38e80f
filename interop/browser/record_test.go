//go:build unix

package browser

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/negotiate"
)

// A socket is what a site saw of one socket, or of an attempt at one. Its fields
// are complete when done is closed.
type socket struct {
	test       string // the page's case
	path       string
	bootstrap  websocket.Bootstrap
	connection string
	host       string
	method     string
	protocol   string // :protocol, on HTTP/2 and HTTP/3
	header     http.Header
	refused    error // what Accept returned
	status     int   // of a refusal by the handler itself
	end        error // what reading, or closing, returned at last
	stats      websocket.Stats
	done       chan struct{}
}

// outcome returns what ended the socket, or why there was none.
func (s *socket) outcome() error {
	select {
	case <-s.done:
		return cmp.Or(s.refused, s.end)
	default:
		return errors.New("open")
	}
}

// code returns the status code that the socket ended with, 0 if Close returned
// nil after the site had begun it.
func (s *socket) code() websocket.StatusCode {
	if ce, ok := errors.AsType[*websocket.CloseError](s.end); ok {
		return ce.Code
	}
	return 0
}

// A record holds the sockets of a site.
type record struct {
	mu   sync.Mutex
	list []*socket
}

// enter begins the account of a socket that r asks for.
func (c *record) enter(r *http.Request, conn *connection) *socket {
	s := &socket{
		test:       r.URL.Query().Get("case"),
		path:       r.URL.Path,
		bootstrap:  websocket.Bootstrap(r.ProtoMajor),
		connection: conn.id,
		host:       r.Host,
		method:     r.Method,
		header:     r.Header.Clone(),
		done:       make(chan struct{}),
	}
	switch s.bootstrap {
	case websocket.HTTP2:
		s.protocol = r.Header.Get(":protocol")
		delete(s.header, ":protocol")
	case websocket.HTTP3:
		s.protocol = r.Proto
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, s)
	return s
}

// of returns the sockets of a case, or all for "".
func (c *record) of(test string) []*socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(func(yield func(*socket) bool) {
		for _, s := range c.list {
			if (test == "" || s.test == test) && !yield(s) {
				return
			}
		}
	})
}

// await waits until the sockets of a case have ended and returns them.
func (c *record) await(ctx context.Context, test string) ([]*socket, error) {
	list := c.of(test)
	for _, s := range list {
		select {
		case <-s.done:
		case <-ctx.Done():
			return list, context.Cause(ctx)
		}
	}
	return list, nil
}

// A conversation is what a handler does with its socket. It returns what the
// socket ended with.
type conversation func(ctx context.Context, c *websocket.Conn, r *http.Request) error

// onlyHTTP1 returns a handler that lets no socket in over HTTP/2, by way of the one
// answer on which a client may ask again.
func (s *site) onlyHTTP1(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 {
			h(w, r)
			return
		}
		entry := s.record.enter(r, s.census.of(r))
		defer close(entry.done)
		entry.refused = errOnlyHTTP1
		if err := h2connect.RequireHTTP1(w); err != nil {
			entry.refused = err
		}
	}
}

var errOnlyHTTP1 = errors.New("told to use HTTP/1.1")

// accept returns a handler that accepts sockets with o, converses, and keeps
// record of both.
func (s *site) accept(o *websocket.AcceptOptions, talk conversation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn := s.census.of(r)
		entry := s.record.enter(r, conn)
		defer close(entry.done)
		c, err := negotiate.Accept(w, r, o)
		if err != nil {
			entry.refused = err
			return
		}
		s.census.socket(conn)
		entry.bootstrap = c.Bootstrap()
		s.open.Add(1)
		defer s.open.Add(-1)
		defer func() { entry.stats = c.Stats() }()
		// The request's own context ends with the stream: a read that begins
		// after that tells of the context, not of how the socket ended.
		entry.end = talk(context.WithoutCancel(r.Context()), c, r)
	}
}
