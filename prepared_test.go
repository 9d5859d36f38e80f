package websocket_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// Sockets that agreed on the same parameters get the same bytes, and those of
// Write.
func TestPreparedMessageIsTheSameForEqualSockets(t *testing.T) {
	for _, size := range []int{0, 100, 5000, 300_000} {
		for name, deflate := range map[string]*websocket.DeflateParams{
			"plain":        nil,
			"no takeover":  {ServerNoContextTakeover: true, ClientNoContextTakeover: true},
			"small window": {ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 9, ClientMaxWindowBits: 9},
		} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, size), func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					text := strings.Repeat("prepared! ", size/10)
					m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(text))
					require.NoError(t, err)
					var payloads []string
					for i := range 4 {
						e := socket{client: client, params: websocket.Params{Deflate: deflate}, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
						if i == 0 {
							require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte(text)))
						} else {
							require.NoError(t, e.WritePrepared(t.Context(), m))
						}
						f := e.peer.Next(t, "one frame")
						assert.False(t, f.More)
						assert.Equal(t, frame.Text, f.Opcode)
						assert.Equal(t, deflate != nil && size >= 512, f.RSV1)
						payloads = append(payloads, string(f.Payload))
						require.Equal(t, payloads[0], payloads[i])
					}
				})
			})
		}
	}
}

// One message to sockets of every kind, at once: each gets its form of it.
func TestPreparedMessageToSocketsOfEveryKind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		text := strings.Repeat("to all of you ", 500)
		m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(text))
		require.NoError(t, err)
		var ends []*end
		var all sync.WaitGroup
		for i := range 40 {
			p := websocket.Params{}
			if i%4 > 0 {
				p.Deflate = &websocket.DeflateParams{
					ServerNoContextTakeover: i%4 == 1, ClientNoContextTakeover: i%4 == 1,
					ServerMaxWindowBits: 9 + i%5, ClientMaxWindowBits: 9 + i%5,
				}
				p.Compression = &websocket.Compression{Level: 1 + i%3}
			}
			e := socket{client: i%3 == 0, params: p}.open(t)
			ends = append(ends, e)
			all.Go(func() { assert.NoError(t, e.WritePrepared(t.Context(), m)) })
		}
		all.Wait()
		for i, e := range ends {
			f := e.peer.Next(t, "the message")
			if i%4 == 0 {
				assert.Equal(t, text, string(f.Payload))
				continue
			}
			in := newInflater(9+i%5, false)
			assert.Equal(t, text, in.message(t, f))
			assert.LessOrEqual(t, in.farthest, 1<<(9+i%5))
		}
	})
}

// With context takeover a prepared message stands between others without
// confusing the peer's decompressor.
func TestPreparedMessageAmongOthersWithTakeover(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := deflating(client, websocket.DeflateParams{}).open(t)
		in := newInflater(15, true)
		text := strings.Repeat("takeover ", 100)
		m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("prepared "+text))
		require.NoError(t, err)
		for i := range 10 {
			want := text
			if i%3 == 1 {
				want = "prepared " + text
				require.NoError(t, e.WritePrepared(t.Context(), m))
			} else {
				require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte(text)))
			}
			require.Equal(t, want, in.message(t, e.peer.Next(t, "a message")), "message %d", i)
		}
	})
}

// The caller's bytes are copied when the message is prepared.
func TestPreparedMessageCopies(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		p := []byte("as it was")
		m, err := websocket.NewPreparedMessage(websocket.MessageText, p)
		require.NoError(t, err)
		clear(p)
		e := socket{client: client}.open(t)
		for range 3 { // masking one does not spoil the next
			require.NoError(t, e.WritePrepared(t.Context(), m))
			e.peer.WantFrame(t, frame.Text, "as it was", "not as it is")
		}
	})
}

// It is compressed once, however many sockets it goes to: what each costs is
// the writing.
func TestPreparedMessageIsCompressedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, err := websocket.NewPreparedMessage(websocket.MessageBinary, randomBytes(9, 100_000))
		require.NoError(t, err)
		e := deflating(false, websocket.DeflateParams{ServerNoContextTakeover: true}).open(t)
		send := func() {
			require.NoError(t, e.WritePrepared(t.Context(), m))
			e.peer.Next(t, "the message")
		}
		send()
		near, far := wstest.Pipe(wstest.PipeOptions{Buffer: 64 << 20})
		c := websocket.New(near, websocket.Params{Limits: quiet, Deflate: &websocket.DeflateParams{ServerNoContextTakeover: true}, Compression: &websocket.Compression{Threshold: -1}})
		allocations := testing.AllocsPerRun(20, func() {
			if err := c.WritePrepared(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
		assert.Less(t, allocations, 3.0, "those of the pipe")
		c.CloseNow()
		far.Abort()
	})
}
