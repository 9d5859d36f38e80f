package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
	"golang.org/x/net/http2"
)

// refusedBy dials and wants a refusal.
func refusedBy(t testing.TB, tr transport, authority string) *websocket.HandshakeError {
	t.Helper()
	_, _, err := tr.tryDial(soon(t), authority, nil)
	var he *websocket.HandshakeError
	require.ErrorAs(t, err, &he)
	require.True(t, he.Remote)
	return he
}

// A refusal passes with status, fields and content; one that would accept the
// socket where it arrives does not.
func TestProxyPassesRefusals(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		var failure atomic.Value // what the proxy says of it
		target := tr.hop.back.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("X-Why", "because")
			h.Set("Set-Cookie", "a=b")
			if r.ProtoMajor == 1 {
				h.Set("Keep-Alive", "5") // of the connection
			}
			switch r.Header.Get("X-Ask") {
			case "403":
				http.Error(w, "no entry", http.StatusForbidden)
			case "307":
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			case "426":
				h.Set("Sec-WebSocket-Version", "13")
				w.WriteHeader(http.StatusUpgradeRequired)
			case "200", "204":
				if r.ProtoMajor > 1 {
					h2connect.AcceptByHand(w)           // or it would be 501 here already
					w.WriteHeader(http.StatusNoContent) // 200 would accept
				}
			}
		}))
		authority := tr.hop.via(t, target, func(p *negotiate.ReverseProxy) {
			p.Observer = func(e negotiate.ProxyEvent) { failure.Store(fmt.Sprint(e.Err)) }
		})
		for ask, want := range map[string]int{"403": 403, "307": 307, "426": 426, "200": 502} {
			if ask == "426" && tr.bootstrap != websocket.HTTP1 {
				want = 400
			}
			_, _, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{Header: http.Header{"X-Ask": {ask}}})
			var he *websocket.HandshakeError
			require.ErrorAs(t, err, &he, ask)
			assert.Equal(t, want, he.Status, "%s: %s", ask, failure.Load())
			if want == 502 {
				continue
			}
			assert.Equal(t, "because", he.Header.Get("X-Why"), ask)
			assert.Equal(t, "a=b", he.Header.Get("Set-Cookie"), ask)
			assert.Empty(t, he.Header.Get("Keep-Alive"), ask)
			switch ask {
			case "403":
				assert.Equal(t, "no entry\n", string(he.Body))
			case "426":
				assert.Equal(t, "13", he.Header.Get("Sec-WebSocket-Version"))
			}
		}
	})
}

// More content than is passed on does not look whole.
func TestProxyCutsLongRefusals(t *testing.T) {
	wstest.NoLeaks(t)
	for _, back := range transports {
		t.Run(back.name, func(t *testing.T) {
			front := transportNamed("h1").through(t, back, nil) // the one whose answers are read by hand
			authority := front.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write(random(1, 100_000))
			}))
			nc, err := net.Dial("tcp", authority)
			require.NoError(t, err)
			defer nc.Close()
			fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", authority, "AAAAAAAAAAAAAAAAAAAAAA==")
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			require.NoError(t, err)
			assert.Equal(t, http.StatusForbidden, resp.StatusCode)
			body, err := io.ReadAll(resp.Body)
			assert.Error(t, err)
			assert.Equal(t, string(random(1, 100_000)[:len(body)]), string(body))
			assert.GreaterOrEqual(t, len(body), 60_000)
		})
	}
}

// RFC 9931: what a client sends behind its request goes nowhere before the backend
// has accepted, and nowhere at all if it refuses; the connection closes.
func TestRFC9931ProxyForwardsNothingBeforeTheAnswer(t *testing.T) {
	wstest.NoLeaks(t)
	l := listener(t)
	defer l.Close()
	arrived := make(chan string, 1)
	go func() {
		nc, err := l.Accept()
		if !assert.NoError(t, err) {
			return
		}
		defer nc.Close()
		in := bufio.NewReader(nc)
		_, err = http.ReadRequest(in)
		assert.NoError(t, err)
		assert.NoError(t, nc.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		n, _ := in.Read(make([]byte, 1))
		assert.Zero(t, n, "before the answer")
		assert.NoError(t, nc.SetReadDeadline(time.Now().Add(patience)))
		fmt.Fprint(nc, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		rest, _ := io.ReadAll(in)
		arrived <- string(rest)
	}()
	front := transportNamed("h1")
	authority := front.listen(t, reverseProxy(newDialer(t, websocket.HTTP1), front, l.Addr().String()))
	nc, err := net.Dial("tcp", authority)
	require.NoError(t, err)
	defer nc.Close()
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"+
		"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", authority, "AAAAAAAAAAAAAAAAAAAAAA==")
	answer, _ := io.ReadAll(nc)
	assert.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 403 Forbidden\r\n"), "%s", answer)
	assert.Contains(t, string(answer), "Connection: close\r\n")
	assert.True(t, strings.HasSuffix(string(answer), "\r\n\r\nno"), "one answer: %s", answer)
	assert.Empty(t, <-arrived)
}

// A client's bytes in the same segment as its request are not lost when the
// backend accepts.
func TestH117ProxyKeepsEarlyBytes(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		if tr.bootstrap != websocket.HTTP1 || tr.tls {
			t.Skip("bytes in the same segment are HTTP/1.1's")
		}
		authority := tr.listen(t, tr.handler(t, nil, echo))
		nc, err := net.Dial("tcp", authority)
		require.NoError(t, err)
		defer nc.Close()
		early := wstest.NewClient(nc).Append(nil, wstest.Text("early"))
		fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n%s",
			authority, "AAAAAAAAAAAAAAAAAAAAAA==", early)
		in := bufio.NewReader(nc)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		got := make([]byte, 7)
		_, err = io.ReadFull(in, got)
		require.NoError(t, err)
		assert.Equal(t, "\x81\x05early", string(got))
	})
}

// babble serves on a transport what is no answer to a request, until the test ends.
func (tr transport) babble(t testing.TB) string {
	switch tr.bootstrap {
	case websocket.HTTP1:
		return acceptTCP(t, alpnH1(tr.tls), func(nc net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(nc))
			_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n")
		})
	case websocket.HTTP2:
		return acceptTCP(t, alpnH2(tr.tls), func(nc net.Conn) {
			_, _ = io.ReadFull(nc, make([]byte, len(http2.ClientPreface)))
			_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\n\r\n") // a frame of 4 MiB
		})
	}
	return tr.listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler) // a reset
	}))
}

// nobody returns a TCP address on which nobody listens, now or later: a closed
// listener's may be given to the next.
func nobody(t testing.TB) string {
	l := listener(t)
	t.Cleanup(func() { l.Close() })
	nc, err := net.Dial("tcp", l.Addr().String()) // has its address until it ends
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	return nc.LocalAddr().String()
}

// 502 for a backend that cannot be reached or answers nonsense, 504 for one that
// does not answer, 503 for one socket too many.
func TestProxyGatewayErrors(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		back := tr.hop.back
		status := func(authority string, timeout time.Duration) int {
			return refusedBy(t, tr, tr.hop.via(t, authority, func(p *negotiate.ReverseProxy) { p.HandshakeTimeout = timeout })).Status
		}
		assert.Equal(t, http.StatusGatewayTimeout, status(back.silent(t), 200*time.Millisecond))
		assert.Equal(t, http.StatusBadGateway, status(back.babble(t), patience))
		if back.bootstrap != websocket.HTTP3 { // UDP does not say that nobody is there
			assert.Equal(t, http.StatusBadGateway, status(nobody(t), patience))
		}
		full := tr.hop.via(t, back.listen(t, tr.handler(t, nil, echo)), func(p *negotiate.ReverseProxy) { p.MaxSockets = 1 })
		c := tr.mustDial(t, full, nil)
		assert.Equal(t, http.StatusServiceUnavailable, refusedBy(t, tr, full).Status)
		require.NoError(t, c.Close(soon(t), 1000, ""))
	})
}

// What the backend is told of the client, and of the origin.
func TestProxyForwardedFields(t *testing.T) {
	type seen struct {
		header http.Header
		host   string
	}
	onProxies(t, nil, func(t *testing.T, tr transport) {
		back := tr.hop.back
		asked := make(chan seen, 1)
		target := back.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- seen{r.Header, r.Host}
			w.WriteHeader(http.StatusForbidden)
		}))
		authority := tr.hop.via(t, target, func(p *negotiate.ReverseProxy) {
			p.Forwarded = true
			p.Rewrite = func(pr *httputil.ProxyRequest) {
				pr.SetURL(&url.URL{Scheme: back.scheme(), Host: target})
				pr.SetXForwarded()
			}
		})
		for origin, want := range map[string]string{
			tr.origin(authority):   back.origin(target),
			"https://evil.example": "https://evil.example",
		} {
			_, _, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{Header: http.Header{
				"Origin": {origin}, "Forwarded": {"for=liar"}, "X-Forwarded-For": {"liar"}, "X-Kept": {"yes"},
			}})
			require.Error(t, err)
			s := <-asked
			assert.Equal(t, target, s.host)
			assert.Equal(t, want, s.header.Get("Origin"))
			assert.Equal(t, "127.0.0.1", s.header.Get("X-Forwarded-For"))
			assert.Equal(t, authority, s.header.Get("X-Forwarded-Host"))
			assert.Equal(t, tr.scheme(), s.header.Get("X-Forwarded-Proto"))
			assert.Equal(t, `for=127.0.0.1;proto=`+tr.scheme()+`;host="`+authority+`"`, s.header.Get("Forwarded"))
			assert.Equal(t, "yes", s.header.Get("X-Kept"))
			keys := 0
			if back.bootstrap == websocket.HTTP1 {
				keys = 1 // the proxy's own
			}
			assert.Len(t, s.header["Sec-Websocket-Key"], keys)
		}
	})
}

// Sockets of many clients share a connection to the backend, where one can carry
// them.
func TestProxyMultiplexesClients(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		const sockets = 20
		var conns sync.Map // by the address they come from
		serve := tr.handler(t, nil, echo)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conns.Store(r.RemoteAddr, true)
			serve.ServeHTTP(w, r)
		}))
		var clients []*websocket.Conn
		for range sockets {
			clients = append(clients, tr.mustDial(t, authority, nil))
		}
		for _, c := range clients {
			require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("shared")))
			wantMessage(t, c, websocket.MessageText, []byte("shared"))
			require.NoError(t, c.Close(soon(t), 1000, ""))
		}
		n, want := 0, 1
		if tr.hop.back.bootstrap == websocket.HTTP1 {
			want = sockets
		}
		conns.Range(func(any, any) bool { n++; return true })
		assert.Equal(t, want, n)
	})
}

// Ordinary requests pass with content and trailers; an Upgrade to another
// protocol is an ordinary request.
func TestProxyOrdinaryRequests(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Empty(t, r.Header["Upgrade"])
			assert.EqualValues(t, tr.hop.back.bootstrap, r.ProtoMajor)
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(append([]byte("got "), body...))
		}))
		client := &http.Client{Transport: tr.roundTripper(t)}
		req, err := http.NewRequestWithContext(soon(t), http.MethodPost, tr.origin(authority)+"/", strings.NewReader("content"))
		require.NoError(t, err)
		if tr.bootstrap == websocket.HTTP1 {
			req.Header.Set("Upgrade", "something/1")
			req.Header.Set("Connection", "Upgrade")
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "got content", string(body))
		assert.Equal(t, http.StatusTeapot, resp.StatusCode)
	})
}

// passThrough has a proxy to a backend on HTTP/1.1 pass a request on, which is for
// target and has these fields too, and returns what came there, and the answer: a 101
// with these fields.
func passThrough(t *testing.T, target, fields, answer string, rewrite func(*httputil.ProxyRequest)) (arrived string, resp *http.Response) {
	tr := transportNamed("h1")
	requests := make(chan string, 1)
	p := reverseProxy(newDialer(t, websocket.HTTP1), tr, acceptTCP(t, "", func(nc net.Conn) {
		var raw strings.Builder
		in := bufio.NewReader(io.TeeReader(nc, &raw))
		req, err := http.ReadRequest(in)
		if !assert.NoError(t, err) {
			return
		}
		requests <- raw.String()
		fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
			handshake.AcceptKey(req.Header.Get("Sec-WebSocket-Key")), answer)
		_, _ = io.Copy(io.Discard, in)
	}))
	to := p.Rewrite
	p.Rewrite = func(pr *httputil.ProxyRequest) {
		to(pr)
		if rewrite != nil {
			rewrite(pr)
		}
	}
	nc := dialTCP(t, tr.listen(t, p), "")
	fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: front.example\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Mine\r\nX-Mine: yes\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n", target, fields)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		arrived = <-requests
	}
	require.NoError(t, nc.Close())
	select {
	case arrived = <-requests:
	default:
	}
	return arrived, resp
}

// What is of one connection only does not go further, in a request or in an
// acceptance, and neither do credentials for a proxy.
func TestProxyKeepsFieldsOfOneConnection(t *testing.T) {
	wstest.NoLeaks(t)
	arrived, resp := passThrough(t, "/", "Proxy-Authorization: Basic secret\r\nAuthorization: Basic kept\r\n",
		"Connection: Upgrade, X-Hop\r\nX-Hop: secret\r\nKeep-Alive: 5\r\nX-Kept: yes\r\n", nil)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	assert.NotContains(t, arrived, "X-Mine")
	assert.NotContains(t, arrived, "Proxy-Authorization")
	assert.Contains(t, arrived, "\r\nAuthorization: Basic kept\r\n")
	assert.Empty(t, resp.Header["X-Hop"])
	assert.Empty(t, resp.Header["Keep-Alive"])
	assert.Equal(t, "yes", resp.Header.Get("X-Kept"))
}

// Rewrite sees of the query what the backend gets, as under httputil.ReverseProxy;
// paths and queries pass as they came otherwise.
func TestProxyPassesTargets(t *testing.T) {
	wstest.NoLeaks(t)
	for target, want := range map[string]string{
		"/a%2fb//c?x=%2F&y=+": "/a%2fb//c?x=%2F&y=+",
		"/?":                  "/?",
		"/?a=1;b=2&c=3":       "/?c=3",
		"/?a=%zz&c=3":         "/?c=3",
		"/?a#b":               "/?a%23b",
		"http://u:p@x/a?b":    "/a?b",
	} {
		arrived, resp := passThrough(t, target, "", "Connection: Upgrade\r\n", nil)
		assert.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode, target)
		assert.True(t, strings.HasPrefix(arrived, "GET "+want+" HTTP/1.1\r\n"), "%s: %s", target, arrived)
	}
}

// A "#" in a query is not of HTTP/2 and HTTP/3, which ordinary requests may go on by.
func TestProxyPassesTargetsOfPages(t *testing.T) {
	for _, back := range transports {
		t.Run(back.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			p := reverseProxy(newDialer(t, back.bootstrap), back, back.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.RequestURI)
			})))
			nc := dialTCP(t, transportNamed("h1").listen(t, p), "")
			_, _ = io.WriteString(nc, "GET /?a#b HTTP/1.1\r\nHost: front.example\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, "/?a%23b", string(body))
			require.NoError(t, nc.Close())
		})
	}
}

// What Rewrite makes of a client's words does not become fields of their own.
func TestProxyOffersNothingInvalid(t *testing.T) {
	wstest.NoLeaks(t)
	for _, name := range []string{"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"} {
		arrived, resp := passThrough(t, "/?token=a%0d%0aX-Admin:%20yes", "", "Connection: Upgrade\r\n", func(pr *httputil.ProxyRequest) {
			pr.Out.Header.Set(name, pr.In.URL.Query().Get("token"))
		})
		assert.Equal(t, http.StatusBadGateway, resp.StatusCode)
		assert.Empty(t, arrived)
	}
}

// A proxy's Dialer keeps no client's cookies and gives none to another, and follows no
// redirects: what the backend says is said to the client. It comes beside what was set
// in front of the proxy.
func TestProxyKeepsNoClientsCookies(t *testing.T) {
	wstest.NoLeaks(t)
	tr := transportNamed("h1")
	var arrived []string
	target := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived = append(arrived, r.Header.Get("Cookie"))
		w.Header().Set("Set-Cookie", "session=1")
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	dialer := newDialer(t, websocket.HTTP1)
	dialer.Jar, dialer.Redirects = jar, 3
	p := reverseProxy(dialer, tr, target)
	authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "front=1")
		p.ServeHTTP(w, r)
	}))
	for range 2 {
		_, _, err := tr.tryDial(soon(t), authority, nil)
		var he *websocket.HandshakeError
		require.ErrorAs(t, err, &he)
		assert.Equal(t, http.StatusTemporaryRedirect, he.Status)
		assert.Equal(t, []string{"front=1", "session=1"}, he.Header["Set-Cookie"])
	}
	assert.Equal(t, []string{"", ""}, arrived)
}
