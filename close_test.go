package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
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

// C6 for a message in fragments: it is the peer who ended it, and its Close frame
// is still to be read.
func TestC6StopSendingDuringAWritersMessage(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		stopped := errors.New("stopped")
		e := socket{client: client}.open(t)
		w, err := e.Writer(t.Context(), websocket.MessageBinary)
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 60_000))
		require.NoError(t, err)
		e.peer.Send(t, wstest.Text("arrived"), wstest.Close(4000, "enough"))
		e.far.StopSending(stopped)
		_, err = w.Write(make([]byte, 60_000))
		wantEnd(t, err, 1006, true)
		require.ErrorIs(t, err, stopped)
		require.Error(t, w.Close())
		wantText(t, e.Conn, "arrived")
		_, _, err = e.Read(t.Context())
		assert.Equal(t, "enough", wantEnd(t, err, 4000, true).Reason)
		require.NoError(t, e.Close(t.Context(), 1000, ""))
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
