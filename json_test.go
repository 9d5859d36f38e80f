package websocket_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestJSONRoundTrip(t *testing.T) {
	type value struct {
		Name string         `json:"name"`
		N    []int          `json:"n"`
		Map  map[string]any `json:"map,omitempty"`
	}
	inBubble(t, func(t *testing.T) {
		server, client := joined(t, wstest.PipeOptions{}, websocket.Params{Limits: quiet, Deflate: &websocket.DeflateParams{}})
		for _, want := range []value{
			{},
			{Name: "<html> & \u2028 €", N: []int{1, 2, 3}},
			{Name: strings.Repeat("large", 50_000), Map: map[string]any{"a": "b"}},
			{Name: "small again"},
		} {
			sent := begin(func() error { return client.WriteJSON(t.Context(), want) })
			var got value
			require.NoError(t, server.ReadJSON(t.Context(), &got))
			require.NoError(t, <-sent)
			assert.Equal(t, want, got)
		}
	})
}

func TestJSONIsOneTextMessage(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		require.NoError(t, e.WriteJSON(t.Context(), map[string]int{"a": 1}))
		e.peer.WantFrame(t, frame.Text, `{"a":1}`, "without a newline")
		require.Error(t, e.WriteJSON(t.Context(), make(chan int)))
		require.NoError(t, e.WriteJSON(t.Context(), nil))
		e.peer.WantFrame(t, frame.Text, "null", "nothing was written of what JSON cannot say")
	})
}

// A message that is not JSON is consumed, and the Conn stays usable.
func TestJSONThatIsNone(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Text("{"), wstest.Text(`"text"`), wstest.Text(`1 2`), wstest.Text(""), wstest.Binary([]byte(`[5]`)))
		var n int
		var syntax *json.SyntaxError
		require.ErrorAs(t, e.ReadJSON(t.Context(), &n), &syntax)
		var kind *json.UnmarshalTypeError
		require.ErrorAs(t, e.ReadJSON(t.Context(), &n), &kind)
		require.Error(t, e.ReadJSON(t.Context(), &n), "two values")
		require.Error(t, e.ReadJSON(t.Context(), &n), "no value")
		var list []int
		require.NoError(t, e.ReadJSON(t.Context(), &list), "binary is as good")
		assert.Equal(t, []int{5}, list)
	})
}
