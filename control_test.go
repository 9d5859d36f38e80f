package websocket_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// WS-20: a million Pings and a peer that reads nothing. What we owe is one
// Pong, and after the write stall the peer is cut.
func TestWS20PingFloodFromAPeerThatDoesNotRead(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{
			client: client,
			params: websocket.Params{Limits: websocket.Limits{ControlBurst: -1}},
			pipe:   wstest.PipeOptions{Buffer: 16 << 10},
		}.open(t)
		got := e.beginRead(t.Context())
		burst := e.peer.Append(nil, wstest.Ping("0123456789"), wstest.Ping("x"))
		for len(burst) < 8<<10 {
			burst = append(burst, burst...)
		}
		before := heap()
		sent := begin(func() (n int) {
			for range 1000 {
				if _, err := e.far.Write(burst); err != nil {
					break
				}
				n++
			}
			return n
		})
		synctest.Wait()
		assert.Less(t, heap()-before, int64(256<<10), "memory is flat")
		assert.LessOrEqual(t, e.near.WrittenBytes(), int64(16<<10))
		m := <-got
		wantEnd(t, m.err, 1006, true)
		require.ErrorIs(t, m.err, context.DeadlineExceeded, "the write stall")
		assert.Less(t, <-sent, 1000)
		e.peer.WantReset(t, "cut")
	})
}

// heap returns how many bytes of the heap are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// WS-20: with a reading peer it is the rate that ends it: a burst of 1,000,
// then 33 a second.
func TestWS20ControlFramesAreRateLimited(t *testing.T) {
	flood := func(n int) []wstest.Frame {
		frames := make([]wstest.Frame, n)
		for i := range frames {
			frames[i] = []wstest.Frame{wstest.Ping(""), wstest.Pong("")}[i%2]
		}
		return frames
	}
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		got := e.beginRead(t.Context())
		e.peer.Send(t, flood(1000)...)
		synctest.Wait()
		assert.Empty(t, got, "the burst passes")
		for range 10 {
			time.Sleep(time.Second)
			e.peer.Send(t, flood(33)...)
			synctest.Wait()
			assert.Empty(t, got, "33 a second pass")
		}
		time.Sleep(time.Second)
		e.peer.Send(t, flood(34)...)
		m := <-got
		wantEnd(t, m.err, 1008, false)
		require.NotErrorIs(t, m.err, websocket.ErrTooManyFragments)
		f := e.peer.Next(t, "the pongs before")
		for f.Opcode == frame.Pong {
			f = e.peer.Next(t, "more of them, then Close")
		}
		code, _, _ := f.CloseCode()
		assert.EqualValues(t, 1008, code)
	})
	t.Run("configured", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client, params: websocket.Params{Limits: websocket.Limits{ControlBurst: 2, ControlRate: 1}}}.open(t)
			got := e.beginRead(t.Context())
			e.peer.Send(t, wstest.Pong(""), wstest.Pong(""))
			time.Sleep(time.Second)
			e.peer.Send(t, wstest.Pong(""))
			synctest.Wait()
			assert.Empty(t, got)
			e.peer.Send(t, wstest.Pong(""))
			wantEnd(t, (<-got).err, 1008, false)
		})
	})
	t.Run("switched off", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client, params: websocket.Params{Limits: websocket.Limits{ControlBurst: -1}}}.open(t)
			frames := make([]wstest.Frame, 5000)
			for i := range frames {
				frames[i] = wstest.Pong("")
			}
			e.peer.Send(t, append(frames, wstest.Text("after the flood"))...)
			wantText(t, e.Conn, "after the flood")
			assert.EqualValues(t, 5000, e.Stats().PongsIgnored)
		})
	})
}

// WS-20: while nothing can be sent, the latest Ping replaces the one before
// (RFC 6455 §5.5.3).
func TestWS20OnePendingPongAndTheLatestWins(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1000}}.open(t)
		writing := begin(func() error { return e.Write(t.Context(), websocket.MessageBinary, make([]byte, 1500)) })
		got := e.beginRead(t.Context())
		synctest.Wait()
		for i := range 100 {
			e.peer.Send(t, wstest.Ping(fmt.Sprint("ping ", i)))
			synctest.Wait()
		}
		e.peer.Send(t, wstest.Text("read although a writer is blocked"))
		assert.Equal(t, "read although a writer is blocked", (<-got).payload)
		assert.Equal(t, frame.Binary, e.peer.Next(t, "the frame in progress").Opcode)
		require.NoError(t, <-writing)
		e.peer.WantFrame(t, frame.Pong, "ping 99", "one Pong, for the latest")
		e.peer.WantIdle(t, "and no other")
	})
}

// A slowContext lets nobody wait for its end before goOn is closed.
type slowContext struct {
	context.Context
	goOn chan struct{}
}

func (c slowContext) Done() <-chan struct{} {
	<-c.goOn
	return c.Context.Done()
}

// Whoever gives up waiting may have had his turn meanwhile: a Ping that has come then
// is answered all the same.
func TestPingIsAnsweredBehindAWriteThatGivesUp(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 100}}.open(t)
		e.beginRead(t.Context())
		for range 16 { // with both at hand, his turn or the end of his context is taken at random
			first := begin(func() error { return e.Write(t.Context(), websocket.MessageBinary, make([]byte, 200)) })
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			slow := slowContext{ctx, make(chan struct{})}
			second := begin(func() error { return e.Write(slow, websocket.MessageText, nil) })
			synctest.Wait()
			assert.Equal(t, frame.Binary, e.peer.Next(t, "the turn is the second's").Opcode)
			require.NoError(t, <-first)
			e.peer.Send(t, wstest.Ping("meanwhile"))
			synctest.Wait()
			cancel()
			close(slow.goOn)
			require.ErrorIs(t, <-second, context.Canceled)
			e.peer.WantFrame(t, frame.Pong, "meanwhile", "nobody else would write it")
		}
		e.CloseNow()
	})
}

func TestPingIsAnsweredWithItsPayload(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.beginRead(t.Context())
		for _, payload := range []string{"", "x", "\xff\x00", strings.Repeat("p", 125)} {
			e.peer.Send(t, wstest.Ping(payload))
			e.peer.WantFrame(t, frame.Pong, payload, "RFC 6455 §5.5.3: identical data")
		}
		e.CloseNow()
	})
}

// WS-21: a Pong that nobody waits for is counted and otherwise ignored, and
// does not satisfy Ping.
func TestWS21PingWaitsForItsOwnPong(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		start := time.Now()
		pinged := begin(func() error { return e.Ping(t.Context()) })
		f := e.peer.Next(t, "a Ping")
		require.Equal(t, frame.Ping, f.Opcode)
		require.NotEmpty(t, f.Payload)
		own := string(f.Payload)
		e.peer.Send(t, wstest.Pong(""), wstest.Pong("wrong"), wstest.Pong(own+"x"), wstest.Pong(own[1:]), wstest.Ping(own))
		e.peer.WantFrame(t, frame.Pong, own, "a Ping with the same payload is just a Ping")
		synctest.Wait()
		assert.Empty(t, pinged)
		time.Sleep(70 * time.Millisecond)
		e.peer.Send(t, wstest.Pong(own))
		require.NoError(t, <-pinged)
		assert.Equal(t, 70*time.Millisecond, time.Since(start), "a round trip")

		e.peer.Send(t, wstest.Pong(own), wstest.Text("end"))
		wantText(t, e.Conn, "end")
		assert.EqualValues(t, 5, e.Stats().PongsIgnored)
	})
}

func TestWS21ConcurrentPingsEachReturnOnTheirOwn(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		got := e.beginRead(t.Context())
		const n = 10
		var pinged []<-chan error
		var payloads []string
		for range n {
			pinged = append(pinged, begin(func() error { return e.Ping(t.Context()) }))
			payloads = append(payloads, string(e.peer.Next(t, "a Ping").Payload))
		}
		for i := range n {
			assert.NotContains(t, payloads[:i], payloads[i], "each has a payload of its own")
			synctest.Wait()
			assert.Empty(t, pinged[i])
			e.peer.Send(t, wstest.Pong(payloads[i]))
			require.NoError(t, <-pinged[i], "answered in order")
		}
		assert.Empty(t, got)
		e.CloseNow()
	})
}

// WS-21: a peer may answer only the latest of several Pings (RFC 6455 §5.5.3),
// and that may be one which nobody waits for any more. Its Pong answers all
// before it, and none behind it.
func TestWS21PongAnswersThePingsBeforeItsOwn(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		got := e.beginRead(t.Context())
		ping := func(ctx context.Context) (<-chan error, string) {
			pinged := begin(func() error { return e.Ping(ctx) })
			return pinged, string(e.peer.Next(t, "a Ping").Payload)
		}
		first, _ := ping(t.Context())
		second, answer := ping(t.Context())
		third, _ := ping(t.Context())
		e.peer.Send(t, wstest.Pong(answer))
		require.NoError(t, <-first)
		require.NoError(t, <-second)
		synctest.Wait()
		assert.Empty(t, third)

		soon, cancel := context.WithCancel(t.Context())
		defer cancel()
		fourth, _ := ping(soon)
		fifth, answer := ping(soon)
		cancel()
		require.ErrorIs(t, <-fourth, context.Canceled)
		require.ErrorIs(t, <-fifth, context.Canceled)
		synctest.Wait()
		assert.Empty(t, third)
		e.peer.Send(t, wstest.Pong(answer))
		require.NoError(t, <-third)
		e.peer.Send(t, wstest.Text("end"))
		assert.Equal(t, "end", (<-got).payload)
		assert.Zero(t, e.Stats().PongsIgnored)
	})
}

// WS-21: two Conns that ping each other at once, many times, while neither can
// always answer each Ping: none waits for ever.
func TestWS21ManyPingsAtOnceAreAllAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, client := joined(t, wstest.PipeOptions{Buffer: 100}, websocket.Params{Limits: quiet})
		var reading, pinging sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, c := range []*websocket.Conn{server, client} {
			reading.Go(func() {
				for {
					if _, _, err := c.Read(t.Context()); err != nil {
						return
					}
				}
			})
			for range 8 {
				pinging.Go(func() {
					for range 20 {
						assert.NoError(t, c.Ping(ctx))
						assert.NoError(t, c.Write(ctx, websocket.MessageBinary, make([]byte, 500)))
					}
				})
			}
		}
		pinging.Wait()
		server.CloseNow()
		client.CloseNow()
		reading.Wait()
	})
}

// WS-22: Ping needs no reader, and keeps what arrives before its Pong, in
// order and type.
func TestWS22PingWorksThoughNobodyReads(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, params: websocket.Params{Deflate: &websocket.DeflateParams{}}}.open(t)
		pinged := begin(func() error { return e.Ping(t.Context()) })
		own := string(e.peer.Next(t, "a Ping").Payload)
		large := strings.Repeat("large ", 4000)
		e.peer.Send(t, wstest.Text("one"), wstest.Ping("theirs"), wstest.Binary(nil), wstest.Text(large),
			wstest.Text("\xf2\x48\xcd\xc9\xc9\x07\x00").Compressed(), wstest.Text("fi").Fragment(), wstest.Pong(own))
		require.NoError(t, <-pinged)
		e.peer.WantFrame(t, frame.Pong, "theirs", "answered on the way")
		e.peer.Send(t, wstest.Continuation("ve"), wstest.Text("six"))
		wantText(t, e.Conn, "one")
		kind, p, err := e.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, websocket.MessageBinary, kind)
		assert.Empty(t, p)
		wantText(t, e.Conn, large)
		wantText(t, e.Conn, "Hello")
		_, r, err := e.Reader(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "five", copyOf(t, r))
		wantText(t, e.Conn, "six")
	})
}

// A Ping that waits makes way for a Read, and returns on the Pong that the Read
// finds.
func TestWS22PingMakesWayForAReader(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		pinged := begin(func() error { return e.Ping(t.Context()) })
		own := string(e.peer.Next(t, "a Ping").Payload)
		synctest.Wait()
		got := e.beginRead(t.Context())
		e.peer.Send(t, wstest.Text("for the reader"))
		assert.Equal(t, "for the reader", (<-got).payload)
		got = e.beginRead(t.Context())
		synctest.Wait()
		e.peer.Send(t, wstest.Pong(own), wstest.Text("next"))
		require.NoError(t, <-pinged)
		assert.Equal(t, "next", (<-got).payload)
	})
}

// What is kept for the application is bounded: 64 KiB. Beyond it Ping waits
// until the application reads, and the transport holds the peer back.
func TestWS22PingReadsAheadNoMoreThan64KiB(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 4 << 10}}.open(t)
		pinged := begin(func() error { return e.Ping(t.Context()) })
		own := string(e.peer.Next(t, "a Ping").Payload)
		const messages, size = 300, 1000
		go func() {
			for i := range messages {
				if e.peer.TrySend(wstest.Text(fmt.Sprintf("%04d%s", i, strings.Repeat("x", size-4)))) != nil {
					return
				}
			}
			e.peer.TrySend(wstest.Pong(own))
		}()
		synctest.Wait()
		assert.Empty(t, pinged)
		assert.Less(t, e.far.WrittenBytes(), int64(90<<10), "64 KiB kept, and what buffers hold")
		assert.Greater(t, e.far.WrittenBytes(), int64(64<<10))
		for i := range messages {
			_, p, err := e.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%04d", i), string(p[:4]))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		e.Read(ctx) // finds the Pong
		require.NoError(t, <-pinged)
	})
}

// Behind as much as may be read ahead, Ping reads on when the application has made room.
func TestWS22PingReadsOnBehindTheApplication(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		pinged := begin(func() error { return e.Ping(t.Context()) })
		own := e.wantPing(t, "a Ping")
		const messages, size = 20, 8000
		for i := range messages {
			e.peer.Send(t, wstest.Text(fmt.Sprintf("%04d%s", i, strings.Repeat("x", size-4))))
		}
		e.peer.Send(t, wstest.Pong(own))
		for i := range messages {
			synctest.Wait()
			_, p, err := e.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%04d", i), string(p[:4]))
			require.Len(t, p, size)
		}
		synctest.Wait()
		require.NotEmpty(t, pinged, "the application has read all there was")
		require.NoError(t, <-pinged)
	})
}

func TestPingEndsWithItsContextAndWithTheConn(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, e.Ping(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, e.Ping(ctx), context.DeadlineExceeded, "before anything is sent")
		late := string(e.peer.Next(t, "the first Ping").Payload)
		e.peer.WantIdle(t, "and no second one")
		e.peer.Send(t, wstest.Pong(late), wstest.Text("usable"))
		wantText(t, e.Conn, "usable")

		pinged := begin(func() error { return e.Ping(t.Context()) })
		synctest.Wait()
		e.peer.Send(t, wstest.Close(1001, ""))
		wantEnd(t, <-pinged, 1001, true)
	})
}

// WS-23: whoever waits behind a blocked writer goes by its own context.
func TestWS23BehindABlockedWriterContextsHold(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 100}}.open(t)
		writing := begin(func() error { return e.Write(t.Context(), websocket.MessageText, make([]byte, 1000)) })
		synctest.Wait()
		m, err := websocket.NewPreparedMessage(websocket.MessageText, nil)
		require.NoError(t, err)
		start := time.Now()
		var all sync.WaitGroup
		for i, call := range []func(ctx context.Context) error{
			e.Ping,
			func(ctx context.Context) error { return e.Write(ctx, websocket.MessageText, nil) },
			func(ctx context.Context) error { _, err := e.Writer(ctx, websocket.MessageText); return err },
			func(ctx context.Context) error { return e.WritePrepared(ctx, m) },
			func(ctx context.Context) error { return e.WriteJSON(ctx, 1) },
		} {
			all.Go(func() {
				wait := time.Duration(i+1) * time.Second
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				assert.ErrorIs(t, call(ctx), context.DeadlineExceeded)
				assert.Equal(t, wait, time.Since(start))
			})
		}
		all.Wait()
		assert.Empty(t, writing, "not disturbed")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		require.ErrorIs(t, e.Close(ctx, 1000, ""), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		require.Error(t, <-writing)
	})
}

// WS-23: a Writer goes by its own context too, behind a control frame that is
// blocked; and it lets the next message begin.
func TestWS23WriterBehindABlockedPingGoesByItsContext(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1}}.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w, err := e.Writer(ctx, websocket.MessageText)
		require.NoError(t, err)
		pinged := begin(func() error { return e.Ping(t.Context()) })
		synctest.Wait()
		start := time.Now()
		_, err = w.Write(make([]byte, 100_000))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, w.Close(), context.DeadlineExceeded)

		written := begin(func() error { return e.Write(t.Context(), websocket.MessageText, []byte("next")) })
		ping := e.wantPing(t, "no part of the message was sent")
		e.peer.WantFrame(t, frame.Text, "next", "the Writer has let go of its message")
		require.NoError(t, <-written)
		e.peer.Send(t, wstest.Pong(ping))
		require.NoError(t, <-pinged)
	})
}

// A Ping that waits behind more data than may be read ahead ends with the socket, also
// if that gives up waiting for the peer's Close.
func TestPingEndsWithACloseThatGaveUp(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		pinged := make(chan error, 1)
		go func() { pinged <- e.Ping(context.Background()) }()
		e.wantPing(t, "the Ping")
		e.peer.Send(t, wstest.Binary(make([]byte, 100_000)))
		synctest.Wait()
		require.Empty(t, pinged)
		require.ErrorIs(t, e.Close(t.Context(), 1000, ""), context.DeadlineExceeded)
		wantEnd(t, <-pinged, 1000, false)
	})
}
