package websocket_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

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
			time.Sleep(time.Nanosecond)
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
