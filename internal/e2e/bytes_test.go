package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// deflates are the negotiated extensions under which bytes are compared.
var deflates = []string{
	"",
	"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
	"permessage-deflate",
	"permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
}

// compression allows whatever deflates asks for.
func compression(ext string) *websocket.Compression {
	if ext == "" {
		return nil
	}
	o := &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true}
	if strings.Contains(ext, "bits") {
		o.ServerMaxWindowBits, o.ClientMaxWindowBits = 9, 9
	}
	if strings.Contains(ext, "no_context") {
		o.ServerContextTakeover, o.ClientContextTakeover = false, false
	}
	return o
}

// talk writes messages of every kind and in every way.
func talk(ctx context.Context, c *websocket.Conn) error {
	text := websocket.MessageText
	for _, n := range []int{0, 1, 125, 126, 511, 512, 16_370, 16_371, 65_535, 65_536, 200_000} {
		if err := c.Write(ctx, text, []byte(strings.Repeat("text ", n/5+1)[:n])); err != nil {
			return err
		}
		if err := c.Write(ctx, websocket.MessageBinary.Uncompressed(), random(byte(n), n)); err != nil {
			return err
		}
	}
	w, err := c.Writer(ctx, text)
	if err != nil {
		return err
	}
	for i := range 1000 {
		if _, err := fmt.Fprintf(w, "%d pieces of a message in fragments ", i); err != nil {
			return err
		}
	}
	if _, err := w.Write([]byte(strings.Repeat("a large piece ", 20_000))); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	m, err := websocket.NewPreparedMessage(text, []byte(strings.Repeat("prepared ", 300)))
	if err != nil {
		return err
	}
	for range 2 {
		if err := c.WritePrepared(ctx, m); err != nil {
			return err
		}
		if err := c.WriteJSON(ctx, map[string]string{"key": strings.Repeat("value", 200)}); err != nil {
			return err
		}
	}
	return nil
}

// T30, and the second claim of what this library is: for the same input a server
// writes the same bytes on every transport.
func TestServerWritesTheSameBytesOnEveryTransport(t *testing.T) {
	for _, ext := range deflates {
		t.Run(ext, func(t *testing.T) {
			var mu sync.Mutex // for wire
			wire := make(map[string]string)
			onEach(t, func(t *testing.T, tr transport) {
				offerDeflate(t, ext)
				authority := tr.listen(t, tr.handler(t, &websocket.AcceptOptions{Compression: compression(ext), Limits: quick}, func(c *websocket.Conn) {
					for range 5 {
						kind, p, err := c.Read(soon(t))
						if !assert.NoError(t, err) {
							return
						}
						assert.NoError(t, c.Write(soon(t), kind, p))
					}
					assert.NoError(t, talk(soon(t), c))
					assert.NoError(t, c.Close(soon(t), 4000, "all said"))
				}))
				raw := tr.rawDial(t, authority)
				p := wstest.NewClient(raw)
				sent := begin(func() error {
					return p.TrySend(
						wstest.Text("echo"), wstest.Ping("one"), wstest.Binary(random(1, 70_000)), wstest.Text("").Fragment(),
						wstest.Pong("two"), wstest.Continuation(strings.Repeat("three ", 1000)).Fragment(), wstest.Continuation(""),
						wstest.Ping(""), wstest.Text("four"), wstest.Text("five"), wstest.Close(4000, ""))
				})
				got, err := io.ReadAll(raw)
				require.NoError(t, err)
				require.NoError(t, <-sent)
				require.NoError(t, raw.CloseWrite())
				mu.Lock()
				defer mu.Unlock()
				wire[tr.name] = string(got)
			})
			frames, err := wstest.ParseFrames([]byte(wire["h1"]), false)
			require.NoError(t, err)
			require.Greater(t, len(frames), 30)
			if ext != "" {
				assert.Contains(t, frames[3].String(), "rsv1", "the long echo is compressed")
			}
			for name, got := range wire {
				assert.True(t, got == wire["h1"], "%s: %s", name, firstDifference(wire["h1"], got))
			}
			assert.Len(t, wire, len(everyPath()))
		})
	}
}

// A client's bytes differ by their masks alone: its frames are the same.
func TestClientWritesTheSameFramesOnEveryTransport(t *testing.T) {
	for _, ext := range deflates {
		t.Run(ext, func(t *testing.T) {
			var mu sync.Mutex // for wire
			wire := make(map[string][]wstest.Frame)
			onEach(t, func(t *testing.T, tr transport) {
				offerDeflate(t, ext)
				recorded := make(chan []wstest.Frame, 1)
				c := tr.mustDial(t, tr.rawListen(t, func(raw rawStream) {
					p := wstest.NewServer(raw)
					assert.NoError(t, p.TrySend(wstest.Ping("one"), wstest.Text("begin")))
					var frames []wstest.Frame
					for {
						f, err := p.TryNext()
						if err != nil {
							assert.Equal(t, io.EOF, err)
							break
						}
						frames = append(frames, f)
						if f.Opcode == frame.Close {
							assert.NoError(t, p.TrySend(wstest.Close(4000, "")))
							assert.NoError(t, raw.CloseWrite())
						}
					}
					recorded <- frames
				}), &websocket.DialOptions{Compression: compression(ext), Limits: quick})
				wantMessage(t, c, websocket.MessageText, []byte("begin"))
				require.NoError(t, talk(soon(t), c))
				require.NoError(t, c.Close(soon(t), 4000, "all said"))
				mu.Lock()
				defer mu.Unlock()
				wire[tr.name] = <-recorded
			})
			require.Greater(t, len(wire["h1"]), 25)
			for name, got := range wire {
				require.Equal(t, len(wire["h1"]), len(got), name)
				for i, f := range got {
					require.Equal(t, wire["h1"][i].String(), f.String(), name)
					require.True(t, string(wire["h1"][i].Payload) == string(f.Payload), name)
				}
			}
			assert.Len(t, wire, len(everyPath()))
		})
	}
}

func firstDifference(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	around := func(s string) string { return hex.EncodeToString([]byte(s[max(0, i-8):min(len(s), i+8)])) }
	return fmt.Sprintf("%d and %d bytes, first difference at %d: …%s… and …%s…", len(a), len(b), i, around(a), around(b))
}
