package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/serving"
	"github.com/wsmux/websocket/internal/sockets"
)

// An HTTP3Server serves HTTP/3. *h3connect.Server is one.
type HTTP3Server interface {
	// Serve serves h on pc with the certificates of config until Shutdown or
	// Close is called; then it returns http.ErrServerClosed. It closes pc.
	Serve(pc net.PacketConn, h http.Handler, config *tls.Config) error

	// Shutdown sends GOAWAY on every connection, waits for their requests and
	// sockets until ctx ends, and cuts what is left. The Server itself says
	// goodbye to sockets that [Accept] accepted, at the same time.
	Shutdown(ctx context.Context) error

	// Close cuts every connection.
	Close() error
}

// A Server serves sockets and ordinary requests on one address: HTTP/1.1 and
// HTTP/2 on TCP and, if it is given an HTTP3, HTTP/3 on the UDP port of the same
// number, which its responses then announce (Alt-Svc, RFC 7838). The fields are
// set before the first call and not changed afterwards. A Server is used once.
type Server struct {
	// Addr is the address to listen on, "host:port". Empty: ":https".
	Addr string

	// Handler answers the requests. Handlers for sockets call [Accept]. Nil:
	// http.DefaultServeMux.
	Handler http.Handler

	// TLSConfig holds the certificates; see LoadCertificate for another way.
	// It is cloned. MinVersion defaults to TLS 1.2; NextProtos is set by the
	// Server.
	TLSConfig *tls.Config

	// HTTP2 configures HTTP/2. Nil: the zero value, with sockets.
	HTTP2 *h2connect.Server

	// UnencryptedHTTP2 makes Serve speak HTTP/2 by prior knowledge (h2c, RFC
	// 9113 §3.3) beside HTTP/1.1, for a proxy that ends TLS in front and
	// multiplexes behind.
	UnencryptedHTTP2 bool

	// HTTP3 serves HTTP/3, &h3connect.Server{} for instance. Nil: TCP only. An
	// h3connect.Server that leaves its IdleTimeout, MaxHeaderBytes or Logger
	// open has this Server's.
	HTTP3 HTTP3Server

	// ReadHeaderTimeout bounds how long a client may take for a request's
	// header section, and IdleTimeout how long a connection without requests
	// or sockets is kept. Zero: 10 s and 3 min. Negative: none, but a header
	// section has 10 s over HTTP/2 all the same. Over HTTP/3 it has IdleTimeout.
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration

	// MaxHeaderBytes bounds, in bytes, a request's header section. Zero or negative:
	// 16 KiB.
	MaxHeaderBytes int

	// BaseContext and ConnContext are http.Server's, for TCP. Beneath a *tls.Conn
	// ServeTLS has a net.Conn of its own, whose method NetConn returns the *net.TCPConn
	// that the listener has accepted.
	BaseContext func(net.Listener) context.Context
	ConnContext func(ctx context.Context, c net.Conn) context.Context

	// Logger takes what the HTTP servers have to say, such as panics of
	// handlers. Nil: nothing is logged.
	Logger *slog.Logger

	// Observer is told what happens to sockets and opening handshakes. Nil:
	// nobody is.
	Observer *Observer

	certificate atomic.Pointer[tls.Certificate] // that of LoadCertificate

	mu     sync.Mutex
	tcp    *drainer // nil before start; with the sockets of every transport
	closed atomic.Bool
}

// The defaults of Server.
const (
	defaultReadHeaderTimeout = 10 * time.Second
	defaultIdleTimeout       = 3 * time.Minute
	defaultMaxHeaderBytes    = 16 << 10
)

// ListenAndServeTLS listens on Addr, TCP and (with HTTP3) UDP, and serves until
// Shutdown or Close is called; then it returns http.ErrServerClosed. certFile
// and keyFile may be empty if TLSConfig has a certificate.
func (s *Server) ListenAndServeTLS(certFile, keyFile string) error {
	addr := s.Addr
	if addr == "" {
		addr = ":https"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if s.HTTP3 == nil {
		return s.ServeTLS(l, nil, certFile, keyFile)
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		l.Close()
		return err
	}
	return s.ServeTLS(l, pc, certFile, keyFile)
}

// ServeTLS is ListenAndServeTLS on listeners that exist: l for TCP, not yet
// wrapped in TLS, and pc for UDP, which must be nil if HTTP3 is and not
// otherwise. It closes both.
func (s *Server) ServeTLS(l net.Listener, pc net.PacketConn, certFile, keyFile string) error {
	config, err := s.tlsConfig(certFile, keyFile)
	if err == nil && (pc == nil) != (s.HTTP3 == nil) {
		err = errors.New("negotiate: a PacketConn and an HTTP3Server belong together")
	}
	if err == nil {
		err = s.start(l, pc, config)
	}
	if err != nil {
		l.Close()
		if pc != nil {
			pc.Close()
		}
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- s.tcp.srv.ServeTLS(BeneathTLS(l), "", "") }() // ends with the listener
	wait := 1
	if pc != nil {
		wait++
		go func() { ended <- s.HTTP3.Serve(pc, s.serving(), config) }() // ends with pc
	}
	err = <-ended
	if !s.closed.Load() {
		s.Close() // one of the two has failed: not half a server
	}
	for range wait - 1 {
		if e := <-ended; errors.Is(err, http.ErrServerClosed) && !errors.Is(e, http.ErrServerClosed) && e != nil {
			err = e
		}
	}
	return err
}

// Serve serves without TLS on l: HTTP/1.1, and HTTP/2 with UnencryptedHTTP2, for
// use behind a proxy that ends TLS. Otherwise it is as ServeTLS.
func (s *Server) Serve(l net.Listener) error {
	if err := s.start(l, nil, nil); err != nil {
		l.Close()
		return err
	}
	return s.tcp.srv.Serve(l)
}

// start makes the server for TCP.
func (s *Server) start(l net.Listener, pc net.PacketConn, config *tls.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return http.ErrServerClosed
	}
	if s.tcp != nil {
		return errors.New("negotiate: a Server is used once")
	}
	d := new(drainer)
	srv := &http.Server{
		Addr:              l.Addr().String(),
		TLSConfig:         config,
		ReadHeaderTimeout: orDefault(s.ReadHeaderTimeout, defaultReadHeaderTimeout),
		IdleTimeout:       orDefault(s.IdleTimeout, defaultIdleTimeout),
		MaxHeaderBytes:    s.MaxHeaderBytes,
		BaseContext:       s.BaseContext,
		ConnContext:       s.ConnContext,
		ErrorLog:          slog.NewLogLogger(s.logHandler(), slog.LevelError),
		Protocols:         new(http.Protocols),
	}
	if srv.MaxHeaderBytes <= 0 {
		srv.MaxHeaderBytes = defaultMaxHeaderBytes
	}
	d.srv = srv
	h := s.tracked(d)
	if pc != nil {
		h = s.announce(h, pc.LocalAddr())
	}
	srv.Handler = &serving.Handler{Handler: h, Hooks: s.Observer.hooks()}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(config != nil)
	srv.Protocols.SetUnencryptedHTTP2(config == nil && s.UnencryptedHTTP2)
	if config != nil || s.UnencryptedHTTP2 {
		if err := h2connect.ConfigureServer(srv, s.HTTP2); err != nil {
			return err
		}
	}
	s.tcp = d
	return nil
}

// serving returns the handler for HTTP3.
func (s *Server) serving() http.Handler {
	return &serving.Handler{
		Handler:        s.tracked(s.tcp),
		Logger:         s.Logger,
		MaxHeaderBytes: max(s.MaxHeaderBytes, 0),
		IdleTimeout:    s.IdleTimeout,
		Hooks:          s.Observer.hooks(),
	}
}

// tracked returns the handler with its sockets kept in d and reported.
func (s *Server) tracked(d *drainer) http.Handler {
	h := sockets.Handler(orDefaultMux(s.Handler), &d.set)
	if s.Observer != nil {
		h = observed(h, s.Observer.hooks())
	}
	return h
}

// orDefaultMux returns h, http.DefaultServeMux for nil.
func orDefaultMux(h http.Handler) http.Handler {
	if h != nil {
		return h
	}
	return http.DefaultServeMux
}

func (s *Server) logHandler() slog.Handler {
	if s.Logger != nil {
		return s.Logger.Handler()
	}
	return slog.DiscardHandler
}

// announce adds Alt-Svc to responses on TCP: the origin is also to be had over
// HTTP/3 on the port of addr (RFC 7838 §3). A server that is shutting down sends
// nobody there.
func (s *Server) announce(h http.Handler, addr net.Addr) http.Handler {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return h
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return h
	}
	value := `h3=":` + port + `"; ma=86400`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.closed.Load() {
			w.Header().Set("Alt-Svc", value)
		}
		h.ServeHTTP(w, r)
	})
}

// Shutdown ends the server in an orderly way, within ctx:
//
//   - No new connections are taken. On those that are open, ordinary requests are
//     served and new sockets refused: over HTTP/2 and HTTP/3 before a handler has
//     seen them, so that the client may at once ask elsewhere (REFUSED_STREAM, RFC
//     9113 §8.7; H3_REQUEST_REJECTED, RFC 9114 §4.1.1), over HTTP/1.1, and where a
//     handler was already at work, by [Accept] with 503 and Retry-After.
//   - Every socket on every transport gets Close 1001 ([websocket.Conn.CloseWrite]),
//     and may finish: its handler reads what the client had sent before it
//     answered, and returns. A client that does not answer within the socket's
//     CloseTimeout is given up.
//   - When the Close frames are written, connections of HTTP/2 and HTTP/3 get
//     GOAWAY, and end when their last request and socket have.
//   - When ctx ends, the contexts of handlers end, those of sockets with
//     http.ErrServerClosed as their cause, and what is left is cut.
//
// It returns nil if everything ended cleanly, else a *[ShutdownError].
func (s *Server) Shutdown(ctx context.Context) error {
	d := s.close()
	if d == nil {
		return nil
	}
	return d.shutdown(ctx, s.HTTP3)
}

// Close cuts every connection.
func (s *Server) Close() error {
	d := s.close()
	if d == nil {
		return nil
	}
	err := d.srv.Close()
	if s.HTTP3 != nil {
		err = errors.Join(err, s.HTTP3.Close())
	}
	d.set.CloseNow()
	return err
}

// close marks the Server closed and returns what serves, nil if nothing does.
func (s *Server) close() *drainer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	return s.tcp
}

func orDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 0
	}
	return d
}
