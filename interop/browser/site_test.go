//go:build unix

package browser

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/proxy"
	"github.com/wsmux/websocket/negotiate"
)

//go:embed page
var page embed.FS

// A service says how a site is served.
type service struct {
	cleartext         bool // HTTP/1.1 without TLS
	noExtendedConnect bool // HTTP/2 without sockets
	http3             bool

	through proxy.Proxy // the browser's connections end there; may be nil
	back    websocket.Bootstrap
}

// A site is one origin, with its server and what that has seen.
type site struct {
	service  service
	identity *authority.Identity
	name     string // "127.0.0.1" or "localhost", for browsers
	addr     string // of the server, "127.0.0.1:port"
	host     string // name:port, of the proxy if there is one
	origin   string // "https://name:port"
	friend   string // the origin, beside its own, whose pages may open sockets here
	census   *census
	record   *record
	open     atomic.Int64 // sockets
	mux      *http.ServeMux
	release  chan struct{} // closed when /stalled is to read
	ending   chan struct{} // closed when the sockets of a site that shuts down have ended

	server *negotiate.Server
	served chan error
}

// newSite starts a site. It is closed at the end of the test.
func newSite(t *testing.T, v service, id *authority.Identity, name, friend string) *site {
	s := &site{
		service:  v,
		identity: id,
		name:     name,
		friend:   friend,
		census:   new(census),
		record:   new(record),
		mux:      http.NewServeMux(),
		release:  make(chan struct{}),
		ending:   make(chan struct{}),
	}
	s.routeSockets()
	s.routeRequests()
	require.NoError(t, s.start("127.0.0.1:0"))
	public := s.addr
	if v.through != nil {
		_, public = v.through.Serve(t, proxy.Way{Front: websocket.HTTP2, Back: v.back}, id, s.addr)
	}
	_, port, err := net.SplitHostPort(public)
	require.NoError(t, err)
	s.host = net.JoinHostPort(s.name, port)
	s.origin = "https://" + s.host
	if v.cleartext {
		s.origin = "http://" + s.host
	}
	t.Cleanup(func() {
		assert.NoError(t, s.server.Close())
		assert.ErrorIs(t, <-s.served, http.ErrServerClosed)
	})
	return s
}

// start serves on addr.
func (s *site) start(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.server = &negotiate.Server{
		Handler:     s,
		TLSConfig:   s.identity.ServerConfig(),
		HTTP2:       &h2connect.Server{DisableExtendedConnect: s.service.noExtendedConnect},
		ConnContext: s.census.connContext,
	}
	var pc net.PacketConn
	if s.service.http3 {
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err != nil {
			l.Close()
			return err
		}
		s.server.HTTP3 = &h3connect.Server{ConnContext: s.census.quicContext}
	}
	s.addr = l.Addr().String()
	s.served = make(chan error, 1)
	server, served := s.server, s.served
	if s.service.cleartext {
		go func() { served <- server.Serve(listener{l, s.census}) }() // ends with the server
		return nil
	}
	go func() { served <- server.ServeTLS(listener{l, s.census}, pc, "", "") }() // likewise
	return nil
}

// ServeHTTP allows the friend to read answers and counts requests.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.census.of(r) == nil {
		http.Error(w, "a connection that the census does not know", http.StatusInternalServerError)
		return
	}
	if s.friend != "" {
		w.Header().Set("Access-Control-Allow-Origin", s.friend)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	}
	if r.Method == http.MethodConnect || r.Header.Get("Upgrade") != "" {
		s.census.attempt(r)
	} else {
		s.census.request(r)
	}
	s.mux.ServeHTTP(w, r)
}

// routeSockets adds the sockets' routes.
func (s *site) routeSockets() {
	options := func(change func(*websocket.AcceptOptions)) *websocket.AcceptOptions {
		o := &websocket.AcceptOptions{Limits: websocket.Limits{Message: 16 << 20}}
		if s.friend != "" {
			o.Origins = []string{s.friend}
		}
		if change != nil {
			change(o)
		}
		return o
	}
	compressed := func(c websocket.Compression) *websocket.AcceptOptions {
		return options(func(o *websocket.AcceptOptions) { o.Compression = &c })
	}
	s.mux.HandleFunc("/echo", s.accept(options(nil), echo))
	s.mux.HandleFunc("/deflate", s.accept(compressed(websocket.Compression{Threshold: -1}), echo))
	s.mux.HandleFunc("/takeover", s.accept(compressed(websocket.Compression{
		Threshold: -1, ServerContextTakeover: true, ClientContextTakeover: true,
		Level: 7, // the lower ones find nothing in messages as small as these
	}), echo))
	s.mux.HandleFunc("/window", s.accept(compressed(websocket.Compression{
		Threshold: -1, ServerMaxWindowBits: 9, ClientMaxWindowBits: 9,
	}), echo))
	s.mux.HandleFunc("/subprotocol", s.accept(options(func(o *websocket.AcceptOptions) {
		o.Subprotocols = []string{"zeroth", "second"}
	}), echo))
	s.mux.HandleFunc("/small", s.accept(options(func(o *websocket.AcceptOptions) { o.Limits.Message = 1000 }), echo))
	s.mux.HandleFunc("/same-origin", s.accept(options(func(o *websocket.AcceptOptions) { o.Origins = nil }), echo))
	s.mux.HandleFunc("/cookie/socket", s.accept(options(func(o *websocket.AcceptOptions) {
		o.Header = http.Header{"Set-Cookie": {"socket=1; SameSite=Strict"}}
	}), tellCookies))
	s.mux.HandleFunc("/query", s.accept(options(nil), tellQuery))
	s.mux.HandleFunc("/close", s.accept(options(nil), closeAsAsked))
	s.mux.HandleFunc("/close-at-message", s.accept(options(nil), closeAtMessage))
	s.mux.HandleFunc("/return", s.accept(options(nil), func(context.Context, *websocket.Conn, *http.Request) error { return nil }))
	s.mux.HandleFunc("/panic", s.accept(options(nil), func(context.Context, *websocket.Conn, *http.Request) error { panic("as asked") }))
	s.mux.HandleFunc("/cut", s.accept(options(nil), cut))
	s.mux.HandleFunc("/fragments", s.accept(options(nil), fragments))
	s.mux.HandleFunc("/http1", s.onlyHTTP1(s.accept(options(nil), echo)))
	s.mux.HandleFunc("/pings", s.accept(options(nil), pings))
	s.mux.HandleFunc("/order", s.accept(options(nil), order))
	s.mux.HandleFunc("/stalled", s.accept(options(nil), s.stalled))
	s.mux.HandleFunc("/forbidden", func(w http.ResponseWriter, r *http.Request) {
		entry := s.record.enter(r, s.census.of(r))
		defer close(entry.done)
		entry.status, _ = strconv.Atoi(r.URL.Query().Get("status"))
		http.Error(w, "as asked", entry.status)
	})
}

// routeRequests adds the routes for ordinary requests.
func (s *site) routeRequests() {
	s.mux.Handle("GET /page/", http.FileServerFS(page))
	s.mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	s.mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		of, _ := strconv.Atoi(r.URL.Query().Get("of"))
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(of)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(p)
	})
	s.mux.HandleFunc("GET /slow", s.slow)
	s.mux.HandleFunc("GET /cookie/page", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "page", Value: "1", Path: "/", SameSite: http.SameSiteStrictMode})
	})
	s.mux.HandleFunc("GET /cookie/all", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Cookie")) })
	s.mux.HandleFunc("GET /release", func(http.ResponseWriter, *http.Request) { close(s.release) })
	s.mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		used, _ := s.census.tallies()
		json.NewEncoder(w).Encode(fmt.Sprintf("%d sockets; so far %d connections", s.open.Load(), len(used)))
	})
	s.mux.HandleFunc("GET /ended", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.record.await(r.Context(), r.URL.Query().Get("case"))
		if err != nil || len(list) == 0 {
			http.Error(w, "no such socket, or not ended", http.StatusInternalServerError)
			return
		}
		var codes []websocket.StatusCode
		for _, entry := range list {
			codes = append(codes, entry.code())
		}
		json.NewEncoder(w).Encode(codes)
	})
}

// slow answers in two halves, the second when all sockets of the site have
// ended.
func (s *site) slow(w http.ResponseWriter, r *http.Request) {
	half := make([]byte, 100000)
	w.Write(half)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	select {
	case <-s.ending:
		w.Write(half)
	case <-r.Context().Done():
	}
}

// shutdown shuts the site down and returns how that went.
func (s *site) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	go func() { // ends when the sockets have, or with ctx
		if _, err := s.record.await(ctx, "drain"); err == nil {
			close(s.ending)
		}
	}()
	if err := s.server.Shutdown(ctx); err != nil {
		return err
	}
	if err := <-s.served; err != http.ErrServerClosed {
		return fmt.Errorf("serving ended with %w", err)
	}
	return nil
}
