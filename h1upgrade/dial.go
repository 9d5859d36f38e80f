package h1upgrade

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tlsrecord"
)

// defaultHandshake is Limits.Handshake's.
const defaultHandshake = 10 * time.Second

// Dial opens a socket at rawURL, whose scheme is ws or wss (or http or https), on
// a new connection; o may be nil. Userinfo in the URL becomes an Authorization
// field. ctx, and o.Limits.Handshake beside it, bound all of the dialling, and
// nothing after it.
//
// The response comes with headers and, if the server refused, up to 1 KiB of
// content; its Body need not be closed. It is nil if there was none. The error is
// a *[websocket.HandshakeError] if the server refused (its Remote is true) or
// answered against the rules (false); then the connection is closed. Redirects
// are not followed. Arguments that cannot be sent are an error before anything
// is dialled.
func Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	if o == nil {
		o = &websocket.DialOptions{}
	}
	req, err := handshake.Request(ctx, rawURL, websocket.HTTP1, o)
	if err != nil {
		return nil, nil, fmt.Errorf("websocket: %w", err)
	}
	ctx, cancel := withHandshakeLimit(ctx, o.Limits)
	defer cancel()
	nc, err := connect(ctx, req.URL, o)
	if err != nil {
		return nil, nil, fmt.Errorf("websocket: %w", err)
	}
	return open(ctx, nc, req, o)
}

// NewClient opens a socket at rawURL on a connection that exists, such as one on
// which ALPN has chosen http/1.1, or one through a proxy. The connection is the
// socket's from then on, and closed if there is an error. If nc is a *tls.Conn,
// its handshake is completed first if it has not been; o.DialContext and
// o.TLSClientConfig are not used. Whether nc leads to where rawURL points, with
// the security that its scheme promises, is the caller's to know. Everything else
// is as with [Dial].
func NewClient(ctx context.Context, nc net.Conn, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	if o == nil {
		o = &websocket.DialOptions{}
	}
	req, err := handshake.Request(ctx, rawURL, websocket.HTTP1, o)
	if err != nil {
		newStream(nc, nil).Close()
		return nil, nil, fmt.Errorf("websocket: %w", err)
	}
	ctx, cancel := withHandshakeLimit(ctx, o.Limits)
	defer cancel()
	return open(ctx, nc, req, o)
}

func withHandshakeLimit(ctx context.Context, l websocket.Limits) (context.Context, context.CancelFunc) {
	switch {
	case l.Handshake < 0:
		return context.WithCancel(ctx)
	case l.Handshake == 0:
		l.Handshake = defaultHandshake
	}
	return context.WithTimeout(ctx, l.Handshake)
}

// connect opens the connection that u asks for: TCP, and TLS for https.
func connect(ctx context.Context, u *url.URL, o *websocket.DialOptions) (net.Conn, error) {
	dial := o.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	nc, err := dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || u.Scheme != "https" {
		return nc, handshake.ConnectError(ctx, err)
	}
	tc := tls.Client(tlsrecord.Beneath(nc), tlsConfig(o.TLSClientConfig, u.Hostname()))
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, nil
}

// tlsConfig returns a configuration for one connection on which HTTP/1.1 is to be
// spoken.
func tlsConfig(c *tls.Config, host string) *tls.Config {
	if c == nil {
		c = &tls.Config{}
	}
	c = c.Clone()
	c.NextProtos = []string{"http/1.1"}
	if c.ServerName == "" {
		c.ServerName = handshake.WithoutZone(host)
	}
	return c
}
