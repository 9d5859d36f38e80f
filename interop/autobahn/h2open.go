package autobahn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// openSocket opens a stream by extended CONNECT (RFC 8441 §5).
func (c *h2Conn) openSocket(ctx context.Context, scheme, authority string, h Hello) (Stream, string, error) {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	if err := c.awaitSettings(ctx); err != nil {
		return nil, "", err
	}
	fields := [][2]string{
		{":method", "CONNECT"},
		{":protocol", "websocket"},
		{":scheme", scheme},
		{":authority", authority},
		{":path", pathPrefix + h.Case},
		{"sec-websocket-version", "13"},
	}
	if h.Offer != "" {
		fields = append(fields, [2]string{"sec-websocket-extensions", h.Offer})
	}
	var s *h2Stream
	err := c.write(func() error {
		c.mu.Lock()
		s = c.add(c.nextID) // ids go out in their order: wmu is held
		c.nextID += 2
		c.mu.Unlock()
		return c.writeHead(s.id, fields)
	})
	if err != nil {
		c.fail(err)
		return nil, "", err
	}
	answer, err := s.awaitAnswer(ctx)
	if err != nil {
		s.Abort()
		return nil, "", err
	}
	return s, answer, nil
}

func (c *h2Conn) awaitSettings(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.settled && c.err == nil && ctx.Err() == nil {
		c.changed.Wait()
	}
	switch {
	case c.err != nil:
		return c.err
	case !c.settled:
		return ctx.Err()
	case !c.connect:
		return errors.New("the server does not take extended CONNECT")
	}
	return nil
}

func (s *h2Stream) awaitAnswer(ctx context.Context) (string, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.head == nil && s.err == nil && ctx.Err() == nil {
		s.c.changed.Wait()
	}
	switch {
	case s.head != nil:
	case s.err != nil:
		return "", s.err
	default:
		return "", ctx.Err()
	}
	if status := field(s.head, ":status"); status != "200" {
		return "", fmt.Errorf("the server answered %s", status)
	}
	return field(s.head, "sec-websocket-extensions"), nil
}

// field returns a field's value, several values joined by commas.
func field(fields []hpack.HeaderField, name string) string {
	value := ""
	for _, f := range fields {
		if f.Name == name {
			if value != "" {
				value += ", "
			}
			value += f.Value
		}
	}
	return value
}

// H2Opener opens sockets on a few HTTP/2 connections that they share.
type H2Opener struct {
	addr   string
	config *tls.Config

	mu    sync.Mutex
	conns [2]*h2Conn
	next  int
}

// OpenHTTP2 returns an H2Opener for the server at addr: over TLS, or without it
// by prior knowledge if config is nil.
func OpenHTTP2(addr string, config *tls.Config) *H2Opener {
	o := &H2Opener{addr: addr, config: config}
	if config != nil {
		o.config = config.Clone()
		o.config.NextProtos = []string{"h2"}
	}
	return o
}

// Open is an Opener.
func (o *H2Opener) Open(ctx context.Context, h Hello) (Stream, string, error) {
	c, err := o.conn(ctx)
	if err != nil {
		return nil, "", err
	}
	scheme := "http"
	if o.config != nil {
		scheme = "https"
	}
	return c.openSocket(ctx, scheme, o.addr, h)
}

// conn returns the next connection in turn, a new one in place of one that has
// ended.
func (o *H2Opener) conn(ctx context.Context) (*h2Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = (o.next + 1) % len(o.conns)
	if c := o.conns[o.next]; c != nil {
		select {
		case <-c.done:
		default:
			return c, nil
		}
	}
	nc, err := dialTCP(ctx, o.addr, o.config)
	if err != nil {
		return nil, err
	}
	c, err := newH2Conn(nc, true, nil)
	if err == nil {
		o.conns[o.next] = c
	}
	return c, err
}

// Close ends the connections.
func (o *H2Opener) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		if c != nil {
			c.fail(net.ErrClosed)
		}
	}
}

// ServeHTTP2 accepts clients on ln, a TLS listener or a plain one, until it is
// closed. Then it cuts the connections.
func (l *Lobby) ServeHTTP2(ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		wg.Go(func() {
			nc.SetDeadline(time.Now().Add(openLimit))
			c, err := newH2Conn(nc, false, l.serveHTTP2)
			if err != nil {
				return
			}
			nc.SetDeadline(time.Time{})
			select {
			case <-stop:
				c.fail(net.ErrClosed)
			case <-c.done:
			}
		})
	}
}

// serveHTTP2 answers a request.
func (l *Lobby) serveHTTP2(s *h2Stream, fields []hpack.HeaderField) {
	g, err := l.admit(field(fields, ":path"), field(fields, "sec-websocket-extensions"))
	if err != nil || field(fields, ":method") != "CONNECT" || field(fields, ":protocol") != "websocket" {
		s.c.write(func() error { return s.c.writeHead(s.id, [][2]string{{":status", "404"}}) })
		s.CloseWrite()
		return
	}
	head := [][2]string{{":status", "200"}}
	if g.answer != "" {
		head = append(head, [2]string{"sec-websocket-extensions", g.answer})
	}
	if err := s.c.write(func() error { return s.c.writeHead(s.id, head) }); err != nil {
		s.c.fail(err)
		return
	}
	l.enter(g, s)
}
