package h3connect

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
)

// feed gives b to d in pieces of the sizes that next returns, and returns the
// payload and the first error.
func feed(d *deframer, b []byte, next func() int) (payload []byte, err error) {
	for len(b) > 0 && err == nil {
		n := min(next(), len(b))
		p := bytes.Clone(b[:n])
		b = b[n:]
		n, err = d.deframe(p)
		payload = append(payload, p[:n]...)
	}
	return payload, err
}

func whole() int { return 1 << 30 }

func frames(f ...[]byte) []byte { return bytes.Join(f, nil) }

func TestDeframer(t *testing.T) {
	padded := []byte{0x40, 0x00, 0xc0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'} // not the shortest varints
	for _, c := range []struct {
		name    string
		in      []byte
		payload string
		code    http3.ErrCode // 0: no error
		conn    bool
		whole   bool
	}{
		{"nothing", nil, "", 0, false, true},
		{"one frame", dataFrame("hello"), "hello", 0, false, true},
		{"two frames", frames(dataFrame("hel"), dataFrame("lo")), "hello", 0, false, true},
		{"varints that are not the shortest (RFC 9000 §16)", padded, "abc", 0, false, true},
		{"empty frames", frames(dataFrame(""), dataFrame("a"), dataFrame(""), dataFrame("b")), "ab", 0, false, true},
		{"P38 GREASE between", frames(dataFrame("a"), greaseFrame("xyz"), dataFrame("b"), greaseFrame("")), "ab", 0, false, true},
		{"P40 cut in the payload", dataFrame("hello")[:4], "he", 0, false, false},
		{"P40 cut in the header", dataFrame("hello")[:1], "", 0, false, false},
		{"P40 cut in an unknown frame", greaseFrame("xyz")[:4], "", 0, false, false},
		{"XC-12 HEADERS", frames(dataFrame("a"), headersFrame("x: y"), dataFrame("b")), "a", http3.ErrCodeFrameUnexpected, true, false},
		{"SETTINGS", settingsFrame(), "", http3.ErrCodeFrameUnexpected, true, true},
		{"GOAWAY", frames(dataFrame("a"), goAwayFrame(0)), "a", http3.ErrCodeFrameUnexpected, true, false},
		{"CANCEL_PUSH", rawFrame(frameCancelPush, []byte{0}), "", http3.ErrCodeFrameUnexpected, true, false},
		{"PUSH_PROMISE", rawFrame(framePushPromise, []byte{0}), "", http3.ErrCodeFrameUnexpected, true, false},
		{"MAX_PUSH_ID", rawFrame(frameMaxPushID, []byte{0}), "", http3.ErrCodeFrameUnexpected, true, false},
		{"PRIORITY_UPDATE", rawFrame(framePriorityUpdate, []byte{0}), "", http3.ErrCodeFrameUnexpected, true, false},
		{"HTTP/2 PRIORITY", rawFrame(0x02, nil), "", http3.ErrCodeFrameUnexpected, true, true},
		{"HTTP/2 PING", rawFrame(0x06, nil), "", http3.ErrCodeFrameUnexpected, true, true},
		{"HTTP/2 WINDOW_UPDATE", rawFrame(0x08, nil), "", http3.ErrCodeFrameUnexpected, true, true},
		{"HTTP/2 CONTINUATION", rawFrame(0x09, nil), "", http3.ErrCodeFrameUnexpected, true, true},
		{"H3-02 5,000 empty frames in the middle", frames(dataFrame("a"), bytes.Repeat(dataFrame(""), 5000), dataFrame("b")), "ab", 0, false, true},
		{"H3-02 too many empty frames", frames(dataFrame("a"), bytes.Repeat(dataFrame(""), maxIdleFrames+1), dataFrame("b")), "a", http3.ErrCodeExcessiveLoad, false, true},
		{"the bound itself, and again after payload", bytes.Repeat(frames(bytes.Repeat(dataFrame(""), maxIdleFrames-1), dataFrame("a")), 2), "aa", 0, false, true},
		{"too many unknown frames", bytes.Repeat(greaseFrame(""), maxIdleFrames+1), "", http3.ErrCodeExcessiveLoad, false, true},
		{"H3-17 an endless unknown frame", []byte{0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "", http3.ErrCodeExcessiveLoad, false, false},
		{"H3-17 much in unknown frames", bytes.Repeat(greaseFrame(string(make([]byte, 1<<16))), 17), "", http3.ErrCodeExcessiveLoad, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for name, next := range map[string]func() int{
				"whole": whole, "bytes": func() int { return 1 }, "random": func() int { return 1 + r.IntN(9) },
			} {
				d := new(deframer)
				payload, err := feed(d, c.in, next)
				require.Equal(t, c.payload, string(payload), name)
				if c.code == 0 {
					require.NoError(t, err, name)
					require.Equal(t, c.whole, d.whole(), name)
					continue
				}
				fe, ok := err.(*frameError)
				require.True(t, ok, "%s: %v", name, err)
				require.Equal(t, c.code, fe.code, name)
				require.Equal(t, c.conn, fe.conn, name)
			}
		})
	}
}

func TestDeframerEndsResponseBodyAtTrailers(t *testing.T) {
	d := &deframer{trailers: true}
	payload, err := feed(d, frames(dataFrame("content"), headersFrame("x: y")), whole)
	require.Equal(t, errTrailers, err)
	require.Equal(t, "content", string(payload))
}

// FuzzDeframer: however the bytes are cut, payload and error are the same; what
// is returned as payload is never more than what came in; and the payload of
// DATA frames that we make comes back as it was.
func FuzzDeframer(f *testing.F) {
	f.Add(frames(dataFrame("hello"), greaseFrame("x"), dataFrame(""), dataFrame("world")), uint64(1))
	f.Add([]byte{0x40, 0x00, 0xc0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'}, uint64(2))
	f.Add(headersFrame("a: b"), uint64(3))
	f.Add([]byte{0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint64(4))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		var a, b deframer
		wantPayload, wantErr := feed(&a, in, whole)
		r := rand.New(rand.NewPCG(seed, 0))
		payload, err := feed(&b, in, func() int { return 1 + r.IntN(7) })
		require.Equal(t, wantPayload, payload)
		require.Equal(t, wantErr, err)
		require.LessOrEqual(t, len(payload), len(in))
		if err == nil {
			require.Equal(t, a.whole(), b.whole())
		}

		var framed []byte
		for rest := in; len(rest) > 0; {
			n := min(1+r.IntN(100), len(rest))
			framed = append(appendDataHeader(framed, n), rest[:n]...)
			rest = rest[n:]
		}
		back, err := feed(new(deframer), framed, func() int { return 1 + r.IntN(50) })
		require.NoError(t, err)
		require.Equal(t, len(in), len(back))
		require.True(t, bytes.Equal(in, back))
	})
}

func BenchmarkDeframe(b *testing.B) {
	in := bytes.Repeat(dataFrame(string(make([]byte, 32))), 100)
	buf := make([]byte, len(in))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	var d deframer
	for b.Loop() {
		copy(buf, in)
		if n, err := d.deframe(buf); n != 3200 || err != nil {
			b.Fatal(n, err)
		}
	}
}
