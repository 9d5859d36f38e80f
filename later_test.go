package websocket_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// announce broadcasts text to c alone, which takes it.
func announce(t testing.TB, c *websocket.Conn, text string) {
	t.Helper()
	m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(text))
	assert.NoError(t, err)
	written, missed := websocket.Broadcast(context.Background(), m, slices.Values([]*websocket.Conn{c}), websocket.SlowMisses)
	assert.Equal(t, 1, written)
	assert.Zero(t, missed)
}

// messages reads c to its end.
func messages(c *websocket.Conn) (all []string, end error) {
	for {
		_, p, err := c.Read(context.Background())
		if err != nil {
			return all, err
		}
		all = append(all, string(p))
	}
}

// news are messages that are compressed and others that are not.
func news(i int) string {
	return fmt.Sprint(i) + strings.Repeat("!", i%3*1000)
}

// narrow returns a Conn whose writes wait for its peer to read.
func narrow(t testing.TB, client bool) (c, peer *websocket.Conn) {
	c, peer = joined(t, wstest.PipeOptions{Buffer: 4}, websocket.Params{Limits: quiet, Deflate: &websocket.DeflateParams{}})
	if client {
		c, peer = peer, c
	}
	return c, peer
}

// What is written after broadcasts comes behind them, Close's frame above all,
// whatever they have to wait for.
func TestNothingOvertakesBroadcastsThatWait(t *testing.T) {
	firsts := map[string]func(t *testing.T, c, peer *websocket.Conn) (text string){
		"nothing": func(t *testing.T, c, peer *websocket.Conn) string { return "" },
		"a Ping": func(t *testing.T, c, peer *websocket.Conn) string {
			go c.Ping(context.Background())
			return ""
		},
		"a Pong": func(t *testing.T, c, peer *websocket.Conn) string {
			go c.Read(context.Background())
			go peer.Ping(context.Background())
			return ""
		},
		"a small broadcast": func(t *testing.T, c, peer *websocket.Conn) string {
			announce(t, c, news(3))
			return news(3)
		},
		"a compressed broadcast": func(t *testing.T, c, peer *websocket.Conn) string {
			announce(t, c, news(2))
			return news(2)
		},
	}
	thens := map[string]func(c *websocket.Conn) error{
		"Close":      func(c *websocket.Conn) error { return c.Close(context.Background(), 1000, "") },
		"CloseWrite": func(c *websocket.Conn) error { return c.CloseWrite(context.Background(), 1000, "") },
		"Write": func(c *websocket.Conn) error {
			if err := c.Write(context.Background(), websocket.MessageText, []byte("last")); err != nil {
				return err
			}
			return c.Close(context.Background(), 1000, "")
		},
	}
	for first, begins := range firsts {
		for then, ends := range thens {
			t.Run(first+" first, then "+then, func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					c, peer := narrow(t, client)
					var want []string
					if text := begins(t, c, peer); text != "" {
						want = append(want, text)
					}
					synctest.Wait()
					for i := range 8 {
						announce(t, c, news(i))
						want = append(want, news(i))
					}
					if then == "Write" {
						want = append(want, "last")
					}
					done := begin(func() error { return ends(c) })
					synctest.Wait()
					got, err := messages(peer)
					assert.Equal(t, want, got)
					wantOneOf(t, err, 1000)
					assert.NoError(t, <-done)
				})
			})
		}
	}
}

// A Close does not wait for a Writer in the middle of a message, behind which a
// broadcast waits. Then that comes too late.
func TestNoBroadcastComesBehindAClose(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		w := e.beginMessage(t)
		announce(t, e.Conn, "news")
		closed := begin(func() error { return e.Close(context.Background(), 1000, "") })
		e.peer.WantClose(t, 1000, "of Close")
		assert.Error(t, w.Close())
		synctest.Wait()
		e.peer.WantIdle(t, "MUST NOT send any more data frames (RFC 6455 §5.5.1)")
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, e.far.CloseWrite())
		assert.NoError(t, <-closed)
	})
}

// beginMessage returns a Writer that has sent the first part of its message, which the
// peer has got.
func (e *end) beginMessage(t testing.TB) io.WriteCloser {
	t.Helper()
	w, err := e.Writer(t.Context(), websocket.MessageText)
	require.NoError(t, err)
	_, err = w.Write([]byte(strings.Repeat("!", 20_000)))
	require.NoError(t, err)
	assert.True(t, e.peer.Next(t, "the first part").More)
	return w
}

// A pullStream is a pushStream that tells when the Conn has begun to end.
type pullStream struct {
	*pushStream
	pulled func()
}

func (s *pullStream) Pull() {
	s.pushStream.Pull()
	s.pulled()
}

// A Writer gives up when a Close has begun, whose frame may not have its place in line
// yet. What waits behind the Writer must not come into the middle of its message.
func TestNoBroadcastComesIntoAMessage(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		s := &pullStream{pushStream: newPushStream(e.near)}
		e.Conn = websocket.New(s, websocket.Params{Limits: quiet, Client: client})
		require.NoError(t, e.Handle(new(recorder)))
		w := e.beginMessage(t)
		announce(t, e.Conn, "news")
		synctest.Wait()
		gaveUp := make(chan struct{})
		s.pulled = func() {
			assert.Error(t, w.Close())
			synctest.Wait()
			close(gaveUp)
		}
		closed := begin(func() error { return e.Close(context.Background(), 1000, "") })
		<-gaveUp
		e.peer.WantClose(t, 1000, "MUST NOT be interleaved (RFC 6455 §5.4)")
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, e.far.CloseWrite())
		assert.NoError(t, <-closed)
	})
}

// Somebody waits to begin a message behind a broadcast, and another broadcast behind
// him. A Close comes behind both broadcasts, even if he has given up.
func TestCloseOvertakesNoBroadcastBehindOthers(t *testing.T) {
	waits := map[string]func(ctx context.Context, c *websocket.Conn) error{
		"compressed Write": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, []byte(news(2)))
		},
		"Writer": func(ctx context.Context, c *websocket.Conn) error {
			_, err := c.Writer(ctx, websocket.MessageText)
			return err
		},
	}
	ends := map[string]func(c *websocket.Conn) error{
		"Close":      func(c *websocket.Conn) error { return c.Close(context.Background(), 1000, "") },
		"CloseWrite": func(c *websocket.Conn) error { return c.CloseWrite(context.Background(), 1000, "") },
	}
	for other, wait := range waits {
		for name, end := range ends {
			for _, givesUp := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " behind a ", other, ", which gives up: ", givesUp), func(t *testing.T) {
					asBothRoles(t, func(t *testing.T, client bool) {
						c, peer := narrow(t, client)
						announce(t, c, "being written")
						synctest.Wait()
						ctx, cancel := context.WithCancel(context.Background())
						defer cancel()
						waited := begin(func() error { return wait(ctx, c) })
						synctest.Wait()
						want := []string{"being written"}
						for i := range 8 {
							announce(t, c, news(i))
							want = append(want, news(i))
						}
						if givesUp {
							cancel()
							assert.ErrorIs(t, <-waited, context.Canceled)
						}
						done := begin(func() error { return end(c) })
						synctest.Wait()
						got, err := messages(peer)
						assert.Equal(t, want, got)
						wantOneOf(t, err, 1000)
						assert.NoError(t, <-done)
					})
				})
			}
		}
	}
}

// What has been written is not held by what waits behind it.
func TestBroadcastsAreReleasedWhenTheyAreWritten(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		c, peer := narrow(t, client)
		var made []weak.Pointer[websocket.PreparedMessage]
		for range 8 {
			m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("news"))
			require.NoError(t, err)
			websocket.Broadcast(t.Context(), m, slices.Values([]*websocket.Conn{c}), websocket.SlowMisses)
			made = append(made, weak.Make(m))
		}
		for range 4 {
			wantText(t, peer, "news")
		}
		synctest.Wait()
		runtime.GC()
		for i, m := range made[:4] {
			assert.Nil(t, m.Value(), "message %d", i)
		}
		assert.NotNil(t, made[7].Value(), "it waits")
	})
}

// A socket that has ended holds no compressor, whatever was being written.
func TestBroadcastsLeaveNoCompressorBehind(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		const sockets = 10
		var all []*websocket.Conn
		before := heap()
		for range sockets {
			c, peer := narrow(t, client)
			done := begin(func() error { return c.Write(context.Background(), websocket.MessageText, []byte(news(2))) })
			wantText(t, peer, news(2))
			require.NoError(t, <-done)
			announce(t, c, "being written")
			synctest.Wait()
			require.NoError(t, c.CloseNow())
			require.NoError(t, peer.CloseNow())
			synctest.Wait()
			all = append(all, c)
		}
		runtime.GC() // pools need two
		assert.Less(t, heap()-before, int64(sockets*100_000))
		runtime.KeepAlive(all)
	})
}

// Nor does one who is handed the message gate when the Conn has ended, and does not take
// it.
func TestWhoGivesUpHisTurnLeavesNoCompressorBehind(t *testing.T) {
	for name, write := range map[string]func(c *websocket.Conn){
		"a message":             func(c *websocket.Conn) { c.Write(context.Background(), websocket.MessageText, []byte(news(2))) },
		"an uncompressed one":   func(c *websocket.Conn) { c.Write(context.Background(), websocket.MessageText, nil) },
		"a compressed Writer's": func(c *websocket.Conn) { c.Writer(context.Background(), websocket.MessageText) },
		"a broadcast":           func(c *websocket.Conn) { announce(t, c, news(2)) },
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := deflating(client, websocket.DeflateParams{}).open(t)
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // who is woken does not run at once
				require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte(news(2))))
				w, err := e.Writer(t.Context(), websocket.MessageText.Uncompressed())
				require.NoError(t, err)
				go write(e.Conn)
				synctest.Wait()
				e.CloseNow()
				w.Close()
				synctest.Wait()
				assert.False(t, websocket.HoldsCompressor(e.Conn))
			})
		})
	}
}

// Where a write has failed nothing is counted as written, although what the peer has
// sent can still be read.
func TestBroadcastPassesOverSocketsThatTakeNothing(t *testing.T) {
	for name, slow := range map[string]websocket.SlowReceiver{
		"misses": websocket.SlowMisses, "ends": websocket.SlowEnds, "waits": websocket.SlowWaits,
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				e.far.StopSending(io.ErrClosedPipe)
				assert.ErrorIs(t, e.Write(t.Context(), websocket.MessageText, nil), io.ErrClosedPipe)
				m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("news"))
				require.NoError(t, err)
				written, missed := websocket.Broadcast(t.Context(), m, slices.Values([]*websocket.Conn{e.Conn}), slow)
				assert.Zero(t, written+missed)
				e.peer.Send(t, wstest.Text("still there"))
				wantText(t, e.Conn, "still there")
			})
		})
	}
}

// A sharedStream takes broadcasts as a stream of a connection with many does.
type sharedStream struct {
	*wstest.PipeStream
	holdsUp atomic.Bool // Broadcast has called Write
}

func (s *sharedStream) WriteLater(p []byte) (interface{ Flush() }, bool) { return s, true }
func (s *sharedStream) Flush()                                           {}

func (s *sharedStream) Write(p []byte) (int, error) {
	if strings.Contains(string(debug.Stack()), "websocket.Broadcast(") {
		s.holdsUp.Store(true)
	}
	return len(p), nil
}

// Broadcast leaves a Pong, for which the stream may have no room, to others, whenever
// the Ping comes.
func TestBroadcastWritesNoPong(t *testing.T) {
	wstest.NoLeaks(t)
	near, far := wstest.Pipe(wstest.PipeOptions{})
	s := &sharedStream{PipeStream: near}
	c := websocket.New(s, websocket.Params{Limits: websocket.Limits{PingInterval: -1, ControlBurst: -1}})
	defer far.Abort()
	defer c.CloseNow()
	go c.Read(context.Background())
	peer := wstest.NewClient(far)
	go func() {
		for peer.TrySend(wstest.Ping("")) == nil {
		}
	}()
	for range 3000 {
		announce(t, c, "news")
	}
	assert.False(t, s.holdsUp.Load())
}

// A socket to which broadcasts come faster than its peer reads has a place for
// those who write in other ways: behind the broadcasts before them, and before those
// that come when they wait already.
func TestBroadcastsLeaveRoomForOthers(t *testing.T) {
	others := map[string]func(c *websocket.Conn, p string) error{
		"Write": func(c *websocket.Conn, p string) error {
			return c.Write(context.Background(), websocket.MessageText, []byte(p))
		},
		"compressed Write": func(c *websocket.Conn, p string) error {
			return c.Write(context.Background(), websocket.MessageText, []byte(p+strings.Repeat(" ", 2000)))
		},
		"Writer": func(c *websocket.Conn, p string) error {
			w, err := c.Writer(context.Background(), websocket.MessageText)
			if err != nil {
				return err
			}
			w.Write([]byte(p))
			return w.Close()
		},
	}
	for name, write := range others {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				const rounds = 5
				c, peer := narrow(t, client)
				announce(t, c, "being written")
				synctest.Wait()
				var writes []<-chan error
				for i := range rounds {
					announce(t, c, fmt.Sprint("one of ", i))
					announce(t, c, fmt.Sprint("two of ", i))
					writes = append(writes, begin(func() error { return write(c, fmt.Sprint("reply ", i)) }))
					synctest.Wait()
				}
				var got []string
				for range 1 + rounds*3 {
					_, p, err := peer.Read(t.Context())
					require.NoError(t, err)
					got = append(got, strings.TrimRight(string(p), " "))
				}
				assert.Equal(t, []string{
					"being written", "one of 0", "two of 0", "reply 0",
					"one of 1", "two of 1", "one of 2", "two of 2", "one of 3", "two of 3", "one of 4", "two of 4",
					"reply 1", "reply 2", "reply 3", "reply 4",
				}, got, "what waits behind somebody, 64 KiB at most, goes out together")
				for _, w := range writes {
					assert.NoError(t, <-w)
				}
			})
		})
	}
}

// Messages without content do not wait without bound.
func TestEmptyBroadcastsWaitAsOthersDo(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		c, _ := narrow(t, client)
		m, err := websocket.NewPreparedMessage(websocket.MessageText, nil)
		require.NoError(t, err)
		for n := 0; ; n++ {
			require.Less(t, n, 10_000)
			if _, missed := websocket.Broadcast(t.Context(), m, slices.Values([]*websocket.Conn{c}), websocket.SlowMisses); missed > 0 {
				break
			}
		}
	})
}

// A socket that ends takes with it what waits for it, wherever in line.
func TestBroadcastsThatWaitEndWithTheSocket(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, first := range []func(c *websocket.Conn){
			func(c *websocket.Conn) {},
			func(c *websocket.Conn) { c.Ping(context.Background()) },
			func(c *websocket.Conn) { c.Write(context.Background(), websocket.MessageText, []byte(news(2))) },
		} {
			c, _ := narrow(t, client)
			go first(c)
			synctest.Wait()
			announce(t, c, news(0))
			go c.Write(context.Background(), websocket.MessageText, []byte(news(2)))
			synctest.Wait()
			announce(t, c, news(1))
			require.NoError(t, c.CloseNow())
			synctest.Wait()
			m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("late"))
			require.NoError(t, err)
			for _, slow := range []websocket.SlowReceiver{websocket.SlowMisses, websocket.SlowWaits} {
				written, missed := websocket.Broadcast(t.Context(), m, slices.Values([]*websocket.Conn{c}), slow)
				assert.Zero(t, written+missed)
			}
			assert.ErrorIs(t, c.Ping(t.Context()), net.ErrClosed)
		}
	})
}

// The same with a peer that reads, on the wall's clock: Close comes just when the
// last of what waited has been written, or has not.
func TestCloseBehindBroadcasts(t *testing.T) {
	wstest.NoLeaks(t)
	const sockets, each = 200, 20
	var all sync.WaitGroup
	for i := range sockets {
		c, peer := joined(t, wstest.PipeOptions{Buffer: 512}, websocket.Params{Limits: patient, Deflate: &websocket.DeflateParams{}})
		if i%2 > 0 {
			c, peer = peer, c
		}
		all.Go(func() {
			got, err := messages(peer)
			assert.Len(t, got, each)
			wantOneOf(t, err, 1000)
		})
		all.Go(func() {
			for i := range each {
				announce(t, c, news(i))
			}
			assert.NoError(t, c.Close(context.Background(), 1000, ""))
		})
	}
	all.Wait()
}

// What Broadcast says it has written arrives before the Close frame, and nothing comes
// behind that, whenever the socket is closed.
func TestBroadcastsWhileTheSocketIsClosed(t *testing.T) {
	wstest.NoLeaks(t)
	m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(news(1)))
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 40 {
		e := socket{pipe: wstest.PipeOptions{Buffer: 512}, client: i%2 > 0, params: websocket.Params{Limits: patient}}.open(t)
		said := make(chan int, 1)
		all.Go(func() {
			sum := 0
			for {
				written, _ := websocket.Broadcast(context.Background(), m, slices.Values([]*websocket.Conn{e.Conn}), websocket.SlowWaits)
				if sum += written; written == 0 {
					said <- sum
					return
				}
			}
		})
		if i%4 < 2 { // so that somebody is in line before Close
			all.Go(func() {
				for e.Write(context.Background(), websocket.MessageText, []byte("else")) == nil {
				}
			})
		}
		all.Go(func() {
			got := 0
			for {
				f, err := e.peer.TryNext()
				if !assert.NoError(t, err) {
					return
				}
				if f.Opcode == frame.Close {
					break
				}
				if string(f.Payload) == "else" {
					continue
				}
				if got++; got == 20+i%10 {
					all.Go(func() { assert.NoError(t, e.Close(context.Background(), 1000, "")) })
				}
			}
			assert.Equal(t, <-said, got)
			assert.NoError(t, e.peer.TrySend(wstest.Close(1000, "")))
			assert.NoError(t, e.far.CloseWrite())
			_, err := e.peer.TryNext()
			assert.ErrorIs(t, err, io.EOF, "nothing comes behind the Close frame")
		})
	}
	all.Wait()
}

// patient are limits for a busy machine.
var patient = websocket.Limits{PingInterval: -1, CloseTimeout: time.Minute}
