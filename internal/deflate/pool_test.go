package deflate

import (
	"bytes"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Sockets share pools and nothing else.
func TestSocketsAtTheSameTime(t *testing.T) {
	var wg sync.WaitGroup
	for socket := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(socket), 1))
			bits, takeover := 8+r.IntN(8), socket%2 == 0
			d, i := NewDeflater(1+socket%3, bits, takeover), NewInflater(bits, takeover)
			for range 20 {
				message := mixedData(r.IntN(5000), r)
				c := deflateInParts(t, d, message, r)
				got, err := inflateInPieces(i, c, pieces(r), func(int) int { return math.MaxInt })
				if !assert.NoError(t, err) || !assert.True(t, bytes.Equal(message, got)) {
					return
				}
			}
			d.Release()
			i.Release()
		})
	}
	wg.Wait()
}

func TestNoAllocationPerMessage(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop what they like")
	}
	plain := jsonText(1024, 1)
	for _, bits := range []int{10, 15} {
		for _, takeover := range []bool{false, true} {
			d, i := NewDeflater(1, bits, takeover), NewInflater(bits, takeover)
			var c, out []byte
			run := func() {
				var err error
				c, err = d.Append(c[:0], plain, true)
				require.NoError(t, err)
				out, _, _, err = i.Finish(out[:0], c, 1<<20)
				require.NoError(t, err)
			}
			for range 50 {
				run() // windows and buffers grow
			}
			assert.Zero(t, testing.AllocsPerRun(200, run), "%d bits, takeover %v", bits, takeover)

			inParts := func() {
				var err error
				c, err = d.Append(c[:0], plain[:500], false)
				require.NoError(t, err)
				c, err = d.Append(c, plain[500:], true)
				require.NoError(t, err)
				var n int
				out, n, err = i.Inflate(out[:0], c[:len(c)/2], 1<<20)
				require.NoError(t, err)
				out, _, _, err = i.Finish(out, c[n:], 1<<20)
				require.NoError(t, err)
			}
			inParts()
			assert.Zero(t, testing.AllocsPerRun(200, inParts), "%d bits, takeover %v, in parts", bits, takeover)
		}
	}
}

// A window holds what is said last, whatever the sizes of what is said.
func TestWindowRemembers(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		var w *window
		var all []byte
		for range 100 {
			p := mixedData(r.IntN(1<<r.IntN(bits+2)), r)
			all = append(all, p...)
			w = w.remember(p, bits)
			require.Equal(t, min(len(all), 1<<bits), w.known())
			if w == nil {
				continue
			}
			got := make([]byte, w.known())
			require.Equal(t, len(got), w.copyTo(got, len(got)))
			require.True(t, bytes.Equal(all[len(all)-len(got):], got))
			back := 1 + r.IntN(w.known())
			part := make([]byte, 1+r.IntN(300))
			n := w.copyTo(part, back)
			require.Equal(t, min(len(part), back), n)
			require.True(t, bytes.Equal(all[len(all)-back:][:n], part[:n]))
		}
		require.Len(t, w.buf, 1<<bits)
		w.free()
	}
}
