package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

// start serves routes on a free port until the test ends.
func start(t *testing.T, routes func(*census) http.Handler) *checker {
	t.Helper()
	cert, err := newCertificate("")
	require.NoError(t, err)
	s, err := serve("127.0.0.1:0", cert, routes)
	require.NoError(t, err)
	require.NoError(t, s.noUDP)
	t.Cleanup(s.close)
	return &checker{server: s, cert: cert, plan: small, progress: newProgress(io.Discard)}
}

func TestPageAndEndpointsAnswerOnEveryVersion(t *testing.T) {
	c := start(t, routes)
	for _, b := range bootstraps {
		t.Run(b.String(), func(t *testing.T) {
			tr := newTrial(c, b)
			defer tr.release()
			get := func(path string) (*http.Response, string) {
				req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+c.server.host()+path, nil)
				require.NoError(t, err)
				resp, err := (&http.Client{Transport: tr.dialer}).Do(req)
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Equal(t, int(b), resp.ProtoMajor)
				return resp, string(body)
			}

			resp, body := get("/")
			id := resp.Header.Get(connectionHeader)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
			assert.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'self'")
			assert.Contains(t, body, fmt.Sprintf(`data-protocol=%q data-connection=%q`, b, id))

			for path, kind := range map[string]string{"/page/page.js": "text/javascript", "/page/page.css": "text/css"} {
				resp, body := get(path)
				assert.Equal(t, 200, resp.StatusCode, path)
				assert.Contains(t, resp.Header.Get("Content-Type"), kind)
				want, err := page.ReadFile(path[1:])
				require.NoError(t, err)
				assert.Equal(t, string(want), body, path)
			}

			var at whereabouts
			resp, body = get("/whoami")
			require.NoError(t, json.Unmarshal([]byte(body), &at))
			assert.Equal(t, whereabouts{Protocol: b.String(), Connection: id}, at)
			assert.Equal(t, id, resp.Header.Get(connectionHeader))
			assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))

			var p population
			_, body = get("/status")
			require.NoError(t, json.Unmarshal([]byte(body), &p))
			assert.Contains(t, p.Connections, account{ID: id, Protocol: b.String(), Requests: 5})

			resp, _ = get("/nothing")
			assert.Equal(t, 404, resp.StatusCode)
			resp, _ = get("/echo")
			assert.GreaterOrEqual(t, resp.StatusCode, 400, "an ordinary request is no handshake")
		})
	}
}

func TestCensusCountsWhatIsOpen(t *testing.T) {
	c := start(t, routes)
	for _, b := range bootstraps {
		t.Run(b.String(), func(t *testing.T) {
			tr := newTrial(c, b)
			defer tr.release()
			for _, s := range tr.sockets {
				require.NoError(t, tr.open(t.Context(), s))
			}
			p := c.server.census.now()
			assert.Equal(t, small.sockets, p.Sockets)
			switch b {
			case websocket.HTTP1:
				assert.Equal(t, small.sockets, p.TCP)
			case websocket.HTTP2:
				assert.Equal(t, 1, p.TCP)
				assert.Equal(t, []account{{ID: tr.sockets[0].connection, Protocol: "HTTP/2", Sockets: small.sockets}}, p.Connections)
			case websocket.HTTP3:
				assert.Equal(t, 1, p.QUIC)
				assert.Equal(t, []account{{ID: tr.sockets[0].connection, Protocol: "HTTP/3", Sockets: small.sockets}}, p.Connections)
			}

			for _, s := range tr.sockets {
				require.NoError(t, s.conn.Close(t.Context(), websocket.StatusNormalClosure, ""))
			}
			assert.Eventually(t, func() bool {
				tr.release()
				p := c.server.census.now()
				return p.Sockets == 0 && p.TCP == 0 && p.QUIC == 0
			}, 5*time.Second, time.Millisecond)
		})
	}
}

func TestCensusRemembersNoMoreThanItsLimits(t *testing.T) {
	c := newCensus()
	for i := range 2 * maxTallies {
		_, err := c.handshake(&tls.ClientHelloInfo{ServerName: fmt.Sprintf("host-%d", i)})
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, len(c.tallies), maxTallies)
	for range 2 * maxTallied {
		cc := &countedConn{connection: new(connection)}
		_, err := c.handshake(&tls.ClientHelloInfo{ServerName: "host-1", Conn: cc})
		require.NoError(t, err)
	}
	connections, handshakes := c.tally("host-1")
	assert.Equal(t, maxTallied, connections)
	assert.Equal(t, 2*maxTallied+1, handshakes)
	connections, handshakes = c.tally("host-0")
	assert.Equal(t, 0, connections)
	assert.Equal(t, 1, handshakes)
	assert.Empty(t, c.now().Connections)
}

// lying returns routes whose sockets are served by echo instead.
func lying(echo func(*websocket.Conn, *http.Request, *census)) func(*census) http.Handler {
	return func(c *census) http.Handler {
		honest := routes(c)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/echo" {
				honest.ServeHTTP(w, r)
				return
			}
			conn, err := negotiate.Accept(w, r, &websocket.AcceptOptions{Compression: &websocket.Compression{}})
			if err != nil {
				return
			}
			echo(conn, r, c) // then the server closes the socket with status 1000
		})
	}
}

func TestSelfCheckFindsAServerThatLies(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		routes     func(*census) http.Handler
	}{
		{"changes a byte", "or changed", lying(func(conn *websocket.Conn, r *http.Request, c *census) {
			_ = conn.WriteJSON(r.Context(), whereaboutsOf(r, c))
			for {
				kind, p, err := conn.Read(r.Context())
				if err != nil {
					return
				}
				if len(p) == 1<<10 {
					p[1<<9] ^= 1
				}
				if conn.Write(r.Context(), kind, p) != nil {
					return
				}
			}
		})},
		{"changes the type", "or changed", lying(func(conn *websocket.Conn, r *http.Request, c *census) {
			_ = conn.WriteJSON(r.Context(), whereaboutsOf(r, c))
			for {
				_, p, err := conn.Read(r.Context())
				if err != nil || conn.Write(r.Context(), websocket.MessageBinary, p) != nil {
					return
				}
			}
		})},
		{"names another version", "the server saw", lying(func(conn *websocket.Conn, r *http.Request, _ *census) {
			_ = conn.WriteJSON(r.Context(), whereabouts{Protocol: "HTTP/9", Connection: "tcp-1"})
		})},
		{"names no connection", "the server saw", lying(func(conn *websocket.Conn, r *http.Request, _ *census) {
			at := whereabouts{Protocol: websocket.Bootstrap(r.ProtoMajor).String()}
			_ = conn.WriteJSON(r.Context(), at)
		})},
		{"closes early", "status 1000", lying(func(conn *websocket.Conn, r *http.Request, c *census) {
			_ = conn.WriteJSON(r.Context(), whereaboutsOf(r, c))
			_, _, _ = conn.Read(r.Context())
		})},
		{"refuses", "403", func(*census) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
		}},
		{"answers requests with something else", "or changed", func(c *census) http.Handler {
			honest := routes(c)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/page/page.js" {
					r.URL.Path = "/page/page.css"
				}
				honest.ServeHTTP(w, r)
			})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := start(t, tc.routes)
			r := c.check(t.Context())
			assert.False(t, r.OK)
			require.Len(t, r.Rows, 3)
			for _, row := range r.Rows {
				assert.False(t, row.OK, row.Bootstrap)
				assert.Contains(t, row.Problem, tc.want, row.Bootstrap)
			}
		})
	}
}

func TestCertificateIsForThisMachineAndItsHash(t *testing.T) {
	cert, err := newCertificate("demo.example")
	require.NoError(t, err)
	leaf := cert.tls.Leaf
	for _, name := range []string{"127.0.0.1", "::1", "localhost", "http2.localhost", "demo.example"} {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: cert.roots})
		assert.NoError(t, err, name)
	}
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: "example.com", Roots: cert.roots})
	assert.Error(t, err)
	assert.LessOrEqual(t, leaf.NotAfter.Sub(leaf.NotBefore), 14*24*time.Hour, "Chromium's bound on hashed certificates")

	spki, err := x509.MarshalPKIXPublicKey(leaf.PublicKey)
	require.NoError(t, err)
	hash := sha256.Sum256(spki)
	assert.Equal(t, base64.StdEncoding.EncodeToString(hash[:]), cert.spki)

	other, err := newCertificate("192.0.2.7")
	require.NoError(t, err)
	assert.NotEqual(t, cert.spki, other.spki, "each run has a key of its own")
	assert.NoError(t, other.tls.Leaf.VerifyHostname("192.0.2.7"))
}

func TestInvitationTrustsTheCertificateAndForcesQUIC(t *testing.T) {
	c := start(t, routes)
	var b bytes.Buffer
	require.NoError(t, writeInvitation(&b, c.server, c.cert))
	text := b.String()
	assert.Contains(t, text, "Open https://"+c.server.host()+"/\n")
	assert.Equal(t, 2, strings.Count(text, "--ignore-certificate-errors-spki-list="+c.cert.spki))
	assert.Equal(t, 2, strings.Count(text, "--user-data-dir="))
	assert.Equal(t, 1, strings.Count(text, "--enable-features=EnableWebsocketsOverHttp3"))
	assert.Equal(t, 1, strings.Count(text, "--origin-to-force-quic-on="+c.server.host()))
}

func TestSilentUDPIsExplained(t *testing.T) {
	c := start(t, routes)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0") // takes packets and says nothing
	require.NoError(t, err)
	defer pc.Close()
	silent := *c.server
	silent.addr = net.TCPAddrFromAddrPort(pc.LocalAddr().(*net.UDPAddr).AddrPort())
	tr := newTrial(&checker{server: &silent, cert: c.cert, plan: small, progress: c.progress}, websocket.HTTP3)
	defer tr.release()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	row := tr.row(tr.run(ctx))
	assert.False(t, row.OK)
	assert.Contains(t, row.Problem, "something blocks UDP to "+pc.LocalAddr().String())
	assert.Zero(t, row.Sockets)
}
