package negotiate_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A proxyServer is a proxy that a Dialer goes through, for the user "user" with
// the password "pass word".
type proxyServer struct {
	url      *url.URL
	tunnels  atomic.Int32 // opened
	forwards atomic.Int32 // requests in absolute form
}

const proxyAuthorization = "Basic dXNlcjpwYXNzIHdvcmQ="

// join copies in both directions until both have ended.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { defer b.Close(); io.Copy(b, a) })
	both.Go(func() { defer a.Close(); io.Copy(a, b) })
	both.Wait()
}

// serveProxy serves a proxy of HTTP, over TLS or not.
func serveProxy(t *testing.T, secure bool) *proxyServer {
	t.Helper()
	p := new(proxyServer)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != proxyAuthorization {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			p.forwards.Add(1)
			assert.Equal(t, "http", r.URL.Scheme, "the absolute form")
			io.WriteString(w, "forwarded")
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		from, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		p.tunnels.Add(1)
		io.WriteString(from, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 Connection established\r\n\r\n")
		go join(from, to) // which ends with the connections
	})
	srv := httptest.NewUnstartedServer(h)
	if secure {
		srv.TLS, _ = wstest.Certificates()
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	var err error
	p.url, err = url.Parse(srv.URL)
	require.NoError(t, err)
	p.url.User = url.UserPassword("user", "pass word")
	return p
}

// serveSOCKS serves a SOCKS5 proxy (RFC 1928, RFC 1929).
func serveSOCKS(t *testing.T) *proxyServer {
	t.Helper()
	p := new(proxyServer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				to, err := acceptSOCKS(nc)
				if err != nil {
					nc.Close()
					return
				}
				p.tunnels.Add(1)
				join(nc, to)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	p.url = &url.URL{Scheme: "socks5", Host: l.Addr().String(), User: url.UserPassword("user", "pass word")}
	return p
}

func acceptSOCKS(nc net.Conn) (net.Conn, error) {
	b := make([]byte, 512)
	next := func(n int) []byte { io.ReadFull(nc, b[:n]); return b[:n] }
	next(int(next(2)[1]))  // version, methods
	nc.Write([]byte{5, 2}) // user name and password
	next(int(next(2)[1]))  // version, user name
	next(int(next(1)[0]))  // password
	if string(b[:9]) != "pass word" {
		nc.Write([]byte{1, 1})
		return nil, errors.New("not you")
	}
	nc.Write([]byte{1, 0})
	var host string
	switch next(4)[3] {
	case 1:
		host = net.IP(next(4)).String()
	case 3:
		host = string(next(int(next(1)[0])))
	}
	port := binary.BigEndian.Uint16(next(2))
	to, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		nc.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return nil, err
	}
	_, err = nc.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return to, err
}

func TestDialerGoesThroughProxies(t *testing.T) {
	kinds := map[string]func(t *testing.T) *proxyServer{
		"http":   func(t *testing.T) *proxyServer { return serveProxy(t, false) },
		"https":  func(t *testing.T) *proxyServer { return serveProxy(t, true) },
		"socks5": serveSOCKS,
	}
	for kind, serve := range kinds {
		for _, secure := range []bool{true, false} {
			t.Run(kind+" secure "+strconv.FormatBool(secure), func(t *testing.T) {
				wstest.NoLeaks(t)
				s := start(t, &negotiate.Server{}, secure)
				p := serve(t)
				d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, Proxy: func(r *http.Request) (*url.URL, error) {
					assert.Equal(t, s.addr, r.URL.Host)
					assert.Empty(t, r.URL.Path)
					assert.Contains(t, []string{"http", "https"}, r.URL.Scheme)
					return p.url, nil
				}}
				defer d.Close()
				scheme, want := "wss://", websocket.HTTP2
				if !secure {
					scheme, want = "ws://", websocket.HTTP1
				}
				c, resp, err := d.Dial(t.Context(), scheme+s.addr+"/ws", nil)
				require.NoError(t, err)
				assert.Equal(t, want, c.Bootstrap())
				attempts := negotiate.Attempts(resp)
				require.Len(t, attempts, 1)
				assert.Equal(t, kind+"://"+p.url.Host, attempts[0].Proxy, "without credentials")
				echo(t, c)
				// A socket with a connection of its own goes through it too.
				own, _, err := d.Dial(t.Context(), scheme+s.addr+"/ws", &websocket.DialOptions{TLSClientConfig: s.client})
				require.NoError(t, err)
				echo(t, own)
				assert.EqualValues(t, 2, p.tunnels.Load())

				page := get(t, d, "GET", "http"+strings.TrimPrefix(scheme, "ws")+s.addr+"/", "")
				switch {
				case secure:
					assert.Equal(t, "HTTP/2.0 ", page)
					assert.EqualValues(t, 2, p.tunnels.Load(), "the page comes by the socket's connection")
				case kind == "socks5":
					assert.Equal(t, "HTTP/1.1 ", page)
					assert.EqualValues(t, 3, p.tunnels.Load())
				default:
					assert.Equal(t, "forwarded", page)
					assert.EqualValues(t, 1, p.forwards.Load())
				}
				require.NoError(t, own.CloseNow())
				require.NoError(t, c.CloseNow())
			})
		}
	}
}

func TestHTTP1ThroughAProxyOverTLS(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{}, true)
	p := serveProxy(t, true)
	at := p.url.Host
	p.url.Host = "[::1%lo]" // the zone is no part of what its certificate is for
	d := &negotiate.Dialer{
		TLSClientConfig: s.client, Proxy: http.ProxyURL(p.url), Policy: negotiate.Only(websocket.HTTP1),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at)
		},
	}
	defer d.Close()
	c, _, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
	require.NoError(t, err)
	echo(t, c)
	assert.Equal(t, "HTTP/1.1 ", get(t, d, "GET", "https://"+s.addr+"/", ""))
	require.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
	assert.EqualValues(t, 2, p.tunnels.Load())
}

// What a proxy is asked for is a host and a port, and nothing that only this machine
// knows or that would be a field of its own.
func TestWhatProxiesAreAskedFor(t *testing.T) {
	wstest.NoLeaks(t)
	for _, tc := range []struct{ proxy, host, want string }{
		{"http://proxy.example", "[fe80::1%lo]", "CONNECT [fe80::1]:443 HTTP/1.1\r\nHost: [fe80::1]:443\r\n\r\n"},
		{"socks5://proxy.example", "[fe80::1%lo]", "\x05\x01\x00\x04\xfe\x80" + strings.Repeat("\x00", 13) + "\x01\x01\xbb"},
		{"http://proxy.example", "a\r\nX-Admin: yes", ""},
		{"http://proxy.example", "a b", ""},
		{"socks5://proxy.example", "a\r\nX-Admin: yes", ""},
	} {
		via, err := url.Parse(tc.proxy)
		require.NoError(t, err)
		var asked string
		var proxies sync.WaitGroup
		d := &negotiate.Dialer{
			Proxy: http.ProxyURL(via), Policy: negotiate.Only(websocket.HTTP1),
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				proxies.Go(func() {
					defer theirs.Close()
					b := make([]byte, 512)
					if via.Scheme == "socks5" {
						_, _ = theirs.Read(b)
						_, _ = theirs.Write([]byte{5, 0})
					}
					n, _ := theirs.Read(b)
					asked = string(b[:n])
				})
				return ours, nil
			},
		}
		_, err = d.RoundTrip(&http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: tc.host, Path: "/"}, Header: http.Header{}})
		require.Error(t, err)
		proxies.Wait()
		assert.Equal(t, tc.want, asked, "%s: %q", tc.proxy, tc.host)
		require.NoError(t, d.Close())
	}
}

func TestProxiesThatAreInTheWay(t *testing.T) {
	s := start(t, &negotiate.Server{}, true)
	good, socks := serveProxy(t, false), serveSOCKS(t)
	with := func(u *url.URL, change func(*url.URL)) *url.URL {
		v := *u
		change(&v)
		return &v
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone.Close()
	tests := map[string]struct {
		url    *url.URL
		status int // of a ProxyError
		want   string
	}{
		"wrong password":       {url: with(good.url, func(u *url.URL) { u.User = url.UserPassword("user", "guess") }), status: 407, want: "407 Proxy Authentication Required"},
		"no password":          {url: with(good.url, func(u *url.URL) { u.User = nil }), status: 407, want: "407"},
		"SOCKS wrong password": {url: with(socks.url, func(u *url.URL) { u.User = url.UserPassword("user", "guess") }), want: "authentication"},
		"H1-C4 CRLF":           {url: with(good.url, func(u *url.URL) { u.User = url.UserPassword("user\r\nX: y", "guess") }), want: "invalid credentials"},
		"colon in the name":    {url: with(good.url, func(u *url.URL) { u.User = url.UserPassword("us:er", "guess") }), want: "invalid credentials"},
		"unknown scheme":       {url: with(good.url, func(u *url.URL) { u.Scheme = "gopher" }), want: "scheme is not known"},
		"no host":              {url: &url.URL{Scheme: "http"}, want: "no host"},
		"nobody there":         {url: &url.URL{Scheme: "http", Host: gone.Addr().String()}, want: "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := &negotiate.Dialer{TLSClientConfig: s.client, Proxy: http.ProxyURL(tt.url)}
			defer d.Close()
			_, resp, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
			require.ErrorContains(t, err, tt.want)
			assert.Nil(t, resp, "the server has not answered")
			assert.NotContains(t, err.Error(), "guess")
			var failed *negotiate.DialError
			require.ErrorAs(t, err, &failed)
			assert.Len(t, failed.Attempts, 1, "HTTP/1.1 would take the same way")
			var refused *negotiate.ProxyError
			assert.Equal(t, tt.status > 0, errors.As(err, &refused))
			if tt.status > 0 {
				assert.Equal(t, tt.status, refused.Status)
			}
			_, err = d.RoundTrip(httptest.NewRequest("GET", "https://"+s.addr+"/", nil))
			require.ErrorContains(t, err, tt.want)
		})
	}
	assert.Zero(t, s.conns.Load())
}

// A proxy's answer is read as far as it may go and no further.
func TestProxysAnswerIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		want   string
	}{
		"no HTTP":           {"SSH-2.0-x\r\n\r\n", "malformed"},
		"header too large":  {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", "too large"},
		"1xx for ever":      {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), "1xx"},
		"101":               {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101"},
		"bytes behind":      {"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "behind"},
		"ends in the midst": {"HTTP/1.1 200 OK\r\nX:", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			wstest.NoLeaks(t)
			d := &negotiate.Dialer{
				Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example"}),
				DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
					assert.Equal(t, "proxy.example:80", addr)
					ours, theirs := net.Pipe()
					go func() {
						defer theirs.Close()
						http.ReadRequest(bufio.NewReader(theirs))
						io.WriteString(theirs, tt.answer)
					}()
					return ours, nil
				},
			}
			defer d.Close()
			_, _, err := d.Dial(t.Context(), "wss://example.com/", nil)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestProxyThatSaysNothingIsBoundedByTheContext(t *testing.T) {
	wstest.NoLeaks(t)
	for _, scheme := range []string{"http", "https", "socks5"} {
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing, says nothing
		require.NoError(t, err)
		d := &negotiate.Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: l.Addr().String()})}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		_, _, err = d.Dial(ctx, "wss://example.com/", nil)
		cancel()
		assert.ErrorIs(t, err, context.DeadlineExceeded, scheme)
		l.Close()
		d.Close()
	}
}

func TestDialSaysThatItsTimeIsUp(t *testing.T) {
	for name, proxy := range map[string]*url.URL{
		"direct": nil, "http": {Scheme: "http", Host: "proxy.example"}, "socks5": {Scheme: "socks5", Host: "proxy.example"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &negotiate.Dialer{DialContext: wstest.LateDial, Policy: negotiate.Only(websocket.HTTP1), Proxy: http.ProxyURL(proxy)}
				defer d.Close()
				for _, o := range []*websocket.DialOptions{nil, {DialContext: wstest.LateDial}} {
					_, _, err := d.Dial(t.Context(), "ws://example.com/", o)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				}
			})
		})
	}
}
