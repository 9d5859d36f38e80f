package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// keepAlive are the default intervals, written out.
var keepAlive = websocket.Limits{PingInterval: 30 * time.Second, PingTimeout: 15 * time.Second}

// wantPingAt wants the next frame to be a keep-alive Ping at this time after
// start, and nothing before it.
func (e *end) wantPingAt(t testing.TB, start time.Time, at time.Duration) string {
	t.Helper()
	time.Sleep(at - time.Since(start) - 1)
	e.peer.WantIdle(t, "not before its time")
	f := e.peer.Next(t, "a keep-alive Ping")
	require.Equal(t, frame.Ping, f.Opcode)
	require.Equal(t, at, time.Since(start))
	return string(f.Payload)
}

// OP-06: a silent peer is pinged after PingInterval and cut PingTimeout later,
// whether the application reads or not.
func TestOP06SilentPeerIsPingedAndCut(t *testing.T) {
	for name, reads := range map[string]bool{"reading": true, "not reading": false} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				start := time.Now()
				e := socket{client: client, params: websocket.Params{Limits: keepAlive}}.open(t)
				var got <-chan message
				if reads {
					got = e.beginRead(t.Context())
				}
				e.wantPingAt(t, start, 30*time.Second)
				time.Sleep(15*time.Second - 1)
				e.peer.WantIdle(t, "it has 15 s to answer")
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				e.peer.WantReset(t, "dead")
				assert.Equal(t, 45*time.Second, time.Since(start))
				if reads {
					err := (<-got).err
					wantEnd(t, err, 1006, true)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					var timeout net.Error
					require.ErrorAs(t, err, &timeout)
					assert.True(t, timeout.Timeout())
				}
				e.wantDead(t, 1006, true)
			})
		})
	}
}

func TestKeepAliveDefaultsAndOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		near, far := wstest.Pipe(wstest.PipeOptions{})
		c := websocket.New(near, websocket.Params{})
		peer := wstest.NewClient(far)
		peer.Patience = time.Hour
		start := time.Now()
		assert.Equal(t, frame.Ping, peer.Next(t, "by default").Opcode)
		assert.Equal(t, 30*time.Second, time.Since(start))
		peer.WantReset(t, "and 15 s for the answer")
		assert.Equal(t, 45*time.Second, time.Since(start))
		c.CloseNow()
	})
	inBubble(t, func(t *testing.T) {
		e := socket{params: websocket.Params{Limits: websocket.Limits{PingInterval: -1, PingTimeout: time.Second}}}.open(t)
		time.Sleep(24 * time.Hour)
		e.peer.WantIdle(t, "switched off")
		e.peer.Send(t, wstest.Text("alive"))
		wantText(t, e.Conn, "alive")
	})
}

// The answer to the Ping starts the interval anew.
func TestKeepAliveGoesOnWhileThePeerAnswers(t *testing.T) {
	for name, reads := range map[string]bool{"reading": true, "not reading": false} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				start := time.Now()
				e := socket{client: client, params: websocket.Params{Limits: keepAlive}}.open(t)
				var got <-chan message
				if reads {
					got = e.beginRead(t.Context())
				}
				at := 30 * time.Second
				for range 10 {
					payload := e.wantPingAt(t, start, at)
					time.Sleep(14 * time.Second)
					e.peer.Send(t, wstest.Pong(payload))
					at += 44 * time.Second
				}
				if !reads {
					got = e.beginRead(t.Context())
				}
				e.peer.Send(t, wstest.Text("still here"))
				assert.Equal(t, "still here", (<-got).payload)
			})
		})
	}
}

// Any byte is a sign of life: before the Ping is due, and instead of its Pong.
func TestKeepAliveTakesAnyByteForASignOfLife(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		start := time.Now()
		e := socket{client: client, params: websocket.Params{Limits: keepAlive}}.open(t)
		got := e.beginRead(t.Context())
		wire := e.peer.Append(nil, wstest.Text("slow"))
		for i := range wire {
			time.Sleep(29 * time.Second)
			e.peer.SendRaw(t, wire[i:i+1])
			synctest.Wait()
		}
		assert.Equal(t, "slow", (<-got).payload)
		got = e.beginRead(t.Context())
		e.wantPingAt(t, start, time.Duration(len(wire))*29*time.Second+30*time.Second)
		time.Sleep(14 * time.Second)
		wire = e.peer.Append(nil, wstest.Text("no pong"))
		e.peer.SendRaw(t, wire[:1])
		e.wantPingAt(t, start, time.Since(start)+30*time.Second)
		e.peer.SendRaw(t, wire[1:])
		assert.Equal(t, "no pong", (<-got).payload)
	})
}

// A peer that floods an application which does not read is not dead: what it
// sent before lies unread. Once that is read, the watch goes on.
func TestKeepAliveForgivesASlowApplication(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, params: websocket.Params{Limits: keepAlive}, pipe: wstest.PipeOptions{Buffer: 100 << 10}}.open(t)
		for range 95 {
			e.peer.Send(t, wstest.Binary(make([]byte, 1000)))
		}
		e.peer.TrySend(wstest.Text("the last"))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, wstest.EndNone, e.near.Ended())
		for range 95 {
			_, p, err := e.Read(t.Context())
			require.NoError(t, err)
			require.Len(t, p, 1000)
		}
		wantText(t, e.Conn, "the last")
		start := time.Now()
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1006, true)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.LessOrEqual(t, time.Since(start), 75*time.Second)
	})
}

// C6: a peer that takes nothing more and says nothing more is dead, although no
// Ping can find that out; what it had said is not lost.
func TestOP06DeafAndSilentPeerIsCut(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, params: websocket.Params{Limits: keepAlive}}.open(t)
		stopped := errors.New("stopped")
		e.far.StopSending(stopped)
		e.peer.Send(t, wstest.Text("unread"))
		time.Sleep(44 * time.Second)
		e.peer.Send(t, wstest.Text("later"))
		time.Sleep(46 * time.Second) // 30 and 15, and one more
		require.Equal(t, wstest.EndAbort, e.near.Ended())
		wantText(t, e.Conn, "unread")
		wantText(t, e.Conn, "later")
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1006, true)
		require.ErrorIs(t, err, stopped)
	})
}

// A Ping passes between the fragments of a message, and the timers end with
// the Conn.
func TestKeepAlivePassesBetweenFragments(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		start := time.Now()
		e := socket{client: client, params: websocket.Params{Limits: keepAlive}, pipe: wstest.PipeOptions{Buffer: 200 << 10}}.open(t)
		w, err := e.Writer(t.Context(), websocket.MessageText)
		require.NoError(t, err)
		_, err = io.WriteString(w, strings.Repeat("x", 100_000))
		require.NoError(t, err)
		for e.far.Readable() > 0 {
			assert.True(t, e.peer.Next(t, "a fragment").More)
		}
		payload := e.wantPingAt(t, start, 30*time.Second)
		e.peer.Send(t, wstest.Pong(payload))
		synctest.Wait()
		require.NoError(t, w.Close())
		f := e.peer.Next(t, "the last fragment")
		assert.Equal(t, frame.Continuation, f.Opcode)
		assert.False(t, f.More)

		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, e.far.CloseWrite())
		require.NoError(t, e.Close(t.Context(), 1000, ""))
		e.peer.WantClose(t, 1000, "end")
		time.Sleep(time.Hour)
		e.peer.WantEOF(t, "no Ping after the end")
	})
}

// Nor is a peer blamed for an application that takes longer over a message than
// keep-alive waits: what it takes meanwhile was read ahead.
func TestOP06ApplicationThatIsSlowOverEachMessage(t *testing.T) {
	for _, pace := range []time.Duration{20 * time.Second, 40 * time.Second, 100 * time.Second} {
		t.Run(pace.String(), func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}, params: websocket.Params{Limits: keepAlive}}.open(t)
				for range 20 {
					e.peer.Send(t, wstest.Binary(make([]byte, 8000)))
				}
				go func() { // ends with the stream
					for {
						f, err := e.peer.TryNext()
						if err != nil || f.Opcode == frame.Ping && e.peer.TrySend(wstest.Pong(string(f.Payload))) != nil {
							return
						}
					}
				}()
				for range 20 {
					time.Sleep(pace)
					_, _, err := e.Read(t.Context())
					require.NoError(t, err, "the peer has sent all of it")
				}
				time.Sleep(time.Hour)
				assert.NoError(t, e.Write(t.Context(), websocket.MessageText, nil), "it answers Pings")
				e.CloseNow()
			})
		})
	}
}

// OP-06: a peer that takes no byte is cut after WriteStall.
func TestOP06WriteStall(t *testing.T) {
	for name, c := range map[string]struct {
		limit, want time.Duration
	}{
		"default":    {0, 30 * time.Second},
		"configured": {time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				for _, size := range []int{100, 20_000, 500_000} {
					e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 50}, params: websocket.Params{Limits: websocket.Limits{WriteStall: c.limit}}}.open(t)
					got := e.beginRead(t.Context())
					start := time.Now()
					err := e.Write(t.Context(), websocket.MessageBinary, make([]byte, size))
					assert.Equal(t, c.want, time.Since(start))
					wantEnd(t, err, 1006, true)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					var timeout net.Error
					require.ErrorAs(t, err, &timeout)
					assert.True(t, timeout.Timeout())
					wantEnd(t, (<-got).err, 1006, true)
					e.peer.WantReset(t, "cut")
				}
			})
		})
	}
	t.Run("switched off", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 50}, params: websocket.Params{Limits: websocket.Limits{WriteStall: -1}}}.open(t)
			writing := begin(func() error { return e.Write(t.Context(), websocket.MessageBinary, make([]byte, 100)) })
			time.Sleep(time.Hour)
			synctest.Wait()
			assert.Empty(t, writing)
			assert.Len(t, e.peer.Next(t, "whole after all").Payload, 100)
			require.NoError(t, <-writing)
		})
	})
	t.Run("many quick writes are no stall", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			e := socket{}.open(t)
			for range 1000 {
				require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, []byte("x")))
				time.Sleep(100 * time.Millisecond)
				e.peer.Next(t, "taken at once")
			}
		})
	})
}

// A peer that takes 64 KiB within WriteStall is not cut, however large the message is.
func TestOP06WriteStallOfALargeMessage(t *testing.T) {
	p := make([]byte, 1<<20)
	m, err := websocket.NewPreparedMessage(websocket.MessageBinary, p)
	require.NoError(t, err)
	for name, write := range map[string]func(ctx context.Context, c *websocket.Conn) error{
		"Write":         func(ctx context.Context, c *websocket.Conn) error { return c.Write(ctx, websocket.MessageBinary, p) },
		"WritePrepared": func(ctx context.Context, c *websocket.Conn) error { return c.WritePrepared(ctx, m) },
	} {
		for _, vectored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, vectored %t", name, vectored), func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					e := socket{client: client, vectored: vectored}.open(t)
					writing := begin(func() error { return write(t.Context(), e.Conn) })
					b := make([]byte, 16<<10)
					for left := len(p); left > 0; {
						time.Sleep(5 * time.Second)
						n, err := io.ReadFull(e.far, b[:min(left, len(b))])
						require.NoError(t, err)
						left -= n
					}
					require.NoError(t, <-writing)
				})
			})
		}
	}
}
