package websocket_test

import (
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
