package negotiate_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// hasty are limits with which a connection that has ended does not stay for long.
var hasty = h2connect.Limits{Linger: 20 * time.Millisecond}

// onBoth runs a test over HTTP/1.1 and HTTP/2.
func onBoth(t *testing.T, test func(t *testing.T, b websocket.Bootstrap)) {
	for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2} {
		t.Run(b.String(), func(t *testing.T) {
			wstest.NoLeaks(t)
			test(t, b)
		})
	}
}

// accepting returns a handler that accepts a socket and ends it at once.
func accepting(t *testing.T, o *websocket.AcceptOptions) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := negotiate.Accept(w, r, o)
		if assert.NoError(t, err) {
			c.Close(r.Context(), websocket.StatusNormalClosure, "")
		}
	}
}

// dialOnce opens a socket that the server closes.
func dialOnce(t *testing.T, d *negotiate.Dialer, url string, o *websocket.DialOptions) *http.Response {
	t.Helper()
	c, resp, err := d.Dial(t.Context(), url, o)
	require.NoError(t, err)
	defer c.CloseNow()
	_, _, err = c.Read(t.Context())
	require.Error(t, err)
	return resp
}

func TestDialerCarriesCookiesAndCredentials(t *testing.T) {
	onBoth(t, func(t *testing.T, b websocket.Bootstrap) {
		seen := make(chan http.Header, 10)
		mux := http.NewServeMux()
		mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			seen <- r.Header
			accepting(t, &websocket.AcceptOptions{Header: http.Header{"Set-Cookie": {"accepted=2; Secure"}}})(w, r)
		})
		mux.HandleFunc("/refused", func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "refused", Value: "1"})
			w.WriteHeader(http.StatusForbidden)
		})
		s := start(t, &negotiate.Server{Handler: mux}, true)
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, Policy: negotiate.Only(b), Jar: jar}
		defer d.Close()

		_, _, err = d.Dial(t.Context(), "wss://"+s.addr+"/refused", nil)
		require.Error(t, err)
		o := &websocket.DialOptions{Header: http.Header{"Cookie": {"own=0"}}}
		dialOnce(t, d, "wss://user:pass@"+s.addr+"/ws", o)
		h := <-seen
		assert.Equal(t, "own=0; refused=1", h.Get("Cookie"))
		assert.Equal(t, "Basic dXNlcjpwYXNz", h.Get("Authorization"))
		assert.Equal(t, http.Header{"Cookie": {"own=0"}}, o.Header, "the options are the caller's")
		o.Header = http.Header{"Cookie": {"own=0", "two=1"}, "cookie": {"three=2"}}
		dialOnce(t, d, "wss://"+s.addr+"/ws", o)
		assert.ElementsMatch(t, []string{"own=0", "two=1", "three=2", "refused=1", "accepted=2"}, strings.Split(strings.Join((<-seen)["Cookie"], "; "), "; "))
		dialOnce(t, d, "wss://"+s.addr+"/ws", nil)
		h = <-seen
		assert.ElementsMatch(t, []string{"refused=1", "accepted=2"}, strings.Split(h.Get("Cookie"), "; "))
		assert.Empty(t, h.Get("Authorization"))
	})
}

// H1-C2: redirects are not followed unless asked, never from wss to ws, and nothing
// that lets anybody in goes to another origin.
func TestH1C2Redirects(t *testing.T) {
	onBoth(t, func(t *testing.T, b websocket.Bootstrap) {
		type visit struct {
			at     string
			header http.Header
		}
		visits := make(chan visit, 20)
		targets := make(map[string]string)
		serve := func(name string, secure bool) *server {
			return start(t, &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				visits <- visit{name + r.URL.RequestURI(), r.Header}
				if to, ok := targets[name+r.URL.Path]; ok {
					w.Header().Set("Location", to)
					w.WriteHeader(http.StatusTemporaryRedirect)
					return
				}
				if r.URL.Path == "/nowhere" {
					w.WriteHeader(http.StatusFound)
					return
				}
				accepting(t, &websocket.AcceptOptions{InsecureSkipOriginCheck: true})(w, r)
			})}, secure)
		}
		a, other, plain := serve("a", true), serve("other", true), serve("plain", false)
		targets["a/near"] = "/ws?token=1#fragment"
		targets["a/far"] = "https://sneaky:pass@" + other.addr + "/ws"
		targets["a/there"] = "wss://" + other.addr + "/back"
		targets["other/back"] = "wss://" + a.addr + "/ws"
		targets["a/down"] = "ws://" + plain.addr + "/ws"
		targets["a/strange"] = "ftp://" + a.addr + "/"
		targets["a/loop"] = "/loop"
		targets["plain/up"] = "wss://" + a.addr + "/ws"
		policy := negotiate.Prefer(b)
		if b == websocket.HTTP1 {
			policy = negotiate.Only(b)
		}
		d := &negotiate.Dialer{TLSClientConfig: a.client, HTTP2Limits: hasty, Policy: policy, Redirects: 3}
		defer d.Close()
		o := func() *websocket.DialOptions {
			return &websocket.DialOptions{Header: http.Header{
				"Cookie": {"secret"}, "X-Api-Key": {"secret"}, "Authorization": {"secret"}, "User-Agent": {"test"}, "Origin": {"https://app.example"},
			}}
		}
		at := func(n int) (list []string, last http.Header) {
			for range n {
				v := <-visits
				list, last = append(list, v.at), v.header
			}
			assert.Empty(t, visits)
			return list, last
		}
		dial := func(s *server, scheme, path string) (*http.Response, error) {
			c, resp, err := d.Dial(t.Context(), scheme+"://"+s.addr+path, o())
			if err == nil {
				c.Read(t.Context())
				c.CloseNow()
			}
			return resp, err
		}

		resp, err := dial(a, "wss", "/near")
		require.NoError(t, err)
		assert.Equal(t, "/ws", resp.Request.URL.Path, "the response says where the socket is")
		list, h := at(2)
		assert.Equal(t, []string{"a/near", "a/ws?token=1"}, list)
		assert.Equal(t, "secret", h.Get("Cookie"), "it is the same origin")
		assert.Equal(t, "secret", h.Get("Authorization"))

		for path, want := range map[string][]string{
			"/far":   {"a/far", "other/ws"},
			"/there": {"a/there", "other/back", "a/ws"},
		} {
			_, err = dial(a, "wss", path)
			require.NoError(t, err)
			list, h = at(len(want))
			assert.Equal(t, want, list)
			for _, name := range []string{"Cookie", "Authorization", "X-Api-Key"} {
				assert.Empty(t, h.Get(name), "%s on %s: what was withheld once stays so", name, path)
			}
			assert.Equal(t, "test", h.Get("User-Agent"))
			assert.Equal(t, "https://app.example", h.Get("Origin"))
		}

		_, err = dial(plain, "ws", "/up")
		require.NoError(t, err)
		at(2)

		for path, status := range map[string]int{"/down": 307, "/strange": 307, "/nowhere": 302} {
			resp, err = dial(a, "wss", path)
			var refused *websocket.HandshakeError
			require.ErrorAs(t, err, &refused, path)
			assert.Equal(t, status, refused.Status)
			assert.Equal(t, status, resp.StatusCode)
			at(1)
		}
		_, err = dial(a, "wss", "/loop")
		require.Error(t, err)
		at(4)

		d = &negotiate.Dialer{TLSClientConfig: a.client, HTTP2Limits: hasty, Policy: policy}
		defer d.Close()
		resp, err = dial(a, "wss", "/near")
		require.Error(t, err)
		assert.Equal(t, "/ws?token=1#fragment", resp.Header.Get("Location"), "it is for the caller to follow")
		at(1)
	})
}

// A cookie of one origin does not go to another by a redirect; the other's own does.
func TestRedirectedSocketGetsTheCookiesOfItsTarget(t *testing.T) {
	cookies := make(chan string, 2)
	b := start(t, &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookies <- r.Header.Get("Cookie")
		accepting(t, nil)(w, r)
	})}, true)
	_, port, err := net.SplitHostPort(b.addr)
	require.NoError(t, err)
	a := start(t, &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookies <- r.Header.Get("Cookie")
		http.SetCookie(w, &http.Cookie{Name: "of", Value: "a"})
		w.Header().Set("Location", "wss://localhost:"+port+"/")
		w.WriteHeader(http.StatusFound)
	})}, true)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	jar.SetCookies(&url.URL{Scheme: "https", Host: "localhost"}, []*http.Cookie{{Name: "of", Value: "b"}})
	d := &negotiate.Dialer{TLSClientConfig: a.client, HTTP2Limits: hasty, Jar: jar, Redirects: 1}
	defer d.Close()
	dialOnce(t, d, "wss://"+a.addr+"/", nil)
	assert.Equal(t, "", <-cookies)
	assert.Equal(t, "of=b", <-cookies)
	assert.Equal(t, "of=a", fmt.Sprint(jar.Cookies(&url.URL{Scheme: "https", Host: a.addr})[0]))
}

func TestDialerIsTraced(t *testing.T) {
	onBoth(t, func(t *testing.T, b websocket.Bootstrap) {
		s := start(t, &negotiate.Server{}, true)
		_, port, err := net.SplitHostPort(s.addr)
		require.NoError(t, err)
		d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, Policy: negotiate.Only(b)}
		defer d.Close()
		var mu sync.Mutex
		var events []string
		note := func(e string) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}
		trace := &httptrace.ClientTrace{
			GetConn:              func(addr string) { note("get " + addr) },
			GotConn:              func(i httptrace.GotConnInfo) { note(fmt.Sprintf("got, reused %v", i.Reused)) },
			DNSStart:             func(i httptrace.DNSStartInfo) { note("DNS " + i.Host) },
			DNSDone:              func(httptrace.DNSDoneInfo) { note("DNS done") },
			ConnectStart:         func(network, addr string) { note("connect") },
			ConnectDone:          func(network, addr string, err error) { note(fmt.Sprintf("connected %v", err == nil)) },
			TLSHandshakeStart:    func() { note("TLS") },
			TLSHandshakeDone:     func(s tls.ConnectionState, err error) { note("TLS done " + s.NegotiatedProtocol) },
			WroteHeaders:         func() { note("wrote headers") },
			GotFirstResponseByte: func() { note("first byte") },
		}
		c, _, err := d.Dial(httptrace.WithClientTrace(t.Context(), trace), "wss://localhost:"+port+"/ws", nil)
		require.NoError(t, err)
		mu.Lock()
		for _, once := range []string{"DNS localhost", "TLS", "get localhost:" + port, "got, reused false", "wrote headers", "first byte"} {
			n := 0
			for _, e := range events {
				if e == once {
					n++
				}
			}
			assert.Equal(t, 1, n, "%s in %q", once, events)
		}
		assert.Contains(t, events, "connected true") // localhost may have an address where nobody listens
		// The server may answer before the writer has said that it has written.
		for _, last := range []string{"wrote headers", "first byte"} {
			order := []string{"get localhost:" + port, "DNS localhost", "TLS", "got, reused false", last}
			for i := range order[1:] {
				assert.Less(t, slices.Index(events, order[i]), slices.Index(events, order[i+1]), "%q", events)
			}
		}
		mu.Unlock()
		require.NoError(t, c.CloseNow())
	})
}

func TestDialersClose(t *testing.T) {
	for _, own := range []bool{false, true} {
		onBoth(t, func(t *testing.T, b websocket.Bootstrap) {
			s := start(t, &negotiate.Server{}, true)
			d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, Policy: negotiate.Only(b)}
			o := new(websocket.DialOptions)
			if own {
				o.TLSClientConfig = s.client
			}
			c, _, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", o)
			require.NoError(t, err)
			echo(t, c)
			get(t, d, "GET", "https://"+s.addr+"/", "")
			require.NoError(t, d.Close())
			_, _, err = c.Read(t.Context())
			var end *websocket.CloseError
			require.ErrorAs(t, err, &end)
			assert.Equal(t, websocket.StatusAbnormalClosure, end.Code)
			_, _, err = d.Dial(t.Context(), "wss://"+s.addr+"/ws", o)
			require.ErrorIs(t, err, net.ErrClosed)
			_, err = (&http.Client{Transport: d}).Post("https://"+s.addr+"/", "text/plain", strings.NewReader("x"))
			require.ErrorIs(t, err, net.ErrClosed)
			require.NoError(t, d.Close())
		})
	}
}

// An origin is one whatever its URL looks like.
func TestDialerKnowsAnOriginByAnyName(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{}, true)
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty}
	defer d.Close()
	get(t, d, "GET", "https://LocalHost:"+port+"/", "")
	for _, url := range []string{"wss://localhost:" + port + "/ws", "https://LOCALHOST:" + port + "/ws"} {
		c, _, err := d.Dial(t.Context(), url, nil)
		require.NoError(t, err)
		echo(t, c)
		require.NoError(t, c.CloseNow())
	}
	assert.EqualValues(t, 1, s.conns.Load())
}

// What is found out about a host with a name of its own language holds for requests,
// too.
func TestDialerKnowsAnInternationalName(t *testing.T) {
	wstest.NoLeaks(t)
	s := new(server)
	srv := httptest.NewUnstartedServer(handler(t))
	srv.Listener = countingListener{srv.Listener, &s.conns}
	srv.TLS, s.client = wstest.Certificates()
	srv.StartTLS()
	defer srv.Close()
	s.client.ServerName = "localhost"
	var proxied []string
	d := &negotiate.Dialer{
		TLSClientConfig: s.client,
		Proxy: func(r *http.Request) (*url.URL, error) {
			proxied = append(proxied, r.URL.Host)
			return nil, nil
		},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
		},
	}
	defer d.Close()
	for range 3 {
		assert.Equal(t, "HTTP/1.1 ", get(t, d, "GET", "https://b\u00fccher.example/", ""))
	}
	assert.EqualValues(t, 1, s.conns.Load())
	for _, host := range proxied {
		assert.True(t, strings.HasPrefix(host, "xn--bcher-kva.example"), host)
	}
}

// HTTP/2 without TLS is a guess: where it is wrong, neither sockets nor pages are
// lost, and it is not made again.
func TestGuessAtHTTP2WithoutTLS(t *testing.T) {
	wstest.NoLeaks(t)
	s := new(server)
	srv := httptest.NewUnstartedServer(handler(t))
	srv.Listener = countingListener{srv.Listener, &s.conns}
	srv.Start()
	defer srv.Close()
	s.addr = srv.Listener.Addr().String()
	d := &negotiate.Dialer{Policy: negotiate.Prefer(websocket.HTTP2)}
	defer d.Close()
	assert.Equal(t, "HTTP/1.1 x", get(t, d, "POST", "http://"+s.addr+"/", "x"))
	assert.EqualValues(t, 2, s.conns.Load())
	c, _, err := d.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
	require.NoError(t, err)
	echo(t, c)
	assert.EqualValues(t, 3, s.conns.Load())
	require.NoError(t, c.CloseNow())
	d2 := &negotiate.Dialer{Policy: negotiate.Prefer(websocket.HTTP2)}
	defer d2.Close()
	c, resp, err := d2.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
	require.NoError(t, err)
	assert.Len(t, negotiate.Attempts(resp), 2)
	require.NoError(t, c.CloseNow())
}

func TestArgumentsAreCheckedBeforeAnythingIsDialled(t *testing.T) {
	d := &negotiate.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, io.EOF
	}}
	defer d.Close()
	for url, o := range map[string]*websocket.DialOptions{
		"wss://example.com/#x": nil,
		"wss://":               nil,
		"wss://example.com/a":  {Header: http.Header{"X": {"a\r\nb"}}},
		"wss://example.com/b":  {Header: http.Header{"Sec-WebSocket-Key": {"x"}}},
		"wss://example.com/c":  {Subprotocols: []string{"a b"}},
	} {
		_, _, err := d.Dial(t.Context(), url, o)
		require.Error(t, err)
		assert.NotErrorIs(t, err, io.EOF)
	}
}

func TestContextOfADialerThatWaits(t *testing.T) {
	wstest.NoLeaks(t)
	ended := make(chan struct{})
	d := &negotiate.Dialer{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, _, err := d.Dial(ctx, "wss://example.com/", nil)
	require.ErrorIs(t, err, context.Canceled)
	<-ended // nobody dials for nobody
	_, _, err = (&negotiate.Dialer{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}).Dial(t.Context(), "wss://example.com/", &websocket.DialOptions{Limits: websocket.Limits{Handshake: 10 * time.Millisecond}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var failed *negotiate.DialError
	require.ErrorAs(t, err, &failed)
}

// The zone of an IPv6 address is no part of what a certificate is for.
func TestZoneIsNotInTheServersName(t *testing.T) {
	onBoth(t, func(t *testing.T, b websocket.Bootstrap) {
		s := start(t, &negotiate.Server{}, true)
		d := &negotiate.Dialer{
			TLSClientConfig: s.client, HTTP2Limits: hasty, Policy: negotiate.Only(b),
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				assert.Equal(t, "[::1%lo]:443", addr)
				return new(net.Dialer).DialContext(ctx, network, s.addr)
			},
		}
		defer d.Close()
		c, _, err := d.Dial(t.Context(), "wss://[::1%25lo]/ws", nil)
		require.NoError(t, err)
		echo(t, c)
		require.NoError(t, c.CloseNow())
		c, _, err = d.Dial(t.Context(), "wss://[::1%25lo]/ws", &websocket.DialOptions{TLSClientConfig: s.client})
		require.NoError(t, err)
		echo(t, c)
		require.NoError(t, c.CloseNow())
		get(t, d, "GET", "https://[::1%25lo]/", "")
	})
}
