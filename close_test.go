package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
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

// beginClose closes the Conn on a goroutine of its own.
func (e *end) beginClose(ctx context.Context, code websocket.StatusCode, reason string) <-chan error {
	return begin(func() error { return e.Close(ctx, code, reason) })
}

// wantOrderlyEnd plays the peer's part of RFC 6455 §7.1.1 once both Close
// frames have passed: the server ends first, the client follows.
func (e *end) wantOrderlyEnd(t testing.TB, client bool) {
	t.Helper()
	if client {
		e.peer.WantIdle(t, "the client waits for the server to end")
		require.NoError(t, e.far.CloseWrite())
		e.peer.WantEOF(t, "the client follows")
	} else {
		e.peer.WantEOF(t, "the server ends first")
		require.NoError(t, e.far.CloseWrite())
	}
	synctest.Wait()
	assert.Equal(t, wstest.EndClose, e.near.Ended(), "released, not reset")
}

func TestC1CloseSendsCloseAndWaitsForThePeers(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		closed := e.beginClose(t.Context(), 4001, "enough")
		assert.Equal(t, "enough", e.peer.WantClose(t, 4001, "Close sends a Close frame"))
		e.peer.WantIdle(t, "a Close that starts the handshake carries no END")
		for range 100 {
			e.peer.Send(t, wstest.Binary(make([]byte, 10<<10)))
			synctest.Wait()
		}
		assert.Zero(t, e.near.Readable(), "messages are discarded, and credit returned")
		e.peer.Send(t, wstest.Close(4001, ""))
		require.NoError(t, <-closed)
		e.wantOrderlyEnd(t, client)
		e.wantDead(t, 4001, false)
	})
}

func TestC1SecondCloseHasTheFirstOnesResult(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		first := e.beginClose(t.Context(), 1000, "")
		synctest.Wait()
		second := e.beginClose(t.Context(), 4000, "another")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, e.Close(ctx, 1000, ""), context.DeadlineExceeded, "waits by its own context")
		e.peer.WantClose(t, 1000, "the first")
		e.peer.WantIdle(t, "exactly one Close frame")
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, <-first)
		require.NoError(t, <-second)
		e.wantOrderlyEnd(t, client)
		require.NoError(t, e.Close(t.Context(), 1000, ""))
	})
}

// C1 and WS-22: whoever is blocked in Read sees the end, and what arrives after
// our Close is not delivered.
func TestC1CloseEndsABlockedRead(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		got := e.beginRead(t.Context())
		synctest.Wait()
		closed := e.beginClose(t.Context(), 1000, "")
		e.peer.WantClose(t, 1000, "Close sends a Close frame")
		e.peer.Send(t, wstest.Text("too late"), wstest.Close(1000, ""))
		require.NoError(t, <-closed)
		m := <-got
		assert.Empty(t, m.payload)
		wantEnd(t, m.err, 1000, false)
		require.ErrorIs(t, m.err, net.ErrClosed)
		e.wantOrderlyEnd(t, client)
	})
}

func TestC2PeersCloseIsAnsweredWithTheSameCode(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, code := range []websocket.StatusCode{0, 1000, 1001, 1011, 3000, 4999} {
			e := socket{client: client}.open(t)
			reason := strings.Repeat("r", int(min(code, 1)))
			e.peer.Send(t, wstest.Text("before"), wstest.Close(code, reason))
			wantText(t, e.Conn, "before")
			_, _, err := e.Read(t.Context())
			want := code
			if code == 0 {
				want = websocket.StatusNoStatusReceived
			}
			ce := wantEnd(t, err, want, true)
			assert.Equal(t, reason, ce.Reason)
			e.peer.WantClose(t, code, "the same code, and an empty Close for an empty one")
			require.NoError(t, e.Close(t.Context(), 1000, ""), "the peer had closed the socket")
			e.wantOrderlyEnd(t, client)
			e.wantDead(t, want, true)
		}
	})
}

// WS-16: what comes after the peer's Close is not looked at.
func TestWS16DataAfterThePeersCloseIsIgnored(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Close(1000, ""), wstest.Text("more"), wstest.Ping("?"),
			wstest.Close(1011, "again"), wstest.Frame{Opcode: 0xF, RSV2: true})
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1000, true)
		e.peer.WantClose(t, 1000, "exactly one Close")
		for range 100 {
			e.peer.Send(t, wstest.Binary(make([]byte, 10<<10)))
		}
		e.wantOrderlyEnd(t, client)
		e.wantDead(t, 1000, true)
	})
}

// C3, WS-19: an end without Close is 1006, wherever it comes.
func TestC3WS19EndWithoutCloseIs1006(t *testing.T) {
	for name, c := range map[string]struct {
		frames []wstest.Frame
		drop   int // bytes cut from the end of the frames
	}{
		"at a frame boundary":            {},
		"between fragments":              {frames: []wstest.Frame{wstest.Text("half").Fragment()}},
		"in a header":                    {frames: []wstest.Frame{wstest.Text("")}, drop: 1},
		"in a payload":                   {frames: []wstest.Frame{wstest.Text("whole")}, drop: 1},
		"in a large payload":             {frames: []wstest.Frame{wstest.Binary(make([]byte, 20_000))}, drop: 9_000},
		"in a compressed payload":        {frames: []wstest.Frame{wstest.Text("\xf2\x48\xcd\xc9\xc9\x07\x00").Compressed()}, drop: 2},
		"between compressed fragments":   {frames: []wstest.Frame{wstest.Text("\xf2\x48\xcd\xc9\xc9").Compressed().Fragment()}},
		"in a close frame":               {frames: []wstest.Frame{wstest.Close(1000, "")}, drop: 1},
		"in a ping after half a message": {frames: []wstest.Frame{wstest.Text("half").Fragment(), wstest.Ping("abc")}, drop: 1},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				open := func() *end {
					e := socket{client: client, params: websocket.Params{Deflate: &websocket.DeflateParams{}}}.open(t)
					wire := e.peer.Append(nil, c.frames...)
					e.peer.SendRaw(t, wire[:len(wire)-c.drop])
					require.NoError(t, e.far.CloseWrite())
					return e
				}
				e := open()
				_, p, err := e.Read(t.Context())
				assert.Empty(t, p, "never a short message as if complete")
				wantEnd(t, err, 1006, true)
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				e.peer.WantEOF(t, "we end too, and send no Close")
				assert.Equal(t, wstest.EndClose, e.near.Ended())
				_, _, err = e.Read(t.Context())
				wantEnd(t, err, 1006, true)
				wantEnd(t, e.Write(t.Context(), websocket.MessageText, nil), 1006, true)
				wantEnd(t, e.Close(t.Context(), 1000, ""), 1006, true)

				e = open()
				if _, r, err := e.Reader(t.Context()); err == nil {
					_, err = io.ReadAll(r)
					wantEnd(t, err, 1006, true)
					require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				}

				e = open()
				_, err = io.ReadAll(e.NetConn(websocket.MessageBinary))
				wantEnd(t, err, 1006, true)
			})
		})
	}
}

func TestC3EndInsteadOfTheAnswerToOurClose(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		closed := e.beginClose(t.Context(), 1000, "")
		e.peer.WantClose(t, 1000, "our Close")
		require.NoError(t, e.far.CloseWrite())
		err := <-closed
		wantEnd(t, err, 1006, true)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		e.peer.WantEOF(t, "END from us too")
		e.wantDead(t, 1000, false)
		wantEnd(t, e.Close(t.Context(), 1000, ""), 1006, true)
	})
}

func TestC4CloseAndEndTogetherStillGetAReply(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Close(1001, "leaving"))
		require.NoError(t, e.far.CloseWrite())
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1001, true)
		e.peer.WantClose(t, 1001, "a reply is still owed")
		e.peer.WantEOF(t, "and END, no reset")
		synctest.Wait()
		assert.Equal(t, wstest.EndClose, e.near.Ended())
		require.NoError(t, e.Close(t.Context(), 1000, ""))
	})
	t.Run("after our Close", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client}.open(t)
			closed := e.beginClose(t.Context(), 1000, "")
			e.peer.WantClose(t, 1000, "our Close")
			e.peer.Send(t, wstest.Close(1000, ""))
			require.NoError(t, e.far.CloseWrite())
			require.NoError(t, <-closed)
			e.peer.WantEOF(t, "END")
			synctest.Wait()
			assert.Equal(t, wstest.EndClose, e.near.Ended())
		})
	})
}

// C5 and C9: a reset and the loss of the connection are 1006 with the cause,
// unless both Close frames had passed.
func TestC5C9ResetAndLoss(t *testing.T) {
	lost := errors.New("connection lost")
	for name, c := range map[string]struct {
		strike func(e *end)
		cause  error
	}{
		"C5 reset":     {func(e *end) { e.far.Abort() }, wstest.ErrReset},
		"C9 lost":      {func(e *end) { e.far.Break(lost) }, lost},
		"C9 no error":  {func(e *end) { e.far.Break(io.ErrUnexpectedEOF) }, io.ErrUnexpectedEOF},
		"C5 one-sided": {func(e *end) { e.far.ResetWrite(lost) }, lost},
	} {
		t.Run(name+" while open", func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 10}}.open(t)
				writing := begin(func() error { return e.Write(t.Context(), websocket.MessageText, make([]byte, 100)) })
				got := e.beginRead(t.Context())
				synctest.Wait()
				c.strike(e)
				m := <-got
				wantEnd(t, m.err, 1006, true)
				require.ErrorIs(t, m.err, c.cause)
				wantEnd(t, <-writing, 1006, true)
				e.wantDead(t, 1006, true)
				synctest.Wait()
				assert.Equal(t, wstest.EndAbort, e.near.Ended(), "answered with a reset of ours")
				wantEnd(t, e.Close(t.Context(), 1000, ""), 1006, true)
			})
		})
		t.Run(name+" instead of the answer to our Close", func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				closed := e.beginClose(t.Context(), 1000, "")
				synctest.Wait()
				c.strike(e)
				err := <-closed
				wantEnd(t, err, 1006, true)
				require.ErrorIs(t, err, c.cause)
				e.wantDead(t, 1000, false)
			})
		})
		t.Run(name+" after the peer closed", func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				e.peer.Send(t, wstest.Close(1000, ""))
				_, _, err := e.Read(t.Context())
				wantEnd(t, err, 1000, true)
				c.strike(e)
				require.NoError(t, e.Close(t.Context(), 1000, ""), "clean")
				e.wantDead(t, 1000, true)
			})
		})
		t.Run(name+" after we closed", func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				e.peer.Send(t, wstest.Close(1000, ""))
				require.NoError(t, e.Close(t.Context(), 1000, ""))
				c.strike(e)
				synctest.Wait()
				require.NoError(t, e.Close(t.Context(), 1000, ""), "clean")
				e.wantDead(t, 1000, false)
			})
		})
	}
}

// C6: the peer takes nothing more, but what it has sent is still to be read.
func TestC6StopSendingLeavesWhatArrivedReadable(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		stopped := errors.New("stopped")
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Text("arrived"), wstest.Close(1000, "with its Close"))
		e.far.StopSending(stopped)
		err := e.Write(t.Context(), websocket.MessageText, []byte("x"))
		wantEnd(t, err, 1006, true)
		require.ErrorIs(t, err, stopped)
		wantText(t, e.Conn, "arrived")
		_, _, err = e.Read(t.Context())
		wantEnd(t, err, 1000, true)
		require.NoError(t, e.Close(t.Context(), 1000, ""))
	})
	t.Run("without a Close", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client}.open(t)
			e.peer.Send(t, wstest.Text("arrived"))
			e.far.StopSending(wstest.ErrReset)
			require.Error(t, e.Write(t.Context(), websocket.MessageText, []byte("x")))
			wantText(t, e.Conn, "arrived")
			require.NoError(t, e.far.CloseWrite())
			e.wantDead(t, 1006, true)
		})
	})
}

// C10 in its second column: a rule broken instead of the answer to our Close.
func TestC10BreachWhileClosing(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		closed := e.beginClose(t.Context(), 1000, "")
		e.peer.WantClose(t, 1000, "our Close")
		e.peer.Send(t, wstest.Frame{Opcode: 0xF})
		wantEnd(t, <-closed, 1002, false)
		e.peer.WantEOF(t, "END, and no second Close")
		e.peer.Send(t, wstest.Text("not interpreted"), wstest.Close(1000, ""))
		synctest.Wait()
		assert.Zero(t, e.near.Readable(), "discarded")
		require.NoError(t, e.far.CloseWrite())
		synctest.Wait()
		assert.Equal(t, wstest.EndClose, e.near.Ended())
		e.wantDead(t, 1000, false)
	})
}

// C10: a peer that does not end after a breach is cut at the timer, however
// much it sends.
func TestC10PeerThatGoesOnAfterABreachIsCut(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		start := time.Now()
		e.peer.Send(t, wstest.Frame{Opcode: 0xF})
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1002, false)
		for e.peer.TrySend(wstest.Text("more and more")) == nil {
			time.Sleep(10 * time.Millisecond)
		}
		assert.Equal(t, wstest.EndAbort, e.near.Ended())
		assert.InDelta(t, 5*time.Second, time.Since(start), float64(10*time.Millisecond))
	})
}

func TestC11CloseNowAborts(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 10}}.open(t)
		got := e.beginRead(t.Context())
		writing := begin(func() error { return e.Write(t.Context(), websocket.MessageText, make([]byte, 100)) })
		pinging := begin(func() error { return e.Ping(t.Context()) })
		synctest.Wait()
		require.NoError(t, e.CloseNow())
		m := <-got
		for _, err := range []error{m.err, <-writing, <-pinging} {
			wantEnd(t, err, 1006, false)
			require.ErrorIs(t, err, net.ErrClosed)
		}
		e.peer.WantReset(t, "the peer sees 1006")
		e.wantDead(t, 1006, false)
		require.NoError(t, e.CloseNow(), "again")
		wantEnd(t, e.Close(t.Context(), 1000, ""), 1006, false)
	})
	// A deferred CloseNow must not race with the Close of another goroutine, a
	// shutdown's for example: that one's context and CloseTimeout bound it.
	t.Run("but lets a Close under way finish", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client}.open(t)
			closed := e.beginClose(t.Context(), 1000, "")
			synctest.Wait()
			require.NoError(t, e.CloseNow())
			e.peer.WantClose(t, 1000, "not cut short")
			e.peer.Send(t, wstest.Close(1000, ""))
			require.NoError(t, <-closed)
		})
	})
}

// "defer c.CloseNow()" is right everywhere: it does not disturb the end of a
// closing handshake.
func TestC11CloseNowAfterAClosingHandshakeDoesNothing(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, e.Close(t.Context(), 1000, ""))
		require.NoError(t, e.CloseNow())
		e.peer.WantClose(t, 1000, "the handshake's")
		require.NoError(t, e.CloseNow())
		e.wantOrderlyEnd(t, client)
	})
}

// C15, WS-17: the closing handshake ends after CloseTimeout, to the
// nanosecond, whatever the peer sends meanwhile.
func TestC15WS17CloseTimesOut(t *testing.T) {
	for name, c := range map[string]struct {
		limit, want time.Duration
		flood       bool
	}{
		"default":        {0, 5 * time.Second, false},
		"default, flood": {0, 5 * time.Second, true},
		"configured":     {time.Minute, time.Minute, false},
		"negative":       {-1, 5 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client, params: websocket.Params{Limits: websocket.Limits{CloseTimeout: c.limit}}}.open(t)
				var flood sync.WaitGroup
				if c.flood {
					flood.Go(func() {
						for e.peer.TrySend(wstest.Text("data"), wstest.Ping("")) == nil {
							time.Sleep(30 * time.Millisecond)
						}
					})
				}
				start := time.Now()
				err := e.Close(t.Context(), 1000, "")
				assert.Equal(t, c.want, time.Since(start))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, wstest.EndAbort, e.near.Ended())
				flood.Wait()
				e.wantDead(t, 1000, false)
				require.ErrorIs(t, e.Close(t.Context(), 1000, ""), context.DeadlineExceeded, "the first one's result")
			})
		})
	}
	t.Run("its context ends it sooner", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client}.open(t)
			gone := errors.New("gone")
			ctx, cancel := context.WithCancelCause(t.Context())
			start := time.Now()
			time.AfterFunc(time.Second, func() { cancel(gone) })
			err := e.Close(ctx, 1000, "")
			assert.Equal(t, time.Second, time.Since(start))
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, wstest.EndAbort, e.near.Ended())
		})
	})
	t.Run("the peer takes nothing", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 10}}.open(t)
			writing := begin(func() error { return e.Write(t.Context(), websocket.MessageText, make([]byte, 100)) })
			synctest.Wait()
			start := time.Now()
			require.ErrorIs(t, e.Close(t.Context(), 1000, ""), context.DeadlineExceeded)
			assert.Equal(t, 5*time.Second, time.Since(start))
			wantEnd(t, <-writing, 1000, false)
		})
	})
}

// C15, third column: the handshake is complete, but the peer leaves its side
// open.
// A handler that returns, or a deferred cancel, ends the context given to Close
// when the peer may not have ended its side yet.
func TestC1ContextThatEndsAfterCloseResetsNothing(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		closed := e.beginClose(ctx, 1000, "")
		e.peer.WantClose(t, 1000, "Close sends a Close frame")
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, <-closed)
		cancel()
		synctest.Wait()
		assert.NotEqual(t, wstest.EndAbort, e.near.Ended(), "the stream goes on to its orderly end")
		e.wantOrderlyEnd(t, client)
	})
}

func TestC15PeerThatNeverEndsIsAbortedQuietly(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, local := range []bool{true, false} {
			e := socket{client: client}.open(t)
			start := time.Now()
			e.peer.Send(t, wstest.Close(1000, ""))
			if local {
				require.NoError(t, e.Close(t.Context(), 1000, ""))
			} else {
				_, _, err := e.Read(t.Context())
				wantEnd(t, err, 1000, true)
			}
			time.Sleep(5*time.Second - 1)
			synctest.Wait()
			assert.NotEqual(t, wstest.EndAbort, e.near.Ended())
			time.Sleep(1)
			synctest.Wait()
			assert.Equal(t, wstest.EndAbort, e.near.Ended())
			assert.Equal(t, 5*time.Second, time.Since(start))
			require.NoError(t, e.Close(t.Context(), 1000, ""), "Close stays nil")
		}
	})
}

func TestC16WS18BothSidesCloseAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, client := joined(t, wstest.PipeOptions{}, websocket.Params{Limits: quiet})
		results := make(chan error, 2)
		go func() { results <- server.Close(t.Context(), 1000, "") }()
		go func() { results <- client.Close(t.Context(), 1000, "") }()
		require.NoError(t, <-results)
		require.NoError(t, <-results)
	})
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		closed := e.beginClose(t.Context(), 1000, "")
		synctest.Wait()
		e.peer.Send(t, wstest.Close(1001, "crossed yours"))
		require.NoError(t, <-closed)
		e.peer.WantClose(t, 1000, "ours")
		e.wantOrderlyEnd(t, client)
	})
}

// WS-14: which codes may arrive.
func TestWS14CloseCodes(t *testing.T) {
	legal := []websocket.StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}
	illegal := []websocket.StatusCode{1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, code := range legal {
			e := socket{client: client}.open(t)
			e.peer.Send(t, wstest.Close(code, ""))
			_, _, err := e.Read(t.Context())
			wantEnd(t, err, code, true)
			e.peer.WantClose(t, code, "echoed")
		}
		for _, code := range illegal {
			e := socket{client: client}.open(t)
			e.peer.Send(t, wstest.Close(code, ""))
			e.wantBreach(t, 1002)
		}
		for _, payload := range []string{"\x03", "\x00\x00", "\x00\x00reason"} {
			e := socket{client: client}.open(t)
			e.peer.Send(t, wstest.Frame{Opcode: frame.Close, Payload: []byte(payload)})
			e.wantBreach(t, 1002)
		}
	})
}

func TestWS15CloseReasons(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		longest := strings.Repeat("é", 61) + "!"
		require.Len(t, longest, 123)
		e.peer.Send(t, wstest.Close(1000, longest))
		_, _, err := e.Read(t.Context())
		assert.Equal(t, longest, wantEnd(t, err, 1000, true).Reason)

		for _, reason := range []string{"\xff", "cut \xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80"} {
			e = socket{client: client}.open(t)
			e.peer.Send(t, wstest.Close(1000, reason))
			e.wantBreach(t, 1007)
		}
	})
}

// What cannot be sent is a local error and changes nothing.
func TestWS14WS15CloseThatCannotBeSentIsALocalError(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		for _, c := range []struct {
			code   websocket.StatusCode
			reason string
		}{
			{0, ""}, {999, ""}, {1004, ""}, {1006, ""}, {1015, ""}, {1016, ""}, {2999, ""}, {5000, ""},
			{1005, "a reason needs a code"}, {1000, strings.Repeat("r", 124)}, {1000, "\xff"},
		} {
			err := e.Close(t.Context(), c.code, c.reason)
			require.Error(t, err, "%d %q", c.code, c.reason)
			require.NotErrorAs(t, err, new(*websocket.CloseError))
			require.NotErrorAs(t, err, new(*frame.Error), "that type is for the peer's mistakes")
		}
		e.peer.WantIdle(t, "nothing was sent")
		e.peer.Send(t, wstest.Text("still open"))
		wantText(t, e.Conn, "still open")
		e.peer.Send(t, wstest.Close(0, ""))
		require.NoError(t, e.Close(t.Context(), websocket.StatusNoStatusReceived, ""))
		e.peer.WantClose(t, 0, "1005 is sent as an empty Close")
	})
}

// OP-03: Close is idempotent, from any number of goroutines, and sends one
// Close frame.
func TestOP03CloseFromManyGoroutines(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { assert.NoError(t, e.Close(t.Context(), 1000, "")) })
			all.Go(func() {
				_, _, err := e.Read(t.Context())
				wantEnd(t, err, 1000, false)
			})
		}
		e.peer.WantClose(t, 1000, "one Close frame")
		e.peer.WantIdle(t, "exactly one")
		e.peer.Send(t, wstest.Close(1000, ""))
		all.Wait()
		e.wantOrderlyEnd(t, client)

		e = socket{client: client}.open(t)
		e.far.Abort()
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1006, true)
		for range 50 {
			all.Go(func() {
				wantEnd(t, e.Close(t.Context(), 1000, ""), 1006, true)
				assert.NoError(t, e.CloseNow())
			})
		}
		all.Wait()
	})
}

// OP-04: after a local Close it is net.ErrClosed, and what ended the Conn first
// stays its error for ever.
func TestOP04ErrorsAfterTheEnd(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, e.Close(t.Context(), 4321, "mine"))
		_, _, err := e.Read(t.Context())
		require.ErrorIs(t, err, net.ErrClosed)
		ce := wantEnd(t, err, 4321, false)
		assert.Equal(t, "mine", ce.Reason)
		require.ErrorIs(t, e.Write(t.Context(), websocket.MessageText, nil), net.ErrClosed)
		_, _, again := e.Read(t.Context())
		assert.Same(t, ce, wantEnd(t, again, 4321, false), "the same one for ever")

		e = socket{client: client}.open(t)
		e.far.Abort()
		_, _, err = e.Read(t.Context())
		ce = wantEnd(t, err, 1006, true)
		require.ErrorIs(t, err, wstest.ErrReset)
		require.NoError(t, e.CloseNow())
		wantEnd(t, e.Close(t.Context(), 1000, ""), 1006, true)
		assert.Same(t, ce, wantEnd(t, e.Write(t.Context(), websocket.MessageText, nil), 1006, true))
	})
}

// OP-11: an error's text shows no payload, and a peer's reason only quoted.
func TestOP11ErrorsQuoteThePeer(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Close(4000, "line\nbreak \x1b[31m"))
		_, _, err := e.Read(t.Context())
		assert.Equal(t, `websocket: closed by peer with status 4000 "line\nbreak \x1b[31m"`, err.Error())

		e = socket{client: client}.open(t)
		e.peer.Send(t, wstest.Text("password").Fragment(), wstest.Text("hunter2"))
		_, _, err = e.Read(t.Context())
		assert.NotContains(t, err.Error(), "password")
		assert.NotContains(t, err.Error(), "hunter2")
		assert.True(t, strings.HasPrefix(err.Error(), "websocket: closed locally with status 1002"), err.Error())
	})
}

// OnEnd is called once the stream is released, and once only.
func TestOnEndIsCalledOnce(t *testing.T) {
	for name, finish := range map[string]func(t *testing.T, e *end){
		"Close": func(t *testing.T, e *end) {
			e.peer.Send(t, wstest.Close(1000, ""))
			require.NoError(t, e.far.CloseWrite())
			require.NoError(t, e.Close(t.Context(), 1000, ""))
		},
		"CloseNow": func(t *testing.T, e *end) { e.CloseNow() },
		"Close without an answer": func(t *testing.T, e *end) {
			require.Error(t, e.Close(t.Context(), 1000, ""))
		},
		"peer's Close": func(t *testing.T, e *end) {
			e.peer.Send(t, wstest.Close(1000, ""))
			require.NoError(t, e.far.CloseWrite())
			e.Read(t.Context())
		},
		"peer's END": func(t *testing.T, e *end) {
			require.NoError(t, e.far.CloseWrite())
			e.Read(t.Context())
		},
		"reset": func(t *testing.T, e *end) {
			e.far.Abort()
			e.Read(t.Context())
		},
		"breach": func(t *testing.T, e *end) {
			e.peer.Send(t, wstest.Frame{Opcode: 0xF})
			require.NoError(t, e.far.CloseWrite())
			e.Read(t.Context())
		},
		"breach, peer stays": func(t *testing.T, e *end) {
			e.peer.Send(t, wstest.Frame{Opcode: 0xF})
			e.Read(t.Context())
			time.Sleep(5 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				calls := make(chan wstest.End, 10)
				var e *end
				e = socket{client: client, params: websocket.Params{OnEnd: func() { calls <- e.near.Ended() }}}.open(t)
				synctest.Wait()
				assert.Empty(t, calls)
				finish(t, e)
				synctest.Wait()
				require.Len(t, calls, 1)
				assert.GreaterOrEqual(t, <-calls, wstest.EndClose, "the stream is released")
				e.Close(t.Context(), 1000, "")
				e.CloseNow()
				e.Read(t.Context())
				synctest.Wait()
				assert.Empty(t, calls)
			})
		})
	}
}

// A message that is being written does not keep Close from closing.
func TestCloseInMidMessage(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		w, err := e.Writer(t.Context(), websocket.MessageBinary)
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 10_000))
		require.NoError(t, err)
		closed := e.beginClose(t.Context(), 1000, "")
		f := e.peer.Next(t, "a fragment")
		for f.Opcode != frame.Close {
			assert.True(t, f.More)
			f = e.peer.Next(t, "Close after the fragments sent")
		}
		_, err = w.Write(make([]byte, 10_000))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, w.Close(), net.ErrClosed)
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, <-closed)
		e.wantOrderlyEnd(t, client)
	})
}
