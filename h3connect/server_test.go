package h3connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
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

// readControl reads the server's control stream up to GOAWAY and returns its
// stream ID.
func (p *rawPeer) goAway(t testing.TB) (id uint64) {
	t.Helper()
	str, err := p.qc.AcceptUniStream(soon(t))
	require.NoError(t, err)
	require.NoError(t, str.SetReadDeadline(time.Now().Add(patience)))
	r := quicvarint.NewReader(str)
	typ, err := quicvarint.Read(r)
	require.NoError(t, err)
	require.EqualValues(t, streamControl, typ)
	for {
		typ, err := quicvarint.Read(r)
		require.NoError(t, err)
		length, err := quicvarint.Read(r)
		require.NoError(t, err)
		if typ == frameGoAway {
			id, err = quicvarint.Read(r)
			require.NoError(t, err)
			return id
		}
		_, err = io.CopyN(io.Discard, str, int64(length))
		require.NoError(t, err)
	}
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
	wstest.NoLeaks(t)
	var s Server
	addr, done := serveUntil(t, &s, http.HandlerFunc(echo))
	p := dialRaw(t, addr)
	str := p.open(headersFrame(connect()...))
	str.wantStatus("200")
	ours := dial(t, newTransport(t), addr, nil)
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
	n, err := control.Read(b)
	require.NoError(t, err)
	require.NotContains(t, string(b[:n]), string(goAwayFrame(4)), "no GOAWAY before the Close frames (T24)")
	require.NoError(t, control.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
	_, err = control.Read(b)
	require.Error(t, err)

	peer.Send(t, wstest.Close(1001, ""))
	str.wantEnd()
	require.NoError(t, str.Close())
	require.NoError(t, control.SetReadDeadline(time.Now().Add(patience)))
	n, err = control.Read(b)
	require.NoError(t, err)
	require.Equal(t, goAwayFrame(4), b[:n])

	// A request after GOAWAY is rejected (OP-02).
	late := p.open(headersFrame(connect()...))
	late.wantReset(http3.ErrCodeRequestRejected)
	require.Equal(t, http3.ErrCodeNoError, p.closed())
	require.NoError(t, <-shut)
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

func TestH3_08SecondControlStream(t *testing.T) {
	_, p, _, c := begin(t)
	p.openControl(settingsFrame())
	_, _, err := c.Read(soon(t))
	_, ok := errors.AsType[*ConnError](want1006(t, err))
	require.True(t, ok)
	require.Equal(t, http3.ErrCodeStreamCreationError, p.closed())
}

func TestH3_08SecondControlStreamOfServer(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	first := goDial(soon(t), newTransport(t), s.addr, nil)
	p := s.accept(socketSettings())
	str, _ := p.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, first)
	p.openControl(socketSettings())
	_, _, err := c.Read(soon(t))
	_, ok := errors.AsType[*ConnError](want1006(t, err))
	require.True(t, ok)
	require.Equal(t, http3.ErrCodeStreamCreationError, p.closed())
}

func TestH3_08ServerClosesControlStream(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	first := goDial(soon(t), newTransport(t), s.addr, nil)
	p := s.accept(socketSettings())
	str, _ := p.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, first)
	require.NoError(t, p.control.Close())
	_, _, err := c.Read(soon(t))
	want1006(t, err)
	require.Equal(t, http3.ErrCodeClosedCriticalStream, p.closed())
}

func TestH3_07FieldSectionTooLarge(t *testing.T) {
	wstest.NoLeaks(t)
	p := dialRaw(t, serve(t, new(Server), site))
	s := p.open(headersFrame(connect("x-big: " + strings.Repeat("x", 17<<10))...))
	s.wantStatus("431")
	s.wantStop(http3.ErrCodeExcessiveLoad)
	wantAlive(t, p)
}

func TestH3_07TooManyFieldsOfOrdinaryRequest(t *testing.T) {
	wstest.NoLeaks(t)
	p := dialRaw(t, serve(t, new(Server), site))
	fields := []string{":method: GET", ":scheme: https", ":authority: localhost", ":path: /"}
	for i := range maxFields + 1 {
		fields = append(fields, fmt.Sprintf("x-%d: y", i))
	}
	p.open(headersFrame(fields...)).wantStatus("431")
	wantAlive(t, p)
}

func TestH3_07DynamicTable(t *testing.T) {
	wstest.NoLeaks(t)
	p := dialRaw(t, serve(t, new(Server), site))
	s := p.open(rawFrame(frameHeaders, []byte{0x02, 0x00, 0x80}))
	s.wantReset(http3.ErrCodeQPACKDecompressionFailed)
	wantAlive(t, p)
}

func TestH3_09UnidirectionalStreams(t *testing.T) {
	wstest.NoLeaks(t)
	p := dialRaw(t, serve(t, new(Server), site))
	// One is the control stream; 15 may be open besides.
	for range 15 {
		str, err := p.qc.OpenUniStream()
		require.NoError(t, err)
		_, err = str.Write([]byte{0x40}) // half a stream type
		require.NoError(t, err)
	}
	_, err := p.qc.OpenUniStream()
	_, limited := errors.AsType[*quic.StreamLimitReachedError](err)
	require.True(t, limited, "%v", err)
	wantAlive(t, p)
}

// TestH3_10RapidReset: streams that are reset as soon as they are open never make
// more than 100 handlers run, also when the handlers take their time. The stream
// is over then, and the client may open another.
func TestH3_10RapidReset(t *testing.T) {
	wstest.NoLeaks(t)
	var running, most atomic.Int64
	release := make(chan struct{})
	var once sync.Once
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if c, err := Accept(w, r, nil); err == nil {
			_, _, _ = c.Read(r.Context())
		}
		<-release
	})
	addr := serve(t, new(Server), h)
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	p := dialRaw(t, addr)
	statuses := make(map[string]int)
	for range 300 {
		str := p.open(headersFrame(connect()...))
		status, _ := str.response()
		statuses[status]++
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}
	require.Equal(t, map[string]int{"200": 100, "503": 200}, statuses)
	require.EqualValues(t, 100, most.Load())
	once.Do(func() { close(release) })
	wantAliveConnect(t, p)
}

// wantAliveConnect checks that a connection still takes a CONNECT.
func wantAliveConnect(t *testing.T, p *rawPeer) {
	require.Eventually(t, func() bool {
		status, _ := p.open(headersFrame(connect()...)).response()
		return status == "200"
	}, patience, time.Millisecond)
}

// TestH3_05EarlyDataIsRefused: with our configuration there is no 0-RTT at all.
func TestH3_05EarlyDataIsRefused(t *testing.T) {
	wstest.NoLeaks(t)
	addr := serve(t, new(Server), site)
	early := resume(t, addr, nil)
	str, err := early.qc.OpenStream()
	require.NoError(t, err)
	_, _ = str.Write(headersFrame(connect()...))
	select {
	case <-early.qc.HandshakeComplete():
	case <-time.After(patience):
		require.Fail(t, "no handshake")
	}
	require.False(t, early.qc.ConnectionState().Used0RTT)
}

// TestH3_05EarlyDataIsAnsweredWith425: where an application allows 0-RTT, a
// CONNECT in it is not accepted.
func TestH3_05EarlyDataIsAnsweredWith425(t *testing.T) {
	wstest.NoLeaks(t)
	answered := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site(w, r)
		if r.Method == http.MethodConnect {
			close(answered)
		}
	})
	addr := servePlain(t, &http3.Server{Handler: h, QUICConfig: &quic.Config{Allow0RTT: true}})
	// The client hears nothing, and so cannot complete the handshake, until the
	// request has been answered.
	pc := &deafConn{UDPConn: listenUDP(t), until: answered}
	defer pc.Close()
	early := resume(t, addr, pc)
	s := early.open(headersFrame(connect()...))
	s.wantStatus("425")
	s.wantEnd()
	require.True(t, early.qc.ConnectionState().Used0RTT)
	wantAlive(t, early)
}

// deafConn receives nothing until the channel is closed.
type deafConn struct {
	*net.UDPConn
	until chan struct{}
}

func (c *deafConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-c.until:
	case <-time.After(patience):
	}
	return c.UDPConn.ReadFrom(p)
}

// resume connects, gets a session ticket, and connects again with 0-RTT if the
// server lets it, the second time over pc if that is not nil.
func resume(t testing.TB, addr string, pc *deafConn) *rawPeer {
	_, client := wstest.Certificates()
	client.NextProtos = []string{http3.NextProtoH3}
	client.ServerName = "localhost"
	tickets := &ticketCache{ClientSessionCache: tls.NewLRUClientSessionCache(1), put: make(chan struct{}, 10)}
	client.ClientSessionCache = tickets
	first, err := quic.DialAddr(soon(t), addr, client, nil)
	require.NoError(t, err)
	<-tickets.put
	require.NoError(t, first.CloseWithError(0x100, ""))

	var second *quic.Conn
	if pc == nil {
		second, err = quic.DialAddrEarly(soon(t), addr, client, nil)
	} else {
		to, resolveErr := net.ResolveUDPAddr("udp", addr)
		require.NoError(t, resolveErr)
		tr := &quic.Transport{Conn: struct{ net.PacketConn }{pc}}
		t.Cleanup(func() { _ = tr.Close() })
		second, err = tr.DialEarly(soon(t), to, client, nil)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = second.CloseWithError(0x100, "") })
	return &rawPeer{t: t, qc: second}
}

type ticketCache struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (c *ticketCache) Put(key string, cs *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, cs)
	c.put <- struct{}{}
}

// TestRetryUnderLoad: with many handshakes in progress a client has to prove its
// address.
func TestRetryUnderLoad(t *testing.T) {
	wstest.NoLeaks(t)
	verified := make(chan bool, 10)
	s := &Server{QUICConfig: &quic.Config{GetConfigForClient: func(info *quic.ClientInfo) (*quic.Config, error) {
		verified <- info.AddrVerified
		return nil, nil
	}}}
	server, client := wstest.Certificates()
	client.NextProtos = []string{http3.NextProtoH3}
	e, err := s.listen(listenUDP(t), site, server)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- e.accept() }()
	for _, load := range []bool{false, true} {
		if load {
			e.halfOpen.Add(retryAbove + 1)
		}
		qc, err := quic.DialAddr(soon(t), e.ln.Addr().String(), client, nil)
		require.NoError(t, err)
		require.Equal(t, load, <-verified)
		require.NoError(t, qc.CloseWithError(0x100, ""))
	}
	require.Eventually(t, func() bool { return e.halfOpen.Load() == retryAbove+1 }, patience, time.Millisecond,
		"each handshake is counted until it is over")
	require.NoError(t, s.Close())
	<-done
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
