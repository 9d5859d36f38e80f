package h2connect

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tunnel"
	"golang.org/x/net/http2"
)

// Dial opens a socket at rawURL, whose scheme is wss, ws, https or http, on an
// HTTP/2 connection of its own, which is closed with the socket. Without TLS the
// server must be known to speak HTTP/2. o may be nil.
//
// Where the server does not speak HTTP/2, does not accept extended CONNECT, wants
// HTTP/1.1 for this socket (HTTP_1_1_REQUIRED), or has certainly not looked at it
// (REFUSED_STREAM, GOAWAY; RFC 9113 §8.7), the error wraps
// websocket.ErrNotSupported. Where the server refuses the socket, it is a
// *websocket.HandshakeError and the response is returned with it, its body closed.
func Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t := &Transport{AllowHTTP: true}
	ctx, req, cancel, err := newDial(ctx, rawURL, o)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	cc, err := t.connect(ctx, keyOf(req.URL), o)
	if err != nil {
		return nil, nil, err
	}
	conn, resp, err := cc.dial(ctx, req, o, func() { cc.closeWhenIdle() })
	if err != nil {
		cc.Close()
	}
	return conn, resp, elsewhere(err)
}

// Dial opens a socket on this connection: see [Dial] for what it returns. The
// URL's host is what the request asks for; the connection is not checked
// against it.
func (cc *ClientConn) Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	ctx, req, cancel, err := newDial(ctx, rawURL, o)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	conn, resp, err := cc.dial(ctx, req, o, nil)
	return conn, resp, elsewhere(err)
}

// newDial makes the request of a socket and the context that bounds its opening
// handshake.
func newDial(ctx context.Context, rawURL string, o *websocket.DialOptions) (context.Context, *http.Request, context.CancelFunc, error) {
	limit := 10 * time.Second
	if o != nil && o.Limits.Handshake != 0 {
		limit = o.Limits.Handshake
	}
	cancel := context.CancelFunc(func() {})
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	req, err := handshake.Request(ctx, rawURL, websocket.HTTP2, o)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return ctx, req, cancel, nil
}

// dial performs the opening handshake on a stream of cc.
//
// "A client MUST NOT send a CONNECT request with the :protocol pseudo-header
// field before it has received SETTINGS_ENABLE_CONNECT_PROTOCOL with a value of
// 1": that is what RFC 8441 §3 comes to, so that the first SETTINGS frame is
// waited for.
func (cc *ClientConn) dial(ctx context.Context, req *http.Request, o *websocket.DialOptions, onEnd func()) (*websocket.Conn, *http.Response, error) {
	supported, err := cc.WaitForSettings(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !supported {
		return nil, nil, errNotSupported("the server does not accept extended CONNECT")
	}
	for {
		if err := cc.reserve(ctx); err != nil {
			return nil, nil, err
		}
		cc.promiseSocket()
		conn, resp, err := cc.dialReserved(ctx, req, o, onEnd)
		if !errors.Is(err, errLowered) {
			return conn, resp, err
		}
	}
}

// dialReserved is dial with a stream promised to a socket and the settings known.
func (cc *ClientConn) dialReserved(ctx context.Context, req *http.Request, o *websocket.DialOptions, onEnd func()) (*websocket.Conn, *http.Response, error) {
	st, err := cc.open(req, "websocket")
	if err != nil {
		return nil, nil, err
	}
	// While the handshake lasts its context governs the stream, after that
	// nothing does.
	stop := context.AfterFunc(ctx, func() { st.abort(http2.ErrCodeCancel, context.Cause(ctx)) })
	resp, err := st.exchange.wait(st, ctx)
	if err != nil {
		stop()
		return nil, nil, orHTTP1(err)
	}
	agreement, err := cc.checkAnswer(st, resp, req, o)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		st.Abort() // RST_STREAM CANCEL; the connection stays
		resp.Body.Close()
		return nil, resp, err
	}
	resp.Body = http.NoBody
	if o == nil {
		o = &websocket.DialOptions{}
	}
	params := agreement.Params(true, o.Compression, o.Limits)
	params.OnEnd = onEnd
	return tunnel.NewConn(ctx, st, params), resp, nil
}

// checkAnswer decides whether the response accepts the socket, and makes the
// stream a socket's if it does.
func (cc *ClientConn) checkAnswer(st *stream, resp *http.Response, req *http.Request, o *websocket.DialOptions) (handshake.Agreement, error) {
	agreement, err := handshake.CheckResponse(resp, req, o)
	if err != nil {
		return agreement, err
	}
	if resp.Body == http.NoBody {
		// A socket cannot begin on a stream that has ended (XC-18).
		return agreement, &websocket.HandshakeError{
			Status: resp.StatusCode, Reason: "the response ends the stream", Header: resp.Header,
		}
	}
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	st.becomeSocket()
	return agreement, nil
}

// closeWhenIdle closes the connection as soon as nothing uses it.
func (cc *ClientConn) closeWhenIdle() {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	cc.c.goAway()
	if cc.c.slots == 0 {
		cc.c.linger()
	}
	cc.c.flush()
}
