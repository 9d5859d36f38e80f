package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/observe"
	"github.com/wsmux/websocket/internal/tunnel"
)

// An HTTP3Dialer sends requests and opens sockets over HTTP/3.
// *h3connect.Transport is one.
type HTTP3Dialer interface {
	http.RoundTripper

	// Dial is [Dialer.Dial] over HTTP/3 alone. An error that wraps
	// websocket.ErrNotSupported says that another bootstrap may work.
	Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error)

	// Connect sees to it that Dial and RoundTrip find a connection to rawURL's
	// origin, and reports whether the server has extended CONNECT on it (RFC
	// 9220). It returns soon after ctx has ended, and leaves nothing behind then.
	Connect(ctx context.Context, rawURL string) (extendedConnect bool, err error)

	// Connected reports whether there is an open connection to rawURL's origin on
	// which the server has extended CONNECT.
	Connected(rawURL string) bool

	// CloseIdleConnections closes connections that carry nothing.
	CloseIdleConnections()
}

// A Dialer opens sockets, and sends ordinary requests over the same HTTP/2 and
// HTTP/3 connections. The zero value is ready. A Dialer is meant to live as long
// as the program, is safe for concurrent use, and must not be copied or changed
// after its first use.
//
// It remembers for five minutes what an origin lacks or how it could not be
// reached, and for as long as the origin says where it is to be had over HTTP/3
// (Alt-Svc, RFC 7838).
type Dialer struct {
	// TLSClientConfig is cloned for each connection; NextProtos is set by the
	// Dialer. Nil: the zero tls.Config. It is HTTP3's too, if that is an
	// h3connect.Transport whose own TLSClientConfig is nil.
	TLSClientConfig *tls.Config

	// DialContext opens TCP connections, also those to proxies. Nil: all
	// addresses of the host are tried, a quarter of a second after one another
	// and the families by turns (RFC 8305).
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy returns the proxy on the way to a request's URL, nil for none. It is
	// asked whenever a connection is opened, with a URL of scheme http or https
	// that has no path. Proxies are http and https URLs, through which a tunnel
	// is opened (CONNECT), and socks5 ones; their userinfo are credentials.
	// HTTP/3 is not used through proxies. Nil: http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)

	// HTTP3 is used where Policy says so, &h3connect.Transport{} for instance.
	// Nil: never.
	HTTP3 HTTP3Dialer

	// Policy chooses the bootstrap. Zero: automatic.
	Policy Policy

	// HeadStart is for how long HTTP/3 alone is connecting before TCP does so
	// too; who is connected first is used, and the other one given up. It is also
	// for how long a socket that a server has rejected on an open connection over
	// HTTP/3 waits for another one before it goes over TCP. Zero: 300 ms.
	// Negative: TCP waits until HTTP/3 has failed.
	HeadStart time.Duration

	// Jar gives the cookies for sockets and takes those of the answers, refusals
	// included. For ordinary requests that is http.Client's business, which may
	// share the Jar. Nil: no cookies but those in DialOptions.Header. A ReverseProxy
	// does without: its clients' cookies are their own.
	Jar http.CookieJar

	// Redirects is how many redirects Dial follows. From wss it goes to wss
	// only. To another origin nothing of DialOptions.Header goes along but
	// User-Agent, Accept-Language and Origin, and no userinfo. Zero: none, a
	// redirect is a refusal, as it always is under a ReverseProxy.
	Redirects int

	// HTTP2Limits bounds what a server can make an HTTP/2 connection hold, do or
	// wait for.
	HTTP2Limits h2connect.Limits

	// Observer is told of sockets, refusals and fallbacks. Nil: nobody is.
	Observer *Observer

	once    sync.Once
	http2   *h2connect.Transport
	http1   *http.Transport // ordinary requests over HTTP/1.1
	forward *http.Transport // ordinary requests in cleartext, which a proxy forwards
	streams streams         // those that Close has to look after

	mu      sync.Mutex
	closed  bool
	origins map[string]*origin
}

// handshakeTimeout is the default of websocket.Limits.Handshake.
const handshakeTimeout = 10 * time.Second

// Dial opens a socket to a ws, wss, http or https URL by the first bootstrap of
// the Policy that works. It goes on to the next one only where the server, or the
// network, does not support the one before, or the server has certainly not looked
// at it (REFUSED_STREAM, GOAWAY, H3_REQUEST_REJECTED); a server's refusal is an
// answer.
//
// On success the response is the accepting one, of which [Attempts] tells how it
// was reached. Its Body is empty. Otherwise the error is a *[DialError], unless
// the arguments are at fault, and the response is the refusing one, if there was
// one. ctx bounds the dialling alone, which [websocket.Limits] bounds too.
//
// If o has a TLSClientConfig or a DialContext of its own the socket gets a
// connection of its own, which nothing else uses, over HTTP/3 only if the Policy
// names it.
func (d *Dialer) Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	return d.dial(ctx, rawURL, o, 0)
}

// dial is Dial that tries the bootstrap avoid last; 0 is none.
func (d *Dialer) dial(ctx context.Context, rawURL string, o *websocket.DialOptions, avoid websocket.Bootstrap) (*websocket.Conn, *http.Response, error) {
	d.setup()
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
	t, err := parseTarget(ctx, rawURL, o)
	if err != nil {
		return nil, nil, err
	}
	left, jar := d.Redirects, d.Jar
	if tunnel.DialingOf(ctx) != nil {
		left, jar = 0, nil // a ReverseProxy's clients have cookies and redirects of their own
	}
	for ; ; left-- {
		if d.isClosed() {
			return nil, nil, errClosed
		}
		c, resp, err := d.dialOrigin(ctx, t, withCookies(o, jar, t), avoid)
		if jar != nil && resp != nil {
			if cookies := resp.Cookies(); len(cookies) > 0 {
				jar.SetCookies(t.url, cookies)
			}
		}
		if err == nil || left <= 0 {
			return c, resp, err
		}
		next, withO, ok := redirected(ctx, t, o, resp, err)
		if !ok {
			return nil, resp, err
		}
		t, o = next, withO
	}
}

// dialOrigin is dial for one URL.
func (d *Dialer) dialOrigin(ctx context.Context, t target, o *websocket.DialOptions, avoid websocket.Bootstrap) (*websocket.Conn, *http.Response, error) {
	a := &approach{d: d, t: t, org: d.origin(t.origin), o: o, socket: true}
	a.own = o.TLSClientConfig != nil || o.DialContext != nil
	if d.Observer != nil {
		ctx = observe.Dialing(ctx, d.Observer.hooks())
	}
	c, resp, err := a.open(ctx, avoid)
	d.Observer.dialled(ctx, a.attempts)
	return c, resp, err
}

// setup makes the transports, once.
func (d *Dialer) setup() {
	d.once.Do(func() {
		d.http2 = &h2connect.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return d.dialHTTP1(ctx, cleartextAt(addr), true)
			},
			DialTLSContext: d.dialHTTP2,
			AllowHTTP:      true,
			Limits:         d.HTTP2Limits,
		}
		d.http1 = d.newHTTP1()
		d.http1.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			return d.dialHTTP1(ctx, cleartextAt(addr), true)
		}
		d.http1.DialTLSContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			return d.dialHTTP1(ctx, targetAt(addr), false) // net/http traces it
		}
		d.forward = d.newHTTP1()
		d.forward.DialContext = d.dialDirect
		d.forward.TLSClientConfig = d.tlsConfig("", "http/1.1")
		d.forward.TLSClientConfig.ServerName = "" // the proxy's
		d.forward.Proxy = func(req *http.Request) (*url.URL, error) {
			t, err := targetOfRequest(req)
			if err != nil {
				return nil, err
			}
			return d.proxyFor(req.Context(), t)
		}
	})
}

// newHTTP1 returns a transport for ordinary requests over HTTP/1.1.
func (d *Dialer) newHTTP1() *http.Transport {
	return &http.Transport{
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// CloseIdleConnections closes connections that carry neither a socket nor a
// request.
func (d *Dialer) CloseIdleConnections() {
	d.setup()
	d.http1.CloseIdleConnections()
	d.forward.CloseIdleConnections()
	d.http2.CloseIdleConnections()
	if d.HTTP3 != nil {
		d.HTTP3.CloseIdleConnections()
	}
	for _, o := range d.allOrigins() {
		o.dropSpare()
	}
}

// NetworkChanged tells the Dialer that the machine is on another network: it
// forgets what could not be reached, and alternative services that were not
// announced to persist (RFC 7838 §2.2), and closes idle connections.
func (d *Dialer) NetworkChanged() {
	for _, o := range d.allOrigins() {
		o.networkChanged()
	}
	d.CloseIdleConnections()
}

func (d *Dialer) allOrigins() []*origin {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*origin, 0, len(d.origins))
	for _, o := range d.origins {
		list = append(list, o)
	}
	return list
}

// Close cuts every socket, and every HTTP/2 and HTTP/3 connection with the
// requests on it; requests over HTTP/1.1 go on to their end. HTTP3 is closed if it
// has a method Close. A Dialer that is closed dials no more: Dial and RoundTrip
// return an error that wraps net.ErrClosed.
func (d *Dialer) Close() error {
	d.setup()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.streams.abort()
	err := d.http2.Close()
	if c, ok := d.HTTP3.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	d.CloseIdleConnections()
	return err
}

func (d *Dialer) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

var errClosed = fmt.Errorf("negotiate: the Dialer is closed: %w", net.ErrClosed)
