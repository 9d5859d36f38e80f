package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
	"golang.org/x/net/http2"
)

// An originServer is an origin for a Dialer to find: TLS on TCP and QUIC on UDP, on
// the same port, each as a test wants it, with what arrives counted.
type originServer struct {
	t    testing.TB
	addr string

	tcp   atomic.Int32 // TLS connections over TCP
	quic  atomic.Int32 // QUIC connections
	h2    atomic.Int32 // those of tcp on which HTTP/2 was chosen
	open  atomic.Int32 // those of tcp that an HTTP server has now
	asked atomic.Int32 // requests for /socket
}

// An originPlan says what an originServer is like. The zero value has everything.
type originPlan struct {
	protocols []string // of ALPN on TCP; nil: h2 and http/1.1
	noTCP     bool     // nothing listens
	noUDP     bool     // nothing is served over UDP, and nothing announced
	silentUDP bool     // HTTP/3 is announced, and UDP swallows all
	altSvc    string   // what is announced; "": HTTP/3, if it is served
	hush      bool     // not in the answers to sockets
	engine    *h2connect.Server
	tls       *tls.Config // the certificate; nil: the test's

	// onQUIC, if not nil, takes the place of HTTP/3's server: it is given the
	// connections on which HTTP/3 was chosen, each on a goroutine of its own.
	onQUIC func(qc *quic.Conn)

	// onHTTP2, if not nil, gets every connection on which HTTP/2 was chosen, with
	// its number from 0, and returns whether it has dealt with it. It runs on a
	// goroutine of its own.
	onHTTP2 func(n int, nc net.Conn) bool
}

// serveOrigin serves sockets on /socket, which it echoes, a refusal on /forbidden,
// and the protocol's name elsewhere, until the test ends.
func serveOrigin(t testing.TB, plan originPlan) *originServer {
	t.Helper()
	s := &originServer{t: t}
	l, pc := listenBoth(t)
	s.addr = l.Addr().String()
	config := plan.tls
	if config == nil {
		config, _ = wstest.Certificates()
	}
	h := s.handler(plan)
	if plan.noTCP {
		l.Close()
	} else {
		s.serveTCP(l, config, h, plan)
	}
	switch {
	case plan.noUDP:
		pc.Close()
	case plan.silentUDP:
		t.Cleanup(func() { pc.Close() })
	case plan.onQUIC != nil:
		s.playUDP(pc, config, plan.onQUIC)
	default:
		s.serveUDP(pc, config, h)
	}
	return s
}

// listenBoth returns listeners on the same port of loopback.
func listenBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 50 {
		l := listener(t)
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, pc
		}
		l.Close() // the other one is somebody else's
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

func (s *originServer) handler(plan originPlan) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		c, err := negotiate.Accept(w, r, nil)
		if err == nil {
			defer c.CloseNow()
			echo(c)
		}
	})
	mux.HandleFunc("/forbidden", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	mux.HandleFunc("/clear", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Alt-Svc", "clear") })
	altSvc := plan.altSvc
	if altSvc == "" && !plan.noUDP {
		altSvc = `h3=":` + portOf(s.t, s.addr) + `"; ma=3600`
	}
	if altSvc == "" {
		return mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !plan.hush || r.URL.Path != "/socket" {
			w.Header().Set("Alt-Svc", altSvc)
		}
		mux.ServeHTTP(w, r)
	})
}

func portOf(t testing.TB, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return port
}

func (s *originServer) serveTCP(l net.Listener, config *tls.Config, h http.Handler, plan originPlan) {
	config = config.Clone()
	if config.NextProtos = plan.protocols; plan.protocols == nil {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	srv := &http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}}
	engine := plan.engine
	if engine == nil {
		engine = &h2connect.Server{}
	}
	engine.Limits.Linger = hasty.Linger
	require.NoError(s.t, h2connect.ConfigureServer(srv, engine))
	chosen := &chosenListener{Listener: l, conns: make(chan net.Conn), done: make(chan struct{})}
	var all sync.WaitGroup
	served := begin(func() error { return srv.Serve(chosen) })
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.tcp.Add(1)
			all.Go(func() {
				tc := tls.Server(nc, config)
				if tc.HandshakeContext(soon(s.t)) != nil {
					nc.Close()
					return
				}
				if tc.ConnectionState().NegotiatedProtocol == "h2" {
					n := int(s.h2.Add(1)) - 1
					if plan.onHTTP2 != nil && plan.onHTTP2(n, tc) {
						return
					}
				}
				chosen.put(tc)
			})
		}
	})
	s.t.Cleanup(func() {
		srv.Close()
		assert.ErrorIs(s.t, <-served, http.ErrServerClosed)
		all.Wait()
	})
}

// A chosenListener hands over connections on which TLS is done.
type chosenListener struct {
	net.Listener
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *chosenListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *chosenListener) put(nc net.Conn) {
	select {
	case l.conns <- nc:
	case <-l.done:
		nc.Close()
	}
}

func (l *chosenListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

func (s *originServer) serveUDP(pc net.PacketConn, config *tls.Config, h http.Handler) {
	config = config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		s.quic.Add(1)
		return nil, nil
	}
	srv := new(h3connect.Server)
	served := begin(func() error { return srv.Serve(pc, h, config) })
	s.t.Cleanup(func() {
		assert.NoError(s.t, srv.Close())
		assert.ErrorIs(s.t, <-served, http.ErrServerClosed)
	})
}

func (s *originServer) playUDP(pc net.PacketConn, config *tls.Config, play func(*quic.Conn)) {
	config = config.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	ln, err := quic.Listen(pc, config, nil)
	require.NoError(s.t, err)
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			qc, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			s.quic.Add(1)
			context.AfterFunc(ctx, func() { qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") })
			all.Go(func() {
				play(qc)
				<-qc.Context().Done()
			})
		}
	})
	s.t.Cleanup(func() {
		cancel()
		ln.Close()
		pc.Close()
		all.Wait()
	})
}

// playHTTP3 sends SETTINGS, with extended CONNECT or without, and passes every
// request stream to answer.
func playHTTP3(qc *quic.Conn, sockets bool, answer func(*quic.Stream)) {
	control, err := qc.OpenUniStream()
	if err != nil {
		return
	}
	settings := []byte{0, 4, 0} // a control stream; SETTINGS, empty (RFC 9114 §6.2.1, §7.2.4)
	if sockets {
		settings = []byte{0, 4, 2, 8, 1} // ENABLE_CONNECT_PROTOCOL = 1 (RFC 9220 §5)
	}
	control.Write(settings)
	for {
		str, err := qc.AcceptStream(qc.Context())
		if err != nil {
			return
		}
		answer(str)
	}
}

// dialer returns a Dialer that trusts the test's certificates.
func (s *originServer) dialer(change ...func(*negotiate.Dialer)) *negotiate.Dialer {
	_, config := wstest.Certificates()
	d := &negotiate.Dialer{
		TLSClientConfig: config,
		HTTP3:           new(h3connect.Transport),
		HTTP2Limits:     hasty,
	}
	for _, f := range change {
		f(d)
	}
	s.t.Cleanup(func() { assert.NoError(s.t, d.Close()) })
	return d
}

func (s *originServer) url(path string) string { return "wss://" + s.addr + path }

// disconnect waits until d has no connection over TCP any more.
func (s *originServer) disconnect(d *negotiate.Dialer) {
	s.t.Helper()
	s.disconnectAllBut(0, d)
}

// disconnectAllBut is disconnect where others have n connections.
func (s *originServer) disconnectAllBut(n int32, d *negotiate.Dialer) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		d.CloseIdleConnections()
		return s.open.Load() == n
	}, patience, time.Millisecond)
}

// get fetches a page and returns the protocol by which it came.
func (s *originServer) get(d *negotiate.Dialer) string { return s.getAt(d, "/page") }

func (s *originServer) getAt(d *negotiate.Dialer, path string) string {
	s.t.Helper()
	resp, err := (&http.Client{Transport: d, Timeout: patience}).Get("https://" + s.addr + path)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return string(p)
}

// dial opens a socket and proves that it works.
func (s *originServer) dial(d *negotiate.Dialer) (*websocket.Conn, []negotiate.Attempt) {
	s.t.Helper()
	c, resp, err := d.Dial(soon(s.t), s.url("/socket"), &websocket.DialOptions{Limits: quick})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { c.CloseNow() })
	require.NoError(s.t, c.Write(soon(s.t), websocket.MessageText, []byte("hello")))
	wantMessage(s.t, c, websocket.MessageText, []byte("hello"))
	return c, negotiate.Attempts(resp)
}

// tried returns the bootstraps of attempts.
func tried(attempts []negotiate.Attempt) []websocket.Bootstrap {
	var list []websocket.Bootstrap
	for _, a := range attempts {
		list = append(list, a.Bootstrap)
	}
	return list
}

// playHTTP2 greets on an HTTP/2 connection and answers every socket that is asked
// for by what answer does, until the connection ends.
func playHTTP2(nc net.Conn, settings []http2.Setting, answer func(fr *http2.Framer, id uint32)) {
	defer nc.Close()
	if _, err := io.ReadFull(nc, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(nc, nc)
	if settings != nil {
		fr.WriteSettings(slices.Concat(settings, []http2.Setting{{ID: settingEnableConnect, Val: 1}})...)
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() && settings != nil {
				fr.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				fr.WritePing(true, f.Data)
			}
		case *http2.HeadersFrame:
			answer(fr, f.StreamID)
		}
	}
}

// generous bounds what takes no time on loopback, on a machine that has other
// things to do.
const generous = 8 * time.Second
