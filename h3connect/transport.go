package h3connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/altsvc"
	"github.com/wsmux/websocket/internal/handshake"
)

// A Transport dials sockets and sends ordinary requests over HTTP/3, both on the
// same QUIC connections, one for each host and port. It opens another one to the
// same host when 80 sockets share the first, or when the server allows no further
// stream on it. All connections share one UDP socket. The zero value is ready to
// use; the fields may not change after the first use. Its methods may be called
// from any goroutine.
//
// It has the methods that negotiate.Dialer asks of its HTTP3 field.
type Transport struct {
	// TLSClientConfig is used for connections that Dial's options say nothing
	// about. It is cloned; NextProtos are replaced. Nil: that of the
	// negotiate.Dialer which uses the Transport, or the zero tls.Config.
	TLSClientConfig *tls.Config

	// QUICConfig configures QUIC. Fields that are zero, or all if it is nil,
	// have these values: no streams by the server's wish but 16 unidirectional
	// ones, receive windows of at most 1 MiB for a stream and 4 MiB for a
	// connection, a handshake timeout of 5 s, an idle timeout of 60 s, and a
	// keep-alive of 15 s, because an open socket counts as activity. If it is
	// nil, the extension is on with which a reset cannot overtake a response.
	QUICConfig *quic.Config

	// IdleTimeout is how long a connection is kept without a socket or request
	// on it. Zero: 90 s. Negative: for ever.
	IdleTimeout time.Duration

	mu      sync.Mutex
	closed  bool
	origins map[place]*origin
	udp     net.PacketConn
	quic    *quic.Transport
}

var _ http.RoundTripper = (*Transport)(nil)

// A place is a host and port, and for a socket that shares no connection, what stands
// for that.
type place struct {
	addr  string
	apart *altsvc.Apart
}

// An origin is the connections to one host and port. It is guarded by the
// Transport's mutex.
type origin struct {
	at      place
	conns   []*clientConn
	dialing *dialing
}

const (
	defaultClientIdle = 90 * time.Second
	defaultHandshake  = 10 * time.Second
)

// Dial opens a socket at rawURL, whose scheme is wss or https, on a connection to
// its host if there is one, or on a new one. A server that does not offer
// extended CONNECT, or that cannot be reached over QUIC, is an error that wraps
// websocket.ErrNotSupported; a response that does not accept the socket is a
// *websocket.HandshakeError and is returned too, with up to 1 KiB of its content.
//
// The wait ends with ctx, or after o.Limits.Handshake. A request that the server
// has certainly not acted upon, because it is shutting down for example, is sent
// once more on another connection (RFC 9114 §4.1.1, §5.2), and so is one on a
// connection on which nothing has come for two seconds since, or which had carried
// others and was closed without an error. o may be nil.
func (t *Transport) Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	ws, _, resp, err := t.dial(ctx, rawURL, o)
	return ws, resp, err
}

// Dial opens a socket as [Transport.Dial] does, on a QUIC connection of its own
// that ends with it.
func Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t := new(Transport)
	ws, c, resp, err := t.dial(ctx, rawURL, o)
	if err != nil {
		_ = t.Close()
		return nil, resp, err
	}
	c.endAfterUse()
	context.AfterFunc(c.qc.Context(), func() { _ = t.Close() })
	return ws, resp, nil
}

func (t *Transport) dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *clientConn, *http.Response, error) {
	if o == nil {
		o = new(websocket.DialOptions)
	}
	req, err := handshake.Request(ctx, rawURL, websocket.HTTP3, o)
	if err != nil {
		return nil, nil, nil, failed(err)
	}
	if req.URL.Scheme != "https" {
		return nil, nil, nil, failed(fmt.Errorf("the URL is for a connection in cleartext: %w", websocket.ErrNotSupported))
	}
	if limit := o.Limits.Handshake; limit >= 0 {
		if limit == 0 {
			limit = defaultHandshake
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	tlsConf := o.TLSClientConfig
	if tlsConf == nil {
		tlsConf = t.TLSClientConfig
	}
	var tried *clientConn
	for {
		c, err := t.acquireInTime(ctx, hostPort(req.URL), tlsConf, forSocket, tried)
		if err != nil {
			return nil, nil, nil, failed(err)
		}
		ws, resp, err := c.openSocket(ctx, req, o)
		if altsvc.ApartOf(ctx) != nil {
			c.endAfterUse()
		}
		if err == nil {
			return ws, c, resp, nil
		}
		c.heed(resp)
		if err == errFull {
			c.setFull()
			continue
		}
		if _, again := err.(unprocessed); again && tried == nil {
			tried = c
			continue
		}
		return nil, nil, resp, failed(err)
	}
}

// acquireInTime is acquire. What the server has not processed on the connection tried
// may be had over TCP just as well: a server that is being replaced need not have a
// successor over HTTP/3.
func (t *Transport) acquireInTime(ctx context.Context, addr string, tlsConf *tls.Config, u use, tried *clientConn) (*clientConn, error) {
	limit, limited := altsvc.HeadStart(ctx)
	if tried == nil || !limited {
		return t.acquire(ctx, addr, tlsConf, u, tried)
	}
	part, cancel := context.WithTimeoutCause(ctx, limit, errNoSuccessor)
	defer cancel()
	c, err := t.acquire(part, addr, tlsConf, u, tried)
	if err != nil && ctx.Err() == nil && part.Err() != nil {
		err = unprocessed{err}
	}
	return c, err
}

var errNoSuccessor = errors.New("no other connection in time")

// failed returns err as Dial returns it, and RoundTrip where nothing was processed.
func failed(err error) error {
	if u, ok := err.(unprocessed); ok {
		err = errors.Join(u.error, websocket.ErrNotSupported)
	}
	if _, ok := err.(*websocket.HandshakeError); ok {
		return err
	}
	return fmt.Errorf("h3connect: %w", err)
}

// RoundTrip sends an ordinary request (http.RoundTripper), https only. A request
// that did not leave, or that the server has certainly not acted upon, is sent
// once more on another connection if its body allows; so is an idempotent one (RFC
// 9110 §9.2.2) that got its stream just when the wait for one was given up, or whose
// connection the server closed without an error or has forgotten (stateless reset). An
// error that wraps [websocket.ErrNotSupported] says that the server has certainly not
// acted upon the request, which may be sent by another HTTP version. An extended CONNECT
// is not an ordinary request: see Dial.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.roundTrip(r)
	if err != nil && r.Body != nil {
		_ = r.Body.Close()
	}
	return resp, err
}

func (t *Transport) roundTrip(r *http.Request) (_ *http.Response, err error) {
	if err := checkRequest(r); err != nil {
		return nil, fmt.Errorf("h3connect: %w", err)
	}
	ctx, next := r.Context(), r
	defer func() {
		if err != nil && next != r {
			_ = next.Body.Close()
		}
	}()
	var tried *clientConn
	acquire, acted := t.acquireInTime, false // whether the server may have acted upon it
	for {
		c, err := acquire(ctx, hostPort(r.URL), t.TLSClientConfig, forRequest, tried)
		if err != nil {
			return nil, failed(err)
		}
		sent := watchRequest(next)
		resp, err := c.roundTrip(sent)
		if err == nil {
			if !sent.left.Load() && next.Body != nil {
				_ = next.Body.Close() // the server did not want all of the fields, and http3 leaves it
			}
			c.heed(resp)
			resp.Request = r
			return resp, nil
		}
		if err == errFull {
			c.setFull()
			if !sent.left.Load() {
				continue
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if !sent.unprocessed(err) {
			acquire, acted = t.acquire, true // it is not for TCP any more
		}
		if tried == nil {
			if again, ok := sent.again(err); ok {
				tried, next = c, again
				continue
			}
		}
		if !acted {
			err = failed(unprocessed{err})
		}
		return nil, err
	}
}

// acquire returns a connection that is reserved for one use: not the one to be
// avoided, and one that is open if possible.
func (t *Transport) acquire(ctx context.Context, addr string, tlsConf *tls.Config, u use, avoid *clientConn) (*clientConn, error) {
	for {
		t.mu.Lock()
		if t.closed {
			t.mu.Unlock()
			return nil, errClosed
		}
		if t.origins == nil {
			t.origins = make(map[place]*origin)
		}
		at := place{addr, altsvc.ApartOf(ctx)}
		o := t.origins[at]
		if o == nil {
			o = &origin{at: at}
			t.origins[at] = o
		}
		for _, c := range o.conns {
			if c != avoid && c.reserve(u) {
				t.mu.Unlock()
				return c, nil
			}
		}
		if o.dialing == nil {
			o.dialing = t.startDialing(ctx, o, tlsConf)
		}
		d := o.dialing
		d.waiting++
		t.mu.Unlock()

		select {
		case <-d.done:
		case <-ctx.Done():
			t.leave(o, d)
			return nil, fmt.Errorf("dialling: %w", context.Cause(ctx))
		}
		if d.err != nil {
			return nil, d.err
		}
		if d.conn.reserve(u) {
			return d.conn, nil
		}
		// Another turn if others have filled the new connection already, or
		// CloseIdleConnections was quicker. But a server that ends connections
		// as soon as they are open would do so for as long as ctx allows.
		if err := d.conn.ended(); err != nil {
			return nil, neverSent(err)
		}
	}
}

var errClosed = fmt.Errorf("the transport is closed: %w", net.ErrClosed)

// A dialing is a new connection in the making, for all who want one to its
// origin. It ends when nobody waits for it any longer.
type dialing struct {
	cancel  context.CancelFunc
	waiting int // guarded by the Transport's mutex

	done chan struct{} // closed when conn or err is set
	conn *clientConn
	err  error
}

// startDialing starts a goroutine that dials, bounded by QUIC's handshake
// timeout, and ends then. It is called with mu held.
func (t *Transport) startDialing(ctx context.Context, o *origin, tlsConf *tls.Config) *dialing {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &dialing{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer cancel()
		qc, err := t.dialQUIC(ctx, o.at.addr, tlsConf)
		t.mu.Lock()
		defer t.mu.Unlock()
		defer close(d.done)
		if o.dialing == d {
			o.dialing = nil
		}
		if t.closed {
			err = errClosed
		} else if err == nil {
			err = ctx.Err() // nobody waits
		}
		if err != nil {
			if qc != nil {
				_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
			}
			d.err = err
			t.tidy(o)
			return
		}
		idle := t.IdleTimeout
		setDefault(&idle, defaultClientIdle)
		d.conn = newClientConn(qc, idle)
		d.conn.alternative = altsvc.Addr(ctx) != ""
		o.conns = append(o.conns, d.conn)
		context.AfterFunc(qc.Context(), func() { t.remove(o, d.conn) })
	}()
	return d
}

// leave is called by somebody who waits no longer. A connection that is open at that
// very moment is for others, unless it is one apart.
func (t *Transport) leave(o *origin, d *dialing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.waiting--
	if d.waiting == 0 {
		if o.dialing == d {
			o.dialing = nil // the next one starts anew
		}
		if d.conn != nil && o.at.apart != nil {
			d.conn.endAfterUse()
		}
		d.cancel()
	}
}

func (t *Transport) remove(o *origin, c *clientConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o.conns = slices.DeleteFunc(o.conns, func(other *clientConn) bool { return other == c })
	t.tidy(o)
}

// tidy forgets an origin without connections. It is called with mu held.
func (t *Transport) tidy(o *origin) {
	if len(o.conns) == 0 && o.dialing == nil && t.origins[o.at] == o {
		delete(t.origins, o.at)
	}
}

// CloseIdleConnections closes connections that nothing uses.
func (t *Transport) CloseIdleConnections() {
	for _, c := range t.connections() {
		c.retire()
	}
}

func (t *Transport) connections() []*clientConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*clientConn
	for _, o := range t.origins {
		list = append(list, o.conns...)
	}
	return list
}

// Close closes all connections, and with them all sockets and requests. The
// Transport cannot be used any more.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	for _, o := range t.origins {
		if o.dialing != nil {
			o.dialing.cancel()
		}
	}
	t.mu.Unlock()
	for _, c := range t.connections() {
		c.close()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quic == nil {
		return nil
	}
	err := errors.Join(t.quic.Close(), t.udp.Close())
	t.quic = nil
	return err
}
