package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
)

// An HTTP3Dialer sends requests and opens sockets over HTTP/3.
// *h3connect.Transport is one.
type HTTP3Dialer interface {
	http.RoundTripper

	// Dial is [Dialer.Dial] over HTTP/3 alone. An error that wraps
	// websocket.ErrNotSupported says that another bootstrap may work.
	Dial(ctx context.Context, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error)

	// CloseIdleConnections closes connections that carry nothing.
	CloseIdleConnections()
}

// A Dialer opens sockets, and sends ordinary requests over the same HTTP/2 and
// HTTP/3 connections. The zero value is ready. A Dialer is meant to live as long
// as the program, is safe for concurrent use, and must not be copied or changed
// after its first use.
type Dialer struct {
	// TLSClientConfig is cloned for each connection; NextProtos is set by the
	// Dialer. Nil: the zero tls.Config. HTTP3 has a configuration of its own.
	TLSClientConfig *tls.Config

	// DialContext opens TCP connections. Nil: a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// HTTP3 is used where Policy says so, &h3connect.Transport{} for instance.
	// Nil: never.
	HTTP3 HTTP3Dialer

	// Policy chooses the bootstrap. Zero: automatic.
	Policy Policy

	// HTTP2Limits bounds what a server can make an HTTP/2 connection hold, do or
	// wait for.
	HTTP2Limits h2connect.Limits

	once  sync.Once
	http2 *h2connect.Transport
	http1 *http.Transport // ordinary requests over HTTP/1.1

	mu      sync.Mutex
	origins map[string]*origin
}

// handshakeTimeout is the default of websocket.Limits.Handshake.
const handshakeTimeout = 10 * time.Second

// Dial opens a socket to a ws, wss, http or https URL by the first bootstrap of
// the Policy that works. It goes on to the next one only where the server, or the
// network, does not support the one before; a server's refusal is an answer.
//
// On success the response is the accepting one. Its Body is empty. Otherwise the
// error is a *[DialError], and the response is the refusing one, if there was
// one. ctx bounds the dialling alone, which [websocket.Limits] bounds too.
//
// If o has a TLSClientConfig or a DialContext of its own the socket gets a
// connection of its own, which nothing else uses.
func (d *Dialer) Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	d.setup()
	t, err := parseTarget(rawURL)
	if err != nil {
		return nil, nil, err
	}
	if o == nil {
		o = &websocket.DialOptions{}
	}
	limit := o.Limits.Handshake
	if limit == 0 {
		limit = handshakeTimeout
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	failed := &DialError{URL: t.String()}
	order := d.Policy.bootstraps(t.secure)
	for _, b := range order {
		start := time.Now()
		c, resp, err := d.dialBy(ctx, b, t, o)
		if err == nil {
			return c, resp, nil
		}
		failed.Attempts = append(failed.Attempts, Attempt{Bootstrap: b, Duration: time.Since(start), Err: err})
		if ctx.Err() != nil || !fallsBack(err) {
			return nil, resp, failed
		}
	}
	if len(order) == 0 {
		failed.Attempts = []Attempt{{Err: fmt.Errorf("no bootstrap for this URL: %w", websocket.ErrNotSupported)}}
	}
	return nil, nil, failed
}

// fallsBack reports whether another bootstrap may succeed where err came from: a
// server's answer and a mistake in the options are the same everywhere.
func fallsBack(err error) bool {
	var refused *websocket.HandshakeError
	if errors.As(err, &refused) && !errors.Is(err, websocket.ErrNotSupported) {
		return false
	}
	return true
}

// dialBy opens a socket by one bootstrap.
func (d *Dialer) dialBy(ctx context.Context, b websocket.Bootstrap, t target, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	own := o.TLSClientConfig != nil || o.DialContext != nil
	switch b {
	case websocket.HTTP1:
		if own {
			return h1upgrade.Dial(ctx, t.raw, o)
		}
		nc, err := d.dialHTTP1(ctx, t)
		if err != nil {
			return nil, nil, err
		}
		return h1upgrade.NewClient(ctx, nc, t.raw, o)
	case websocket.HTTP2:
		if own {
			return h2connect.Dial(ctx, t.raw, o)
		}
		org := d.origin(t.origin)
		if err := org.lacksSockets(); err != nil && !d.Policy.only {
			return nil, nil, err
		}
		c, resp, err := d.http2.Dial(ctx, t.raw, o)
		org.learn(err)
		return c, resp, err
	case websocket.HTTP3:
		if d.HTTP3 != nil {
			return d.HTTP3.Dial(ctx, t.raw, o)
		}
		return nil, nil, fmt.Errorf("the Dialer has no HTTP3: %w", websocket.ErrNotSupported)
	}
	return nil, nil, fmt.Errorf("%v: %w", b, websocket.ErrNotSupported)
}

// setup makes the transports, once.
func (d *Dialer) setup() {
	d.once.Do(func() {
		d.http2 = &h2connect.Transport{
			DialContext:    d.dialTCP,
			DialTLSContext: d.dialHTTP2,
			AllowHTTP:      true,
			Limits:         d.HTTP2Limits,
		}
		d.http1 = &http.Transport{
			DialContext: d.dialTCP,
			DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return d.dialHTTP1(ctx, targetAt(addr))
			},
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
			MaxIdleConnsPerHost:    32,
			IdleConnTimeout:        90 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}
	})
}

func (d *Dialer) dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.DialContext != nil {
		return d.DialContext(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// dialTLS opens a connection to addr and lets the server choose among the
// protocols.
func (d *Dialer) dialTLS(ctx context.Context, addr string, protocols ...string) (*tls.Conn, error) {
	nc, err := d.dialTCP(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	config := new(tls.Config)
	if d.TLSClientConfig != nil {
		config = d.TLSClientConfig.Clone()
	}
	config.NextProtos = protocols
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	tc := tls.Client(nc, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		if alert := tls.AlertError(0); errors.As(err, &alert) && alert == noApplicationProtocol {
			return nil, fmt.Errorf("the server speaks none of %q: %w: %w", protocols, websocket.ErrNotSupported, err)
		}
		return nil, err
	}
	return tc, nil
}

// noApplicationProtocol is the TLS alert of a server that speaks none of the
// protocols offered (RFC 7301 §3.2).
const noApplicationProtocol = 120

// dialHTTP2 opens a connection for http2. If HTTP/1.1 may be used too, it is
// offered in the same handshake; a server that chooses it has its connection
// kept for that.
func (d *Dialer) dialHTTP2(ctx context.Context, _, addr string) (net.Conn, error) {
	protocols := []string{"h2"}
	if slices.Contains(d.Policy.bootstraps(true), websocket.HTTP1) {
		protocols = append(protocols, "http/1.1")
	}
	tc, err := d.dialTLS(ctx, addr, protocols...)
	if err != nil {
		return nil, err
	}
	if tc.ConnectionState().NegotiatedProtocol == "h2" {
		return tc, nil
	}
	if len(protocols) > 1 {
		d.origin(targetAt(addr).origin).keep(tc)
	} else {
		tc.Close()
	}
	return nil, errNoHTTP2
}

// dialHTTP1 opens a connection to t for HTTP/1.1, or takes one that was opened
// for HTTP/2 and turned out otherwise.
func (d *Dialer) dialHTTP1(ctx context.Context, t target) (net.Conn, error) {
	if !t.secure {
		return d.dialTCP(ctx, "tcp", t.addr)
	}
	if nc := d.origin(t.origin).take(); nc != nil {
		return nc, nil
	}
	return d.dialTLS(ctx, t.addr, "http/1.1")
}

// A target is where a URL leads.
type target struct {
	raw    string
	secure bool
	addr   string // host:port
	origin string // "https://host:port"
}

// String returns the origin: a URL's path and query may hold secrets.
func (t target) String() string { return t.origin }

func parseTarget(rawURL string) (target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse quotes the URL, secrets included.
		return target{}, errors.New("negotiate: dial: not a URL")
	}
	return targetOf(u)
}

func targetOf(u *url.URL) (target, error) {
	t := target{raw: u.String()}
	host := strings.ToLower(u.Hostname())
	port, scheme := "80", "http"
	switch u.Scheme {
	case "ws", "http":
	case "wss", "https":
		t.secure, port, scheme = true, "443", "https"
	default:
		return t, fmt.Errorf("negotiate: dial: unknown scheme %q", u.Scheme)
	}
	if host == "" {
		return t, errors.New("negotiate: dial: the URL has no host")
	}
	if p := u.Port(); p != "" {
		port = p
	}
	t.addr = net.JoinHostPort(host, port)
	t.origin = scheme + "://" + t.addr
	return t, nil
}

// targetAt returns the target of a TLS connection to addr.
func targetAt(addr string) target {
	return target{secure: true, addr: addr, origin: "https://" + addr}
}

// A DialError says how dialling failed: what was tried, in order. It wraps the
// errors of all attempts, so that errors.Is and errors.As find what any of them
// says; websocket.ErrNotSupported among them means that the server lacks a
// bootstrap that the Policy asked for.
type DialError struct {
	// URL is the origin that was dialled.
	URL string

	// Attempts has at least one element.
	Attempts []Attempt
}

// An Attempt is one bootstrap that was tried in vain.
type Attempt struct {
	Bootstrap websocket.Bootstrap
	Duration  time.Duration
	Err       error
}

// Error lists the attempts.
func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("negotiate: dial " + e.URL)
	for i, a := range e.Attempts {
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		b.WriteString(sep)
		if a.Bootstrap != 0 {
			fmt.Fprintf(&b, "%v after %v: ", a.Bootstrap, a.Duration.Round(time.Millisecond))
		}
		b.WriteString(a.Err.Error())
	}
	return b.String()
}

// Unwrap returns the attempts' errors.
func (e *DialError) Unwrap() []error {
	errs := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		errs[i] = a.Err
	}
	return errs
}
