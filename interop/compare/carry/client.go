package carry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/quic-go/quic-go"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/interop/compare/meter"
	"github.com/wsmux/websocket/interop/compare/result"
)

// A Client is the client's half over one transport: its channels, and ordinary
// requests beside them, on connections that a meter counts.
//
// Over HTTP/1.1 channels take as many connections as they need, which browsers
// would not give them: they open six to a server for event streams, polls and
// requests together. Ordinary requests have no more than those six here either.
type Client struct {
	transport string
	base      url.URL
	meter     meter.Meter
	account   account
	requests  http.RoundTripper // ordinary ones
	exchange  http.RoundTripper // event streams, polls and POSTs
	dial      dialFunc          // nil if the transport is none of sockets
	close     func()
}

type dialFunc func(ctx context.Context, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error)

// requestConnections is how many HTTP/1.1 connections browsers open to a server.
const requestConnections = 6

// NewClient returns a client over a transport, which one of the result package's
// constants names, to the server at base, an https URL. Its certificates are
// verified with roots, nil for the system's.
func NewClient(transport string, base *url.URL, roots *x509.CertPool) (*Client, error) {
	c := &Client{transport: transport, base: *base}
	conf := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	switch transport {
	case result.WebSocketH1, result.EventsH1, result.PollingH1:
		c.overHTTP1(conf)
	case result.WebSocketH2, result.EventsH2, result.PollingH2:
		c.overHTTP2(conf)
	case result.WebSocketH3:
		c.overHTTP3(conf)
	default:
		return nil, fmt.Errorf("no transport is called %q", transport)
	}
	if !strings.HasPrefix(transport, "ws-") {
		c.dial = nil
	}
	return c, nil
}

func (c *Client) overHTTP1(conf *tls.Config) {
	conf.NextProtos = []string{"http/1.1"}
	connect := c.meter.DialTLS(conf)
	requests := &http.Transport{
		DialTLSContext: connect, DisableCompression: true,
		MaxConnsPerHost: requestConnections, MaxIdleConnsPerHost: requestConnections,
	}
	exchange := &http.Transport{DialTLSContext: connect, DisableCompression: true, MaxIdleConnsPerHost: 1 << 16, MaxIdleConns: 1 << 16}
	c.requests, c.exchange = requests, exchange
	c.dial = func(ctx context.Context, u string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
		nc, err := connect(ctx, "tcp", hostPort(&c.base))
		if err != nil {
			return nil, nil, err
		}
		return h1upgrade.NewClient(ctx, nc, u, o)
	}
	c.close = func() {
		requests.CloseIdleConnections()
		exchange.CloseIdleConnections()
	}
}

func (c *Client) overHTTP2(conf *tls.Config) {
	conf.NextProtos = []string{"h2"}
	t := &h2connect.Transport{DialTLSContext: c.meter.DialTLS(conf), DisableCompression: true}
	c.requests, c.exchange, c.dial = t, t, t.Dial
	c.close = func() {
		t.CloseIdleConnections() // in an orderly way
		t.Close()
	}
}

func (c *Client) overHTTP3(conf *tls.Config) {
	t := &h3connect.Transport{
		TLSClientConfig: conf,
		QUICConfig:      &quic.Config{Tracer: c.meter.Tracer, EnableStreamResetPartialDelivery: true},
	}
	c.requests, c.exchange, c.dial = t, t, t.Dial
	c.close = func() { t.Close() }
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return u.Host + ":443"
}

// Meter counts the client's connections.
func (c *Client) Meter() *meter.Meter { return &c.meter }

// Tallies returns the applications' bytes so far, each way.
func (c *Client) Tallies() (up, down Tally) { return c.account.tallies() }

// Close closes the connections, and waits until they have ended. Channels are
// closed before. Connections that are being opened, of which net/http has some that
// it turns out not to need, are waited for first, so that both ends count them.
func (c *Client) Close() {
	c.meter.WaitOpen()
	c.close()
	c.meter.Wait()
}

// at returns the URL of an endpoint.
func (c *Client) at(path string, q url.Values) string {
	u := c.base
	u.Path, u.RawQuery = path, q.Encode()
	return u.String()
}

// Get fetches a file of the given size and discards it.
func (c *Client) Get(ctx context.Context, size int) error {
	n, err := c.fetch(ctx, c.at("/file", url.Values{"size": {strconv.Itoa(size)}}), nil)
	if err == nil && n != int64(size) {
		err = fmt.Errorf("%d bytes came of %d", n, size)
	}
	return err
}

// Bulk downloads until ctx ends, and tells of bytes as they come.
func (c *Client) Bulk(ctx context.Context, came func(n int)) error {
	_, err := c.fetch(ctx, c.at("/bulk", nil), came)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c *Client) fetch(ctx context.Context, at string, came func(n int)) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.requests.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s for %s", resp.Status, req.URL.Path)
	}
	buf := make([]byte, 32<<10)
	for total := int64(0); ; {
		n, err := resp.Body.Read(buf)
		total += int64(n)
		c.account.down.add(n, 0)
		if came != nil && n > 0 {
			came(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
