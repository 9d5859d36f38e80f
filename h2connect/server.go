package h2connect

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/serving"
	"github.com/wsmux/websocket/internal/sockets"
)

// Server configures the engine for one http.Server. A nil *Server is the zero
// value: the default [Limits], and extended CONNECT advertised.
type Server struct {
	// Limits bounds what clients can make the server hold, do or wait for.
	Limits Limits

	// DisableExtendedConnect keeps SETTINGS_ENABLE_CONNECT_PROTOCOL from being
	// sent (RFC 8441 §3). Browsers then open their sockets by HTTP/1.1 on
	// connections of their own, and requests with :protocol are malformed. It
	// is the switch for a server with WebSocket handlers that do not use this
	// package.
	DisableExtendedConnect bool

	mu      sync.Mutex
	servers []*server // for Stats
}

// nextProto and nextProtoCleartext are the keys of http.Server.TLSNextProto:
// the first is the ALPN name of HTTP/2 (RFC 9113 §3.2), the second net/http's
// for connections without TLS whose client preface it has read.
const (
	nextProto          = "h2"
	nextProtoCleartext = "unencrypted_http2"
)

// ConfigureServer makes srv serve HTTP/2 by this package's engine: over TLS to
// clients that choose h2 by ALPN, and without TLS to clients that know it
// beforehand where srv.Protocols has UnencryptedHTTP2. It adds h2 and http/1.1
// to srv.TLSConfig.NextProtos. A nil conf is the zero value.
//
// It must be called before srv serves, once. Where the engine would not be used
// it returns an error: if srv has an HTTP/2 implementation already, if
// srv.Protocols is set without HTTP2 and UnencryptedHTTP2, or if srv.TLSConfig
// does not allow what HTTP/2 demands (RFC 9113 §9.2).
//
// srv.Shutdown says goodbye to every socket with status 1001, then to every
// connection with GOAWAY, and waits for both; srv.Close cuts them. When the
// context of Shutdown ends, what is left goes on until srv.Close, and that it
// returns nil says that everything has ended, not how: [Server.Shutdown] cuts,
// and says so.
//
// srv's Handler, BaseContext, ConnContext, ErrorLog, ConnState, MaxHeaderBytes,
// ReadHeaderTimeout, ReadTimeout, WriteTimeout, IdleTimeout and HTTP2 mean what
// they mean to net/http's HTTP/2, but that sockets are exempt from the timeouts
// and count as activity. They are read when ConfigureServer is called; a field
// of conf.Limits that is not zero goes before them. The package comment lists
// what differs.
func ConfigureServer(srv *http.Server, conf *Server) error {
	if conf == nil {
		conf = &Server{}
	}
	if err := checkServer(srv); err != nil {
		return err
	}
	s := newServer(srv, conf)
	conf.attach(s)
	if srv.TLSConfig == nil {
		srv.TLSConfig = &tls.Config{}
	}
	for _, name := range []string{nextProto, "http/1.1"} {
		if !slices.Contains(srv.TLSConfig.NextProtos, name) {
			srv.TLSConfig.NextProtos = append(srv.TLSConfig.NextProtos, name)
		}
	}
	if srv.TLSNextProto == nil {
		srv.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	srv.TLSNextProto[nextProto] = func(_ *http.Server, tc *tls.Conn, h http.Handler) {
		s.serve(tc, h, false)
	}
	srv.TLSNextProto[nextProtoCleartext] = func(_ *http.Server, tc *tls.Conn, h http.Handler) {
		s.serveCleartext(tc, h)
	}
	srv.RegisterOnShutdown(func() { s.goodbye(context.Background()) })
	return nil
}

// checkServer finds reasons why srv would not use the engine.
func checkServer(srv *http.Server) error {
	if srv == nil {
		return errors.New("h2connect: nil http.Server")
	}
	if srv.TLSNextProto[nextProto] != nil || srv.TLSNextProto[nextProtoCleartext] != nil {
		return errors.New("h2connect: the server has an HTTP/2 implementation already")
	}
	if p := srv.Protocols; p != nil && !p.HTTP2() && !p.UnencryptedHTTP2() {
		return errors.New("h2connect: the server's Protocols allow no HTTP/2")
	}
	t := srv.TLSConfig
	if t == nil {
		return nil
	}
	if t.MaxVersion != 0 && t.MaxVersion < tls.VersionTLS12 {
		return errors.New("h2connect: HTTP/2 needs TLS 1.2 or later") // RFC 9113 §9.2
	}
	if t.CipherSuites != nil && t.MinVersion < tls.VersionTLS13 &&
		!slices.Contains(t.CipherSuites, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) &&
		!slices.Contains(t.CipherSuites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) {
		return errors.New("h2connect: CipherSuites has no AES_128_GCM_SHA256 suite, which HTTP/2 needs") // RFC 9113 §9.2.2
	}
	return nil
}

// serverLimits adapts the limits to what srv says itself: where a Limits field
// is zero, the http.Server's stands for it.
func serverLimits(l Limits, srv *http.Server) Limits {
	l = l.withConfig(srv.HTTP2)
	l.Idle = cmp.Or(l.Idle, srv.IdleTimeout, max(srv.ReadTimeout, 0))
	l.Preface = cmp.Or(l.Preface, max(srv.ReadHeaderTimeout, 0), max(srv.ReadTimeout, 0))
	if n := srv.MaxHeaderBytes; n > 0 && (l.HeaderBytes == 0 || n < l.HeaderBytes) {
		l.HeaderBytes = n
	}
	return l.withDefaults()
}

// withConfig fills fields that are zero from net/http's settings. Those for
// which the engine has one value that is right for everybody (frame and table
// sizes) are not used: see the package comment.
func (l Limits) withConfig(conf *http.HTTP2Config) Limits {
	if conf == nil {
		return l
	}
	l.ConcurrentStreams = cmp.Or(l.ConcurrentStreams, max(conf.MaxConcurrentStreams, 0))
	l.ConnWindow = cmp.Or(l.ConnWindow, max(conf.MaxReceiveBufferPerConnection, 0))
	l.StreamWindow = cmp.Or(l.StreamWindow, max(conf.MaxReceiveBufferPerStream, 0))
	l.WriteStall = cmp.Or(l.WriteStall, max(conf.WriteByteTimeout, 0))
	l.ReadIdle = cmp.Or(l.ReadIdle, max(conf.SendPingTimeout, 0))
	l.PingTimeout = cmp.Or(l.PingTimeout, max(conf.PingTimeout, 0))
	return l
}

// A server is what the connections of one http.Server share.
type server struct {
	srv          *http.Server
	limits       Limits
	allowConnect bool
	sockets      sockets.Set
	hits         hits

	mu       sync.Mutex
	conns    map[*serverConn]struct{}
	draining bool
	empty    chan struct{} // closed when conns becomes empty while draining; nil: nobody waits
	cut      error         // what ended a connection with streams while draining
}

func newServer(srv *http.Server, conf *Server) *server {
	s := &server{
		srv:          srv,
		limits:       serverLimits(conf.Limits, srv),
		allowConnect: !conf.DisableExtendedConnect,
		conns:        make(map[*serverConn]struct{}),
	}
	if hooks := serving.Of(srv.Handler).Hooks; hooks != nil {
		s.hits.told = func(name string) { hooks.Limit(websocket.HTTP2, false, name) }
	}
	return s
}

func (s *server) logf(format string, args ...any) {
	if s.srv.ErrorLog != nil {
		s.srv.ErrorLog.Printf(format, args...)
		return
	}
	log.Printf(format, args...) // house rule: what net/http does with a nil ErrorLog
}

// serveCleartext serves a connection without TLS. net/http hands it over inside
// a TLS connection that is none.
func (s *server) serveCleartext(tc *tls.Conn, h http.Handler) {
	inner, ok := tc.NetConn().(interface{ UnencryptedNetConn() net.Conn })
	if !ok {
		s.logf("h2connect: net/http handed over a cleartext connection in a way that is not known")
		go tc.Close()
		return
	}
	s.serve(inner.UnencryptedNetConn(), h, true)
}

// serve serves one connection until it ends: net/http calls it on the
// connection's goroutine, which becomes its reader, and counts the connection
// as active until it returns. That is what makes srv.Shutdown wait.
func (s *server) serve(nc net.Conn, h http.Handler, sawPreface bool) {
	sc := newServerConn(s, nc, h)
	if !s.add(sc) {
		nc.Close()
		return
	}
	defer s.remove(sc)
	sc.serve(sawPreface)
}

func (s *server) add(sc *serverConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.conns[sc] = struct{}{}
	return true
}

func (s *server) remove(sc *serverConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, sc)
	if !s.draining {
		return
	}
	sc.c.mu.Lock()
	cut := sc.c.cut
	sc.c.mu.Unlock()
	if cut != nil && s.cut == nil {
		s.cut = cut
	}
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}
