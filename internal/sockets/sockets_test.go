package sockets_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/sockets"
	"github.com/wsmux/websocket/internal/wstest"
)

// serveOne calls a handler that accepts a socket over stream, and returns what
// its Read ended with when the handler has returned.
func serveOne(set *sockets.Set, stream websocket.Stream) error {
	var ended error
	h := sockets.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := sockets.Accepted(r, stream, websocket.Params{})
		_, _, ended = c.Read(context.Background())
	}), set)
	r := httptest.NewRequest(http.MethodConnect, "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	return ended
}

// A handshake that was on its way when the server was cut or shut down ends as the
// sockets before it did: nobody would come back for it.
func TestSocketsAcceptedTooLateEndToo(t *testing.T) {
	t.Run("CloseNow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var set sockets.Set
			set.CloseNow()
			start := time.Now()
			ours, theirs := wstest.Pipe(wstest.PipeOptions{})
			ce, ok := errors.AsType[*websocket.CloseError](serveOne(&set, ours))
			require.True(t, ok)
			assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
			wstest.NewClient(theirs).WantReset(t, "cut like the others")
			assert.Zero(t, time.Since(start), "at once: no timer had to find out")
		})
	})
	t.Run("GoAway", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var set sockets.Set
			require.NoError(t, set.GoAway(t.Context()))
			ours, theirs := wstest.Pipe(wstest.PipeOptions{})
			ended := make(chan error, 1)
			go func() { ended <- serveOne(&set, ours) }()
			p := wstest.NewClient(theirs)
			p.WantClose(t, websocket.StatusGoingAway, "told like the others")
			p.Send(t, wstest.Close(websocket.StatusGoingAway, ""))
			p.WantEOF(t, "the server ends first")
			require.NoError(t, theirs.CloseWrite())
			ce, ok := errors.AsType[*websocket.CloseError](<-ended)
			require.True(t, ok)
			assert.Equal(t, websocket.StatusGoingAway, ce.Code)
			synctest.Wait()
			assert.Zero(t, set.Len())
		})
	})
}
