package h2connect

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Shutdown ends the connections of all http.Servers that were configured with
// s: every socket gets a Close frame with status 1001, then every connection
// GOAWAY in two steps (RFC 9113 §6.8), so that a request that is on its way is
// served or may be sent again elsewhere, a new socket with REFUSED_STREAM (RFC 9113
// §8.7; 503 where a handler has seen the request). It waits until closing handshakes and
// requests are done and the connections closed; idle ones close after
// [Limits.Linger] at the latest.
//
// When ctx ends first everything that is left is cut, and Shutdown returns ctx's
// cause. It returns nil only if everything ended in an orderly way: no closing
// handshake failed, and no connection was lost, or ended for a breach of the
// protocol, while it had streams.
//
// It does not close listeners and does not know HTTP/1.1; new HTTP/2
// connections are refused. A program therefore calls it besides the http.Server's
// own Shutdown, which says the same goodbye and may run at the same time:
//
//	go srv.Shutdown(ctx)
//	err := conf.Shutdown(ctx)
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	servers := s.servers
	s.mu.Unlock()
	results := make(chan error, len(servers))
	for _, server := range servers {
		// Each goroutine ends with its server's connections, or with ctx.
		go func() { results <- server.shutdown(ctx) }()
	}
	var errs []error
	for range servers {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

func (s *server) shutdown(ctx context.Context) error {
	sockets := s.goodbye(ctx)
	s.mu.Lock()
	if len(s.conns) > 0 && s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	if empty != nil {
		select {
		case <-empty:
		case <-ctx.Done():
			s.cutAll()
			return fmt.Errorf("h2connect: shutdown: %w", context.Cause(ctx))
		}
	}
	s.mu.Lock()
	cut := s.cut
	s.mu.Unlock()
	if err := errors.Join(<-sockets, cut); err != nil {
		return fmt.Errorf("h2connect: shutdown: %w", err)
	}
	return nil
}

// goodbye says goodbye to sockets and connections, and returns where the result
// of the sockets' closing handshakes will be. Close frames go before GOAWAY,
// because a browser that resets its sockets on GOAWAY shall have seen them (the
// close matrix's C14).
func (s *server) goodbye(ctx context.Context) <-chan error {
	result := make(chan error, 1)
	told := make(chan struct{})
	// This goroutine ends when every socket has ended and its handler has
	// returned, at the latest with ctx.
	go func() { result <- s.sockets.GoAway(ctx, func() { close(told) }) }()
	<-told
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for sc := range s.conns {
		sc.drain()
	}
	return result
}

// cutAll ends what is left.
func (s *server) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sc := range s.conns {
		sc.c.mu.Lock()
		sc.c.end(&ConnError{Err: net.ErrClosed})
		sc.c.mu.Unlock()
	}
}
