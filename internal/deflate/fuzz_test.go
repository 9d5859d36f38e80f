package deflate

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// addMessages adds to the seeds what exercises every kind of block.
func addMessages(f *testing.F, add func(message []byte)) {
	for _, v := range vectors {
		for _, m := range v.messages {
			add(unhex(f, m))
		}
	}
	add(bytes.Repeat(unhex(f, "00 00 00 ff ff"), 20))
	add(unhex(f, "f3 48 cd c9 c9 07 00"+"0a cf 2f ca 49 01 00"))
	add(unhex(f, "00 09 00 f6 ff 48 65 6c 6c 6f"))
	r := rand.New(rand.NewPCG(31, 32))
	for level := 1; level <= 9; level += 4 {
		add(deflateMessage(f, mixedData(600, r), level, 15))
		add(deflateMessage(f, jsonText(300, uint64(level)), level, 15))
	}
	blocks, _ := mixedBlocks(10, r)
	add(blocks)
	for range 10 {
		lit, dist := randomCode(r, 40+r.IntN(200), maxLit, 15), randomCode(r, 20, maxDist, 15)
		noise := make([]byte, 100)
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		add(append(pack(dynamicHeader(lit, dist)), noise...))
	}
}

// FuzzAgreement: of any message our decoder makes what compress/flate and
// klauspost/compress make of it, or all three find it wrong.
func FuzzAgreement(f *testing.F) {
	addMessages(f, func(m []byte) { f.Add(m) })
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > 1<<14 {
			t.Skip() // many small streams take the other decoders long
		}
		wantAgreement(t, message)
	})
}

// FuzzSplitInvariance: any cut of any messages and any sequence of limits gives
// the same bytes and the same error, with every window, with takeover and
// without.
func FuzzSplitInvariance(f *testing.F) {
	seed := uint64(0)
	addMessages(f, func(m []byte) {
		f.Add(m, m[:len(m)/2], uint8(8+seed%8), seed%2 == 0, seed)
		seed++
	})
	f.Fuzz(func(t *testing.T, first, second []byte, bits uint8, takeover bool, seed uint64) {
		r := rand.New(rand.NewPCG(seed, seed))
		whole, cut := NewInflater(int(bits), takeover), NewInflater(int(bits), takeover)
		for _, message := range [][]byte{first, second} {
			want, wantErr := inflateAll(whole, message)
			got, err := inflateInPieces(cut, message, pieces(r), pieces(r))
			require.Equal(t, wantErr, err)
			require.True(t, bytes.Equal(want, got))
		}
	})
}

// FuzzRoundTrip: what a Deflater makes of any messages, in any parts, the
// Inflater with the same window makes into the messages again.
func FuzzRoundTrip(f *testing.F) {
	for i := range uint8(16) {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		f.Add(mixedData(2000, r), jsonText(900, uint64(i)), 1+i%9, i, i%2 == 0, uint64(i))
	}
	f.Add([]byte{}, []byte("a"), uint8(1), uint8(15), true, uint64(3))
	f.Fuzz(func(t *testing.T, first, second []byte, level, bits uint8, takeover bool, seed uint64) {
		r := rand.New(rand.NewPCG(seed, seed))
		d, i := NewDeflater(int(level), int(bits), takeover), NewInflater(int(bits), takeover)
		defer d.Release()
		for _, message := range [][]byte{first, second, first} {
			c := deflateInParts(t, d, message, r)
			got, err := inflateInPieces(i, c, pieces(r), func(int) int { return math.MaxInt })
			require.NoError(t, err)
			require.True(t, bytes.Equal(message, got))
		}
	})
}
