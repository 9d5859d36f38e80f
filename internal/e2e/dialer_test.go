package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
	"golang.org/x/net/http2"
)

const (
	h1 = websocket.HTTP1
	h2 = websocket.HTTP2
	h3 = websocket.HTTP3
)

func prefer(b ...websocket.Bootstrap) func(*negotiate.Dialer) {
	return func(d *negotiate.Dialer) { d.Policy = negotiate.Prefer(b...) }
}

func only(b ...websocket.Bootstrap) func(*negotiate.Dialer) {
	return func(d *negotiate.Dialer) { d.Policy = negotiate.Only(b...) }
}

// unhurried has TCP wait until HTTP/3 has failed, so that the machine's load does
// not decide who wins.
func unhurried(d *negotiate.Dialer) { d.HeadStart = -1 }

// impatient gives a server's SETTINGS a tenth of a second, where there are none to
// come. What a Dialer does without is in package negotiate's tests.
func impatient(d *negotiate.Dialer) { d.HTTP2Limits.Preface = 100 * time.Millisecond }

// What kinds of server there are, and how a Dialer gets its socket from each: by
// which bootstraps, with how many connections, in bounded time; and what it has
// learned for the second socket.
func TestDialerGetsItsSocket(t *testing.T) {
	refuse := func(n int, nc net.Conn) bool {
		playHTTP2(nc, []http2.Setting{}, func(fr *http2.Framer, id uint32) {
			fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		})
		return true
	}
	goAwayOnce := func(n int, nc net.Conn) bool {
		if n > 0 {
			return false
		}
		playHTTP2(nc, []http2.Setting{}, func(fr *http2.Framer, id uint32) {
			fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		})
		return true
	}
	late := func(n int, nc net.Conn) bool {
		time.AfterFunc(200*time.Millisecond, func() { // while the client waits
			defer nc.Close()
			playHTTP2(nc, []http2.Setting{}, func(fr *http2.Framer, id uint32) {
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: []byte{0x88}}) // :status 200
				fr.WriteData(id, false, []byte("\x81\x05hello"))
			})
		})
		return true
	}
	noneAtAll := func(n int, nc net.Conn) bool {
		playHTTP2(nc, nil, func(*http2.Framer, uint32) {})
		return true
	}
	rejecting := func(qc *quic.Conn) {
		playHTTP3(qc, true, func(str *quic.Stream) {
			str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
			str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
		})
	}
	withoutSockets := func(qc *quic.Conn) {
		playHTTP3(qc, false, func(*quic.Stream) { t.Error("a stream, without ENABLE_CONNECT_PROTOCOL") })
	}
	tests := []struct {
		name   string
		plan   originPlan
		change []func(*negotiate.Dialer)

		first, second []websocket.Bootstrap // tried for the first and the second socket
		tcp, quic     int32                 // connections after both, -1: no matter
		within        time.Duration         // for both; 0: generous
		deaf          bool                  // the server does not echo
	}{
		{name: "all", first: l(h2), second: l(h2), tcp: 1},
		{name: "all, h3 asked for", change: fs(prefer(h3), unhurried), first: l(h3), second: l(h3), quic: 1},
		{
			name: "h2 without extended CONNECT", plan: originPlan{noUDP: true, engine: &h2connect.Server{DisableExtendedConnect: true}},
			first: l(h2, h1), second: l(h2, h1), tcp: 3,
		},
		{name: "h1 only", plan: originPlan{noUDP: true, protocols: []string{"http/1.1"}}, first: l(h2, h1), second: l(h2, h1), tcp: 2},
		{name: "h1 without ALPN", plan: originPlan{noUDP: true, protocols: []string{}}, first: l(h2, h1), second: l(h2, h1), tcp: 2},
		{name: "h3 only", plan: originPlan{noTCP: true}, change: fs(prefer(h3), unhurried), first: l(h3), second: l(h3), quic: 1},
		{name: "h3 only, TCP begun too", plan: originPlan{noTCP: true}, change: fs(only(h3, h2)), first: l(h3), second: l(h3), quic: 1},
		{name: "UDP blackholed", plan: originPlan{silentUDP: true}, change: fs(prefer(h3)), first: l(h3, h2), second: l(h3, h2), tcp: 1, within: 2 * generous},
		{name: "no UDP", plan: originPlan{noUDP: true}, change: fs(prefer(h3)), first: l(h3, h2), second: l(h3, h2), tcp: 1, within: 2 * generous},
		{name: "SETTINGS late", plan: originPlan{noUDP: true, onHTTP2: late}, first: l(h2), second: l(h2), tcp: 1, deaf: true},
		{
			name: "SETTINGS never", plan: originPlan{noUDP: true, onHTTP2: noneAtAll}, change: fs(impatient),
			first: l(h2, h1), second: l(h2, h1), tcp: 4,
		},
		{name: "REFUSED_STREAM", plan: originPlan{noUDP: true, onHTTP2: refuse}, first: l(h2, h1), second: l(h2, h1), tcp: -1},
		{name: "GOAWAY in between", plan: originPlan{noUDP: true, onHTTP2: goAwayOnce}, first: l(h2), second: l(h2), tcp: 2},
		{
			name: "MAX_CONCURRENT_STREAMS 2", plan: originPlan{noUDP: true, engine: &h2connect.Server{Limits: h2connect.Limits{ConcurrentStreams: 2}}},
			first: l(h2), second: l(h2), tcp: 2, // one stream of each is left to requests
		},
		{
			name: "H3_REQUEST_REJECTED", plan: originPlan{onQUIC: rejecting}, change: fs(prefer(h3), unhurried),
			first: l(h3, h2), second: l(h3, h2), tcp: 1, quic: -1,
		},
		{
			name: "h3 without extended CONNECT", plan: originPlan{onQUIC: withoutSockets}, change: fs(prefer(h3), unhurried),
			first: l(h3, h2), second: l(h3, h2), tcp: 1, quic: 1,
		},
		{name: "only h1", change: fs(only(h1)), first: l(h1), second: l(h1), tcp: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := serveOrigin(t, tt.plan)
			d := s.dialer(tt.change...)
			begin := time.Now()
			for i, want := range [][]websocket.Bootstrap{tt.first, tt.second} {
				var attempts []negotiate.Attempt
				if tt.deaf {
					c, resp, err := d.Dial(soon(t), s.url("/socket"), nil)
					require.NoError(t, err)
					t.Cleanup(func() { c.CloseNow() })
					wantMessage(t, c, websocket.MessageText, []byte("hello"))
					attempts = negotiate.Attempts(resp)
				} else {
					_, attempts = s.dial(d)
				}
				require.Equal(t, want, tried(attempts), "socket %d: %v", i, attempts)
				for _, a := range attempts[:len(attempts)-1] {
					assert.Error(t, a.Err)
					assert.Equal(t, s.addr, a.Addr)
				}
				assert.NoError(t, attempts[len(attempts)-1].Err)
			}
			within := tt.within
			if within == 0 {
				within = generous
			}
			assert.Less(t, time.Since(begin), within)
			if tt.tcp >= 0 {
				assert.Equal(t, tt.tcp, s.tcp.Load(), "connections over TCP")
			}
			if !tt.plan.noUDP && tt.quic >= 0 {
				assert.Equal(t, tt.quic, s.quic.Load(), "connections over QUIC")
			}
		})
	}
}

func l(b ...websocket.Bootstrap) []websocket.Bootstrap          { return b }
func fs(f ...func(*negotiate.Dialer)) []func(*negotiate.Dialer) { return f }

func wantDialError(t testing.TB, err error) (failed *negotiate.DialError) {
	t.Helper()
	require.ErrorAs(t, err, &failed)
	return failed
}

// H3-15: a dial does not hang where UDP is blocked, and the next one does not even
// try.
func TestH3_15DialerRemembersThatUDPIsBlocked(t *testing.T) {
	wstest.NoLeaks(t)
	s := serveOrigin(t, originPlan{silentUDP: true})
	d := s.dialer()
	assert.Equal(t, "HTTP/2.0", s.get(d)) // and announces HTTP/3
	_, attempts := s.dial(d)
	assert.Equal(t, l(h2), tried(attempts), "the page's connection is used")

	d = s.dialer()
	assert.Equal(t, "HTTP/2.0", s.get(d))
	s.disconnectAllBut(1, d)
	c, attempts := s.dial(d)
	require.Equal(t, l(h3, h2), tried(attempts))
	assert.Less(t, attempts[0].Duration, generous)
	require.NoError(t, c.CloseNow())
	s.disconnectAllBut(1, d)
	_, attempts = s.dial(d)
	assert.Equal(t, l(h2), tried(attempts), "HTTP/3 is not tried again for a while")
}

func TestDialerFollowsAnnouncements(t *testing.T) {
	wstest.NoLeaks(t)
	s := serveOrigin(t, originPlan{})
	d := s.dialer(unhurried)
	assert.Equal(t, "HTTP/2.0", s.get(d))
	s.disconnect(d)
	_, attempts := s.dial(d)
	assert.Equal(t, l(h3), tried(attempts), "announced, and nothing else is open")
	assert.Equal(t, "HTTP/3.0", s.get(d), "pages come by the socket's connection")
	assert.EqualValues(t, 1, s.quic.Load())
	assert.EqualValues(t, 1, s.tcp.Load())
}

// A page's URL may have a fragment, which a socket's may not.
func TestDialerFollowsAnnouncementsToPartsOfPages(t *testing.T) {
	wstest.NoLeaks(t)
	s := serveOrigin(t, originPlan{})
	d := s.dialer(unhurried)
	assert.Equal(t, "HTTP/2.0", s.getAt(d, "/page#part"))
	s.disconnect(d)
	assert.Equal(t, "HTTP/3.0", s.getAt(d, "/page#part"))
	assert.Equal(t, "HTTP/3.0", s.getAt(d, "/page#part"), "on the connection that there is")
}

func TestDialerFollowsAnnouncementsToAnotherPort(t *testing.T) {
	wstest.NoLeaks(t)
	other := serveOrigin(t, originPlan{noTCP: true})
	s := serveOrigin(t, originPlan{noUDP: true, altSvc: `h2=":1", h3=":` + portOf(t, other.addr) + `"`})
	d := s.dialer(unhurried)
	assert.Equal(t, "HTTP/2.0", s.get(d))
	s.disconnect(d)
	c, attempts := s.dial(d)
	require.Equal(t, l(h3), tried(attempts))
	assert.Equal(t, other.addr, attempts[0].Addr)
	assert.EqualValues(t, 1, other.asked.Load())
	require.NoError(t, c.Close(soon(t), 1000, ""))

	d = s.dialer(unhurried)
	s.get(d)
	s.getAt(d, "/clear")
	s.disconnect(d)
	_, attempts = s.dial(d)
	assert.Equal(t, l(h2), tried(attempts), "the server has taken it back")

	d = s.dialer(unhurried)
	s.get(d)
	d.NetworkChanged()
	s.disconnectAllBut(1, d)
	_, attempts = s.dial(d)
	assert.Equal(t, l(h2), tried(attempts), "another network, and it was not to persist")
}

// A server that answers 421 for an origin that announced it is not the origin,
// which is asked itself then, and the announcement is forgotten (RFC 7838 §6).
func TestDialerIsMisdirected(t *testing.T) {
	wstest.NoLeaks(t)
	other := serveOrigin(t, originPlan{noTCP: true, onQUIC: func(qc *quic.Conn) {
		playHTTP3(qc, true, func(str *quic.Stream) {
			// HEADERS; ":status: 421" as a literal with the static table's name 24.
			str.Write([]byte{1, 8, 0, 0, 0x5f, 9, 3, '4', '2', '1'})
			str.Close()
		})
	}})
	announce := `h3=":` + portOf(t, other.addr) + `"; persist=1`
	s := serveOrigin(t, originPlan{noUDP: true, altSvc: announce})
	for _, first := range []string{"socket", "page"} {
		d := s.dialer(unhurried)
		assert.Equal(t, "HTTP/2.0", s.get(d))
		s.disconnect(d)
		before := other.quic.Load()
		if first == "page" {
			assert.Equal(t, "HTTP/2.0", s.get(d))
		} else {
			c, attempts := s.dial(d)
			require.Equal(t, l(h3, h2), tried(attempts))
			assert.Equal(t, other.addr, attempts[0].Addr)
			var refused *websocket.HandshakeError
			require.ErrorAs(t, attempts[0].Err, &refused)
			assert.Equal(t, http.StatusMisdirectedRequest, refused.Status)
			c.CloseNow()
		}
		assert.Equal(t, before+1, other.quic.Load())
		require.NoError(t, d.Close())
		waitForNone(t, s)
	}
}

// A socket with a TLS configuration of its own has a QUIC connection of its own: one that
// was verified in another way, or not at all, is nobody else's, and ends with it.
func TestDialerHasConnectionsOfTheirOwnOverHTTP3(t *testing.T) {
	wstest.NoLeaks(t)
	s := serveOrigin(t, originPlan{noTCP: true})
	d := s.dialer(only(h3))
	own := func() *websocket.Conn {
		t.Helper()
		c, _, err := d.Dial(soon(t), s.url("/socket"), &websocket.DialOptions{Limits: quick, TLSClientConfig: d.TLSClientConfig})
		require.NoError(t, err)
		return c
	}
	defer own().CloseNow()
	s.dial(d)
	defer own().CloseNow()
	assert.Equal(t, "HTTP/3.0", s.get(d))
	assert.EqualValues(t, 3, s.quic.Load())
}

// What has answered 421 is not asked again on the connection that is still open.
func TestDialerIsMisdirectedOnce(t *testing.T) {
	wstest.NoLeaks(t)
	other := serveOrigin(t, originPlan{noTCP: true, onQUIC: func(qc *quic.Conn) {
		playHTTP3(qc, true, func(str *quic.Stream) {
			str.Write([]byte{1, 8, 0, 0, 0x5f, 9, 3, '4', '2', '1'})
			str.Close()
		})
	}})
	s := serveOrigin(t, originPlan{noUDP: true, hush: true, altSvc: `h3=":` + portOf(t, other.addr) + `"`})
	for _, first := range []string{"socket", "page"} {
		d := s.dialer(unhurried)
		s.get(d)
		s.disconnect(d)
		before := other.quic.Load()
		want := l(h3, h2)
		if first == "page" {
			assert.Equal(t, "HTTP/2.0", s.get(d))
			want = l(h2)
		}
		for range 2 {
			c, attempts := s.dial(d)
			assert.Equal(t, want, tried(attempts))
			c.CloseNow()
			want = l(h2)
		}
		assert.Equal(t, before+1, other.quic.Load())
		require.NoError(t, d.Close())
		waitForNone(t, s)
	}
}

func waitForNone(t testing.TB, s *originServer) {
	t.Helper()
	require.Eventually(t, func() bool { return s.open.Load() == 0 }, patience, time.Millisecond)
}

// The loser of a race leaves nothing: neither a connection that is still being
// opened, nor a goroutine.
func TestLoserOfARaceIsGivenUp(t *testing.T) {
	wstest.NoLeaks(t)
	l1, pc := listenBoth(t)
	defer l1.Close()
	stuck := make(chan net.Conn, 1)
	go func() { // ends with the listener
		for {
			nc, err := l1.Accept()
			if err != nil {
				return
			}
			stuck <- nc // TLS never comes
		}
	}()
	s := &originServer{t: t, addr: l1.Addr().String()}
	config, _ := wstest.Certificates()
	release := make(chan struct{})
	s.playUDP(pc, config, func(qc *quic.Conn) {
		<-release // SETTINGS are late
		playHTTP3(qc, true, func(str *quic.Stream) {
			str.Write([]byte{1, 3, 0, 0, 0xd9})        // HEADERS; ":status: 200", index 25
			str.Write([]byte("\x00\x07\x81\x05hello")) // DATA
		})
	})
	d := s.dialer(prefer(h3), func(d *negotiate.Dialer) { d.HeadStart = time.Millisecond })
	type result struct {
		c        *websocket.Conn
		attempts []negotiate.Attempt
		err      error
	}
	done := begin(func() result {
		c, resp, err := d.Dial(soon(t), s.url("/socket"), nil)
		return result{c, negotiate.Attempts(resp), err}
	})
	loser := <-stuck // TCP has begun
	close(release)
	r := <-done
	require.NoError(t, r.err)
	assert.Equal(t, l(h3), tried(r.attempts))
	wantMessage(t, r.c, websocket.MessageText, []byte("hello"))
	loser.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, loser) // a ClientHello, and the end
	if err != nil {
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection is still there")
	}
	loser.Close()
	r.c.CloseNow()
}

func TestDialerTakesA403ForAnAnswer(t *testing.T) {
	s := serveOrigin(t, originPlan{})
	for _, d := range []*negotiate.Dialer{s.dialer(), s.dialer(prefer(h3), unhurried), s.dialer(only(h1, h2))} {
		_, resp, err := d.Dial(soon(t), s.url("/forbidden"), nil)
		assert.Len(t, wantDialError(t, err).Attempts, 1)
		var refused *websocket.HandshakeError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, http.StatusForbidden, refused.Status)
		assert.Equal(t, http.StatusForbidden, resp.StatusCode)
	}
	assert.EqualValues(t, 2, s.tcp.Load())
	assert.EqualValues(t, 1, s.quic.Load())
}

func TestDialerDoesNotTrustAWrongCertificate(t *testing.T) {
	wstest.NoLeaks(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"somebody.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	s := serveOrigin(t, originPlan{tls: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}})
	for _, tt := range []struct {
		change []func(*negotiate.Dialer)
		want   []websocket.Bootstrap
	}{
		{want: l(h2)}, // HTTP/1.1 would meet the same one
		{fs(only(h1)), l(h1)},
		{fs(prefer(h3), unhurried), l(h3, h2)},
		{fs(only(h3)), l(h3)},
	} {
		before := s.tcp.Load()
		_, resp, err := s.dialer(tt.change...).Dial(soon(t), s.url("/socket"), nil)
		assert.Nil(t, resp)
		assert.Equal(t, tt.want, tried(wantDialError(t, err).Attempts))
		assert.ErrorContains(t, err, "certificate")
		assert.LessOrEqual(t, s.tcp.Load()-before, int32(1))
	}
	assert.Zero(t, s.asked.Load())
}

func TestDialerTakesTheProxysRefusalForFinal(t *testing.T) {
	s := serveOrigin(t, originPlan{})
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "CONNECT", r.Method)
		assert.Equal(t, s.addr, r.Host)
		asked.Add(1)
		http.Error(w, "not you", http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	d := s.dialer(func(d *negotiate.Dialer) {
		u, err := url.Parse(proxy.URL)
		require.NoError(t, err)
		u.User = url.UserPassword("user", "secret")
		d.Proxy = http.ProxyURL(u)
	})
	_, _, err := d.Dial(soon(t), s.url("/socket"), nil)
	failed := wantDialError(t, err)
	assert.Equal(t, l(h2), tried(failed.Attempts))
	assert.Equal(t, proxy.URL, failed.Attempts[0].Proxy)
	var refused *negotiate.ProxyError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusProxyAuthRequired, refused.Status)
	assert.NotContains(t, err.Error(), "secret")
	assert.EqualValues(t, 1, asked.Load())
	assert.Zero(t, s.tcp.Load()+s.quic.Load())
}

// A connection that the server has dropped is not trusted with a socket twice.
func TestDialerSurvivesADeadPooledConnection(t *testing.T) {
	wstest.NoLeaks(t)
	conns := make(chan net.Conn, 10)
	s := serveOrigin(t, originPlan{noUDP: true, onHTTP2: func(n int, nc net.Conn) bool {
		conns <- nc
		return false
	}})
	d := s.dialer()
	assert.Equal(t, "HTTP/2.0", s.get(d))
	dead := (<-conns).(*tls.Conn).NetConn().(*net.TCPConn)
	require.NoError(t, dead.SetLinger(0))
	dead.Close() // RST, which the client sees before the socket or after
	_, attempts := s.dial(d)
	assert.Equal(t, l(h2), tried(attempts))
	assert.EqualValues(t, 2, s.tcp.Load())
}
