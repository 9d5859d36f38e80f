package websocket_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// Frames that RFC 6455 §5 does not allow, whatever came before: 1002.
func TestWS01to05IllegalFramesFailTheConnection(t *testing.T) {
	long := make([]byte, 126)
	type illegal map[string][]wstest.Frame
	cases := illegal{
		"WS-01 text masked against the role":   {{Opcode: frame.Text, Payload: []byte("secret"), WrongMask: true}},
		"WS-01 ping masked against the role":   {{Opcode: frame.Ping, WrongMask: true}},
		"WS-01 second fragment wrongly masked": {wstest.Text("a").Fragment(), {Payload: []byte("b"), WrongMask: true}},
		"WS-02 RSV1 without deflate":           {{Opcode: frame.Text, RSV1: true}},
		"WS-02 RSV2":                           {{Opcode: frame.Text, RSV2: true}},
		"WS-02 RSV3":                           {{Opcode: frame.Binary, RSV3: true}},
		"WS-02 RSV1 on a ping":                 {{Opcode: frame.Ping, RSV1: true}},
		"WS-02 RSV2 on a close":                {{Opcode: frame.Close, RSV2: true}},
		"WS-02 RSV3 on a continuation":         {wstest.Text("a").Fragment(), {RSV3: true}},
		"WS-04 fragmented ping":                {{Opcode: frame.Ping, More: true}},
		"WS-04 fragmented pong":                {{Opcode: frame.Pong, More: true}},
		"WS-04 fragmented close":               {{Opcode: frame.Close, More: true}},
		"WS-04 ping of 126 bytes":              {{Opcode: frame.Ping, Payload: long}},
		"WS-04 pong of 126 bytes":              {{Opcode: frame.Pong, Payload: long}},
		"WS-04 close of 126 bytes":             {{Opcode: frame.Close, Payload: append([]byte{3, 232}, long[2:]...)}},
		"WS-04 ping of 125 bytes in 16 bits":   {{Opcode: frame.Ping, Payload: long[:125], LengthBits: 16}},
		"WS-05 5 in 16 bits":                   {{Opcode: frame.Text, Payload: long[:5], LengthBits: 16}},
		"WS-05 125 in 16 bits":                 {{Opcode: frame.Text, Payload: long[:125], LengthBits: 16}},
		"WS-05 0 in 64 bits":                   {{Opcode: frame.Text, LengthBits: 64}},
		"WS-05 126 in 64 bits":                 {{Opcode: frame.Text, Payload: long, LengthBits: 64}},
		"WS-05 65535 in 64 bits":               {{Opcode: frame.Text, Length: 65535, LengthBits: 64}},
		"WS-06 top bit set":                    {{Opcode: frame.Binary, Length: 1 << 63}},
		"WS-06 all bits set":                   {{Opcode: frame.Binary, Length: 1<<64 - 1}},
		"WS-07 continuation first":             {wstest.Continuation("a")},
		"WS-07 continuation after a message":   {wstest.Ping(""), wstest.Continuation("a").Fragment()},
		"WS-07 text in mid-message":            {wstest.Text("a").Fragment(), wstest.Text("b")},
		"WS-07 binary in mid-message":          {wstest.Text("a").Fragment(), wstest.Binary(nil)},
	}
	for _, reserved := range []frame.Opcode{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		cases[fmt.Sprintf("WS-03 opcode %#x", uint8(reserved))] = []wstest.Frame{{Opcode: reserved}}
		cases[fmt.Sprintf("WS-03 opcode %#x in mid-message", uint8(reserved))] = []wstest.Frame{wstest.Text("").Fragment(), {Opcode: reserved}}
	}
	for name, frames := range cases {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				pings := 0
				for _, f := range frames[:len(frames)-1] {
					if f.Opcode == frame.Ping {
						pings++
					}
				}
				e.peer.Send(t, frames...)
				_, p, err := e.Read(t.Context())
				assert.Empty(t, p, "never delivered")
				ce := wantEnd(t, err, 1002, false)
				var rule *frame.Error
				require.ErrorAs(t, err, &rule)
				assert.Equal(t, rule.Rule, ce.Reason, "the peer is told which rule")
				for range pings {
					e.peer.WantFrame(t, frame.Pong, "", "the ping before the breach")
				}
				e.wantFailed(t, 1002)
			})
		})
	}
}

// A header alone is enough to see that a frame is too big, and nothing is
// allocated for what it promises.
func TestWS06DeclaredLengthIsNotBelieved(t *testing.T) {
	for name, length := range map[string]uint64{
		"2^63-1":          1<<63 - 1,
		"1 TiB":           1 << 40,
		"limit and a bit": 1<<20 + 1,
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				e.peer.Send(t, wstest.Frame{Opcode: frame.Binary, Length: length})
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _, err := e.Read(t.Context())
				runtime.ReadMemStats(&after)
				require.ErrorIs(t, err, websocket.ErrMessageTooBig)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10))
				e.wantBreach(t, 1009)
			})
		})
	}
}

// A declared length within the limit is not allocated either, before its bytes
// are here.
func TestWS06MemoryGrowsWithWhatArrives(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := socket{params: websocket.Params{Limits: websocket.Limits{Message: 1 << 40}}}.open(t)
		e.peer.Send(t, wstest.Frame{Opcode: frame.Binary, Length: 1 << 39, Payload: make([]byte, 2000)})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := e.beginRead(t.Context())
		synctest.Wait()
		runtime.ReadMemStats(&after)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<10))
		require.NoError(t, e.far.CloseWrite())
		wantEnd(t, (<-got).err, 1006, true)
	})
}

func TestWS08LimitHoldsAtTheFragmentHeaderThatPassesIt(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, params: websocket.Params{Limits: websocket.Limits{Message: 10}}}.open(t)
		e.peer.Send(t, wstest.Text("12345").Fragment(), wstest.Continuation("67890"))
		wantText(t, e.Conn, "1234567890")

		e.peer.Send(t, wstest.Text("12345").Fragment(), wstest.Continuation("6789").Fragment())
		e.peer.Send(t, wstest.Frame{Opcode: frame.Continuation, Length: 2})
		_, _, err := e.Read(t.Context())
		require.ErrorIs(t, err, websocket.ErrMessageTooBig, "before its payload is here")
		e.wantBreach(t, 1009)
	})
}

func TestWS09TooManyFragments(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		frames := []wstest.Frame{wstest.Text("x").Fragment()}
		for len(frames) < 16_383 {
			frames = append(frames, wstest.Continuation("x").Fragment())
		}
		e.peer.Send(t, append(frames[:16_383:16_383], wstest.Continuation("x"))...)
		wantText(t, e.Conn, strings.Repeat("x", 16_384))

		e.peer.Send(t, append(frames, wstest.Continuation("x").Fragment(), wstest.Continuation("x"))...)
		_, _, err := e.Read(t.Context())
		require.ErrorIs(t, err, websocket.ErrTooManyFragments)
		e.wantBreach(t, 1008)
	})
}

func TestWS10TooManyEmptyFragments(t *testing.T) {
	empty := func(n int) []wstest.Frame {
		frames := []wstest.Frame{wstest.Text("").Fragment()}
		for len(frames) < n {
			frames = append(frames, wstest.Continuation("").Fragment())
		}
		return frames
	}
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, append(empty(100), wstest.Continuation("end"))...)
		wantText(t, e.Conn, "end")
		e.peer.Send(t, empty(101)...)
		_, _, err := e.Read(t.Context())
		require.ErrorIs(t, err, websocket.ErrTooManyFragments)
		e.wantBreach(t, 1008)
	})
	t.Run("in the rest of a message that is skipped", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client}.open(t)
			e.peer.Send(t, wstest.Text("begins").Fragment())
			_, _, err := e.Reader(t.Context())
			require.NoError(t, err)
			frames := empty(101)
			frames[0] = wstest.Continuation("").Fragment()
			e.peer.Send(t, frames...)
			_, _, err = e.Read(t.Context())
			require.ErrorIs(t, err, websocket.ErrTooManyFragments)
			e.wantBreach(t, 1008)
		})
	})
	t.Run("in what is discarded while closing", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client}.open(t)
			e.peer.Send(t, empty(101)...)
			err := e.Close(t.Context(), 1000, "")
			require.ErrorIs(t, err, websocket.ErrTooManyFragments)
			e.peer.WantClose(t, 1000, "our Close went before")
			e.peer.WantEOF(t, "C10: END")
		})
	})
	t.Run("a million are never read", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			e := socket{}.open(t)
			sent := begin(func() (n int) {
				burst := e.peer.Append(nil, empty(1000)...)
				burst[0] = 0x00 // continuations only
				first := e.peer.Append(nil, wstest.Text("").Fragment())
				if _, err := e.far.Write(first); err != nil {
					return 0
				}
				for range 1000 {
					if _, err := e.far.Write(burst); err != nil {
						break
					}
					n++
				}
				return n
			})
			_, _, err := e.Read(t.Context())
			require.ErrorIs(t, err, websocket.ErrTooManyFragments)
			assert.LessOrEqual(t, e.Stats().FramesRead, int64(101))
			assert.Equal(t, 1000, <-sent, "discarded without being parsed")
		})
	})
}

func TestWS11ControlFramesBetweenFragments(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		got := e.beginRead(t.Context())
		e.peer.Send(t, wstest.Text("one ").Fragment(), wstest.Ping("first"))
		e.peer.WantFrame(t, frame.Pong, "first", "at once, in mid-message")
		e.peer.Send(t, wstest.Pong("unsolicited"), wstest.Continuation("two ").Fragment(), wstest.Ping(""), wstest.Continuation("three"))
		e.peer.WantFrame(t, frame.Pong, "", "an empty ping")
		assert.Equal(t, message{websocket.MessageText, "one two three", nil}, <-got)
	})
}

// A valid stream gives the same messages and the same answers however its
// bytes are cut: by the peer, by the transport, or with empty reads between.
func TestWS27AnySplitGivesTheSameMessages(t *testing.T) {
	wire := func(p *wstest.Peer) []byte {
		return p.Append(nil,
			wstest.Text("hello"),
			wstest.Text(""),
			wstest.Binary([]byte{0, 1, 2, 0xFF}),
			wstest.Text("gr\xc3").Fragment(), wstest.Ping("between"), wstest.Continuation("\xbc\xc3").Fragment(),
			wstest.Continuation("").Fragment(), wstest.Continuation("\x9fe"),
			wstest.Pong("alone"),
			wstest.Frame{Opcode: frame.Text, RSV1: true, Payload: []byte("\xf2\x48\xcd\xc9\xc9\x07\x00")},
			wstest.Frame{Opcode: frame.Text, RSV1: true, More: true, Payload: []byte("\xf2\x48\xcd")},
			wstest.Ping(""),
			wstest.Frame{Payload: []byte("\xc9\xc9\x07\x00")},
			wstest.Binary(make([]byte, 130)),
			wstest.Close(4000, "done"),
		)
	}
	// observe returns what the Conn made of what feed sends.
	observe := func(t *testing.T, client bool, o wstest.PipeOptions, feed func(e *end)) string {
		e := socket{client: client, pipe: o, params: websocket.Params{Deflate: &websocket.DeflateParams{
			ServerNoContextTakeover: true, ClientNoContextTakeover: true,
		}}}.open(t)
		fed := begin(func() bool { feed(e); return true })
		var seen strings.Builder
		for {
			kind, p, err := e.Read(t.Context())
			fmt.Fprintf(&seen, "%v %q %v\n", kind, p, err)
			if err != nil {
				break
			}
		}
		<-fed
		for {
			f, err := e.peer.TryNext()
			fmt.Fprintf(&seen, "%v %v\n", f, err)
			if err != nil {
				break
			}
			if f.Opcode == frame.Close {
				e.far.CloseWrite()
			}
		}
		return seen.String()
	}
	for name, client := range map[string]bool{"server": false, "client": true} {
		t.Run(name, func(t *testing.T) {
			whole := func(e *end) { e.far.Write(wire(e.peer)) }
			var want string
			inBubble(t, func(t *testing.T) { want = observe(t, client, wstest.PipeOptions{}, whole) })
			for _, part := range []string{`text "hello"`, `text ""`, `"\x00\x01\x02\xff"`, `text "grüße"`, `text "Hello"`, `4000 "done"`, `pong [7] "between"`, `close [2] 4000`, "EOF"} {
				require.Contains(t, want, part)
			}
			check := func(o wstest.PipeOptions, feed func(e *end)) {
				t.Helper()
				inBubble(t, func(t *testing.T) {
					require.Equal(t, want, observe(t, client, o, feed))
				})
			}
			for _, o := range []wstest.PipeOptions{
				{ReadChunk: 1}, {EmptyReads: true}, {ReadChunk: 1, EmptyReads: true},
				{ReadChunk: 2}, {ReadChunk: 3}, {ReadChunk: 7}, {WriteChunk: 1}, {Buffer: 64},
			} {
				check(o, whole)
			}
			n := len(wire(wstest.NewClient(nil)))
			if client {
				n = len(wire(wstest.NewServer(nil)))
			}
			for cut := 1; cut < n; cut++ {
				check(wstest.PipeOptions{}, func(e *end) {
					b := wire(e.peer)
					e.far.Write(b[:cut])
					synctest.Wait()
					e.far.Write(b[cut:])
				})
			}
		})
	}
}

// What a Conn sends is in the form the role demands, at every boundary of the
// three forms of length, on a stream with WriteBuffers and on one without.
func TestFramesSentHaveTheShortestFormAndTheRolesMask(t *testing.T) {
	for _, vectored := range []bool{false, true} {
		t.Run(fmt.Sprintf("WriteBuffers %t", vectored), func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client, vectored: vectored, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
				for _, n := range []int{0, 1, 125, 126, 127, 1000, 16<<10 - 15, 16<<10 - 14, 16<<10 - 13, 65535, 65536, 131072, 131073, 300_000} {
					want := make([]byte, n)
					for i := range n / 8 {
						binary.BigEndian.PutUint64(want[8*i:], uint64(i)*0x9E3779B97F4A7C15)
					}
					before := string(want)
					require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, want))
					require.Equal(t, before, string(want), "Write does not modify its argument")
					f := e.peer.Next(t, "a binary message")
					require.Equal(t, frame.Binary, f.Opcode)
					require.False(t, f.More)
					require.Equal(t, before, string(f.Payload), "%d bytes", n)
				}
			})
		})
	}
}

// WS-26 in the small: a client's keys differ from frame to frame.
func TestWS26MaskingKeysAreFresh(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const frames = 10_000
		e := socket{client: true, pipe: wstest.PipeOptions{Record: true, Buffer: 1 << 20}}.open(t)
		for range frames {
			require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, []byte{0}))
		}
		keys := make(map[uint32]int)
		var ones [32]int
		for _, w := range e.near.Writes() {
			require.Len(t, w, 7)
			key := binary.BigEndian.Uint32(w[2:])
			keys[key]++
			for bit := range ones {
				ones[bit] += int(key >> bit & 1)
			}
		}
		// 10,000 draws from 2^32 collide 0.01 times on average: three
		// collisions have a chance of one in six million.
		assert.Greater(t, len(keys), frames-3)
		for bit, n := range ones {
			// Six standard deviations: one false alarm in 10^7 runs.
			assert.InDelta(t, frames/2, n, 300, "bit %d", bit)
		}
	})
}

// Bytes that came with the handshake are parsed before the stream is read, and
// are copied.
func TestBufferedBytesComeFirst(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		_, far := wstest.Pipe(wstest.PipeOptions{})
		peer := wstest.NewClient(far)
		if client {
			peer = wstest.NewServer(far)
		}
		for cut := range 30 {
			near, far := wstest.Pipe(wstest.PipeOptions{})
			wire := peer.Append(nil, wstest.Text("from the buffer"), wstest.Text("split"))
			cut = min(cut, len(wire))
			buffered := append([]byte(nil), wire[:cut]...)
			c := websocket.New(near, websocket.Params{Client: client, Buffered: buffered, Limits: quiet})
			clear(buffered)
			_, err := far.Write(append(wire[cut:], peer.Append(nil, wstest.Text("from the stream"))...))
			require.NoError(t, err)
			wantText(t, c, "from the buffer")
			wantText(t, c, "split")
			wantText(t, c, "from the stream")
			c.CloseNow()
		}
	})
}

func TestSubprotocolAndBootstrapAreThoseOfTheHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := socket{params: websocket.Params{Subprotocol: "chat"}, pipe: wstest.PipeOptions{Bootstrap: websocket.HTTP3}}.open(t)
		assert.Equal(t, "chat", e.Subprotocol())
		assert.Equal(t, websocket.HTTP3, e.Bootstrap())
		assert.Equal(t, "HTTP/3", e.Bootstrap().String())
	})
}
