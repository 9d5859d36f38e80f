package h2connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/wsmux/websocket/internal/lifetime"
	"github.com/wsmux/websocket/internal/sockets"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A serverConn is the server's role on a connection.
type serverConn struct {
	s          *server
	c          *conn
	handler    http.Handler            // of ordinary requests
	sockets    http.Handler            // of those that may become sockets
	sets       []*sockets.Set          // where those are known
	requests   *lifetime.Family        // the requests' contexts
	cancel     context.CancelCauseFunc // ends them; called when the connection has ended
	remoteAddr string

	// The connection's lock guards these: how many handlers run, and requests
	// whose handlers start when others return. A stream that has been closed
	// may leave its handler running; so there can be more requests than
	// Limits.ConcurrentStreams although there are no more streams.
	running int
	backlog []*responseWriter

	priorities priorities
	draining   bool // drain has been called

	stateMu sync.Mutex
	active  bool // what http.Server.ConnState was told last
	over    bool // net/http tells it the last state now
}

func newServerConn(s *server, nc net.Conn, h http.Handler) *serverConn {
	c := newConn(nc, serverSide, s.limits)
	c.allowConnect, c.hits = s.allowConnect, &s.hits
	sc := &serverConn{s: s, c: c, remoteAddr: nc.RemoteAddr().String()}
	sc.handler, sc.sockets, sc.sets = h, h, []*sockets.Set{&s.sockets}
	c.role = sc
	base := context.Background()
	if h, ok := h.(interface{ BaseContext() context.Context }); ok {
		base = h.BaseContext() // net/http's way past TLSNextProto's signature
		sc.sockets = handlerOf(s.srv)
	} else {
		base = context.WithValue(base, http.ServerContextKey, s.srv)
		base = context.WithValue(base, http.LocalAddrContextKey, nc.LocalAddr())
	}
	base, sc.cancel = context.WithCancelCause(base)
	sc.requests = lifetime.NewFamily(base)
	return sc
}

// handlerOf returns what net/http's handler calls for all requests but OPTIONS *. The
// sockets' is called without it, because of what it has on the stack all the time.
func handlerOf(srv *http.Server) http.Handler {
	if srv.Handler == nil {
		return http.DefaultServeMux
	}
	return srv.Handler
}

// serve runs the connection from its preface to its end.
func (sc *serverConn) serve(sawPreface bool) {
	c := sc.c
	defer sc.cancel(net.ErrClosed)
	defer func() {
		sc.stateMu.Lock()
		defer sc.stateMu.Unlock()
		sc.over = true
	}()
	c.start()
	if c.tls != nil && c.tls.Version < tls.VersionTLS12 {
		c.mu.Lock()
		c.die(connViolation(http2.ErrCodeInadequateSecurity, "TLS before 1.2")) // RFC 9113 §9.2
		c.mu.Unlock()
	}
	if !sawPreface && !sc.readPreface() {
		return
	}
	sc.connState(http.StateActive)
	sc.connState(http.StateIdle)
	c.mu.Lock()
	c.armHandshakeTimer()
	c.watchIdle()
	c.mu.Unlock()
	sc.read()
}

// read is run on net/http's goroutine, whose stack is there anyway. It returns when the
// connection has ended: what net/http does then closes it. That goes also for the case
// that another goroutine has become the reader, and for a Handler that ends this one
// (runtime.Goexit).
func (sc *serverConn) read() {
	defer func() {
		if v := recover(); v != nil {
			panic(v) // it is ours, and net/http's to tell
		}
		<-sc.c.done
	}()
	sc.c.run()
}

// readPreface reads "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" (RFC 9113 §3.4).
func (sc *serverConn) readPreface() bool {
	c := sc.c
	late := time.AfterFunc(c.limits.Preface, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.expire(limitPreface, "no connection preface in time")
	})
	defer late.Stop()
	for want := http2.ClientPreface; want != ""; {
		p, err := c.in.next(len(want))
		if err != nil || string(p) != want[:len(p)] {
			c.mu.Lock()
			defer c.mu.Unlock()
			if err == nil {
				err = errors.New("no HTTP/2 connection preface")
			}
			c.end(&ConnError{Remote: true, Err: err})
			return false
		}
		want = want[len(p):]
	}
	return true
}

// drain begins the connection's graceful end (RFC 9113 §6.8): a GOAWAY that
// takes everything, so that the client opens no new stream, and when a PING has
// made the round trip, or Limits.DrainPing has passed, one that says which
// streams were the last. The connection closes when they have ended.
func (sc *serverConn) drain() {
	c := sc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead() || c.goneAway || sc.draining {
		return
	}
	sc.draining = true
	c.lastData = nil
	c.fr.WriteGoAway(maxWindow, http2.ErrCodeNo, nil)
	data := [8]byte{'d', 'r', 'a', 'i', 'n'}
	answered := c.ping(data)
	c.flush()
	// This goroutine ends with the answer, the time, or the connection.
	go func() {
		late := time.NewTimer(c.limits.DrainPing)
		defer late.Stop()
		select {
		case <-answered:
		case <-late.C:
			c.hits.count(limitDrainPing)
		case <-c.done:
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.goAway()
		if c.slots == 0 {
			c.linger()
		}
		c.flush()
	}()
}

// opened implements role: a client opens a stream with a request.
func (sc *serverConn) opened(b *block) error {
	c := sc.c
	if b.stream%2 == 0 {
		return connViolation(http2.ErrCodeProtocol, "client opens an even stream")
	}
	if b.malformed != "" {
		return streamViolation(http2.ErrCodeProtocol, b.malformed)
	}
	c.mu.Lock()
	// To the client a stream is open until it has seen the end. One that opens more
	// without taking the responses would have us hold any number of them.
	if most := c.limits.ConcurrentStreams; len(c.streams) >= most || len(sc.backlog) >= most || c.ends >= most {
		defer c.mu.Unlock()
		c.hits.count(limitConcurrentStreams)
		if !c.resets.take() {
			return errResets
		}
		// Not processed, and not the stream's fault (RFC 9113 §5.1.2).
		c.writeReset(b.stream, http2.ErrCodeRefusedStream)
		return nil
	}
	c.mu.Unlock()
	if b.tooLarge {
		c.hits.count(b.limit)
		return sc.refuse(b, http.StatusRequestHeaderFieldsTooLarge)
	}
	in, err := parseRequest(b, c.allowConnect, c.tls != nil)
	if err != nil {
		return err
	}
	if in.status != 0 {
		return sc.refuse(b, in.status)
	}
	sc.start(in)
	return nil
}

// refuse answers a request that no handler shall see.
func (sc *serverConn) refuse(b *block, status int) error {
	c := sc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead() {
		return nil
	}
	st := c.newStream(b.stream)
	st.recvEnded = b.endStream
	c.writeHeaders(st.id, []hpack.HeaderField{
		{Name: ":status", Value: fmt.Sprint(status)},
		{Name: "content-length", Value: "0"},
		{Name: "date", Value: dateNow()},
	}, true)
	st.send.ended, st.send.err, st.stopping = true, errWriteEnded, true
	st.recv.discard(st, errWriteEnded)
	c.halfClosed(st)
	return nil
}

// start starts the handler for a request.
func (sc *serverConn) start(in *incoming) {
	c := sc.c
	var scope *sockets.Scope
	var ctx *lifetime.Context
	if in.method == http.MethodConnect {
		scope, ctx = sockets.NewScope(sc.requests, &sc.sets)
	} else {
		ctx = sc.requests.New(nil)
	}
	c.mu.Lock()
	if c.dead() {
		c.mu.Unlock()
		return
	}
	st := c.newStream(in.stream)
	st.priority = sc.priorityOf(in)
	c.watchHealth()
	st.declared = in.declared
	st.handling, st.ctx, st.tunnel = true, ctx, in.method == http.MethodConnect
	if in.endStream {
		c.peerEnded(st)
	}
	c.mu.Unlock()
	sc.connState(http.StateActive)
	w := newResponseWriter(sc, st, in, ctx)
	w.scope = scope
	sc.setTimeouts(st, in.endStream)
	c.mu.Lock()
	defer c.mu.Unlock()
	if sc.running >= c.limits.ConcurrentStreams {
		sc.backlog = append(sc.backlog, w)
		return
	}
	sc.running++
	go sc.handle(w)
}

// setTimeouts applies the http.Server's timeouts to one request.
func (sc *serverConn) setTimeouts(st *stream, ended bool) {
	if d := sc.s.srv.ReadTimeout; d > 0 && !ended {
		st.SetReadDeadline(time.Now().Add(d))
	}
	if d := sc.s.srv.WriteTimeout; d > 0 {
		st.SetWriteDeadline(time.Now().Add(d))
	}
}

// handle is the goroutine of one request: start starts it, it ends when the
// handler returns, and the stream's slot is freed with it.
func (sc *serverConn) handle(w *responseWriter) {
	defer sc.handled(w)
	panicked := true
	defer func() {
		if !panicked {
			return
		}
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			sc.s.logf("http2: panic serving %v: %v\n%s", sc.remoteAddr, v, stack)
		}
		w.abort(http2.ErrCodeInternal, http.ErrAbortHandler)
	}()
	if w.scope != nil {
		w.scope.Serve(sc.sockets, w, w.req)
	} else {
		sc.handler.ServeHTTP(w, w.req)
	}
	panicked = false
	w.finish()
}

// handled frees what a request held.
func (sc *serverConn) handled(w *responseWriter) {
	if w.req != nil && w.req.MultipartForm != nil {
		w.req.MultipartForm.RemoveAll()
	}
	c, st := sc.c, w.st
	st.ctx.End(errHandlerDone)
	c.mu.Lock()
	st.ctx = nil
	if st.socket && st.declared < 0 {
		st.httpPart = nil // it may outlive its handler, without its request
	}
	sc.running--
	sc.unhandled(st)
	for len(sc.backlog) > 0 && sc.running < c.limits.ConcurrentStreams {
		next := sc.backlog[0]
		sc.backlog[0] = nil
		sc.backlog = sc.backlog[1:]
		if next.st.gone {
			sc.unhandled(next.st)
			c.discard(next.st, net.ErrClosed) // nobody has read its content
			continue
		}
		sc.running++
		go sc.handle(next)
	}
	c.flush()
	c.mu.Unlock()
}

// unhandled says that no handler runs, or will run, for st. c.mu is held.
func (sc *serverConn) unhandled(st *stream) {
	st.handling = false
	if !st.outlives { // whose Conn discards it
		delete(sc.c.leftovers, st)
	}
	if st.gone {
		sc.c.freeSlot()
	}
}

// more implements role: a request's trailer section (RFC 9113 §8.1).
func (sc *serverConn) more(st *stream, b *block) error {
	c := sc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.tunnel:
		// "Once the CONNECT method is complete only DATA […]; frame types
		// other than DATA or stream management frames […] MUST be treated
		// as a stream error" (RFC 9113 §8.5). Nor is there a trailer section
		// before that: "A CONNECT request message does not have content" (RFC
		// 9110 §9.3.6).
		return streamViolation(http2.ErrCodeProtocol, "HEADERS on the stream of a CONNECT")
	case !b.endStream:
		return streamViolation(http2.ErrCodeProtocol, "trailer section without END_STREAM")
	case b.pseudo > 0:
		return streamViolation(http2.ErrCodeProtocol, "pseudo-header field in a trailer section")
	case b.tooLarge:
		return streamViolation(http2.ErrCodeEnhanceYourCalm, "trailer section too large").passed(b.limit)
	case st.declared >= 0 && st.received != st.declared:
		return streamViolation(http2.ErrCodeProtocol, "content is not as long as content-length says")
	}
	st.recv.setTrailer(trailerOf(b))
	c.peerEnded(st)
	return nil
}

// closed implements role.
func (sc *serverConn) closed(st *stream, err error) {
	if err != nil && st.httpPart != nil && st.ctx != nil {
		st.ctx.End(err)
	}
}

// goAway implements role: there is nothing that we would open. A connection that
// has ended on our side already need not wait any longer.
func (sc *serverConn) goAway(*http2.GoAwayFrame) {
	c := sc.c
	c.peerAway = true
	if c.lingering && !c.dead() {
		c.lingerTimer.Reset(c.lingerTime())
	}
}

// slotsChanged implements role. The last stream may end after its handler, with
// the last of its content or when the client has ended its own.
func (sc *serverConn) slotsChanged() {
	if sc.s.srv.ConnState != nil && sc.c.slots == 0 {
		// The hook is not called with the lock held. This goroutine ends with it.
		go sc.connState(http.StateIdle)
	}
}

// ended implements role.
func (sc *serverConn) ended() {
	if sc.c.err != nil {
		sc.cancel(sc.c.err)
	}
}

// connState tells http.Server.ConnState, in order, whether the connection has
// streams. net/http itself tells the first and the last state.
func (sc *serverConn) connState(state http.ConnState) {
	hook := sc.s.srv.ConnState
	if hook == nil {
		return
	}
	sc.stateMu.Lock()
	defer sc.stateMu.Unlock()
	sc.c.mu.Lock()
	busy := sc.c.slots > 0
	sc.c.mu.Unlock()
	if sc.over || state == http.StateIdle && busy || state == http.StateActive && sc.active {
		return
	}
	if active := state == http.StateActive; active != sc.active {
		sc.active = active
		hook(sc.c.nc, state)
	}
}
