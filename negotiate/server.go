package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/sockets"
)

// An HTTP3Server serves HTTP/3. *h3connect.Server is one.
type HTTP3Server interface {
	// Serve serves h on pc with the certificates of config until Shutdown or
	// Close is called; then it returns http.ErrServerClosed. It closes pc.
	Serve(pc net.PacketConn, h http.Handler, config *tls.Config) error

	// Shutdown sends Close 1001 to every socket and GOAWAY on every
	// connection, waits for both until ctx ends, and cuts what is left.
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

	// TLSConfig holds the certificates. It is cloned. MinVersion defaults to
	// TLS 1.2; NextProtos is set by the Server.
	TLSConfig *tls.Config

	// HTTP2 configures HTTP/2. Nil: the zero value, with sockets.
	HTTP2 *h2connect.Server

	// HTTP3 serves HTTP/3, &h3connect.Server{} for instance. Nil: TCP only.
	HTTP3 HTTP3Server

	// ReadHeaderTimeout bounds how long a client may take for a request's
	// header section, and IdleTimeout how long a connection without requests
	// or sockets is kept. Zero: 10 s and 3 min. Negative: none.
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration

	// MaxHeaderBytes bounds a request's header section. Zero: 16 KiB.
	MaxHeaderBytes int

	// BaseContext and ConnContext are http.Server's, for TCP.
	BaseContext func(net.Listener) context.Context
	ConnContext func(ctx context.Context, c net.Conn) context.Context

	// Logger takes what the HTTP servers on TCP have to say, such as panics of
	// handlers. Nil: nothing is logged. HTTP3 has a logger of its own.
	Logger *slog.Logger

	mu      sync.Mutex
	tcp     *http.Server
	started bool
	closed  bool
	sockets sockets.Set // those over HTTP/1.1
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
	go func() { ended <- s.tcp.ServeTLS(l, "", "") }() // ends with the listener
	wait := 1
	if pc != nil {
		wait++
		go func() { ended <- s.HTTP3.Serve(pc, s.handler(), config) }() // ends with pc
	}
	err = <-ended
	if !s.isClosed() {
		s.Close() // one of the two has failed: not half a server
	}
	for range wait - 1 {
		if e := <-ended; errors.Is(err, http.ErrServerClosed) && !errors.Is(e, http.ErrServerClosed) && e != nil {
			err = e
		}
	}
	return err
}

// Serve serves without TLS on l: HTTP/1.1, and HTTP/2 by prior knowledge, for
// use behind a proxy that ends TLS. Otherwise it is as ServeTLS.
func (s *Server) Serve(l net.Listener) error {
	if err := s.start(l, nil, nil); err != nil {
		l.Close()
		return err
	}
	return s.tcp.Serve(l)
}

func (s *Server) tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	config := new(tls.Config)
	if s.TLSConfig != nil {
		config = s.TLSConfig.Clone()
	}
	if certFile != "" || keyFile != "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("negotiate: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	if len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
		return nil, errors.New("negotiate: no certificate")
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	return config, nil
}

// start makes the server for TCP.
func (s *Server) start(l net.Listener, pc net.PacketConn, config *tls.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return http.ErrServerClosed
	}
	if s.started {
		return errors.New("negotiate: a Server is used once")
	}
	h := s.handler()
	if pc != nil {
		h = announce(h, pc.LocalAddr())
	}
	srv := &http.Server{
		Addr:              l.Addr().String(),
		Handler:           sockets.Handler(h, &s.sockets),
		TLSConfig:         config,
		ReadHeaderTimeout: orDefault(s.ReadHeaderTimeout, defaultReadHeaderTimeout),
		IdleTimeout:       orDefault(s.IdleTimeout, defaultIdleTimeout),
		MaxHeaderBytes:    s.MaxHeaderBytes,
		BaseContext:       s.BaseContext,
		ConnContext:       s.ConnContext,
		ErrorLog:          slog.NewLogLogger(s.logHandler(), slog.LevelError),
		Protocols:         new(http.Protocols),
	}
	if srv.MaxHeaderBytes == 0 {
		srv.MaxHeaderBytes = defaultMaxHeaderBytes
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(config != nil)
	srv.Protocols.SetUnencryptedHTTP2(config == nil)
	if err := h2connect.ConfigureServer(srv, s.HTTP2); err != nil {
		return err
	}
	s.tcp, s.started = srv, true
	return nil
}

func (s *Server) handler() http.Handler {
	if s.Handler != nil {
		return s.Handler
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
// HTTP/3 on the port of addr (RFC 7838 §3).
func announce(h http.Handler, addr net.Addr) http.Handler {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return h
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return h
	}
	value := `h3=":` + port + `"; ma=86400`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", value)
		h.ServeHTTP(w, r)
	})
}

// Shutdown ends the server in an orderly way: no new connections and streams,
// Close 1001 to every socket on every transport, then GOAWAY where there is
// one, and a wait for the closing handshakes and for ordinary requests. When ctx
// ends first, the rest is cut. It returns nil only if everything ended cleanly.
func (s *Server) Shutdown(ctx context.Context) error {
	tcp := s.close()
	if tcp == nil {
		return nil
	}
	errs := make(chan error, 3)
	go func() { errs <- s.sockets.GoAway(ctx, nil) }()
	go func() { errs <- tcp.Shutdown(ctx) }()
	wait := 2
	if s.HTTP3 != nil {
		wait++
		go func() { errs <- s.HTTP3.Shutdown(ctx) }()
	}
	var err error
	for range wait {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		tcp.Close()
	}
	return err
}

// Close cuts every connection.
func (s *Server) Close() error {
	tcp := s.close()
	if tcp == nil {
		return nil
	}
	err := tcp.Close()
	s.sockets.CloseNow()
	if s.HTTP3 != nil {
		err = errors.Join(err, s.HTTP3.Close())
	}
	return err
}

func (s *Server) close() *http.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.tcp
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
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
