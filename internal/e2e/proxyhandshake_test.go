package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
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
			front := transportNamed("h1").through(t, back, nil)
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

// 502 for a backend that cannot be reached or answers nonsense, 504 for one that
// does not answer, 503 for one socket too many.
func TestProxyGatewayErrors(t *testing.T) {
	for _, front := range transports {
		t.Run(front.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			gone := listener(t)
			require.NoError(t, gone.Close())
			silent := listener(t)
			defer silent.Close() // accepts, in the kernel, and says nothing
			nonsense := listener(t)
			defer nonsense.Close()
			go func() {
				for {
					nc, err := nonsense.Accept()
					if err != nil {
						return
					}
					http.ReadRequest(bufio.NewReader(nc))
					io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n")
					nc.Close()
				}
			}()
			for authority, want := range map[string]int{
				gone.Addr().String():     http.StatusBadGateway,
				silent.Addr().String():   http.StatusGatewayTimeout,
				nonsense.Addr().String(): http.StatusBadGateway,
			} {
				proxy := reverseProxy(newDialer(t, websocket.HTTP1), transportNamed("h1"), authority)
				proxy.HandshakeTimeout = 200 * time.Millisecond
				if want == http.StatusBadGateway {
					proxy.HandshakeTimeout = patience
				}
				assert.Equal(t, want, refusedBy(t, front, front.listen(t, proxy)).Status)
			}
			back := transportNamed("h2c")
			full := reverseProxy(newDialer(t, back.bootstrap), back, back.listen(t, back.handler(t, nil, echo)))
			full.MaxSockets = 1
			authority := front.listen(t, full)
			c := front.mustDial(t, authority, nil)
			assert.Equal(t, http.StatusServiceUnavailable, refusedBy(t, front, authority).Status)
			require.NoError(t, c.Close(soon(t), 1000, ""))
		})
	}
}

// What the backend is told of the client, and of the origin.
func TestProxyForwardedFields(t *testing.T) {
	type seen struct {
		header http.Header
		host   string
	}
	for _, front := range transports {
		t.Run(front.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			back := transportNamed("h2c")
			asked := make(chan seen, 1)
			target := back.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- seen{r.Header, r.Host}
				w.WriteHeader(http.StatusForbidden)
			}))
			proxy := &negotiate.ReverseProxy{
				Rewrite: func(pr *httputil.ProxyRequest) {
					pr.SetURL(&url.URL{Scheme: "http", Host: target})
					pr.SetXForwarded()
				},
				Dialer: newDialer(t, websocket.HTTP2), Forwarded: true, RewriteOrigin: true,
			}
			authority := front.listen(t, proxy)
			for origin, want := range map[string]string{
				front.origin(authority): "http://" + target,
				"https://evil.example":  "https://evil.example",
			} {
				_, _, err := front.tryDial(soon(t), authority, &websocket.DialOptions{Header: http.Header{
					"Origin": {origin}, "Forwarded": {"for=liar"}, "X-Forwarded-For": {"liar"}, "X-Kept": {"yes"},
				}})
				require.Error(t, err)
				s := <-asked
				assert.Equal(t, target, s.host)
				assert.Equal(t, want, s.header.Get("Origin"))
				assert.Equal(t, "127.0.0.1", s.header.Get("X-Forwarded-For"))
				assert.Equal(t, authority, s.header.Get("X-Forwarded-Host"))
				scheme, _, _ := strings.Cut(front.origin(authority), ":")
				assert.Equal(t, scheme, s.header.Get("X-Forwarded-Proto"))
				assert.Equal(t, `for=127.0.0.1;proto=`+scheme+`;host="`+authority+`"`, s.header.Get("Forwarded"))
				assert.Equal(t, "yes", s.header.Get("X-Kept"))
				assert.Empty(t, s.header["Sec-Websocket-Key"])
			}
		})
	}
}

// Sockets of many clients share the backend's connection.
func TestProxyMultiplexesClients(t *testing.T) {
	for _, name := range []string{"h2", "h2c"} {
		t.Run(name, func(t *testing.T) {
			wstest.NoLeaks(t)
			back, front := transportNamed(name), transportNamed("h1")
			var conns atomic.Int32
			d := newDialer(t, back.bootstrap)
			d.DialContext = countDials(&conns)
			authority := front.listen(t, reverseProxy(d, back, back.listen(t, back.handler(t, nil, echo))))
			var clients []*websocket.Conn
			for range 20 {
				clients = append(clients, front.mustDial(t, authority, nil))
			}
			for _, c := range clients {
				require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("shared")))
				wantMessage(t, c, websocket.MessageText, []byte("shared"))
				require.NoError(t, c.Close(soon(t), 1000, ""))
			}
			assert.EqualValues(t, 1, conns.Load())
		})
	}
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
