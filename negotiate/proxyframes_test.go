package negotiate

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/frame"
)

// someFrames are frames of all forms and sizes, the last of them a Close.
func someFrames(masked bool) (all []byte, ends []int) {
	add := func(h frame.Header) {
		h.Masked = masked
		all = h.Append(all)
		all = append(all, bytes.Repeat([]byte{0x88}, int(h.Length))...) // looks like Close frames
		ends = append(ends, len(all))
	}
	for _, n := range []int64{0, 1, 2, 125, 126, 127, 65535, 65536} {
		add(frame.Header{Opcode: frame.Binary, Length: n})
		add(frame.Header{Fin: true, Opcode: frame.Continuation, RSV1: true, Length: n})
	}
	add(frame.Header{Fin: true, Opcode: frame.Ping, Length: 125})
	add(frame.Header{Fin: true, Opcode: frame.Close, Length: 2})
	return all, ends
}

// However the bytes are divided, the ends of frames are found, and the Close.
func TestFramesFollowAnySplit(t *testing.T) {
	for _, masked := range []bool{false, true} {
		all, ends := someFrames(masked)
		r := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			var f frames
			pos, next := 0, 0
			for pos < len(all) {
				n := min(1+r.IntN(1+r.IntN(20_000)), len(all)-pos)
				assert.Equal(t, n, f.follow(all[pos:pos+n], false))
				pos += n
				for ends[next] < pos {
					next++
				}
				require.Equal(t, pos == ends[next] && pos < len(all), f.between(), "at %d", pos)
				require.Equal(t, pos == len(all), f.closed)
			}
		}
	}
}

// With stop, following ends behind a frame.
func TestFramesStopBehindAFrame(t *testing.T) {
	all, ends := someFrames(false)
	var f frames
	pos := 0
	for i, end := range ends {
		pos += f.follow(all[pos:], true)
		require.Equal(t, end, pos)
		require.Equal(t, i < len(ends)-1, f.between())
	}
}

// What is no header is followed no further, and nothing is ever asked for.
func FuzzFrames(f *testing.F) {
	all, _ := someFrames(true)
	f.Add(all, uint16(3))
	f.Add([]byte{0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0, 1}, uint16(1))
	f.Add([]byte{0x88, 0, 0x88}, uint16(1))
	f.Fuzz(func(t *testing.T, p []byte, cut uint16) {
		var whole, split frames
		require.Equal(t, len(p), whole.follow(p, false))
		k := min(int(cut), len(p))
		split.follow(p[:k], false)
		split.follow(p[k:], false)
		split.header, whole.header = [frame.MaxHeaderSize]byte{}, [frame.MaxHeaderSize]byte{}
		require.Equal(t, whole, split, "any split comes to the same")

		// The naive way, a frame at a time.
		rest, between, closed := p, true, false
		for len(rest) > 0 && !closed {
			h, n, err := frame.ParseHeader(rest)
			if err != nil || n == 0 || h.Length > int64(len(rest)-n) {
				between = false
				break
			}
			rest = rest[n+int(h.Length):]
			closed = h.Opcode == frame.Close
		}
		require.Equal(t, between && !closed, whole.between())
		require.Equal(t, closed, whole.closed)
	})
}
