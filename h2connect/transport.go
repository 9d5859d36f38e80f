package h2connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tlsrecord"
	"golang.org/x/net/http/httpguts"
)

// A Transport is an http.RoundTripper and a dialer of sockets on one pool of
// HTTP/2 connections: a socket and the ordinary requests to its server share
// one. When a server's limit of streams is reached a further connection is
// opened. The zero value is ready to use. Its fields must not be changed once it
// is in use, and it must not be copied.
//
// Like http.Transport it asks for gzip by itself and undoes it.
type Transport struct {
	// TLSClientConfig is used for https and wss. It is cloned; NextProtos is
	// set, and ServerName defaults to the URL's host. Nil: the zero
	// tls.Config.
	TLSClientConfig *tls.Config

	// DialContext opens the TCP connection. Nil: a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// DialTLSContext, if not nil, opens connections for https and wss in place
	// of DialContext and TLSClientConfig. If what it returns can say which
	// protocol was negotiated, it must be h2.
	DialTLSContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// AllowHTTP allows http and ws URLs: the server is taken to speak HTTP/2
	// without TLS (prior knowledge, RFC 9113 §3.3).
	AllowHTTP bool

	// DisableCompression keeps the Transport from asking for gzip where a
	// request does not say what it accepts, and from unpacking the response.
	DisableCompression bool

	// RequestStreams is how many of the streams that a server allows on a
	// connection sockets leave to ordinary requests, which would otherwise wait
	// behind sockets that live for hours. Of a server that allows few it is a
	// fifth of them, but at least one; where there is only one, a socket may
	// have it. Beyond it a socket gets a further connection. Zero: 20.
	// Negative: none.
	RequestStreams int

	// Limits bounds what a server can make a connection hold, do or wait for.
	// Limits.Idle is how long a connection without streams is kept.
	Limits Limits

	mu     sync.Mutex
	closed bool
	conns  map[string][]*ClientConn // by keyOf
	dials  map[string]*dialing
	over   *overlay // the http.Transport that dials for this one, nil for none
	bell   bell
	hits   hits // of all connections
}

// keyOf names the server that a URL leads to: scheme, host and port.
func keyOf(u *url.URL) string { return u.Scheme + "://" + addrOf(u) }

// urlOf returns the URL of the server that key names. It is not parsed: a URL
// escapes the zone of an IPv6 literal (RFC 6874 §2), and an address does not.
func urlOf(key string) *url.URL {
	scheme, addr, _ := strings.Cut(key, "://")
	return &url.URL{Scheme: scheme, Host: addr}
}

// addrOf returns a URL's host, in lower case and ASCII as far as that is possible,
// and its port.
func addrOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	host := u.Hostname()
	if ascii, err := httpguts.PunycodeHostPort(host); err == nil {
		host = ascii
	}
	if !strings.Contains(host, "%") { // the zone of an IPv6 literal is the system's name
		host = strings.ToLower(host)
	}
	return net.JoinHostPort(host, port)
}

// maxTries is how often a request is sent that the server has not looked at.
const maxTries = 4

// RoundTrip implements http.RoundTripper. A request that the server has
// certainly not looked at (RFC 9113 §8.7) is sent again on another connection,
// if its body can be had again.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.checkURL(req.URL); err != nil {
		closeBody(req)
		return nil, err
	}
	for try := 1; ; try++ {
		traceGetConn(req.Context(), req.URL)
		cc, err := t.get(req.Context(), req.URL, nil)
		if err != nil {
			closeBody(req)
			return nil, err
		}
		if try > 1 {
			// Many that start together may have been too many for a server that had
			// not said how many it allows. If the connection ends instead, or ctx
			// does, there is the same to be said below.
			cc.WaitForSettings(req.Context())
		}
		resp, begun, err := cc.roundTrip(req)
		if err == nil {
			return resp, nil
		}
		if errors.Is(err, errLowered) {
			try = max(try-1, 1) // it has not been sent, and others have the streams that there are
			continue
		}
		if try == maxTries || !retryable(err) {
			if !begun {
				closeBody(req)
			}
			return nil, err
		}
		if req, err = again(req, begun, err); err != nil {
			return nil, err
		}
	}
}

// traceGetConn tells a request's trace that it is about to get a connection.
func traceGetConn(ctx context.Context, u *url.URL) {
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GetConn != nil {
		trace.GetConn(addrOf(u))
	}
}

// again returns a request to be sent in place of req, which failed with cause;
// begun says whether its body may have been touched.
func again(req *http.Request, begun bool, cause error) (*http.Request, error) {
	if !begun || !hasContent(req) {
		return req, nil
	}
	if req.GetBody == nil {
		return nil, cause
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, cause
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}

func (t *Transport) checkURL(u *url.URL) error {
	switch {
	case u == nil || u.Host == "":
		return errors.New("h2connect: no host in the URL")
	case u.Scheme == "https", u.Scheme == "http" && t.AllowHTTP:
		return nil
	}
	return fmt.Errorf("h2connect: the transport does not serve URLs with scheme %q", u.Scheme)
}

// CloseIdleConnections closes the connections that nobody uses. One whose last
// stream ends soon after, as that of a socket which has just been closed does, is
// closed then, unless a new stream has been opened on it.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, conns := range t.conns {
		for _, cc := range conns {
			cc.closeIfIdle()
		}
	}
}

var errTransportClosed = fmt.Errorf("h2connect: the transport is closed: %w", net.ErrClosed)

// Close cuts every connection of the pool with all that is on it, and gives up
// those that are being opened. Requests and sockets that are asked for later fail
// with an error that wraps net.ErrClosed.
func (t *Transport) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, d := range t.dials {
		d.cancel()
	}
	for _, conns := range t.conns {
		for _, cc := range conns {
			cc.Close()
		}
	}
	return nil
}

func (cc *ClientConn) closeIfIdle() {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.tidyUntil = time.Now().Add(tidyTime)
	cc.tidy()
	c.flush()
}

// tidyTime is how long CloseIdleConnections is remembered: the end of a socket
// takes a round trip after Conn.Close has returned.
const tidyTime = 5 * time.Second

// tidy closes the connection if that has been asked for and nobody uses it. c.mu
// is held.
func (cc *ClientConn) tidy() {
	c := cc.c
	if c.slots > 0 || cc.reserved > 0 || cc.tidyUntil.IsZero() || time.Now().After(cc.tidyUntil) {
		return
	}
	cc.tidyUntil = time.Time{}
	c.goAway()
	c.linger()
}

// NewClientConn runs the engine on a connection that exists and on which the
// server is known to speak HTTP/2: over TLS, whose handshake has been performed,
// because ALPN chose h2. The connection is the ClientConn's from then on, but
// not if there is an error; it does not join the pool.
func (t *Transport) NewClientConn(nc net.Conn) (*ClientConn, error) {
	if tc, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		if err := checkTLS(tc.ConnectionState()); err != nil {
			return nil, err
		}
	}
	return newClientConn(nc, t.limits(), t), nil
}

// checkTLS checks what RFC 9113 §9.2 demands of a TLS connection, as far as a
// client has to.
func checkTLS(state tls.ConnectionState) error {
	switch {
	case !state.HandshakeComplete:
		return errors.New("h2connect: the TLS handshake is still to come")
	case state.NegotiatedProtocol != nextProto:
		return errNotSupported("the server did not choose HTTP/2")
	case state.Version < tls.VersionTLS12:
		return errors.New("h2connect: HTTP/2 needs TLS 1.2 or later")
	}
	return nil
}

// connect opens a connection to the server that key names.
func (t *Transport) connect(ctx context.Context, key string, o *websocket.DialOptions) (*ClientConn, error) {
	u := urlOf(key)
	if t.over != nil && u.Scheme == "https" {
		return t.over.connect(ctx, u)
	}
	nc, err := t.dialNet(ctx, u, o)
	if err != nil {
		return nil, err
	}
	cc, err := t.NewClientConn(nc)
	if err != nil {
		nc.Close()
	}
	return cc, err
}

// dialNet opens the network connection and performs the TLS handshake.
func (t *Transport) dialNet(ctx context.Context, u *url.URL, o *websocket.DialOptions) (net.Conn, error) {
	dial, config := t.DialContext, t.TLSClientConfig
	if o != nil && o.DialContext != nil {
		dial = o.DialContext
	}
	if o != nil && o.TLSClientConfig != nil {
		config = o.TLSClientConfig
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	addr := addrOf(u)
	if u.Scheme != "http" && t.DialTLSContext != nil {
		dial = t.DialTLSContext
	}
	nc, err := dial(ctx, "tcp", addr)
	if err != nil || u.Scheme == "http" {
		return nc, handshake.ConnectError(ctx, err)
	}
	tc, ok := nc.(*tls.Conn)
	if t.DialTLSContext == nil {
		tc = tls.Client(tlsrecord.Beneath(nc), clientTLS(config, u.Hostname()))
	} else if !ok || tc.ConnectionState().HandshakeComplete {
		return nc, nil
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err = tc.HandshakeContext(ctx)
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(tc.ConnectionState(), err)
	}
	if err != nil {
		nc.Close()
		if refusedALPN(err) {
			return nil, fmt.Errorf("%w: %w", errNotSupported("the server does not speak HTTP/2"), err)
		}
		return nil, err
	}
	return tc, nil
}

// refusedALPN reports whether a TLS handshake failed with the server's alert
// no_application_protocol (RFC 7301 §3.2). Over TCP crypto/tls reports alerts by
// a type of its own that is known only by its text, which is that of AlertError.
func refusedALPN(err error) bool {
	const noApplicationProtocol = tls.AlertError(120)
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == noApplicationProtocol.Error()
}

// clientTLS prepares a configuration for a connection to host.
func clientTLS(config *tls.Config, host string) *tls.Config {
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	config.NextProtos = []string{nextProto}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.Renegotiation = tls.RenegotiateNever // RFC 9113 §9.2.1
	if config.ServerName == "" {
		config.ServerName = handshake.WithoutZone(host)
	}
	return config
}
