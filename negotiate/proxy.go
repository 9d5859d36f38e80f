package negotiate

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tunnel"
	"golang.org/x/net/http/httpguts"
)

// A ReverseProxy is an http.Handler that passes sockets on from any bootstrap in
// front to any behind, and ordinary requests as httputil.ReverseProxy does. Only
// Rewrite is required. The fields are set before the first request and not
// changed afterwards; a ReverseProxy must not be copied.
//
// # Sockets
//
// The handshake is translated: an Upgrade on HTTP/1.1 (RFC 6455 §4), an extended
// CONNECT on HTTP/2 or HTTP/3 (RFC 8441, RFC 9220), whichever the client used and
// whichever the Dialer chooses. Subprotocols and extensions are negotiated by the
// two ends; that the answer is one to what was asked is checked, and on HTTP/1.1
// Sec-WebSocket-Accept. A refusal is passed on with status, fields and up to 64
// KiB of content. Nothing that the client has sent behind its request goes
// anywhere before the backend has accepted (RFC 9931).
//
// From then on the two byte streams are handed to each other. Frames are not
// decoded, masked or put together anew; only their headers are looked at, for
// where the socket ends. A side that does not read holds back the other. Idle, a
// proxied socket costs two goroutines and, with their stacks and both sides'
// streams, 16 to 25 KiB if it came by HTTP/1.1 or HTTP/2, and 29 to 34 KiB if by
// HTTP/3, whatever it goes on by; a client that has a connection for one socket
// alone costs some 28 KiB more on HTTP/2 and 56 KiB on HTTP/3.
//
// A direction that is busy borrows a buffer of 18 KiB, or of 256 KiB while fewer than
// 256 of these are borrowed in the process, until nothing has moved for a second; one
// whose destination takes nothing keeps it until that goes on or StallTimeout ends it.
// So 10,000 sockets whose receivers are stalled, one direction each, hold at most 64
// MiB in large buffers, 172 MiB in the others and 17 MiB of TLS records, and what their
// streams hold within their own limits.
//
// On loopback, messages of 64 KiB take as long, within a tenth, as through a program
// that copies bytes between the same two ends, and ends TLS where only one of them
// speaks it, or up to a sixth longer where both speak HTTP/2 without TLS; and up to a
// third longer than through one that has the system copy them as they are:
// BenchmarkProxyTurns in internal/e2e.
//
// An orderly end, END and a reset on one side become the same on the other. The
// client gets status 1012 if the backend is lost or ends without a Close frame,
// 1011 if it takes nothing more, and 1001 if the proxy shuts down or the socket
// was idle for too long.
//
// A backend that cannot be reached, or whose answer is none, is 502 to the client;
// one that does not answer in time 504. A client's request that is not a
// handshake is refused as [Accept] does. Origins are the backend's to check; see
// RewriteOrigin.
//
// # Ordinary requests
//
// They go to an httputil.ReverseProxy with the same Rewrite, over the Dialer.
// Upgrades to other protocols than websocket are not passed on: such a request is
// an ordinary one, as RFC 9110 §7.8 allows.
type ReverseProxy struct {
	// Rewrite turns the request into the one to the backend, as
	// httputil.ReverseProxy's does: pr.SetURL(backend) at least. For a socket
	// pr.Out is a GET without the fields of the upgrade, whatever it came by, and
	// its URL's scheme is http, https, ws or wss. Subprotocols and extensions may
	// be taken out of pr.Out.Header.
	Rewrite func(pr *httputil.ProxyRequest)

	// Dialer opens the sockets to backends and sends the ordinary requests; its
	// Policy says by which bootstraps. Sockets of many clients share its
	// connections over HTTP/2 and HTTP/3. Nil: the zero Dialer.
	Dialer *Dialer

	// RewriteOrigin replaces the Origin of a page that the client has from this
	// very origin by the origin that the backend takes itself to be: where a
	// backend compares Origin with Host and one of the two was rewritten. Other
	// origins pass as they are, so that the backend refuses them.
	RewriteOrigin bool

	// Forwarded adds the client to the Forwarded field (RFC 7239): for, proto and
	// host. What the client had sent of it is dropped, as X-Forwarded-* fields
	// are, which pr.SetXForwarded sets.
	Forwarded bool

	// ModifyResponse and ErrorHandler are httputil.ReverseProxy's, for ordinary
	// requests.
	ModifyResponse func(*http.Response) error
	ErrorHandler   func(http.ResponseWriter, *http.Request, error)

	// MaxSockets is how many sockets may be open at the same time. Beyond it:
	// 503. Zero: 65,536. Negative: no limit.
	MaxSockets int

	// HandshakeTimeout bounds the backend's part of the opening handshake. Zero:
	// 10 s. Negative: the client's patience does.
	HandshakeTimeout time.Duration

	// IdleTimeout is how long a socket may be open without a byte in either
	// direction; a Ping is some. Zero: 1 h. Negative: for ever.
	IdleTimeout time.Duration

	// StallTimeout is how long one side may take nothing while the other has
	// something for it; one that does not take 64 KiB in that time, or 256 KiB if it
	// took much just before, may be found to take nothing. Zero: 1 min. Negative: for
	// ever.
	StallTimeout time.Duration

	// CloseTimeout bounds the end of a socket, from the first sign of it on one
	// side to the last on the other. Zero or negative: 10 s.
	CloseTimeout time.Duration

	// Observer, if not nil, is told of every socket: when it has been opened, and
	// when it has ended or could not be opened. It is called on the goroutine of
	// the request and should not block.
	Observer func(ProxyEvent)

	// Logger takes what httputil.ReverseProxy has to say. Nil: nothing is logged.
	Logger *slog.Logger

	once     sync.Once
	ordinary *httputil.ReverseProxy
	dialer   *Dialer
	open     atomic.Int64
}

// A ProxyEvent says what has become of a socket.
type ProxyEvent struct {
	// Request is the client's, as it came. It is not modified.
	Request *http.Request

	// Backend is where Rewrite led, scheme and host; "" if it was not asked.
	Backend string

	// Front and Back are the bootstraps of the two sides. Back is 0 if there is
	// no backend's side.
	Front, Back websocket.Bootstrap

	// Opened says that both sides have accepted, Ended that nothing more is to
	// come: an event with Ended alone is of a socket that could not be opened.
	Opened, Ended bool

	// Up and Down are the bytes passed on to the backend and to the client.
	Up, Down int64

	// Duration is the time from the request to the event.
	Duration time.Duration

	// Err is why the socket was not opened, or what ended it out of order: nil
	// after a closing handshake.
	Err error
}

// The defaults of a ReverseProxy.
const (
	defaultMaxSockets   = 65536
	defaultProxyIdle    = time.Hour
	defaultStall        = time.Minute
	defaultCloseTimeout = 10 * time.Second
)

func (p *ReverseProxy) setup() {
	p.once.Do(func() {
		p.dialer = p.Dialer
		if p.dialer == nil {
			p.dialer = new(Dialer)
		}
		logs := slog.Handler(slog.DiscardHandler)
		if p.Logger != nil {
			logs = p.Logger.Handler()
		}
		p.ordinary = &httputil.ReverseProxy{
			Rewrite:        p.rewriteOrdinary,
			Transport:      p.dialer,
			ModifyResponse: p.ModifyResponse,
			ErrorHandler:   p.ErrorHandler,
			ErrorLog:       slog.NewLogLogger(logs, slog.LevelError),
		}
	})
}

// ServeHTTP implements http.Handler. For a socket it returns when that has ended.
func (p *ReverseProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.setup()
	if asksForSocket(r) {
		p.serveSocket(w, r)
		return
	}
	if r.Header["Upgrade"] != nil {
		plain := *r
		plain.Header = r.Header.Clone()
		delete(plain.Header, "Upgrade")
		r = &plain
	}
	p.ordinary.ServeHTTP(w, r)
}

// asksForSocket says whether r is to be a socket, or refused: on HTTP/2 and
// HTTP/3 every CONNECT, which an ordinary request is never.
func asksForSocket(r *http.Request) bool {
	if bridgeOf(r) != nil {
		return true
	}
	return r.Method == http.MethodConnect ||
		r.ProtoMajor == 1 && httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket")
}

// serveSocket opens a socket to the backend, accepts the client's, and joins the
// two.
func (p *ReverseProxy) serveSocket(w http.ResponseWriter, r *http.Request) {
	s := &proxied{p: p, in: r, began: time.Now()}
	if b := bridgeOf(r); b != nil {
		s.in = b.own(r)
	}
	defer s.release()
	accepting := &tunnel.Accepting{
		Agree:  s.dial,
		Refuse: s.refuse,
		Take: func(front websocket.Stream, early []byte) tunnel.Socket {
			s.joint = newJoint(p, front, s.back.Stream, early, s.back.Buffered)
			return s.joint
		},
	}
	_, err := Accept(w, r.WithContext(tunnel.WithAccepting(r.Context(), accepting)), nil)
	if err != nil {
		s.observe(ProxyEvent{Ended: true, Err: err})
		if s.back.Cut && s.passed {
			panic(http.ErrAbortHandler) // what was passed on must not look whole
		}
		return
	}
	s.observe(ProxyEvent{Opened: true})
	j := s.joint
	j.run()
	s.observe(ProxyEvent{Opened: true, Ended: true, Up: j.up.bytes.Load(), Down: j.down.bytes.Load(), Err: j.err})
}

// A proxied is one request for a socket.
type proxied struct {
	p       *ReverseProxy
	in      *http.Request // the client's own
	began   time.Time
	backend string
	back    tunnel.Dialing
	counted bool  // among the open sockets
	answer  error // of the backend, if it is a refusal
	passed  bool  // which was passed on
	joint   *joint
}

// release undoes what was done for a socket, whatever came of it.
func (s *proxied) release() {
	if s.back.Stream != nil && s.joint == nil {
		_ = s.back.Stream.Abort()
	}
	if s.joint != nil {
		s.joint.release(websocket.Stream.Abort) // does nothing if it has run; a panic has not let it
	}
	if s.back.OnEnd != nil {
		s.back.OnEnd()
	}
	if s.counted {
		s.p.open.Add(-1)
	}
}

func (s *proxied) observe(e ProxyEvent) {
	if s.p.Observer == nil {
		return
	}
	e.Request, e.Backend, e.Duration = s.in, s.backend, time.Since(s.began)
	e.Front = websocket.Bootstrap(s.in.ProtoMajor)
	if s.back.Stream != nil {
		e.Back = s.back.Stream.Bootstrap()
	}
	s.p.Observer(e)
}

// count counts one more open socket, unless there are too many.
func (s *proxied) count() bool {
	limit := int64(s.p.MaxSockets)
	if limit == 0 {
		limit = defaultMaxSockets
	}
	s.counted = true
	return s.p.open.Add(1) <= limit || limit < 0
}

// dialContext is bounded by the client's patience and by the time for the
// handshake.
func (s *proxied) dialContext() (context.Context, context.CancelFunc) {
	ctx := tunnel.WithDialing(s.in.Context(), &s.back)
	if limit := orDefault(s.p.HandshakeTimeout, handshakeTimeout); limit > 0 {
		return context.WithTimeout(ctx, limit)
	}
	return ctx, func() {}
}
