package deflate

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deflateInParts compresses message with d in parts of any sizes, and flushes
// now and then.
func deflateInParts(t testing.TB, d *Deflater, message []byte, r *rand.Rand) []byte {
	t.Helper()
	c := []byte("before")
	var err error
	size := pieces(r)
	for rest := message; ; {
		n := min(len(rest), size(len(rest)))
		c, err = d.Append(c, rest[:n], n == len(rest))
		require.NoError(t, err)
		if n == len(rest) {
			break
		}
		rest = rest[n:]
		if r.IntN(50) == 0 {
			c, err = d.Flush(c)
			require.NoError(t, err)
		}
	}
	require.True(t, bytes.HasPrefix(c, []byte("before")))
	return c[len("before"):]
}

func TestP67DeflaterRemovesTheTail(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		d := NewDeflater(1, 15, takeover)
		for _, text := range []string{"Hello", "a", string(jsonText(2000, 1))} {
			c, err := d.Append(nil, []byte(text), true)
			require.NoError(t, err)
			assert.False(t, bytes.HasSuffix(c, syncTail))
			got, err := streamReader(stdflate.NewReaderDict).message(c)
			require.NoError(t, err)
			assert.Equal(t, text, string(got))
			d.Release() // what the reader knows begins here
		}
	}
}

func TestPMD05EmptyMessageIsOneZero(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 15} {
			d := NewDeflater(1, bits, takeover)
			i := NewInflater(bits, takeover)
			for n := range 3 {
				c, err := d.Append(nil, nil, false)
				require.NoError(t, err)
				require.Empty(t, c)
				c, err = d.Append(c, nil, true)
				require.NoError(t, err)
				assert.Equal(t, []byte{0}, c, "RFC 7692 §7.2.3.6")
				got, err := inflateAll(i, c)
				require.NoError(t, err)
				require.Empty(t, got)
				text := fmt.Sprint("message", n)
				c, err = d.Append(nil, []byte(text), true)
				require.NoError(t, err)
				got, err = inflateAll(i, c)
				require.NoError(t, err)
				require.Equal(t, text, string(got))
			}
			c, err := AppendMessage(nil, nil, 1, bits)
			require.NoError(t, err)
			assert.Equal(t, []byte{0}, c)
		}
	}
}

// Whatever the level, no reference of ours goes further back than 2^bits bytes,
// within a message and across messages: the Inflater with that window checks
// every distance. Sequences are long enough for every buffer to wrap.
func TestPMD09DeflaterKeepsToItsWindow(t *testing.T) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		for level := 1; level <= 9; level++ {
			for _, takeover := range []bool{false, true} {
				r := rand.New(rand.NewPCG(uint64(bits), uint64(level)))
				d, i := NewDeflater(level, bits, takeover), NewInflater(bits, takeover)
				total := 400_000
				if !takeover || bits < maxWindowBits && level != 1 {
					total = 40_000 // nothing is to wrap
				}
				if raceEnabled {
					total = 5_000
				}
				for n := 0; n < total; {
					size := r.IntN(1 << (3 + r.IntN(15)))
					if r.IntN(8) == 0 {
						size = 1<<bits + r.IntN(3) - 1
					}
					message := mixedData(size, r)
					n += size
					c := deflateInParts(t, d, message, r)
					got, err := inflateAll(i, c)
					require.NoError(t, err, "%d bits, level %d, takeover %v", bits, level, takeover)
					require.True(t, bytes.Equal(message, got))
				}
				d.Release()
			}
		}
	}
}

// The check above can fail: data compressed with a window does not inflate with
// a smaller one, and a message of a sequence does not inflate alone.
func TestPMD09WindowsAreUsed(t *testing.T) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		r := rand.New(rand.NewPCG(1, uint64(bits)))
		noise := make([]byte, 1<<bits-40)
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		message := append(noise, noise[:200]...)

		d, takeover, alone := NewDeflater(1, bits, true), NewInflater(bits, true), NewInflater(bits, false)
		smaller := NewInflater(bits-1, true)
		for n, half := range [][]byte{message[:len(noise)], message[len(noise):]} {
			c, err := d.Append(nil, half, true)
			require.NoError(t, err)
			got, err := inflateAll(takeover, c)
			require.NoError(t, err)
			require.True(t, bytes.Equal(half, got))
			_, err = inflateAll(alone, c)
			if n == 0 {
				require.NoError(t, err)
				_, err = inflateAll(smaller, c)
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, errDistance)
			if bits > minWindowBits {
				_, err = inflateAll(smaller, c)
				require.ErrorIs(t, err, errDistance)
			}
			assert.Less(t, len(c), 60, "the earlier message is referred to")
		}
		d.Release()
	}
}

// A pooled compressor brings nothing of the socket that had it before.
func TestPMD08MessagesWithoutTakeoverStandAlone(t *testing.T) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		for _, level := range []int{1, 4, 6, 7, 9} {
			d := NewDeflater(level, bits, false)
			var message []byte
			for n := range 6 {
				message = jsonText(3000+n%2*100, 5) // nearly the same each time
				c, err := d.Append(nil, message[:10], false)
				require.NoError(t, err)
				c, err = d.Append(c, message[10:], true)
				require.NoError(t, err)
				got, err := inflateAll(NewInflater(bits, false), c)
				require.NoError(t, err)
				require.True(t, bytes.Equal(message, got))
				assert.Equal(t, Deflater{level: uint8(level), windowBits: uint8(bits)}, *d, "PMD-10")
			}
		}
	}
}

// The compressor counts positions in 31 bits. Small messages move it on by a
// window each, so that a socket's life passes by in a moment.
func TestDeflaterOutlivesThePositionCounter(t *testing.T) {
	for _, c := range []struct{ level, bits int }{{1, 15}, {4, 15}, {6, 15}, {1, 14}} {
		d, i := NewDeflater(c.level, c.bits, true), NewInflater(c.bits, true)
		small, large := jsonText(20, 1), jsonText(1500, 2)
		var buf, out []byte
		messages := 150_000
		if raceEnabled {
			messages = 5000
		}
		for n := range messages {
			message := small
			if n%1000 < 3 {
				message = large
			}
			var err error
			buf, err = d.Append(buf[:0], message, true)
			require.NoError(t, err)
			out, _, _, err = i.Finish(out[:0], buf, 1<<20)
			if err != nil || !bytes.Equal(out, message) {
				require.NoError(t, err)
				require.Equal(t, message, out)
			}
		}
		d.Release()
		i.Release()
	}
}

func TestFlushLetsThePeerSeeEverything(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		d, i := NewDeflater(1, 15, takeover), NewInflater(15, takeover)
		for range 3 {
			c, err := d.Flush(nil)
			require.NoError(t, err)
			require.Empty(t, c, "nothing was begun")
			for range 4 {
				part := jsonText(200, 1)
				c, err = d.Append(c[:0], part, false)
				require.NoError(t, err)
				c, err = d.Flush(c)
				require.NoError(t, err)
				got, n, err := i.Inflate(nil, c, 1<<20)
				require.NoError(t, err)
				require.Equal(t, len(c), n)
				require.Equal(t, string(part), string(got))
			}
			c, err = d.Append(nil, nil, true)
			require.NoError(t, err)
			assert.Equal(t, []byte{0}, c)
			got, err := inflateAll(i, c)
			require.NoError(t, err)
			require.Empty(t, got)
		}
	}
}

// A message made for many sockets may be sent on one with context takeover, if
// its Deflater is released: then what follows refers to nothing before.
func TestMessageForManyBetweenOwnMessages(t *testing.T) {
	text, news := jsonText(1000, 1), jsonText(1000, 2)
	shared, err := AppendMessage(nil, news, 1, 15)
	require.NoError(t, err)
	for _, release := range []bool{true, false} {
		d, i := NewDeflater(1, 15, true), NewInflater(15, true)
		own, err := d.Append(nil, text, true)
		require.NoError(t, err)
		got, err := inflateAll(i, own)
		require.NoError(t, err)
		require.Equal(t, text, got)
		got, err = inflateAll(i, shared)
		require.NoError(t, err)
		require.Equal(t, news, got)
		if release {
			d.Release()
		}
		own, err = d.Append(nil, text, true)
		require.NoError(t, err)
		got, err = inflateAll(i, own)
		assert.Equal(t, release, err == nil && bytes.Equal(text, got))
	}
}

func TestLevelsAndWindowsOutOfRange(t *testing.T) {
	for _, v := range []int{-1, 0, 7, 16, 100} {
		d, i := NewDeflater(v, v, true), NewInflater(v, true)
		c, err := d.Append(nil, jsonText(1000, 1), true)
		require.NoError(t, err)
		got, err := inflateAll(i, c)
		require.NoError(t, err)
		require.Equal(t, jsonText(1000, 1), got)
	}
}
