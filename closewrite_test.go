package websocket_test

import (
	"context"
	"fmt"
	"net"
	"slices"
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

// roomy holds more than is read ahead of an application.
var roomy = wstest.PipeOptions{Buffer: 2 << 20}

// What the peer sent before it answered is read; what comes behind our Close
// frame does not exist.
func TestCloseWriteLeavesReadingOn(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		blocked := e.beginRead(t.Context())
		synctest.Wait()
		require.NoError(t, e.CloseWrite(t.Context(), 1001, "so long"))
		assert.Equal(t, "so long", e.peer.WantClose(t, 1001, "CloseWrite sends a Close frame"))
		e.peer.WantIdle(t, "and no END")
		wantEnd(t, e.Write(t.Context(), websocket.MessageText, nil), 1001, false)
		wantEnd(t, e.Ping(t.Context()), 1001, false)
		require.NoError(t, e.CloseWrite(t.Context(), 1000, "again"), "what the first did")
		e.peer.WantIdle(t, "one Close frame")

		e.peer.Send(t, wstest.Text("first"))
		assert.Equal(t, "first", (<-blocked).payload)
		e.peer.Send(t, wstest.Text("sec").Fragment(), wstest.Ping(""), wstest.Continuation("ond"))
		wantText(t, e.Conn, "second")
		e.peer.Send(t, wstest.Text("third"), wstest.Close(1001, ""), wstest.Text("no more"))
		wantText(t, e.Conn, "third")
		_, _, err := e.Read(t.Context())
		require.ErrorIs(t, err, net.ErrClosed)
		e.wantOrderlyEnd(t, client)
		e.wantDead(t, 1001, false)
		require.NoError(t, e.Close(t.Context(), 1000, ""), "the peer has answered")
	})
}

// Nobody has to be reading for the peer's answer to be seen, and messages that
// came before it wait for whoever reads next, even with a context that has ended:
// there is nothing to wait for.
func TestCloseWriteReadsAheadOfTheApplication(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		ended := make(chan struct{})
		e := socket{client: client, params: websocket.Params{OnEnd: func() { close(ended) }}}.open(t)
		e.peer.Send(t, wstest.Text("one"))
		require.NoError(t, e.CloseWrite(t.Context(), 1001, ""))
		e.peer.WantClose(t, 1001, "CloseWrite sends a Close frame")
		e.peer.Send(t, wstest.Text("two"), wstest.Close(1001, ""))
		e.wantOrderlyEnd(t, client)
		<-ended
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, want := range []string{"one", "two"} {
			_, p, err := e.Read(over)
			require.NoError(t, err)
			assert.Equal(t, want, string(p))
		}
		e.wantDead(t, 1001, false)
	})
}

// C15: a peer that does not answer is given up after CloseTimeout, to the
// nanosecond, also when the application is blocked in Read.
func TestC15CloseWriteTimesOut(t *testing.T) {
	for _, reads := range []bool{false, true} {
		t.Run(fmt.Sprint("reads=", reads), func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				ended := make(chan struct{})
				e := socket{client: client, params: websocket.Params{OnEnd: func() { close(ended) }}}.open(t)
				start := time.Now()
				require.NoError(t, e.CloseWrite(t.Context(), 1001, ""))
				if reads {
					_, _, err := e.Read(t.Context())
					wantEnd(t, err, 1001, false)
				}
				<-ended
				assert.Equal(t, 5*time.Second, time.Since(start))
				assert.Equal(t, wstest.EndAbort, e.near.Ended())
				require.ErrorIs(t, e.Close(t.Context(), 1000, ""), context.DeadlineExceeded)
				e.wantDead(t, 1001, false)
			})
		})
	}
}

// The application's own slowness is not held against the peer.
func TestCloseWriteDoesNotBlameThePeerForASlowApplication(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: roomy}.open(t)
		const count = 100
		for i := range count {
			e.peer.Send(t, wstest.Text(fmt.Sprint(i, strings.Repeat("x", 10_000))))
		}
		require.NoError(t, e.CloseWrite(t.Context(), 1001, ""))
		e.peer.WantClose(t, 1001, "CloseWrite sends a Close frame")
		e.peer.Send(t, wstest.Close(1001, ""))
		read := begin(func() int {
			for i := 0; ; i++ {
				time.Sleep(time.Second)
				_, p, err := e.Read(t.Context())
				if err != nil {
					wantOneOf(t, err, 1001)
					return i
				}
				assert.True(t, strings.HasPrefix(string(p), fmt.Sprint(i, "x")))
			}
		})
		e.wantOrderlyEnd(t, client)
		assert.Equal(t, count, <-read)
		e.wantDead(t, 1001, false)
		require.NoError(t, e.Close(t.Context(), 1000, ""))
	})
}

// Nor is it blamed if it is a Ping that reads ahead meanwhile.
func TestCloseWriteBesideAPingBehindASlowApplication(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		go e.Ping(context.Background()) // ends with the socket
		e.wantPing(t, "a Ping")
		for range 20 {
			e.peer.Send(t, wstest.Binary(make([]byte, 8000)))
		}
		synctest.Wait()
		require.NoError(t, e.CloseWrite(t.Context(), 1000, ""))
		e.peer.WantClose(t, 1000, "ours")
		e.peer.Send(t, wstest.Close(1000, ""))
		time.Sleep(3 * time.Second)
		for range 20 { // the third time in the moment in which CloseTimeout ends
			time.Sleep(4 * time.Second)
			_, _, err := e.Read(t.Context())
			require.NoError(t, err)
		}
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1000, false)
	})
}

// A handler that gives up because it can write no more says CloseNow on its way
// out; the peer shall see the Close frame all the same, and the socket ends in
// bounded time.
func TestCloseAndCloseNowAfterCloseWriteStayOrderly(t *testing.T) {
	for name, end := range map[string]func(*end){
		"Close":    func(e *end) { go e.Close(context.Background(), 1000, "") },
		"CloseNow": func(e *end) { e.CloseNow() },
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client, pipe: roomy}.open(t)
				e.peer.Send(t, wstest.Binary(make([]byte, 200_000)), wstest.Text("not read"))
				require.NoError(t, e.CloseWrite(t.Context(), 1001, ""))
				end(e)
				e.peer.WantClose(t, 1001, "one Close frame")
				e.peer.WantIdle(t, "and one only")
				e.peer.Send(t, wstest.Close(1001, ""))
				e.wantOrderlyEnd(t, client)
				e.wantDead(t, 1001, false)
			})
			t.Run("the peer is silent", func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					ended := make(chan struct{})
					e := socket{client: client, pipe: roomy, params: websocket.Params{OnEnd: func() { close(ended) }}}.open(t)
					e.peer.Send(t, wstest.Binary(make([]byte, 200_000)))
					require.NoError(t, e.CloseWrite(t.Context(), 1001, ""))
					start := time.Now()
					end(e)
					<-ended
					assert.Equal(t, 5*time.Second, time.Since(start))
					e.wantDead(t, 1001, false)
				})
			})
		})
	}
}

// What cannot be written in time ends in an abort, never in a socket that is half
// closed on one side only.
func TestCloseWriteAbortsIfItCannotWrite(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 10}}.open(t)
		writing := begin(func() error { return e.Write(t.Context(), websocket.MessageText, make([]byte, 100)) })
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second := begin(func() error { synctest.Wait(); return e.CloseWrite(t.Context(), 1000, "") })
		err := e.CloseWrite(ctx, 1001, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		assert.Equal(t, err, <-second)
		assert.Equal(t, wstest.EndAbort, e.near.Ended())
		wantEnd(t, <-writing, 1001, false)
		e.wantDead(t, 1001, false)
	})
}

func TestCloseWriteOfASocketThatEnds(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		require.Error(t, e.CloseWrite(t.Context(), 1006, ""), "cannot be sent")
		e.peer.WantIdle(t, "nothing was done")
		e.peer.Send(t, wstest.Close(4000, ""))
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 4000, true)
		wantEnd(t, e.CloseWrite(t.Context(), 1001, ""), 4000, true)

		e = socket{client: client}.open(t)
		require.NoError(t, e.CloseWrite(t.Context(), 1001, ""))
		require.NoError(t, e.far.CloseWrite())
		_, _, err = e.Read(t.Context())
		wantEnd(t, err, 1006, true)
		wantEnd(t, e.Close(t.Context(), 1000, ""), 1006, true)
	})
}

// OP-03: whoever ends a socket at the same time as CloseWrite, from whichever
// side, the peer gets one Close frame, and no message that either side managed to
// write in front of its own is lost.
func TestOP03CloseWriteBesideOthers(t *testing.T) {
	others := map[string]func(server, client *websocket.Conn){
		"nobody":            func(server, client *websocket.Conn) {},
		"another":           func(server, client *websocket.Conn) { server.CloseWrite(context.Background(), 1000, "") },
		"the peer":          func(server, client *websocket.Conn) { client.CloseWrite(context.Background(), 1000, "") },
		"a ping":            func(server, client *websocket.Conn) { server.Ping(context.Background()) },
		"the peer's ping":   func(server, client *websocket.Conn) { client.Ping(context.Background()) },
		"a write":           func(server, client *websocket.Conn) { server.Write(context.Background(), 1, make([]byte, 70_000)) },
		"the peer's writes": func(server, client *websocket.Conn) { client.Write(context.Background(), 1, make([]byte, 70_000)) },
	}
	for name, other := range others {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				inBubble(t, func(t *testing.T) {
					server, client := joined(t, wstest.PipeOptions{Buffer: 1000}, websocket.Params{Limits: quiet})
					conns := []*websocket.Conn{server, client}
					var sent, got [2]int
					var all sync.WaitGroup
					for i, c := range conns {
						all.Go(func() {
							for c.Write(context.Background(), websocket.MessageText, []byte("m")) == nil {
								sent[i]++
							}
						})
						all.Go(func() {
							for {
								_, p, err := c.Read(context.Background())
								if err != nil {
									wantOneOf(t, err, 1000, 1001)
									return
								}
								if string(p) == "m" {
									got[1-i]++
								}
							}
						})
					}
					all.Go(func() { other(server, client) })
					assertCloseWritten(t, server.CloseWrite(context.Background(), 1001, ""))
					all.Wait()
					assert.Equal(t, sent, got)
					assert.NoError(t, server.Close(t.Context(), 1000, ""))
					assert.NoError(t, client.Close(t.Context(), 1000, ""))
				})
			}
		})
	}
}

func wantOneOf(t testing.TB, err error, codes ...websocket.StatusCode) {
	t.Helper()
	var ce *websocket.CloseError
	if assert.ErrorAs(t, err, &ce) {
		assert.Contains(t, codes, ce.Code, "%v", err)
	}
}

// assertCloseWritten wants CloseWrite to have succeeded, or come too late.
func assertCloseWritten(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		wantOneOf(t, err, 1000, 1001)
	}
}

// A socket on which CloseWrite was called gets no broadcast, and is not counted.
func TestBroadcastPassesOverSocketsAfterCloseWrite(t *testing.T) {
	m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("news"))
	require.NoError(t, err)
	for name, slow := range map[string]websocket.SlowReceiver{"misses": websocket.SlowMisses, "ends": websocket.SlowEnds, "waits": websocket.SlowWaits} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				leaving, other := socket{client: client}.open(t), socket{client: client}.open(t)
				require.NoError(t, leaving.CloseWrite(t.Context(), 1001, ""))
				for range 3 {
					written, missed := websocket.Broadcast(t.Context(), m, slices.Values([]*websocket.Conn{leaving.Conn, other.Conn}), slow)
					assert.Equal(t, 1, written)
					assert.Zero(t, missed)
					other.peer.WantFrame(t, frame.Text, "news", "the other one")
				}
				leaving.peer.WantClose(t, 1001, "the goodbye")
				leaving.peer.WantIdle(t, "nothing behind it")
			})
		})
	}
}
