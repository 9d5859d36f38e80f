package websocket_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// deflating is a socket with permessage-deflate that compresses every message.
func deflating(client bool, p websocket.DeflateParams) socket {
	return socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}, params: websocket.Params{
		Deflate:     &p,
		Compression: &websocket.Compression{Threshold: -1},
	}}
}

// The examples of RFC 7692 §7.2.3, as a peer sends them.
func TestDeflateExamplesOfRFC7692(t *testing.T) {
	text := func(payload string) wstest.Frame { return wstest.Text(payload).Compressed() }
	for name, c := range map[string]struct {
		frames []wstest.Frame
		want   []string
	}{
		"7.2.3.1 one block":         {[]wstest.Frame{text("\xf2\x48\xcd\xc9\xc9\x07\x00")}, []string{"Hello"}},
		"7.2.3.1 two fragments":     {[]wstest.Frame{text("\xf2\x48\xcd").Fragment(), wstest.Continuation("\xc9\xc9\x07\x00")}, []string{"Hello"}},
		"7.2.3.2 sharing a window":  {[]wstest.Frame{text("\xf2\x48\xcd\xc9\xc9\x07\x00"), text("\xf2\x00\x11\x00\x00")}, []string{"Hello", "Hello"}},
		"7.2.3.3 no compression":    {[]wstest.Frame{text("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")}, []string{"Hello"}},
		"7.2.3.4 BFINAL":            {[]wstest.Frame{text("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")}, []string{"Hello"}},
		"7.2.3.5 two blocks":        {[]wstest.Frame{text("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")}, []string{"Hello"}},
		"7.2.3.6 empty":             {[]wstest.Frame{text("\x00"), wstest.Text("x")}, []string{"", "x"}},
		"P71 blocks after BFINAL":   {[]wstest.Frame{text("\xf3\x48\xcd\xc9\xc9\x07\x00" + "\x0a\xcf\x2f\xca\x49\x01\x00")}, []string{"HelloWorld"}},
		"PMD-05 nothing at all":     {[]wstest.Frame{text(""), wstest.Text("x")}, []string{"", "x"}},
		"not compressed in between": {[]wstest.Frame{text("\xf2\x48\xcd\xc9\xc9\x07\x00"), wstest.Text("plain"), text("\xf2\x00\x11\x00\x00")}, []string{"Hello", "plain", "Hello"}},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, c.frames...)
				for _, want := range c.want {
					wantText(t, e.Conn, want)
				}
				e = deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, c.frames...)
				for _, want := range c.want {
					_, r, err := e.Reader(t.Context())
					require.NoError(t, err)
					assert.Equal(t, want, copyOf(t, r))
				}
			})
		})
	}
}

// bomb returns a compressed payload that inflates to so many MiB of zeros. It is
// not ended: a byte 0 behind it does that.
func bomb(mib int) []byte {
	d := newDeflater(15, 9)
	return bytes.Repeat(d.payload(make([]byte, 1<<20), false), mib)
}

// PMD-01: 260 KB that inflate to 256 MiB.
func TestPMD01BombEndsAtTheLimit(t *testing.T) {
	payload := bomb(256)
	require.Less(t, len(payload), 400<<10)
	for name, read := range map[string]func(ctx context.Context, e *end) error{
		"Read": func(ctx context.Context, e *end) error { _, _, err := e.Read(ctx); return err },
		"Reader": func(ctx context.Context, e *end) error {
			_, r, err := e.Reader(ctx)
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, r)
			if n > 1<<20 {
				return fmt.Errorf("%d bytes were handed out", n)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				s := deflating(client, websocket.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true})
				e := s.open(t)
				e.peer.Send(t, wstest.Binary(payload).Compressed())
				before := heap()
				err := read(t.Context(), e)
				require.ErrorIs(t, err, websocket.ErrMessageTooBig)
				wantEnd(t, err, 1009, false)
				assert.Less(t, heap()-before, int64(4<<20))
				e.wantFailed(t, 1009)
			})
		})
	}
}

// PMD-02: the same in 10,000 fragments.
func TestPMD02BombInFragments(t *testing.T) {
	payload := bomb(256)
	asBothRoles(t, func(t *testing.T, client bool) {
		e := deflating(client, websocket.DeflateParams{}).open(t)
		var frames []wstest.Frame
		for piece := range slices.Chunk(payload, len(payload)/10_000) {
			frames = append(frames, wstest.Frame{More: true, Payload: piece})
		}
		frames[0].Opcode, frames[0].RSV1 = frame.Binary, true
		e.peer.Send(t, frames...)
		_, _, err := e.Read(t.Context())
		require.ErrorIs(t, err, websocket.ErrMessageTooBig)
		e.wantBreach(t, 1009)
	})
}

// PMD-03: RSV1 belongs on the first frame of a message only.
func TestPMD03RSV1OutOfPlace(t *testing.T) {
	for name, frames := range map[string][]wstest.Frame{
		"continuation of a compressed message": {wstest.Text("\xf2\x48").Compressed().Fragment(), wstest.Continuation("\xcd").Compressed()},
		"continuation of a plain message":      {wstest.Text("a").Fragment(), wstest.Continuation("b").Compressed()},
		"ping":                                 {wstest.Ping("").Compressed()},
		"pong":                                 {wstest.Pong("").Compressed()},
		"close":                                {wstest.Close(1000, "").Compressed()},
		"RSV2":                                 {{Opcode: frame.Text, RSV1: true, RSV2: true}},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, frames...)
				e.wantBreach(t, 1002)
			})
		})
	}
}

// PMD-04: what is not DEFLATE is 1007.
func TestPMD04CorruptData(t *testing.T) {
	for name, payload := range map[string]string{
		"reserved block type":                "\x06",
		"stored length and its complement":   "\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00",
		"distance too far":                   "\xf2\x00\x11\x00\x00",
		"cut in a block":                     "\xf2\x48\xcd\xc9",
		"missing tail":                       "\xf2\x48\xcd\xc9\xc9\x07",
		"cut in a stored block":              "\x00\x05\x00\xfa\xff\x48\x65",
		"cut in a dynamic header":            "\x04\xc0",
		"garbage after a final block":        "\xf3\x48\xcd\xc9\xc9\x07\x00\xff\xff\xff",
		"no block after what follows BFINAL": "\xf3\x48\xcd\xc9\xc9\x07\x00\x06",
		"random":                             "\xa7\x5c\x13\x99\x42\x77\x01\xfe\x65",
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, wstest.Binary([]byte(payload)).Compressed())
				e.wantBreach(t, 1007)

				e = deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, wstest.Binary([]byte(payload[:1])).Compressed().Fragment(), wstest.Continuation(payload[1:]))
				e.wantBreach(t, 1007)
			})
		})
	}
}

// PMD-06, PMD-11: input that yields no output ends at the limit on the wire,
// whoever reads it.
func TestPMD06PMD11EndlessInputWithoutOutput(t *testing.T) {
	empties := strings.Repeat("\x00\x00\x00\xff\xff", 10_000)
	for name, read := range map[string]func(ctx context.Context, e *end) error{
		"Read": func(ctx context.Context, e *end) error { _, _, err := e.Read(ctx); return err },
		"Reader": func(ctx context.Context, e *end) error {
			_, r, err := e.Reader(ctx)
			if err == nil {
				_, err = r.Read(make([]byte, 10))
			}
			return err
		},
		"skipped": func(ctx context.Context, e *end) error {
			if _, _, err := e.Reader(ctx); err != nil {
				return err
			}
			_, _, err := e.Read(ctx)
			return err
		},
		"discarded": func(ctx context.Context, e *end) error { return e.Close(ctx, 1000, "") },
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				s := deflating(client, websocket.DeflateParams{})
				s.params.Limits.CompressedMessage = 123_456
				e := s.open(t)
				sent := begin(func() (n int) {
					f := wstest.Binary([]byte(empties)).Compressed().Fragment()
					for range 100 {
						if e.peer.TrySend(f) != nil {
							break
						}
						n += len(f.Payload)
						f = wstest.Continuation(empties).Fragment()
					}
					return n
				})
				err := read(t.Context(), e)
				require.ErrorIs(t, err, websocket.ErrMessageTooBig)
				wantEnd(t, err, 1009, false)
				assert.LessOrEqual(t, e.Stats().CompressedRead, int64(123_456))
				e.far.CloseWrite()
				<-sent
			})
		})
	}
}

// PMD-11: the limit on the inflated size holds while a message is skipped and
// while a Reader hands it out.
func TestPMD11InflatedLimitOnEveryPath(t *testing.T) {
	for name, read := range map[string]func(ctx context.Context, e *end) error{
		"Reader": func(ctx context.Context, e *end) error {
			_, r, err := e.Reader(ctx)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r)
			return err
		},
		"skipped": func(ctx context.Context, e *end) error {
			if _, _, err := e.Reader(ctx); err != nil {
				return err
			}
			_, _, err := e.Read(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				s := deflating(client, websocket.DeflateParams{})
				s.params.Limits.Message = 1000
				e := s.open(t)
				d := newDeflater(15, 6)
				e.peer.Send(t, wstest.Binary(d.payload(make([]byte, 1000), true)).Compressed())
				_, p, err := e.Read(t.Context())
				require.NoError(t, err, "exactly the limit")
				assert.Len(t, p, 1000)
				e.peer.Send(t, wstest.Binary(d.payload(make([]byte, 1001), true)).Compressed())
				err = read(t.Context(), e)
				require.ErrorIs(t, err, websocket.ErrMessageTooBig)
				e.wantFailed(t, 1009)
			})
		})
	}
}

// PMD-07: UTF-8 is checked behind the decompressor, as it inflates.
func TestPMD07CompressedTextThatIsNotUTF8(t *testing.T) {
	for name, bad := range invalidTexts {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, wstest.Text(string(newDeflater(15, 6).payload([]byte(bad), false))).Compressed().Fragment())
				e.wantBreach(t, 1007)

				e = deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, wstest.Text(string(newDeflater(15, 6).payload([]byte("cut \xe2\x82"), true))).Compressed())
				_, _, err := e.Read(t.Context())
				wantEnd(t, err, 1007, false)
				e.wantFailed(t, 1007)

				e = deflating(client, websocket.DeflateParams{}).open(t)
				e.peer.Send(t, wstest.Binary(newDeflater(15, 6).payload([]byte(bad), true)).Compressed())
				_, p, err := e.Read(t.Context())
				require.NoError(t, err)
				assert.Equal(t, bad, string(p), "binary is not checked")
			})
		})
	}
}

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
