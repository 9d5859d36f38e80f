package h3connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestConfigureServerDefaults(t *testing.T) {
	s := new(http3.Server)
	require.NoError(t, ConfigureServer(s))
	require.Equal(t, 16<<10, s.MaxHeaderBytes)
	require.Equal(t, 3*time.Minute, s.IdleTimeout)
	require.False(t, s.QUICConfig.Allow0RTT)
	require.EqualValues(t, 100, s.QUICConfig.MaxIncomingStreams)
	require.EqualValues(t, 16, s.QUICConfig.MaxIncomingUniStreams)
	require.EqualValues(t, 1<<20, s.QUICConfig.MaxStreamReceiveWindow)
	require.EqualValues(t, 4<<20, s.QUICConfig.MaxConnectionReceiveWindow)
	require.Equal(t, 60*time.Second, s.QUICConfig.MaxIdleTimeout)
	require.Equal(t, 15*time.Second, s.QUICConfig.KeepAlivePeriod)
	require.True(t, s.QUICConfig.EnableStreamResetPartialDelivery)
	require.NotNil(t, s.Handler)
	require.Error(t, ConfigureServer(nil))
}

func TestConfigureServerLeavesWhatIsSet(t *testing.T) {
	conf := &quic.Config{MaxIncomingStreams: 7, Allow0RTT: true, KeepAlivePeriod: time.Hour}
	s := &http3.Server{MaxHeaderBytes: 1, IdleTimeout: -1, QUICConfig: conf}
	require.NoError(t, ConfigureServer(s))
	require.Equal(t, 1, s.MaxHeaderBytes)
	require.EqualValues(t, -1, s.IdleTimeout)
	require.EqualValues(t, 7, s.QUICConfig.MaxIncomingStreams)
	require.True(t, s.QUICConfig.Allow0RTT)
	require.Equal(t, time.Hour, s.QUICConfig.KeepAlivePeriod)
	require.False(t, s.QUICConfig.EnableStreamResetPartialDelivery)
	require.EqualValues(t, 16, s.QUICConfig.MaxIncomingUniStreams)
	require.Zero(t, conf.MaxIncomingUniStreams, "the caller's value is not touched")

	h := s.Handler
	require.NoError(t, ConfigureServer(s))
	require.Same(t, h, s.Handler, "wrapped once")
}

func TestServeFails(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	pc := listenUDP(t)
	require.Error(t, s.Serve(pc, nil, nil), "no TLS configuration")
	_, err := pc.WriteTo([]byte("x"), pc.LocalAddr())
	require.ErrorIs(t, err, net.ErrClosed, "Serve closes the socket")

	server, _ := wstest.Certificates()
	pc = listenUDP(t)
	require.NoError(t, pc.Close())
	require.Error(t, s.Serve(pc, nil, server))

	require.NoError(t, s.Close())
	pc = listenUDP(t)
	require.Equal(t, http.ErrServerClosed, s.Serve(pc, nil, server))
	require.NoError(t, s.Shutdown(soon(t)))
}

// serveUntil runs a Server and returns what its Serve returns.
func serveUntil(t testing.TB, s *Server, h http.Handler) (addr string, done <-chan error) {
	server, _ := wstest.Certificates()
	pc := listenUDP(t)
	c := make(chan error, 1)
	go func() { c <- s.Serve(pc, h, server) }()
	t.Cleanup(func() { _ = s.Close() })
	return pc.LocalAddr().String(), c
}

// TestOP01Shutdown: Close 1001 on every socket, then GOAWAY, and nil if all were
// clean (C14).
func TestOP01ShutdownInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var s Server
		server, _ := wstest.Certificates()
		done := make(chan error, 1)
		go func() { done <- s.Serve(n.host(serverHost), http.HandlerFunc(echo), server) }()
		t.Cleanup(func() { _ = s.Close() })
		p := bubbleRaw(t, n)
		str := p.open(headersFrame(connect()...))
		str.wantStatus("200")
		ours := bubbleDial(t, bubbleTransport(t, n), nil)
		go func() { _, _, _ = ours.Read(context.Background()) }()

		shut := make(chan error, 1)
		go func() { shut <- s.Shutdown(soon(t)) }()
		peer := wstest.NewClient(str)
		peer.WantClose(t, websocket.StatusGoingAway, "the server shuts down")
		require.Equal(t, http.ErrServerClosed, <-done)

		// GOAWAY waits for the closing handshake.
		control, err := p.qc.AcceptUniStream(soon(t))
		require.NoError(t, err)
		b := make([]byte, 100)
		k, err := control.Read(b)
		require.NoError(t, err)
		require.NotContains(t, string(b[:k]), string(goAwayFrame(4)), "no GOAWAY before the Close frames (T24)")
		require.NoError(t, control.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
		_, err = control.Read(b)
		require.Error(t, err)

		peer.Send(t, wstest.Close(1001, ""))
		str.wantEnd()
		require.NoError(t, str.Close())
		require.NoError(t, control.SetReadDeadline(time.Now().Add(patience)))
		k, err = control.Read(b)
		require.NoError(t, err)
		require.Equal(t, goAwayFrame(4), b[:k])

		// A request after GOAWAY is rejected (OP-02).
		late := p.open(headersFrame(connect()...))
		late.wantReset(http3.ErrCodeRequestRejected)
		require.Equal(t, http3.ErrCodeNoError, p.closed())
		require.NoError(t, <-shut)
	})
}

// OP-02: a socket that is asked for behind Close 1001 is refused as one that nobody
// has looked at (RFC 9114 §4.1.1), before GOAWAY too.
func TestOP02ShutdownRefusesASocketAsNeverSeen(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	var seen atomic.Int32
	addr, done := serveUntil(t, &s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		echo(w, r)
	}))
	p := dialRaw(t, addr)
	str := p.open(headersFrame(connect()...))
	str.wantStatus("200")
	shut := make(chan error, 1)
	go func() { shut <- s.Shutdown(soon(t)) }()
	peer := wstest.NewClient(str)
	peer.WantClose(t, websocket.StatusGoingAway, "the server shuts down")
	late := p.open(headersFrame(connect()...))
	late.wantReset(http3.ErrCodeRequestRejected)
	require.EqualValues(t, 1, seen.Load(), "what the handler has seen")
	peer.Send(t, wstest.Close(1001, ""))
	str.wantEnd()
	require.NoError(t, str.Close())
	require.NoError(t, <-shut, "a refusal is nothing unclean")
	require.Equal(t, http.ErrServerClosed, <-done)
}

func TestOP01ShutdownCutsWhoDoesNotAnswer(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	addr, _ := serveUntil(t, &s, http.HandlerFunc(echo))
	p := dialRaw(t, addr)
	str := p.open(headersFrame(connect()...))
	str.wantStatus("200")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
	_, err := p.qc.AcceptStream(soon(t))
	require.Error(t, err, "the connection has ended")
}

func TestShutdownWaitsForRequests(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	entered, release := make(chan struct{}), make(chan struct{})
	addr, _ := serveUntil(t, &s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	}))
	tr := newTransport(t)
	got := make(chan string, 1)
	go func() {
		resp, err := tr.RoundTrip(newRequest(t, "https://"+addr))
		if !assert.NoError(t, err) {
			return
		}
		b, _ := io.ReadAll(resp.Body)
		got <- string(b)
	}()
	<-entered
	shut := make(chan error, 1)
	go func() { shut <- s.Shutdown(soon(t)) }()
	select {
	case err := <-shut:
		require.Fail(t, "Shutdown did not wait", "%v", err)
	case <-time.After(30 * time.Millisecond):
	}
	close(release)
	require.Equal(t, "done", <-got)
	require.NoError(t, <-shut)
}

func TestShutdownDoesNotWaitForStuckHandlersForEver(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	addr, _ := serveUntil(t, &s, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	}))
	p := dialRaw(t, addr)
	p.open(headersFrame(":method: GET", ":scheme: https", ":authority: localhost", ":path: /"))
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
	require.Equal(t, http3.ErrCodeNoError, p.closed())
}

func TestCloseCutsWhatShutdownWaitsFor(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	entered := make(chan struct{})
	addr, done := serveUntil(t, &s, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	p := dialRaw(t, addr)
	p.open(headersFrame(":method: GET", ":scheme: https", ":authority: localhost", ":path: /"))
	<-entered
	shut := make(chan error, 1)
	go func() { shut <- s.Shutdown(context.Background()) }()
	require.Equal(t, http.ErrServerClosed, <-done, "Shutdown has begun")
	require.NoError(t, s.Close())
	require.Equal(t, http3.ErrCodeNoError, p.closed())
	require.NoError(t, <-shut)
	require.Empty(t, s.served)
}

func TestServeTwoSocketsAndShutdown(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	a, doneA := serveUntil(t, &s, http.HandlerFunc(echo))
	b, doneB := serveUntil(t, &s, http.HandlerFunc(echo))
	tr := newTransport(t)
	for _, addr := range []string{a, b} {
		c := dial(t, tr, addr, nil)
		wantEcho(t, c, "hello")
		go func() { _, _, _ = c.Read(context.Background()) }()
	}
	require.NoError(t, s.Shutdown(soon(t)))
	require.Equal(t, http.ErrServerClosed, <-doneA)
	require.Equal(t, http.ErrServerClosed, <-doneB)
	require.Zero(t, s.set.Len(), "T25")
}

func TestServerCloseCutsSockets(t *testing.T) {
	wstest.NoLeaks(t)
	var s Server
	addr, done := serveUntil(t, &s, http.HandlerFunc(echo))
	c := dial(t, newTransport(t), addr, nil)
	require.NoError(t, s.Close())
	require.Equal(t, http.ErrServerClosed, <-done)
	_, _, err := c.Read(soon(t))
	ce, ok := errors.AsType[*ConnError](want1006(t, err))
	require.True(t, ok)
	require.True(t, ce.Remote)
	require.EqualValues(t, http3.ErrCodeNoError, ce.Code)
}

// TestH3_16ConnectionClose: the peer's CONNECTION_CLOSE ends all its sockets.
func TestH3_16ConnectionClose(t *testing.T) {
	_, p, _, c := begin(t)
	require.NoError(t, p.qc.CloseWithError(0x1234, "so long"))
	_, _, err := c.Read(soon(t))
	cause := want1006(t, err)
	ce, ok := errors.AsType[*ConnError](cause)
	require.True(t, ok)
	require.True(t, ce.Remote)
	require.EqualValues(t, 0x1234, ce.Code)
	app, ok := errors.AsType[*quic.ApplicationError](cause)
	require.True(t, ok)
	require.Equal(t, "so long", app.ErrorMessage)
	require.NotErrorIs(t, err, net.ErrClosed)
}

// TestT14 has many sockets on one connection, interleaved with requests.
func TestT14ManySocketsOnOneConnection(t *testing.T) {
	wstest.NoLeaks(t)
	s := &Server{QUICConfig: &quic.Config{MaxIncomingStreams: 200}}
	addr := serve(t, s, site)
	p := dialRaw(t, addr)
	var peers []*wstest.Peer
	for range 100 {
		str := p.open(headersFrame(connect()...))
		str.wantStatus("200")
		peers = append(peers, wstest.NewClient(str))
		wantAlive(t, p)
	}
	for i, peer := range peers {
		peer.Send(t, wstest.Text(fmt.Sprint(i)))
	}
	for i, peer := range peers {
		peer.WantFrame(t, frame.Text, fmt.Sprint(i), "each stream is its own socket")
	}
}

// Not parallel: it looks at the default logger.
func TestServerLogsNowhereButToItsLogger(t *testing.T) {
	var stray, own bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&stray, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })

	panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the handler's") })
	for _, s := range []*Server{{}, {Logger: slog.New(slog.NewTextHandler(&own, nil))}} {
		addr, done := serveUntil(t, s, panics)
		_, err := (&http.Client{Transport: newTransport(t)}).Get("https://" + addr + "/")
		require.Error(t, err)
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	}
	assert.Empty(t, stray.String())
	assert.Contains(t, own.String(), "the handler's")
}

// A connection that was lost with a socket and a request on it is garbage, and
// not held until it would have been idle for too long.
func TestLostConnectionIsNotKept(t *testing.T) {
	wstest.NoLeaks(t)
	conns := make(chan weak.Pointer[quic.Conn], 1)
	accepted := make(chan struct{})
	s := &Server{ConnContext: func(ctx context.Context, qc *quic.Conn) context.Context {
		conns <- weak.Make(qc)
		return ctx
	}}
	addr := serve(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted <- struct{}{}
		if r.Method == http.MethodConnect {
			echo(w, r)
			return
		}
		<-r.Context().Done()
	}))
	p := dialRaw(t, addr)
	conn := <-conns
	for _, r := range [][]byte{
		headersFrame(connect()...),
		headersFrame(":method: GET", ":scheme: https", ":authority: localhost", ":path: /"),
	} {
		p.open(r)
		<-accepted
	}
	require.NotNil(t, conn.Value())
	require.NoError(t, p.qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), ""))
	wantGarbage(t, conn)
}

// A timer that is started behind the end of its connection, or that the runtime
// keeps although it was stopped, does not hold what it was for.
func TestTimerDoesNotHoldItsConnection(t *testing.T) {
	addr := serve(t, new(Server), site)
	t.Run("server", func(t *testing.T) {
		qc := dialRaw(t, addr).qc
		c := newServerConn(qc, time.Hour, -1)
		startedBehindTheEnd(t, qc, c.timer)
		wantGarbage(t, weak.Make(c))
	})
	t.Run("client", func(t *testing.T) {
		qc := dialRaw(t, addr).qc
		c := newClientConn(qc, time.Hour)
		startedBehindTheEnd(t, qc, c.timer)
		wantGarbage(t, weak.Make(c))
	})
}

// startedBehindTheEnd ends the connection, waits until that has stopped its timer,
// and leaves the timer started again.
func startedBehindTheEnd(t *testing.T, qc *quic.Conn, timer *time.Timer) {
	t.Helper()
	require.NoError(t, qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), ""))
	require.Eventually(t, func() bool { return !timer.Reset(time.Hour) }, patience, time.Millisecond,
		"the timer outlives the connection")
	t.Cleanup(func() { timer.Stop() })
}

func wantGarbage[T any](t *testing.T, p weak.Pointer[T]) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC()
		return p.Value() == nil
	}, patience, 20*time.Millisecond, "it is held")
}
