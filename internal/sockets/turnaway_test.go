package sockets_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/observe"
	"github.com/wsmux/websocket/internal/sockets"
)

// A streamWriter is the ResponseWriter of a bootstrap with streams.
type streamWriter struct {
	http.ResponseWriter
	able     bool
	rejected int
}

func (w *streamWriter) RejectStream() bool {
	if w.able {
		w.rejected++
	}
	return w.able
}

type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type observedHandler struct {
	http.Handler
	hooks *observe.Hooks
}

func (h observedHandler) Observed() *observe.Hooks { return h.hooks }

// OP-02: what would become a socket of a server that says goodbye is given back
// before the handler sees it where that is possible, by whichever layer knows
// first, and reported as refused, once.
func TestOP02GoAwayGivesStreamsBack(t *testing.T) {
	for _, layer := range []string{"outer", "inner", "both"} {
		t.Run(layer, func(t *testing.T) {
			var set, outer sockets.Set
			var refusals []*websocket.HandshakeError
			hooks := &observe.Hooks{Refused: func(_ context.Context, b websocket.Bootstrap, e *websocket.HandshakeError) {
				assert.Equal(t, websocket.HTTP2, b)
				refusals = append(refusals, e)
			}}
			var seen []*websocket.HandshakeError
			user := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, sockets.Admit(r)) })
			inner := sockets.Handler(user, &set)
			h := sockets.Handler(observedHandler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner.ServeHTTP(wrapper{w}, r.WithContext(observe.Accepting(r.Context(), hooks)))
			}), hooks}, &outer)
			ask := func(method string, able bool) (rejected int) {
				r := httptest.NewRequest(method, "/", nil)
				r.ProtoMajor = 2
				w := &streamWriter{httptest.NewRecorder(), able, 0}
				h.ServeHTTP(w, r)
				return w.rejected
			}
			assert.Zero(t, ask(http.MethodConnect, true))
			require.Equal(t, []*websocket.HandshakeError{nil}, seen, "admitted")
			if layer != "inner" {
				require.NoError(t, outer.GoAway(t.Context(), nil))
			}
			if layer != "outer" {
				set.Refuse()
			}
			assert.Equal(t, 1, ask(http.MethodConnect, true))
			require.Len(t, refusals, 1)
			assert.Zero(t, refusals[0].Status, "there was no response")
			require.ErrorIs(t, refusals[0], http.ErrServerClosed)
			assert.Len(t, seen, 1, "the handler does not see it")

			assert.Zero(t, ask(http.MethodConnect, false))
			require.Len(t, seen, 2, "a stream that cannot be given back is the handler's")
			assert.Equal(t, http.StatusServiceUnavailable, seen[1].Status)
			assert.Zero(t, ask(http.MethodGet, true))
			assert.Len(t, seen, 3, "an ordinary request is served")
			require.NoError(t, outer.GoAway(t.Context(), nil), "nothing is waited for")
			require.NoError(t, set.GoAway(t.Context(), nil))
		})
	}
}
