package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
)

// Backpressure: while the other end does not read, a writer blocks, and nobody on
// the way holds more than a window; when it reads again, nothing was lost. In both
// directions at once.
func TestSlowReader(t *testing.T) {
	const size = 1 << 20
	noise := random(1, size)
	message := func(i int) []byte { return slices.Concat(noise[i*1000:], noise[:i*1000]) }
	limits := websocket.Limits{PingInterval: -1, Message: size, CloseTimeout: time.Second}
	oneByOne(t, everyPath(), func(t *testing.T, tr transport) { // each looks at the heap
		hops := int64(1)
		if tr.hop != nil {
			hops = 2 // each with windows of its own
		}
		p := tr.connect(t, &websocket.AcceptOptions{Limits: limits}, &websocket.DialOptions{Limits: limits})
		before := heap()
		const most = 100 // messages, more than any kernel's buffers hold
		enough := make(chan struct{})
		var begun atomic.Int64
		var done []<-chan error
		for _, ends := range p.ends() {
			done = append(done, begin(func() error {
				for i := range most {
					select {
					case <-enough:
						return ends[0].Write(soon(t), websocket.MessageText, []byte("the end"))
					default:
					}
					begun.Add(1)
					if err := ends[0].Write(soon(t), websocket.MessageBinary, message(i)); err != nil {
						return err
					}
				}
				return errors.New("nothing has blocked")
			}))
		}
		settled(func() int64 { return begun.Load() + p.server.Stats().BytesWritten + p.client.Stats().BytesWritten })
		close(enough)
		// What has been written already may not have been collected yet.
		assert.Eventually(t, func() bool { return heap()-before < 2*hops*(3<<20) }, time.Minute, 10*time.Millisecond,
			"a message each way, and h3's window of 1 MiB")
		for name, ends := range p.ends() {
			if !tr.usesTCPAlone() { // where the kernel has its own mind
				assert.LessOrEqual(t, ends[0].Stats().BytesWritten, hops*(size+size/2), "bytes that the transport took, %s", name)
			}
			for i := 0; ; i++ {
				typ, got, err := ends[1].Read(soon(t))
				require.NoError(t, err)
				if typ == websocket.MessageText {
					require.Equal(t, "the end", string(got))
					break
				}
				require.True(t, bytes.Equal(message(i), got), "message %d", i)
			}
		}
		for _, done := range done {
			require.NoError(t, <-done)
		}
	})
}

// heap returns the bytes that are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// settled returns a counter's value once it has begun to count and not changed
// for a while.
func settled(count func() int64) int64 {
	for before := int64(-1); ; {
		n := count()
		if n == before && n > 0 {
			return n
		}
		before = n
		<-time.After(50 * time.Millisecond)
	}
}

// A read that is abandoned, in mid-message too, leaves the socket usable; a
// write that is cancelled ends it or does not, but never passes half a message
// off as a whole one.
func TestWS24CancelledContexts(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		next := make(chan struct{})
		raw := make(chan error, 1)
		c := tr.mustDial(t, tr.rawListen(t, func(s rawStream) {
			p := wstest.NewServer(s)
			wire := p.Append(nil, wstest.Text("first half, ").Fragment(), wstest.Continuation("second half"))
			for _, part := range [][]byte{wire[:5], wire[5:20], wire[20:]} {
				<-next
				if _, err := s.Write(part); err != nil {
					raw <- err
					return
				}
			}
			<-next
			raw <- p.TrySend(wstest.Close(1000, ""))
			p.TryNext()
			s.CloseWrite()
			p.TryNext()
		}), nil)
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			_, _, err := c.Read(ctx)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			next <- struct{}{}
		}
		wantMessage(t, c, websocket.MessageText, []byte("first half, second half"))
		close(next)
		_, _, err := c.Read(soon(t))
		wantEnd(t, err, 1000, true)
		require.NoError(t, <-raw)
	})
	onEach(t, func(t *testing.T, tr transport) {
		limits := websocket.Limits{PingInterval: -1, Message: 64 << 20, CloseTimeout: time.Second}
		p := tr.connect(t, &websocket.AcceptOptions{Limits: limits}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		wrote := begin(func() error { return p.client.Write(ctx, websocket.MessageBinary, make([]byte, 64<<20)) })
		settled(func() int64 { return p.client.Stats().BytesWritten })
		cancel()
		require.ErrorIs(t, <-wrote, context.Canceled)
		require.Error(t, p.client.Write(soon(t), websocket.MessageText, nil), "dead after a frame cut short")
		_, m, err := p.server.Read(soon(t))
		assert.Empty(t, m)
		wantEnd(t, err, 1006, true)
	})
}

// WS-24: when a write is given up because its context ends, whatever of it has
// been taken by then, the socket is usable, or it has ended for both sides. What
// was written before arrives, and nothing else.
func TestWS24WriteGivenUpEndsTheSocketOrDoesNot(t *testing.T) {
	const size = 5000
	limits := websocket.Limits{PingInterval: -1, CloseTimeout: time.Second}
	onEach(t, func(t *testing.T, tr transport) {
		for name := range (pair{}).ends() {
			ends := tr.connect(t, &websocket.AcceptOptions{Limits: limits}, &websocket.DialOptions{Limits: limits}).ends()[name]
			written := 0
			for err := error(nil); err == nil; {
				ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				if err = ends[0].Write(ctx, websocket.MessageBinary, random(byte(written), size)); err == nil {
					written++
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded, name)
				}
				cancel()
			}
			after := begin(func() error { return ends[0].Write(soon(t), websocket.MessageText, []byte("after")) })
			for i := range written {
				_, p, err := ends[1].Read(soon(t))
				if err != nil { // an abort may take with it what was not read
					wantEnd(t, err, 1006, true)
					break
				}
				require.True(t, string(p) == string(random(byte(i), size)), "%s: message %d", name, i)
			}
			if err := <-after; err != nil {
				assert.ErrorIs(t, wantEnd(t, err, 1006, false), context.DeadlineExceeded, name)
				_, _, err = ends[1].Read(soon(t))
				wantEnd(t, err, 1006, true)
				continue
			}
			wantMessage(t, ends[1], websocket.MessageText, []byte("after"))
			require.NoError(t, ends[1].CloseNow())
		}
	})
}

// A dial ends with its context while a server says nothing.
func TestCancelledDial(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		authority := tr.via(t, tr.served().silent(t))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, _, err := tr.tryDial(ctx, authority, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// silent returns the authority of a server that says nothing until the test ends.
func (tr transport) silent(t testing.TB) string {
	t.Helper()
	if tr.bootstrap == websocket.HTTP3 {
		pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, pc.Close()) })
		return pc.LocalAddr().String()
	}
	l := listener(t)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l.Addr().String()
}

// Limits of the one end, seen from both.
func TestLimits(t *testing.T) {
	small := websocket.Limits{Message: 1000, Fragments: 3, CloseTimeout: 2 * time.Second}
	large := make([]byte, 1001)
	text := []byte(strings.Repeat("x", 100_000))
	for name, c := range map[string]struct {
		write func(t *testing.T, c *websocket.Conn) error
		code  websocket.StatusCode
		is    error
	}{
		"message": {func(t *testing.T, c *websocket.Conn) error {
			return c.Write(soon(t), websocket.MessageBinary.Uncompressed(), large)
		}, 1009, websocket.ErrMessageTooBig},
		"inflated message": {func(t *testing.T, c *websocket.Conn) error {
			return c.Write(soon(t), websocket.MessageText, text)
		}, 1009, websocket.ErrMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				for name := range (pair{}).ends() {
					t.Run(name, func(t *testing.T) {
						deflate := &websocket.Compression{}
						ends := tr.connect(t, &websocket.AcceptOptions{Limits: small, Compression: deflate}, &websocket.DialOptions{Limits: small, Compression: deflate}).ends()[name]
						require.NoError(t, c.write(t, ends[0]))
						_, _, err := ends[1].Read(soon(t))
						require.ErrorIs(t, err, c.is)
						wantEnd(t, err, c.code, false)
						_, _, err = ends[0].Read(soon(t))
						wantEnd(t, err, c.code, true)
					})
				}
			})
		})
	}
}

// A multiplexer dials sockets that share a connection, and says how many
// connections it has opened.
type multiplexer struct {
	name   string
	dialer func(t testing.TB) (dialFunc, func() int)
}

var multiplexers = []multiplexer{
	{"h2", func(t testing.TB) (dialFunc, func() int) {
		_, client := wstest.Certificates()
		var opened atomic.Int32
		tr := &h2connect.Transport{TLSClientConfig: client, DialContext: counting(&opened)}
		t.Cleanup(tr.CloseIdleConnections)
		return tr.Dial, func() int { return int(opened.Load()) }
	}},
	{"h2c", func(t testing.TB) (dialFunc, func() int) {
		var opened atomic.Int32
		tr := &h2connect.Transport{AllowHTTP: true, DialContext: counting(&opened)}
		t.Cleanup(tr.CloseIdleConnections)
		return tr.Dial, func() int { return int(opened.Load()) }
	}},
	{"h3", func(t testing.TB) (dialFunc, func() int) {
		_, client := wstest.Certificates()
		tr := &h3connect.Transport{TLSClientConfig: client, QUICConfig: new(quic.Config)}
		t.Cleanup(func() { tr.Close() })
		return tr.Dial, func() int { return 1 }
	}},
}

func counting(n *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

func transportNamed(name string) transport {
	for _, tr := range transports {
		if tr.name == name {
			return tr
		}
	}
	panic("no transport " + name)
}

// A socket that nobody reads does not stall its neighbours on the connection.
func TestStalledSocketDoesNotStallItsNeighbours(t *testing.T) {
	for _, m := range multiplexers {
		t.Run(m.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			tr := transportNamed(m.name)
			over := make(chan struct{})
			authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := tr.accept(w, r, &websocket.AcceptOptions{Limits: websocket.Limits{CloseTimeout: time.Second, PingInterval: -1}})
				if !assert.NoError(t, err) {
					return
				}
				defer c.CloseNow()
				if r.Header.Get("X-Stall") != "" {
					<-over
					return
				}
				echo(c)
			}))
			dial, _ := m.dialer(t)
			_, client := wstest.Certificates()
			limits := websocket.Limits{PingInterval: -1, CloseTimeout: time.Second}
			stalled, _, err := dial(soon(t), tr.url(authority), &websocket.DialOptions{TLSClientConfig: client, Limits: limits, Header: http.Header{"X-Stall": {"1"}}})
			require.NoError(t, err)
			lively, _, err := dial(soon(t), tr.url(authority), &websocket.DialOptions{TLSClientConfig: client, Limits: limits})
			require.NoError(t, err)
			var written atomic.Int64
			blocked := begin(func() error {
				for {
					if err := stalled.Write(context.Background(), websocket.MessageBinary, make([]byte, 10_000)); err != nil {
						return err
					}
					written.Add(1)
				}
			})
			settled(written.Load)
			for range 50 {
				require.NoError(t, lively.Write(soon(t), websocket.MessageBinary, random(2, 50_000)))
				wantMessage(t, lively, websocket.MessageBinary, random(2, 50_000))
			}
			require.NoError(t, lively.Close(soon(t), 1000, ""))
			require.NoError(t, stalled.CloseNow())
			require.Error(t, <-blocked)
			close(over)
		})
	}
}
