package h3connect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/observe"
	"github.com/wsmux/websocket/internal/serving"
	"github.com/wsmux/websocket/internal/sockets"
)

// Defaults of a server and of the connections of a client.
const (
	defaultMaxHeaderBytes = 16 << 10
	defaultServerIdle     = 3 * time.Minute
	defaultHandshakeIdle  = 5 * time.Second
	defaultMaxIdle        = 60 * time.Second
	defaultKeepAlive      = 15 * time.Second
	defaultStreamWindow   = 1 << 20
	defaultConnWindow     = 4 << 20
	defaultStreams        = 100
	defaultUniStreams     = 16
)

// ConfigureServer prepares s, before it serves, for sockets. It gives fields
// that are zero these values:
//
//   - MaxHeaderBytes: 16 KiB
//   - IdleTimeout: 3 minutes
//   - QUICConfig, in a copy, field by field: 100 bidirectional and 16
//     unidirectional streams, receive windows of at most 1 MiB for a stream and 4
//     MiB for a connection, a handshake timeout of 5 s, an idle timeout of 60 s
//     and a keep-alive of 15 s, because an open socket counts as activity. If it
//     is nil, 0-RTT is off, which in http3 it is not, and the extension is on
//     with which a reset cannot overtake a response.
//
// It wraps two others, which therefore must have their final values: Handler,
// so that a socket ends with the call that accepted it, and the context of a
// CONNECT request lives as long as its socket; and ConnContext, so that a rule of
// HTTP/3 that a peer breaks on a socket's stream ends the connection, as the rule
// demands. A 2xx by a handler that has accepted no socket is answered as 501: see
// [AcceptByHand]. A connection without a request whose header section has come in full
// is closed after IdleTimeout, however many streams the peer has opened and left
// empty. No more handlers run for a connection than it may have streams (503), and
// a request has at most 256 fields (431).
//
// A second call does nothing but fill in zero fields. The error is for a nil s.
func ConfigureServer(s *http3.Server) error {
	if s == nil {
		return errors.New("h3connect: ConfigureServer of a nil server")
	}
	configure(s, nil, nil)
	return nil
}

// configure is ConfigureServer for a server whose sockets are kept in set and
// whose connections are told to opened, both of which may be nil.
func configure(s *http3.Server, set *sockets.Set, opened func(*serverConn)) {
	setDefault(&s.MaxHeaderBytes, defaultMaxHeaderBytes)
	setDefault(&s.IdleTimeout, defaultServerIdle)
	s.QUICConfig = quicConfig(s.QUICConfig)
	setDefault(&s.QUICConfig.MaxIncomingStreams, defaultStreams)
	if _, ok := s.Handler.(*serverHandler); ok {
		return
	}
	h := s.Handler
	if h == nil {
		h = http.DefaultServeMux
	}
	s.Handler = &serverHandler{sockets.Handler(h, set), serving.Of(h).Hooks}
	inner, idle, most := s.ConnContext, s.IdleTimeout, s.QUICConfig.MaxIncomingStreams
	s.ConnContext = func(ctx context.Context, qc *quic.Conn) context.Context {
		if inner != nil {
			ctx = inner(ctx, qc)
		}
		if ctx == nil {
			return nil // http3 panics, saying whose fault it is
		}
		c := newServerConn(qc, idle, most)
		if opened != nil {
			opened(c)
		}
		return context.WithValue(ctx, connKey{}, c)
	}
}

// quicConfig returns a copy of c with our defaults in its zero fields.
func quicConfig(c *quic.Config) *quic.Config {
	if c == nil {
		c = &quic.Config{EnableStreamResetPartialDelivery: true}
	} else {
		c = c.Clone()
	}
	setDefault(&c.HandshakeIdleTimeout, defaultHandshakeIdle)
	setDefault(&c.MaxIdleTimeout, defaultMaxIdle)
	setDefault(&c.KeepAlivePeriod, defaultKeepAlive)
	setDefault(&c.MaxStreamReceiveWindow, defaultStreamWindow)
	setDefault(&c.MaxConnectionReceiveWindow, defaultConnWindow)
	setDefault(&c.MaxIncomingUniStreams, defaultUniStreams)
	return c
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

type (
	connKey  struct{} // of a connection's *serverConn
	scopeKey struct{} // of a CONNECT request's *scope
)

// A serverHandler is what ConfigureServer puts in front of a server's handler.
type serverHandler struct {
	h     http.Handler
	hooks *observe.Hooks // nil: nobody is told of limits
}

func (s *serverHandler) limited(name string) {
	if s.hooks != nil {
		s.hooks.Limit(websocket.HTTP3, false, name)
	}
}

func (s *serverHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connKey{}).(*serverConn)
	if c == nil { // the ConnContext was replaced
		s.h.ServeHTTP(w, r)
		return
	}
	if !c.begin() {
		s.limited("ConcurrentStreams")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	handled := false // by a websocket.Handler: its end is the request's
	defer func() {
		if !handled {
			c.end()
		}
	}()
	if countFields(r.Header) > maxFields {
		s.limited("HeaderFields")
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	if r.Method != http.MethodConnect {
		s.h.ServeHTTP(w, r)
		return
	}
	untilEnd := r.Context() // http3's: of our sending direction
	sc, r := newScope(c, r)
	defer func() {
		handled = sc.returned()
		if !sc.taken() {
			c.hold(untilEnd) // somebody else may have taken the stream
		}
	}()
	if !strings.EqualFold(r.Proto, "websocket") {
		s.h.ServeHTTP(w, r) // another protocol is none of ours
		return
	}
	r.Body = &scopedBody{r.Body, sc}
	g := &guard{ResponseWriter: w, r: r}
	s.h.ServeHTTP(g, r)
	g.returned()
}

// maxFields bounds a request's fields, which http3 does not count.
const maxFields = 256

func countFields(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}

// A scope is the life of the context of one CONNECT request. http3 lets a
// request's context end with our sending direction, that is when we send FIN or
// the peer asks us to stop sending, while there may be much to read still. Once
// a socket has been accepted, this one ends with the socket instead.
type scope struct {
	conn    *serverConn
	content io.Reader // http3's Body
	cancel  context.CancelFunc
	stop    func() bool // ends the tie to http3's context

	mu       sync.Mutex
	ours     bool // Accept has taken the stream
	outlives bool // the socket has a websocket.Handler
	over     bool // the HTTP handler has returned
	gone     bool // the stream was released
}

func newScope(c *serverConn, r *http.Request) (*scope, *http.Request) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	sc := &scope{conn: c, content: r.Body, cancel: cancel}
	sc.stop = context.AfterFunc(r.Context(), cancel)
	return sc, r.WithContext(context.WithValue(ctx, scopeKey{}, sc))
}

// scopeOf returns the scope of a request, nil if there is none.
func scopeOf(ctx context.Context) *scope {
	sc, _ := ctx.Value(scopeKey{}).(*scope)
	return sc
}

func (s *scope) accepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ours = true
	s.stop()
}

// taken says whether the stream's end is known from released.
func (s *scope) taken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ours
}

// A scopedBody is the content of a request that may become a socket. http3's goes
// on being the stream then, so that a handler which closes it, as many do when they
// return, would reset the socket.
type scopedBody struct {
	io.ReadCloser // http3's
	scope         *scope
}

func (b *scopedBody) Read(p []byte) (int, error) {
	if b.scope.taken() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.ReadCloser.Read(p)
}

func (b *scopedBody) Close() error {
	if b.scope.taken() {
		return nil
	}
	return b.ReadCloser.Close()
}

// handled says that the socket is to outlive its HTTP handler.
func (s *scope) handled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outlives = true
	return nil
}

// returned says that the HTTP handler has returned, and reports whether the
// socket lives on.
func (s *scope) returned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	s.over = true
	return s.outlives && !s.gone
}

// released says that the socket's stream has been released.
func (s *scope) released() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	if s.outlives && s.over && !s.gone {
		s.conn.end()
	}
	s.gone = true
}

// A serverConn is what we know of a connection of a server. Its timer closes it
// if there is no request on it for the time of idle.
type serverConn struct {
	qc   *quic.Conn
	idle time.Duration // negative: for ever
	most int64         // requests at the same time; negative: any number

	mu       sync.Mutex
	requests int // whose handler runs
	held     int // streams that may have outlived their handlers
	draining bool
	timer    *time.Timer
}

func newServerConn(qc *quic.Conn, idle time.Duration, most int64) *serverConn {
	c := &serverConn{qc: qc, idle: idle, most: most}
	c.timer = timerOf(c, (*serverConn).expire)
	c.rearm()
	context.AfterFunc(qc.Context(), c.over)
	return c
}

// over stops the timer when the connection has ended. It holds mu, so that it
// comes behind an end that has seen the connection open and starts the timer.
func (c *serverConn) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
}

// timerOf returns a timer that calls f with c, in an hour if it is not reset, and
// that does not hold c in memory. To stop it is not enough for that: the runtime
// may keep a timer that was stopped, and what its function refers to, until it
// would have fired.
func timerOf[T any](c *T, f func(*T)) *time.Timer {
	ref := weak.Make(c)
	return time.AfterFunc(time.Hour, func() {
		if c := ref.Value(); c != nil {
			f(c)
		}
	})
}

// linger is how long a connection stays open behind its last request when the
// server shuts down, so that what was sent arrives, on either side: it is time for
// one retransmission, and at most a second.
func linger(qc *quic.Conn) time.Duration {
	return min(100*time.Millisecond+5*qc.ConnectionStats().SmoothedRTT, time.Second)
}

// rearm starts the timer anew. It is called with mu held, or before c is shared.
func (c *serverConn) rearm() {
	switch {
	case c.requests+c.held > 0:
		c.timer.Stop()
	case c.draining:
		c.timer.Reset(linger(c.qc))
	case c.idle > 0:
		c.timer.Reset(c.idle)
	default:
		c.timer.Stop()
	}
}

// begin counts a request whose handler is to run, and says whether it may. The
// limit on streams is one on handlers only as long as a stream does not end before
// its handler, which a stream that was taken over may.
func (c *serverConn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most > 0 && int64(c.requests) >= c.most {
		return false
	}
	c.requests++
	c.timer.Stop()
	return true
}

func (c *serverConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests--
	if c.qc.Context().Err() == nil {
		c.rearm()
	}
}

// hold keeps the connection open until ctx ends, which the connection's end ends too.
func (c *serverConn) hold(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held++
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.held--
		if c.qc.Context().Err() == nil {
			c.rearm()
		}
	})
}

// drain lets the connection end behind its last request.
func (c *serverConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.rearm()
}

func (c *serverConn) expire() {
	c.mu.Lock()
	busy := c.requests+c.held > 0
	c.mu.Unlock()
	if !busy {
		c.fail(http3.ErrCodeNoError, "")
	}
}

// fail closes the connection.
func (c *serverConn) fail(code http3.ErrCode, reason string) {
	_ = c.qc.CloseWithError(quic.ApplicationErrorCode(code), reason)
}
