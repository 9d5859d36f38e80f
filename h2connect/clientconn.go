package h2connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/wsmux/websocket"
	"golang.org/x/net/http2"
)

// A ClientConn is one HTTP/2 connection to a server: ordinary requests and
// sockets share it. Its methods may be called from any goroutine.
type ClientConn struct {
	c *conn
	t *Transport // whose rules hold for requests; nil for none's

	// The connection's lock guards these.
	reserved int           // streams promised to callers and not yet open
	sockets  int           // streams that sockets have or have been promised
	away     bool          // the server has sent GOAWAY: no new streams
	changed  chan struct{} // closed and replaced when a stream may have become free
	waiting  int           // callers that wait for changed
	onChange func()        // called when the state may have changed
	over     chan struct{} // closed when the connection has said its last word
	used     bool          // it has carried a request
	probe    *probe        // that asks whether the server still lives; nil: none does

	tidyUntil time.Time // CloseIdleConnections holds until then; zero: it does not
}

// newClientConn starts the engine on nc.
func newClientConn(nc net.Conn, limits Limits, t *Transport) *ClientConn {
	limits.ReadIdle = cmp.Or(limits.ReadIdle, clientReadIdle)
	c := newConn(nc, clientSide, limits)
	if t != nil {
		c.hits = &t.hits
	}
	cc := &ClientConn{c: c, t: t, changed: make(chan struct{}), over: make(chan struct{})}
	c.role = cc
	c.mu.Lock()
	c.out = append(c.out, http2.ClientPreface...)
	c.mu.Unlock()
	c.start()
	c.mu.Lock()
	c.armHandshakeTimer()
	c.watchIdle()
	c.mu.Unlock()
	// The reader: it ends when the connection does.
	go c.run()
	return cc
}

// preSettings is how many streams are opened before the server has said how many
// it allows.
const preSettings = 100

// usable returns why no new stream can be opened, nil if one can. c.mu is held.
func (cc *ClientConn) usable() error {
	c := cc.c
	switch {
	case c.err != nil:
		return c.err
	case cc.away || c.goneAway || c.dying.Load() || c.lingering || c.nextOut > maxWindow:
		return errConnDrained
	}
	return nil
}

// limit returns how many streams may be open. c.mu is held.
func (cc *ClientConn) limit() int {
	if !cc.c.peer.received {
		return preSettings
	}
	return int(min(cc.c.peer.streams, 1<<30))
}

// room returns how many more streams may be opened now. c.mu is held.
func (cc *ClientConn) room() int { return cc.limit() - cc.c.slots - cc.reserved }

// CanTakeNewRequest reports whether a request or a socket could be opened now:
// the connection lives, neither side has said that it goes away, and the
// server's limit of streams is not reached.
func (cc *ClientConn) CanTakeNewRequest() bool {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.usable() == nil && cc.room() > 0
}

// tryReserve promises a stream if one is free. Whoever is promised one opens it
// or releases it.
func (cc *ClientConn) tryReserve() bool {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	if cc.usable() != nil || cc.room() <= 0 {
		return false
	}
	cc.reserved++
	return true
}

// reserve waits for a free stream.
func (cc *ClientConn) reserve(ctx context.Context) error {
	for {
		cc.c.mu.Lock()
		if err := cc.usable(); err != nil {
			cc.c.mu.Unlock()
			return notProcessed{err}
		}
		if cc.room() > 0 {
			cc.reserved++
			cc.c.mu.Unlock()
			return nil
		}
		changed := cc.changed
		cc.waiting++
		cc.c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release gives a promised stream back.
func (cc *ClientConn) release(socket bool) {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	cc.reserved--
	if socket {
		cc.sockets--
	}
	cc.slotsChanged()
	cc.c.flush()
}

// slotsChanged implements role.
func (cc *ClientConn) slotsChanged() {
	cc.tidy()
	if cc.waiting > 0 {
		cc.waiting = 0
		close(cc.changed)
		cc.changed = make(chan struct{})
	}
	if cc.t != nil {
		cc.t.bell.ring()
	}
	if cc.onChange != nil {
		cc.onChange()
	}
}

// RoundTrip implements http.RoundTripper on this connection. It waits for a free
// stream if the server allows no more of them. Unlike its Transport's it never
// sends a request again.
func (cc *ClientConn) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		if err := cc.reserve(req.Context()); err != nil {
			closeBody(req)
			return nil, err
		}
		resp, begun, err := cc.roundTrip(req)
		if errors.Is(err, errLowered) {
			continue
		}
		if !begun {
			closeBody(req)
		}
		return resp, err
	}
}

// WaitForSettings waits for the server's first SETTINGS frame and reports
// whether the server accepts extended CONNECT (RFC 8441 §3), without which no
// socket can be opened on this connection.
func (cc *ClientConn) WaitForSettings(ctx context.Context) (extendedConnect bool, err error) {
	c := cc.c
	select {
	case <-c.peerReady:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-cc.over:
		c.mu.Lock()
		defer c.mu.Unlock()
		return false, notProcessed{c.cause()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.connectAllowed, nil
}

// Ping sends a PING frame and returns when the server has acknowledged it
// (RFC 9113 §6.7): it measures the round trip and proves that the server lives.
func (cc *ClientConn) Ping(ctx context.Context) error { return cc.c.awaitPing(ctx) }

// Shutdown says that no new streams will be opened, waits for those that are,
// and closes the connection, [Limits.Linger] after its last frame at the latest. When
// ctx ends first it returns ctx's cause, and the connection closes when the last
// stream has ended, or by Close.
func (cc *ClientConn) Shutdown(ctx context.Context) error {
	c := cc.c
	c.mu.Lock()
	c.goAway()
	if c.slots == 0 {
		c.linger()
	}
	c.flush()
	c.mu.Unlock()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close cuts the connection with everything on it.
func (cc *ClientConn) Close() error {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	cc.c.end(&ConnError{Err: net.ErrClosed})
	return nil
}

// Done returns a channel that is closed when the connection has ended.
func (cc *ClientConn) Done() <-chan struct{} { return cc.c.done }

// opened implements role: a server opens no streams, since we allow no push.
func (cc *ClientConn) opened(*block) error {
	return connViolation(http2.ErrCodeProtocol, "a server opens a stream")
}

// prioritize implements role: a client is sent no PRIORITY_UPDATE.
func (cc *ClientConn) prioritize(*http2.PriorityUpdateFrame) error {
	// "If a client receives a PRIORITY_UPDATE frame, it MUST respond with a
	// connection error of type PROTOCOL_ERROR" (RFC 9218 §7.1).
	return connViolation(http2.ErrCodeProtocol, "PRIORITY_UPDATE from a server")
}

// goAway implements role (RFC 9113 §6.8): streams above the last id were not
// looked at and may be sent again; the others go on to their end.
func (cc *ClientConn) goAway(f *http2.GoAwayFrame) {
	c := cc.c
	cc.away = true
	err := &ConnError{Code: f.ErrCode, Remote: true, Debug: string(f.DebugData())}
	for id, st := range c.streams {
		if id > f.LastStreamID {
			c.forget(st, notProcessed{err})
		}
	}
	if c.slots == 0 {
		c.goAway()
		c.linger()
	}
	// As on our own GOAWAY, the connection ends with the last stream.
	c.goneAway = true
	cc.ended()
}

// closed implements role.
func (cc *ClientConn) closed(st *stream, err error) {
	x := st.exchange
	x.stop()
	if x.socket {
		cc.sockets--
	}
	if x.closeContent != nil && err != nil {
		go x.closeContent() // whatever that does, it does it without the lock
	}
	if x.over != nil {
		close(x.over)
	}
	if x.timer != nil {
		x.timer.Stop()
	}
	if x.resp == nil && x.err == nil {
		if err == nil {
			err = errNoResponse
		}
		x.err = err
		close(x.done)
	}
}

var errNoResponse = errors.New("h2connect: the stream ended without a response")

// ended implements role.
func (cc *ClientConn) ended() {
	cc.slotsChanged()
	select {
	case <-cc.over:
	default:
		if cc.c.dead() {
			close(cc.over)
		}
	}
}

// errNotSupported says that the server does not speak RFC 8441.
func errNotSupported(why string) error {
	return fmt.Errorf("h2connect: %s: %w", why, websocket.ErrNotSupported)
}
