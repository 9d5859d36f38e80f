package websocket_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestStatsCountWhatCameWithTheHandshake(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		peer := wstest.NewClient(nil)
		if client {
			peer = wstest.NewServer(nil)
		}
		s := socket{client: client}
		s.params.Buffered = peer.Append(nil, wstest.Text("greeting"), wstest.Text("in ").Fragment())
		e := s.open(t)
		e.peer.Send(t, wstest.Continuation("pieces"))
		wantText(t, e.Conn, "greeting")
		wantText(t, e.Conn, "in pieces")
		assert.Equal(t, websocket.Stats{
			MessagesRead: 2, FramesRead: 3, BytesRead: int64(len(s.params.Buffered)) + e.far.WrittenBytes(),
		}, e.Stats())
	})
}

func TestStatsCountBothDirections(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		s := deflating(client, websocket.DeflateParams{})
		s.params.Compression.Threshold = 100
		e := s.open(t)
		assert.Zero(t, e.Stats())

		e.peer.Send(t, wstest.Text("one ").Fragment(), wstest.Pong(""), wstest.Continuation("two"),
			wstest.Text(deflatedHello).Compressed(), wstest.Binary(nil))
		wantText(t, e.Conn, "one two")
		wantText(t, e.Conn, "Hello")
		_, _, err := e.Read(t.Context())
		require.NoError(t, err)

		text := strings.Repeat("compressed ", 100)
		require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte("plain")))
		require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte(text)))
		m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(text))
		require.NoError(t, err)
		require.NoError(t, e.WritePrepared(t.Context(), m))
		e.peer.Next(t, "plain")
		compressed := len(e.peer.Next(t, "compressed").Payload)
		compressed += len(e.peer.Next(t, "prepared").Payload)

		assert.Equal(t, websocket.Stats{
			MessagesRead: 3, FramesRead: 5, BytesRead: e.far.WrittenBytes(),
			MessagesWritten: 3, FramesWritten: 3, BytesWritten: e.near.WrittenBytes(),
			CompressedRead: int64(len(deflatedHello)), InflatedRead: 5,
			CompressedWritten: int64(compressed), DeflatedWritten: int64(2 * len(text)),
			PongsIgnored: 1,
		}, e.Stats())

		// A message in fragments is one; control frames are frames.
		w, err := e.Writer(t.Context(), websocket.MessageBinary.Uncompressed())
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 200_000))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		fragments := int64(0)
		for more := true; more; fragments++ {
			more = e.peer.Next(t, "a fragment").More
		}
		e.peer.Send(t, wstest.Ping(""), wstest.Text("x"))
		wantText(t, e.Conn, "x")
		after := e.Stats()
		assert.EqualValues(t, 4, after.MessagesWritten)
		assert.EqualValues(t, 3+fragments+1, after.FramesWritten, "with a Pong")
		assert.EqualValues(t, 7, after.FramesRead)
		assert.Equal(t, e.near.WrittenBytes(), after.BytesWritten)
	})
}

// What came before the end is counted when the end is known, although the rest of
// the stream is being drained meanwhile.
func TestStatsAreWholeWhenTheSocketHasEnded(t *testing.T) {
	tests := []struct {
		name   string
		last   wstest.Frame
		frames int64
	}{
		{"Close", wstest.Close(1000, ""), 3},
		{"a frame that breaks a rule does not count", wstest.Close(999, ""), 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				e.peer.Send(t, wstest.Text("x"), wstest.Ping(""), tt.last)
				wantText(t, e.Conn, "x")
				_, _, err := e.Read(t.Context())
				require.Error(t, err)
				stats := e.Stats()
				assert.Equal(t, tt.frames, stats.FramesRead)
				assert.EqualValues(t, 1, stats.MessagesRead)
				assert.Equal(t, e.far.WrittenBytes(), stats.BytesRead)
			})
		})
	}
}
