package h3connect

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/wsmux/websocket/internal/sockets"
)

// A Server serves HTTP/3, sockets and ordinary requests alike, with what
// [ConfigureServer] sets and with address validation under load (RFC 9000
// §8.1.2). The zero value is ready to use. The fields may not change while it
// serves.
//
// It has the methods that negotiate.Server asks of its HTTP3 field.
type Server struct {
	// QUICConfig configures QUIC. Fields that are zero, or all if it is nil,
	// have the defaults of ConfigureServer.
	QUICConfig *quic.Config

	// MaxHeaderBytes bounds, in bytes, a request's header section as RFC 9114
	// §4.2.2 counts it. Beyond it: 431. Zero: 16 KiB. Negative:
	// http.DefaultMaxHeaderBytes.
	MaxHeaderBytes int

	// IdleTimeout is how long a connection may stay open without a request on
	// it. Zero: 3 minutes. Negative: for ever.
	IdleTimeout time.Duration

	// ConnContext, if not nil, makes the context that the contexts of a new
	// connection's requests are derived from, as http.Server's does. ctx ends
	// with the connection.
	ConnContext func(ctx context.Context, c *quic.Conn) context.Context

	// Logger takes what http3 has to say, such as panics of handlers. Nil:
	// nothing is logged.
	Logger *slog.Logger

	set sockets.Set

	mu     sync.Mutex
	closed bool
	served map[*endpoint]struct{}
}

// Serve serves HTTP/3 on pc with the handler h, nil for http.DefaultServeMux,
// and a TLS configuration with a certificate, whose NextProtos are replaced. It
// may be called for any number of sockets, also at the same time.
//
// The Server takes pc over and closes it: when Serve fails, or at the end of
// Shutdown or Close. Serve returns http.ErrServerClosed after either, while
// connections may still be open.
func (s *Server) Serve(pc net.PacketConn, h http.Handler, tlsConf *tls.Config) error {
	e, err := s.listen(pc, h, tlsConf)
	if err != nil {
		_ = pc.Close()
		return err
	}
	err = e.accept()
	if s.closing() {
		return http.ErrServerClosed
	}
	s.forget(e)
	e.cut()
	return err
}

func (s *Server) listen(pc net.PacketConn, h http.Handler, tlsConf *tls.Config) (*endpoint, error) {
	if tlsConf == nil {
		return nil, errors.New("h3connect: Serve without a TLS configuration")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, http.ErrServerClosed
	}
	e, err := newEndpoint(s, pc, h, tlsConf)
	if err != nil {
		return nil, err
	}
	if s.served == nil {
		s.served = make(map[*endpoint]struct{})
	}
	s.served[e] = struct{}{}
	return e, nil
}

func (s *Server) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) forget(e *endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.served, e)
}

// stop ends listening, and returns what is being served, until it is forgotten.
func (s *Server) stop() []*endpoint {
	s.mu.Lock()
	s.closed = true
	list := slices.Collect(maps.Keys(s.served))
	s.mu.Unlock()
	for _, e := range list {
		e.stop()
	}
	return list
}

// Shutdown ends the server in order: no new connections, and no new sockets
// (H3_REQUEST_REJECTED, RFC 9114 §4.1.1; 503 where a handler has seen the request);
// a Close frame with status 1001 on every socket, and up to their CloseTimeout for
// the answers; GOAWAY on every connection, so that no new requests come (RFC 9114
// §5.2), and each connection ends when its requests have been answered. When ctx
// ends first what is left is cut, with the contexts of its handlers, and the error
// wraps ctx's cause. Shutdown returns nil only if every socket was closed cleanly.
//
// Close frames come before GOAWAY because there are clients that reset their
// sockets when they see GOAWAY.
func (s *Server) Shutdown(ctx context.Context) error {
	list := s.stop()
	told, gone := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1+len(list))
	go func() { // ends with the sockets, at the latest when ctx does
		defer close(gone)
		ended <- s.set.GoAway(ctx, func() { close(told) })
	}()
	<-told
	patience := time.NewTimer(goAwayPatience)
	defer patience.Stop()
	select {
	case <-gone:
	case <-patience.C:
	}
	for _, e := range list {
		// Each goroutine ends with its endpoint, at the latest when ctx does.
		go func() {
			err := e.drain(ctx)
			s.forget(e)
			ended <- err
		}()
	}
	var errs []error
	for range cap(ended) {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// goAwayPatience is how long GOAWAY waits for sockets to end behind their Close
// frames. The order in which streams of QUIC were written is not that in which
// they arrive, so that a Close frame has certainly been seen when it was answered.
const goAwayPatience = time.Second

// Close cuts all connections, with H3_NO_ERROR, and with them all sockets, which
// end with status 1006. It does not wait for handlers. During a Shutdown it cuts
// what that waits for.
func (s *Server) Close() error {
	for _, e := range s.stop() {
		e.cut()
		s.forget(e)
	}
	return nil
}
