package websocket_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// PMD-08: a peer that refers to earlier messages although it agreed not to gets
// 1007, not garbage; one that refers further back than its window, too.
func TestPMD08TakeoverThatWasNotAgreed(t *testing.T) {
	hello := wstest.Text(deflatedHello).Compressed()
	again := wstest.Text("\xf2\x00\x11\x00\x00").Compressed()
	asBothRoles(t, func(t *testing.T, client bool) {
		e := deflating(client, websocket.DeflateParams{ServerNoContextTakeover: client, ClientNoContextTakeover: !client}).open(t)
		e.peer.Send(t, hello, again)
		wantText(t, e.Conn, "Hello")
		e.wantBreach(t, 1007)
	})
	t.Run("beyond the window", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			noise := randomBytes(1, 600)
			e := deflating(client, websocket.DeflateParams{ServerMaxWindowBits: 9, ClientMaxWindowBits: 9}).open(t)
			d := newDeflater(15, 9)
			first, second := d.payload(noise, true), d.payload(noise[:50], true)
			require.Less(t, len(second), 20, "refers to the first message")
			e.peer.Send(t, wstest.Binary(first).Compressed(), wstest.Binary(second).Compressed())
			_, _, err := e.Read(t.Context())
			require.NoError(t, err)
			e.wantBreach(t, 1007)
		})
	})
}

// PMD-09: whatever window was agreed for our direction, no back-reference of
// ours exceeds it, and takeover is used if it was agreed and not otherwise. All
// combinations, both roles.
func TestPMD09WindowAndTakeoverOfWhatWeSend(t *testing.T) {
	for bits := 8; bits <= 15; bits++ {
		for _, takeover := range []bool{false, true} {
			for _, level := range []int{1, 9} {
				t.Run(fmt.Sprintf("%d bits, takeover %t, level %d", bits, takeover, level), func(t *testing.T) {
					asBothRoles(t, func(t *testing.T, client bool) {
						p := websocket.DeflateParams{ServerMaxWindowBits: bits, ServerNoContextTakeover: !takeover}
						if client {
							p = websocket.DeflateParams{ClientMaxWindowBits: bits, ClientNoContextTakeover: !takeover}
						}
						s := deflating(client, p)
						s.params.Compression.Level = level
						s.params.Compression.ServerContextTakeover = takeover
						s.params.Compression.ClientContextTakeover = takeover
						e := s.open(t)
						in := newInflater(bits, takeover)
						sizes := make([]int, 0, 4)
						for _, message := range windowMessages(bits) {
							require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, message))
							f := e.peer.Next(t, "a compressed message")
							require.Equal(t, string(message), in.message(t, f))
							require.LessOrEqual(t, in.farthest, 1<<bits, "RFC 7692 §7.1.2")
							sizes = append(sizes, len(f.Payload))
						}
						if takeover && bits > 8 { // in 256 bytes there is little to find
							assert.Less(t, sizes[1], sizes[0]*3/4, "the second refers to the first")
						}
						if !takeover {
							assert.Equal(t, sizes[0], sizes[1], "the second is sent as the first")
						}
					})
				})
			}
		}
	}
}

// windowMessages are two equal messages that fit into the window, and larger
// ones that repeat themselves at many distances.
func windowMessages(bits int) [][]byte {
	small := randomBytes(uint64(bits), 1<<bits/3)
	small = append(small, small[:len(small)/2]...)
	var large []byte
	r := rand.New(rand.NewPCG(uint64(bits), 3))
	for len(large) < 3<<bits {
		if len(large) < 100 || r.IntN(4) == 0 {
			large = append(large, randomBytes(r.Uint64(), 1+r.IntN(100))...)
			continue
		}
		start := len(large) - 1 - r.IntN(min(len(large)-1, 2<<bits))
		large = append(large, large[start:min(len(large), start+4+r.IntN(200))]...)
	}
	return [][]byte{small, small, large, large[:1<<bits], {}, {0}, large}
}

// randomBytes returns n bytes that do not compress.
func randomBytes(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	p := make([]byte, n)
	r.Read(p)
	return p
}

// The same for what we read: all windows, with and without takeover.
func TestPMD09WindowAndTakeoverOfWhatWeRead(t *testing.T) {
	for bits := 8; bits <= 15; bits++ {
		for _, takeover := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bits, takeover %t", bits, takeover), func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					p := websocket.DeflateParams{ClientMaxWindowBits: bits, ClientNoContextTakeover: !takeover}
					if client {
						p = websocket.DeflateParams{ServerMaxWindowBits: bits, ServerNoContextTakeover: !takeover}
					}
					e := deflating(client, p).open(t)
					d := newDeflater(bits, 9)
					for i, message := range windowMessages(bits) {
						if !takeover {
							d = newDeflater(bits, 9)
						}
						e.peer.Send(t, wstest.Binary(d.payload(message, true)).Compressed())
						_, p, err := e.Read(t.Context())
						require.NoError(t, err, "message %d", i)
						require.Equal(t, string(message), string(p))
					}
				})
			})
		}
	}
}

// Both ends are ours: every agreement, both directions, messages of all kinds.
func TestDeflateBetweenConns(t *testing.T) {
	for _, noTakeover := range []websocket.DeflateParams{{}, {ServerNoContextTakeover: true}, {ClientNoContextTakeover: true}, {ServerNoContextTakeover: true, ClientNoContextTakeover: true}} {
		for _, bits := range [][2]int{{0, 0}, {8, 15}, {15, 8}, {9, 11}} {
			p := noTakeover
			p.ServerMaxWindowBits, p.ClientMaxWindowBits = bits[0], bits[1]
			t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					server, client := joined(t, wstest.PipeOptions{}, websocket.Params{Deflate: &p, Limits: quiet})
					for i, want := range windowMessages(10) {
						for _, ends := range [][2]*websocket.Conn{{server, client}, {client, server}} {
							kind := []websocket.MessageType{websocket.MessageBinary, websocket.MessageBinary.Uncompressed()}[i%2]
							sent := begin(func() error { return ends[0].Write(t.Context(), kind, want) })
							kind, got, err := ends[1].Read(t.Context())
							require.NoError(t, err)
							require.Equal(t, websocket.MessageBinary, kind, "the mark does not travel")
							require.True(t, bytes.Equal(want, got))
							require.NoError(t, <-sent)
						}
					}
				})
			})
		}
	}
}

// Threshold: messages from that size on are compressed, shorter ones are not.
func TestDeflateThreshold(t *testing.T) {
	for name, c := range map[string]struct {
		compression *websocket.Compression
		plain       int // largest size sent as it is
	}{
		"default":        {nil, 511},
		"zero value":     {&websocket.Compression{}, 511},
		"configured":     {&websocket.Compression{Threshold: 10}, 9},
		"every message":  {&websocket.Compression{Threshold: -1}, -1},
		"beyond buffers": {&websocket.Compression{Threshold: 100_000}, 99_999},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}, params: websocket.Params{Deflate: &websocket.DeflateParams{}, Compression: c.compression}}.open(t)
				in := newInflater(15, true)
				for _, size := range []int{c.plain, c.plain + 1} {
					if size < 0 {
						continue
					}
					message := bytes.Repeat([]byte("x"), size)
					want := size > c.plain
					require.NoError(t, e.Write(t.Context(), websocket.MessageText, message))
					f := e.peer.Next(t, "from Write")
					assert.Equal(t, want, f.RSV1, "Write of %d bytes", size)
					if f.RSV1 {
						assert.Equal(t, string(message), in.message(t, f))
					}
					m, err := websocket.NewPreparedMessage(websocket.MessageText, message)
					require.NoError(t, err)
					require.NoError(t, e.WritePrepared(t.Context(), m))
					f = e.peer.Next(t, "from WritePrepared")
					assert.Equal(t, want, f.RSV1, "WritePrepared of %d bytes", size)
					if f.RSV1 {
						assert.Equal(t, string(message), in.message(t, f))
					}
				}
			})
		})
	}
}

// Uncompressed is obeyed by every way to write.
func TestDeflateUncompressedMessages(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := deflating(client, websocket.DeflateParams{}).open(t)
		secret := strings.Repeat("secret ", 200)
		kind := websocket.MessageText.Uncompressed()
		assert.Equal(t, "text", kind.String())
		require.NoError(t, e.Write(t.Context(), kind, []byte(secret)))
		e.peer.WantFrame(t, frame.Text, secret, "Write")
		m, err := websocket.NewPreparedMessage(kind, []byte(secret))
		require.NoError(t, err)
		require.NoError(t, e.WritePrepared(t.Context(), m))
		e.peer.WantFrame(t, frame.Text, secret, "WritePrepared")
		w, err := e.Writer(t.Context(), kind)
		require.NoError(t, err)
		_, err = io.WriteString(w, secret)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		e.peer.WantFrame(t, frame.Text, secret, "Writer")
		_, err = e.NetConn(kind).Write([]byte(secret))
		require.NoError(t, err)
		e.peer.WantFrame(t, frame.Text, secret, "NetConn")
	})
}

// A Writer's message is compressed as one, over all its fragments.
func TestDeflateWriterFragments(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		t.Run(fmt.Sprintf("takeover %t", takeover), func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := deflating(client, websocket.DeflateParams{ServerNoContextTakeover: !takeover, ClientNoContextTakeover: !takeover}).open(t)
				in := newInflater(15, takeover)
				r := rand.New(rand.NewPCG(1, 2))
				for _, size := range []int{0, 1, 600, 10_000, 300_000} {
					want := randomBytes(uint64(size), size)
					w, err := e.Writer(t.Context(), websocket.MessageBinary)
					require.NoError(t, err)
					for rest := want; len(rest) > 0; {
						n := min(len(rest), 1+r.IntN(20_000))
						k, err := w.Write(rest[:n])
						require.NoError(t, err)
						require.Equal(t, n, k)
						rest = rest[n:]
					}
					require.NoError(t, w.Close())
					f := e.peer.Next(t, "the first fragment")
					assert.True(t, f.RSV1)
					payload := f.Payload
					for f.More {
						f = e.peer.Next(t, "a fragment")
						require.Equal(t, frame.Continuation, f.Opcode)
						require.False(t, f.RSV1)
						payload = append(payload, f.Payload...)
					}
					require.True(t, bytes.Equal(want, in.payload(t, payload)), "%d bytes", size)
				}
			})
		})
	}
}

// PMD-10: sockets that agreed on deflate without takeover, used it and fell
// silent hold none of its state.
func TestPMD10IdleSocketsHoldNoDeflateState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const sockets = 500
		p := websocket.Params{
			Deflate:     &websocket.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true},
			Compression: &websocket.Compression{Threshold: -1},
			Limits:      quiet,
		}
		text := []byte(strings.Repeat("some text, ", 100))
		measure := func(p websocket.Params) int64 {
			before := heap()
			conns := make([]*websocket.Conn, 0, 2*sockets)
			for range sockets {
				server, client := joined(t, wstest.PipeOptions{}, p)
				require.NoError(t, client.Write(t.Context(), websocket.MessageText, text))
				_, _, err := server.Read(t.Context())
				require.NoError(t, err)
				require.NoError(t, server.Write(t.Context(), websocket.MessageText, text))
				_, _, err = client.Read(t.Context())
				require.NoError(t, err)
				conns = append(conns, server, client)
			}
			synctest.Wait()
			heap() // empties the pools, which give up what they hold after two collections
			each := (heap() - before) / int64(len(conns))
			for _, c := range conns {
				c.CloseNow()
			}
			return each
		}
		with := measure(p)
		p.Deflate = nil
		without := measure(p)
		assert.Less(t, with-without, int64(256), "bytes for each socket: %d with deflate, %d without", with, without)
	})
}
