package h3connect

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket/internal/serving"
)

// An endpoint is one UDP socket of a Server's, and all connections on it.
//
// Its goroutines, beside quic-go's own: Serve's caller accepts connections, until
// stop; one for each connection runs http3 on it, until the connection has ended
// and its handlers have returned; and one for each handshake in progress waits
// for its end.
type endpoint struct {
	pc       net.PacketConn
	tr       *quic.Transport
	ln       *quic.EarlyListener
	h3       *http3.Server
	halfOpen atomic.Int64  // handshakes in progress
	accepted chan struct{} // closed when accept has returned

	// starting counts connections that http3 does not know of yet. http3 must
	// not be shut down before it does.
	starting sync.WaitGroup

	mu    sync.Mutex
	conns map[*serverConn]struct{}
}

// retryAbove is the number of handshakes in progress above which clients have to
// prove their address with a Retry packet: a round trip for them, and for an
// attacker the end of spoofing.
const retryAbove = 64

func newEndpoint(s *Server, pc net.PacketConn, h http.Handler, tlsConf *tls.Config) (*endpoint, error) {
	e := &endpoint{
		pc:       pc,
		accepted: make(chan struct{}),
		conns:    make(map[*serverConn]struct{}),
		h3: &http3.Server{
			Handler:        h,
			QUICConfig:     s.QUICConfig,
			MaxHeaderBytes: s.MaxHeaderBytes,
			IdleTimeout:    s.IdleTimeout,
			ConnContext:    s.ConnContext,
			Logger:         s.Logger,
		},
	}
	around := serving.Of(h)
	setDefault(&e.h3.MaxHeaderBytes, around.MaxHeaderBytes)
	setDefault(&e.h3.IdleTimeout, around.IdleTimeout)
	setDefault(&e.h3.Logger, around.Logger)
	if e.h3.Logger == nil {
		e.h3.Logger = slog.New(slog.DiscardHandler) // http3 would take the default one
	}
	configure(e.h3, &s.set, e.opened)
	// serverConn does it. http3's own timer goes on when a connection has ended
	// with requests on it, and holds all of it in memory until it fires.
	e.h3.IdleTimeout = -1
	e.tr = &quic.Transport{
		Conn:                pc,
		VerifySourceAddress: func(net.Addr) bool { return e.halfOpen.Load() > retryAbove },
		ConnContext:         e.begun,
	}
	ln, err := e.tr.ListenEarly(http3.ConfigureTLSConfig(tlsConf), e.h3.QUICConfig)
	if err != nil {
		_ = e.tr.Close()
		return nil, err
	}
	e.ln = ln
	return e, nil
}

// A connMark goes with a connection's context: what is to be called, once or more
// often, when the handshake is over and when http3 knows of the connection.
type connMark struct{ handshaken, started func() }

type markKey struct{}

// begun is called for the first packet of each connection.
func (e *endpoint) begun(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	e.halfOpen.Add(1)
	m := &connMark{
		handshaken: sync.OnceFunc(func() { e.halfOpen.Add(-1) }),
		started:    sync.OnceFunc(e.starting.Done),
	}
	context.AfterFunc(ctx, m.handshaken)
	return context.WithValue(ctx, markKey{}, m), nil
}

// accept accepts connections until stop, and returns why it ended.
func (e *endpoint) accept() error {
	defer close(e.accepted)
	for {
		qc, err := e.ln.Accept(context.Background())
		if err != nil {
			return err
		}
		e.starting.Add(1)
		go e.serve(qc)
	}
}

func (e *endpoint) serve(qc *quic.Conn) {
	m := qc.Context().Value(markKey{}).(*connMark)
	defer m.started()
	go func() {
		select {
		case <-qc.HandshakeComplete():
			m.handshaken()
		case <-qc.Context().Done():
		}
	}()
	// The error says how the connection ended, which its requests know.
	_ = e.h3.ServeQUICConn(qc)
	_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// opened is called by http3 for each connection before it reads anything.
func (e *endpoint) opened(c *serverConn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns[c] = struct{}{}
	context.AfterFunc(c.qc.Context(), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.conns, c)
	})
	c.qc.Context().Value(markKey{}).(*connMark).started()
}

// connections returns the open connections, once those that are being accepted
// are among them. It is called after stop.
func (e *endpoint) connections() []*serverConn {
	<-e.accepted
	e.starting.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.conns))
}

// stop ends listening. Connections stay open.
func (e *endpoint) stop() { _ = e.ln.Close() }

// drain sends GOAWAY on all connections and lets each end behind its last
// request. When ctx ends it cuts the rest and returns ctx's cause.
func (e *endpoint) drain(ctx context.Context) error {
	defer e.cut()
	for _, c := range e.connections() {
		c.drain()
	}
	done := make(chan error, 1)
	// http3 waits for handlers, also after ctx has ended. The goroutine ends
	// when they have returned.
	go func() { done <- e.h3.Shutdown(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// cut closes all connections and the UDP socket. It is called after stop.
func (e *endpoint) cut() {
	for _, c := range e.connections() {
		c.fail(http3.ErrCodeNoError, "")
	}
	_ = e.tr.Close()
	_ = e.pc.Close()
}
