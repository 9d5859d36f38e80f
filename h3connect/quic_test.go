package h3connect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// TestStreamDeadlinesOverQUIC: deadlines end blocked calls and may be moved (OP-05),
// and a frame that one has cut is not ended as if it were whole.
func TestStreamDeadlinesOverQUIC(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	p := dialRaw(t, s.addr)
	qs, err := p.qc.OpenStream()
	require.NoError(t, err)
	local := &stream{qs: qs}

	payload := bytes.Repeat([]byte("0123456789"), 300<<10) // more than any window
	type result struct {
		n   int
		err error
	}
	wrote := make(chan result, 1)
	go func() {
		n, err := local.Write(payload)
		wrote <- result{n, err}
	}()
	str, err := s.accept().qc.AcceptStream(soon(t)) // so the write has begun
	require.NoError(t, err)
	require.NoError(t, local.SetWriteDeadline(longAgo))
	first := <-wrote
	require.ErrorIs(t, first.err, os.ErrDeadlineExceeded)
	require.Positive(t, first.n)
	require.Less(t, first.n, len(payload))
	_, err = local.Write(payload[first.n:])
	require.ErrorIs(t, err, net.ErrClosed, "a frame was cut")
	require.NoError(t, local.CloseWrite())
	got, err := io.ReadAll(&stream{qs: str})
	se, ok := errors.AsType[*StreamError](err)
	require.True(t, ok, "%v", err)
	require.EqualValues(t, http3.ErrCodeRequestCanceled, se.Code)
	require.True(t, bytes.HasPrefix(payload[:first.n], got))

	require.NoError(t, local.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err = local.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, local.SetReadDeadline(time.Time{}))
	_, err = str.Write(dataFrame("x"))
	require.NoError(t, err)
	b := make([]byte, 10)
	n, err := local.Read(b)
	require.NoError(t, err)
	require.Equal(t, "x", string(b[:n]))
	require.NoError(t, local.Abort())
}

func TestServeFailsWithItsSocket(t *testing.T) {
	wstest.NoLeaks(t)
	server, _ := wstest.Certificates()
	var s Server
	pc := listenUDP(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(pc, http.HandlerFunc(echo), server) }()
	dial(t, newTransport(t), pc.LocalAddr().String(), nil)
	require.NoError(t, pc.Close())
	err := <-done
	require.Error(t, err)
	require.NotErrorIs(t, err, http.ErrServerClosed)
	require.Empty(t, s.served)
}

// The system may take a UDP socket away, for example where a phone changes networks.
func TestUDPSocketFails(t *testing.T) {
	wstest.NoLeaks(t)
	addr := serve(t, new(Server), http.HandlerFunc(echo))
	tr := newTransport(t)
	c := dial(t, tr, addr, nil)
	require.NoError(t, tr.udp.Close())
	_, _, err := c.Read(soon(t))
	ce, ok := errors.AsType[*ConnError](want1006(t, err))
	require.True(t, ok)
	require.False(t, ce.Remote)
	require.NotErrorIs(t, err, net.ErrClosed, "nobody has closed the socket")
	var again dialResult
	require.Eventually(t, func() bool { // quic-go may not have noticed yet
		again = <-goDial(soon(t), tr, addr, nil)
		return again.err == nil
	}, patience, time.Millisecond)
	wantEcho(t, again.ws, "on another UDP socket")
	require.NoError(t, again.ws.Close(soon(t), websocket.StatusNormalClosure, ""))
}

func TestDialByName(t *testing.T) {
	wstest.NoLeaks(t)
	addr := serve(t, new(Server), http.HandlerFunc(echo))
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	c, resp, err := newTransport(t).Dial(soon(t), "wss://localhost:"+port+"/", nil)
	require.NoError(t, err, "the server listens on 127.0.0.1 only; ::1 may come first")
	require.Equal(t, "localhost", resp.TLS.ServerName)
	wantEcho(t, c, "hello")
	require.NoError(t, c.CloseNow())
}

// The zone of an IPv6 literal says to this machine where to dial, and stays here (RFC
// 6874 §4).
func TestZoneOfAnIPv6Literal(t *testing.T) {
	wstest.NoLeaks(t)
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip(err)
	}
	server, _ := wstest.Certificates()
	var s Server
	done := make(chan error, 1)
	hosts := make(chan string, 2)
	go func() {
		done <- s.Serve(pc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hosts <- r.Host
			if r.Method == http.MethodConnect {
				echo(w, r)
			}
		}), server)
	}()
	defer func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	}()
	_, port, err := net.SplitHostPort(pc.LocalAddr().String())
	require.NoError(t, err)
	tr := newTransport(t)
	c, _, err := tr.Dial(soon(t), "wss://[::1%251]:"+port+"/", nil)
	require.NoError(t, err)
	require.Equal(t, "[::1]:"+port, <-hosts)
	resp, err := tr.RoundTrip(newRequest(t, "https://[::1%251]:"+port+"/"))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "[::1]:"+port, <-hosts)
	require.NoError(t, c.CloseNow())
}

func TestDialUntrustedServer(t *testing.T) {
	wstest.NoLeaks(t)
	addr := serve(t, new(Server), http.HandlerFunc(echo))
	tr := new(Transport)
	defer tr.Close()
	_, _, err := tr.Dial(soon(t), "wss://"+addr+"/", nil)
	require.Error(t, err)
	require.NotErrorIs(t, err, websocket.ErrNotSupported, "another bootstrap would not trust it either")
}

func TestDialServerOfAnotherProtocol(t *testing.T) {
	wstest.NoLeaks(t)
	server, _ := wstest.Certificates()
	server.NextProtos = []string{"other"}
	ln, err := quic.ListenAddr("127.0.0.1:0", server, nil)
	require.NoError(t, err)
	defer ln.Close()
	r := wantFailure(t, goDial(soon(t), newTransport(t), ln.Addr().String(), nil))
	require.ErrorIs(t, r.err, websocket.ErrNotSupported)
}

func TestRace(t *testing.T) {
	ips := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")}
	winner := new(quic.Conn)
	hang := func(ctx context.Context) (*quic.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	failure := errors.New("no")
	certificate := &quic.TransportError{ErrorCode: 0x100 + 42}
	for _, c := range []struct {
		name string
		dial func(ctx context.Context, i int) (*quic.Conn, error)
		err  error
		took time.Duration
	}{
		{"the first", func(context.Context, int) (*quic.Conn, error) { return winner, nil }, nil, 0},
		{"the second, as the first hangs", func(ctx context.Context, i int) (*quic.Conn, error) {
			if i == 0 {
				return hang(ctx)
			}
			return winner, nil
		}, nil, stagger},
		{"the third at once, as the others fail", func(_ context.Context, i int) (*quic.Conn, error) {
			if i < 2 {
				return nil, failure
			}
			return winner, nil
		}, nil, 0},
		{"the slow first before the hanging others", func(ctx context.Context, i int) (*quic.Conn, error) {
			if i > 0 {
				return hang(ctx)
			}
			time.Sleep(time.Second)
			return winner, nil
		}, nil, time.Second},
		{"all fail", func(context.Context, int) (*quic.Conn, error) { return nil, failure }, failure, 0},
		{"the failure in which the peer spoke", func(_ context.Context, i int) (*quic.Conn, error) {
			if i == 1 {
				return nil, certificate
			}
			return nil, failure
		}, certificate, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				qc, err := race(t.Context(), ips, func(ctx context.Context, ip netip.Addr) (*quic.Conn, error) {
					return c.dial(ctx, int(ip.As4()[3])-1)
				})
				require.Equal(t, c.err, err)
				require.Equal(t, c.err == nil, qc == winner)
				require.Equal(t, c.took, time.Since(start))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := race(ctx, ips, func(ctx context.Context, _ netip.Addr) (*quic.Conn, error) { return hang(ctx) })
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	_, err := race(t.Context(), nil, nil)
	require.Error(t, err)
}

func TestHostPort(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.com/":         "example.com:443",
		"https://example.com:8443/":    "example.com:8443",
		"https://[::1]/":               "[::1]:443",
		"https://[::1]:1/":             "[::1]:1",
		"https://b\u00fccher.example/": "xn--bcher-kva.example:443",
	} {
		r, err := http.NewRequest(http.MethodGet, url, nil)
		require.NoError(t, err)
		require.Equal(t, want, hostPort(r.URL))
	}
}
