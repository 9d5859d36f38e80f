package h3connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

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
