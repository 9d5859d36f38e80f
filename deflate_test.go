package websocket_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

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

// A limit that no message can pass is none, also as the largest number there is.
func TestInflatedLimitOfTheLargestNumber(t *testing.T) {
	for name, set := range map[string]func(s *socket) func(c *websocket.Conn){
		"Limits.Message": func(s *socket) func(*websocket.Conn) {
			s.params.Limits.Message = math.MaxInt64
			return func(*websocket.Conn) {}
		},
		"SetReadLimit": func(*socket) func(*websocket.Conn) {
			return func(c *websocket.Conn) { c.SetReadLimit(math.MaxInt64) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				s := deflating(client, websocket.DeflateParams{})
				after := set(&s)
				e := s.open(t)
				after(e.Conn)
				want := strings.Repeat("more and ", 5000)
				f := wstest.Text(string(newDeflater(15, 6).payload([]byte(want), true))).Compressed()
				e.peer.Send(t, f)
				_, p, err := e.Read(t.Context())
				require.NoError(t, err)
				require.Equal(t, want, string(p))
				e.peer.Send(t, f)
				_, r, err := e.Reader(t.Context())
				require.NoError(t, err)
				require.Equal(t, want, copyOf(t, r))
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
