//go:build unix

package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/program"
	"github.com/wsmux/websocket/interop/internal/proxy"
)

// ways are all of those that a row of the matrix is for.
var ways = []proxy.Way{
	{Front: websocket.HTTP1, Back: websocket.HTTP1},
	{Front: websocket.HTTP1, Back: websocket.HTTP2},
	{Front: websocket.HTTP2, Back: websocket.HTTP1},
	{Front: websocket.HTTP2, Back: websocket.HTTP2},
	{Front: websocket.HTTP2, Back: websocket.HTTP2, Clear: true},
}

func TestHAProxy(t *testing.T) {
	p := proxy.HAProxy(t)
	t.Log(p.Version(t))
	runMatrix(t, p)
	runFailures(t, p)
	t.Run("not announced", func(t *testing.T) { testNotAnnounced(t, p) })
}

func TestNghttpx(t *testing.T) {
	p := proxy.Nghttpx(t)
	t.Log(p.Version(t))
	runMatrix(t, p)
	runFailures(t, p)
}

// A bridge is our client, the proxy, and our server.
type bridge struct {
	way     proxy.Way
	site    *site
	proxy   *program.Program
	addr    string // the proxy's
	sockets atomic.Int64
	tcp     atomic.Int64 // connections of the client to the proxy
	dial    func(context.Context, string, *websocket.DialOptions) (*websocket.Conn, *http.Response, error)
	client  *http.Client
	trust   *tls.Config // for more clients
}

// newBridge starts server, proxy and client. conf is the server's, and may be nil.
func newBridge(t *testing.T, p proxy.Proxy, w proxy.Way, conf *h2connect.Server) *bridge {
	id := authority.New(t)
	b := &bridge{way: w, site: newSite(t, id, !w.Clear, conf), trust: id.ClientConfig()}
	b.proxy, b.addr = p.Serve(t, w, id, b.site.addr)
	dialTCP := func(ctx context.Context, network, addr string) (net.Conn, error) {
		b.tcp.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	if w.Front == websocket.HTTP1 {
		tr := &http.Transport{TLSClientConfig: id.ClientConfig(), DialContext: dialTCP}
		t.Cleanup(tr.CloseIdleConnections)
		b.client = &http.Client{Transport: tr}
		b.dial = func(ctx context.Context, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
			o.TLSClientConfig, o.DialContext = id.ClientConfig(), dialTCP
			return h1upgrade.Dial(ctx, url, o)
		}
		return b
	}
	tr := &h2connect.Transport{TLSClientConfig: id.ClientConfig(), DialContext: dialTCP}
	t.Cleanup(tr.CloseIdleConnections)
	b.client, b.dial = &http.Client{Transport: tr}, tr.Dial
	return b
}

// open opens a socket, and returns what the site calls it too.
func (b *bridge) open(t *testing.T, path string, query url.Values, o *websocket.DialOptions) (c *websocket.Conn, res *http.Response, id string) {
	id = fmt.Sprint(b.sockets.Add(1))
	if query == nil {
		query = make(url.Values)
	}
	query.Set("id", id)
	if o == nil {
		o = new(websocket.DialOptions)
	}
	o.Limits.Message = 16 << 20
	c, res, err := b.dial(soon(t), "wss://"+b.addr+path+"?"+query.Encode(), o)
	if refusal, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		t.Logf("%q", refusal.Body)
	}
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c, res, id
}

// random returns n bytes that follow from seed.
func random(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// wantEcho sends a message and wants it back. It is sent while the reading has
// begun, because one as large as this need not fit between the ends.
func wantEcho(t *testing.T, c *websocket.Conn, kind websocket.MessageType, p []byte) bool {
	t.Helper()
	ctx := soon(t)
	sent := make(chan error, 1)
	go func() { sent <- c.Write(ctx, kind, p) }() // ends with ctx at the latest
	back, q, err := c.Read(ctx)
	return assert.NoError(t, err) && assert.NoError(t, <-sent) &&
		assert.Equal(t, kind, back) && assert.True(t, bytes.Equal(p, q), "%d bytes came back as %d, or changed", len(p), len(q))
}

// wantEnd closes a socket and wants both ends to agree that it was closed.
func (b *bridge) wantEnd(t *testing.T, c *websocket.Conn, id string) *visit {
	t.Helper()
	assert.NoError(t, c.Close(soon(t), websocket.StatusNormalClosure, ""))
	v := b.site.visit(t, id)
	wantClosed(t, v.outcome(), websocket.StatusNormalClosure, "")
	return v
}

// runMatrix takes a proxy through the short matrix, and through what only a proxy
// can do.
func runMatrix(t *testing.T, p proxy.Proxy) {
	for _, w := range ways {
		t.Run(w.String(), func(t *testing.T) {
			b := newBridge(t, p, w, nil)
			row := matrix.Row{Peer: p.Name(), Role: matrix.Proxy, Transport: w.String()}
			row.Run(t, matrix.Bootstrap, func(t *testing.T) { b.testBootstrap(t, p) })
			row.Run(t, matrix.Echo, b.testEcho)
			row.Run(t, matrix.Fragments, b.testFragments)
			row.Run(t, matrix.Ping, b.testPing)
			row.Run(t, matrix.Deflate, b.testDeflate)
			row.Run(t, matrix.CloseClient, b.testCloseClient)
			row.Run(t, matrix.CloseServer, b.testCloseServer)
			row.Run(t, matrix.ResetClient, b.testResetClient)
			row.Run(t, matrix.ResetServer, b.testResetServer)
			row.Run(t, matrix.Twenty, b.testTwenty)
			row.Run(t, "refusal", b.testRefusal)
			row.Run(t, "requests beside", b.testRequests)
			row.Run(t, "beside a stalled socket", func(t *testing.T) {
				row.Record(t, "beside a stalled socket", b.testStalled(t, p.HoldsUp(w)))
			})
			row.Run(t, "drain", b.testDrain)
			if t.Failed() {
				t.Log(b.proxy.Tail())
			}
		})
	}
}

// The socket is opened as the way says on both sides of the proxy.
func (b *bridge) testBootstrap(t *testing.T, p proxy.Proxy) {
	c, res, id := b.open(t, "/echo", nil, &websocket.DialOptions{Subprotocols: []string{"first", "second"}})
	assert.Equal(t, b.way.Front, c.Bootstrap())
	assert.Equal(t, int(b.way.Front), res.ProtoMajor)
	assert.Equal(t, "second", c.Subprotocol())
	wantEcho(t, c, websocket.MessageText, []byte("through"))
	v := b.wantEnd(t, c, id)
	assert.Equal(t, b.way.Back, v.bootstrap)
	if b.way.Back == websocket.HTTP2 {
		assert.Equal(t, http.MethodConnect, v.request.Method)
		assert.Equal(t, "websocket", strings.ToLower(v.request.Header.Get(":protocol")))
	} else {
		assert.Equal(t, http.MethodGet, v.request.Method)
		assert.Equal(t, "websocket", strings.ToLower(v.request.Header.Get("Upgrade")))
	}
	assert.Equal(t, b.addr, v.request.Host, "the Host of the client's URL")
	p.Saw(t, b.way, b.proxy)
}

func (b *bridge) testEcho(t *testing.T) {
	c, _, id := b.open(t, "/echo", nil, nil)
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, 8 << 20} {
		wantEcho(t, c, websocket.MessageBinary, random(byte(n), n))
		wantEcho(t, c, websocket.MessageText, []byte(strings.Repeat("ä", n/2)+"a"[:n%2]))
	}
	b.wantEnd(t, c, id)
}

func (b *bridge) testFragments(t *testing.T) {
	c, _, id := b.open(t, "/pieces", nil, nil)
	ctx, p := soon(t), random(1, 400_000)
	require.NoError(t, writePieces(ctx, c, websocket.MessageBinary, p))
	_, q, err := c.Read(ctx)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(p, q), "%d bytes came back as %d, or changed", len(p), len(q))
	s := c.Stats()
	v := b.wantEnd(t, c, id)
	// 20 fragments, an empty one, 6 Pings and 6 Pongs, each way.
	assert.GreaterOrEqual(t, s.FramesRead, int64(33))
	assert.GreaterOrEqual(t, v.stats.FramesRead, int64(33))
}

func (b *bridge) testPing(t *testing.T) {
	c, _, id := b.open(t, "/pings", nil, nil)
	ctx := soon(t)
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	assert.Equal(t, "10 pongs", string(p))
	for range 10 {
		assert.NoError(t, c.Ping(ctx))
	}
	b.wantEnd(t, c, id)
}

func (b *bridge) testDeflate(t *testing.T) {
	c, res, id := b.open(t, "/echo", nil, &websocket.DialOptions{Compression: compression()})
	assert.Contains(t, res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		wantEcho(t, c, websocket.MessageText, bytes.Repeat([]byte("abcdefgh"), n/8+1)[:n])
		wantEcho(t, c, websocket.MessageBinary, random(byte(n), n))
	}
	s := c.Stats()
	assert.Positive(t, s.InflatedRead)
	v := b.wantEnd(t, c, id)
	assert.Positive(t, v.stats.InflatedRead)
}

// reason is the longest that a Close frame has room for.
var reason = strings.Repeat("€", 41)

func (b *bridge) testCloseClient(t *testing.T) {
	for _, end := range []struct {
		code   websocket.StatusCode
		reason string
	}{{1000, ""}, {1005, ""}, {4000, reason}} {
		c, _, id := b.open(t, "/echo", nil, nil)
		assert.NoError(t, c.Close(soon(t), end.code, end.reason))
		wantClosed(t, b.site.visit(t, id).outcome(), end.code, end.reason)
	}
}

func (b *bridge) testCloseServer(t *testing.T) {
	for _, end := range []struct {
		code   websocket.StatusCode
		reason string
	}{{1000, ""}, {1005, ""}, {4000, reason}} {
		c, _, id := b.open(t, "/close", url.Values{"code": {fmt.Sprint(int(end.code))}, "reason": {end.reason}}, nil)
		_, _, err := c.Read(soon(t))
		wantClosed(t, err, end.code, end.reason)
		assert.NoError(t, b.site.visit(t, id).outcome())
	}
}

func (b *bridge) testResetClient(t *testing.T) {
	c, _, id := b.open(t, "/echo", nil, nil)
	wantEcho(t, c, websocket.MessageText, []byte("still here"))
	require.NoError(t, c.CloseNow())
	wantCut(t, b.site.visit(t, id).outcome())
}

func (b *bridge) testResetServer(t *testing.T) {
	c, _, id := b.open(t, "/cut", nil, nil)
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("now")))
	_, _, err := c.Read(soon(t))
	wantCut(t, err)
	assert.NoError(t, b.site.visit(t, id).outcome())
}

func (b *bridge) testTwenty(t *testing.T) {
	before := b.tcp.Load()
	type open struct {
		*websocket.Conn
		id string
	}
	var all []open
	for range 20 {
		c, _, id := b.open(t, "/echo", nil, nil)
		all = append(all, open{c, id})
	}
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			for j := range 50 {
				if !wantEcho(t, c.Conn, websocket.MessageBinary, random(byte(i), j*797)) {
					return
				}
			}
		})
	}
	wg.Wait()
	carriers := make(map[string]bool)
	for _, c := range all {
		v := b.wantEnd(t, c.Conn, c.id)
		carriers[v.request.RemoteAddr] = true
	}
	if b.way.Front == websocket.HTTP2 {
		assert.EqualValues(t, 1, b.tcp.Load(), "connections of the client")
	} else {
		assert.EqualValues(t, 20, b.tcp.Load()-before, "connections of the client")
	}
	t.Logf("connections to the server: %d", len(carriers))
	if b.way.Back == websocket.HTTP1 {
		assert.Len(t, carriers, 20)
	} else {
		assert.Len(t, carriers, 1, "connections to the server")
	}
}

// What the server refuses is refused with its own status.
func (b *bridge) testRefusal(t *testing.T) {
	for range 3 {
		c, res, err := b.dial(soon(t), "wss://"+b.addr+"/forbidden", new(websocket.DialOptions))
		require.Error(t, err)
		require.Nil(t, c)
		require.NotNil(t, res)
		assert.Equal(t, http.StatusForbidden, res.StatusCode)
	}
}

// Ordinary requests go on beside a socket, over HTTP/2 on its connection.
func (b *bridge) testRequests(t *testing.T) {
	c, _, id := b.open(t, "/echo", nil, nil)
	before := b.tcp.Load()
	for i := range 20 {
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, "https://"+b.addr+"/hello", nil)
		require.NoError(t, err)
		res, err := b.client.Do(req)
		require.NoError(t, err)
		p, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, "hello", string(p))
		assert.Equal(t, int(b.way.Front), res.ProtoMajor)
		wantEcho(t, c, websocket.MessageText, fmt.Append(nil, i))
	}
	if b.way.Front == websocket.HTTP2 {
		assert.Equal(t, before, b.tcp.Load(), "no connection but the socket's")
	}
	b.wantEnd(t, c, id)
}

// A socket that the server does not read holds up nobody else, neither sockets nor
// requests, and has lost nothing when the server reads on. A proxy that is known to
// hold up the others does not always do it, and only until then: what is certain is
// that nobody loses anything.
func (b *bridge) testStalled(t *testing.T, known bool) matrix.Result {
	stalled, _, id := b.open(t, "/stalled", nil, nil)
	release := sync.OnceFunc(func() { close(b.site.release) })
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	sent, sum := make(chan error, 1), sha256.New()
	go func() { // ends with ctx at the latest
		for i := range stalledMessages {
			p := random(byte(i), 1<<20)
			sum.Write(p)
			if err := stalled.Write(ctx, websocket.MessageBinary, p); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	beside := make(chan error, 1)
	go func() { beside <- b.bustle(ctx) }() // likewise
	wait := patience
	if known {
		wait = 2 * time.Second
	}
	select {
	case err := <-beside:
		beside <- err
	case <-time.After(wait):
		assert.True(t, known, "the others are held up")
	}
	select {
	case err := <-sent:
		assert.Fail(t, "the server took everything without reading", "%v", err)
	default:
	}
	release()
	_, p, err := stalled.Read(ctx)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	assert.Equal(t, sum.Sum(nil), p, "what the server has read")
	require.NoError(t, <-beside)
	b.wantEnd(t, stalled, id)
	if known {
		return "may hold up"
	}
	return matrix.OK
}

// bustle uses a socket and sends requests, by turns.
func (b *bridge) bustle(ctx context.Context) error {
	c, _, err := b.dial(ctx, "wss://"+b.addr+"/echo?id=bustle", new(websocket.DialOptions))
	if err != nil {
		return err
	}
	defer c.CloseNow()
	for i := range 20 {
		p := random(byte(i), 10_000)
		if err := c.Write(ctx, websocket.MessageBinary, p); err != nil {
			return err
		}
		_, q, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if !bytes.Equal(p, q) {
			return errors.New("a message has changed")
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.addr+"/hello", nil)
		if err != nil {
			return err
		}
		res, err := b.client.Do(req)
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
	}
	return c.Close(ctx, websocket.StatusNormalClosure, "")
}

// When the server shuts down, each client behind the proxy is told. It comes last,
// because the server is no more.
func (b *bridge) testDrain(t *testing.T) {
	var all []*websocket.Conn
	for range 5 {
		c, _, _ := b.open(t, "/echo", nil, nil)
		wantEcho(t, c, websocket.MessageText, []byte("open"))
		all = append(all, c)
	}
	shut := make(chan error, 1)
	ctx := soon(t)
	go func() { shut <- b.site.server.Shutdown(ctx) }() // ends with ctx at the latest
	for _, c := range all {
		_, _, err := c.Read(soon(t))
		wantClosed(t, err, websocket.StatusGoingAway, "")
	}
	assert.NoError(t, <-shut)
}
