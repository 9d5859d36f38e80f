package autobahn

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deflated returns p as compress/flate writes it at this level, ended by a
// flush as a message is.
func deflated(t testing.TB, p []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	require.NoError(t, err)
	_, err = w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	return bytes.TrimSuffix(b.Bytes(), []byte(deflateTail))
}

func TestInflaterAgreesWithTheStandardLibrary(t *testing.T) {
	for _, d := range dataSets {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 2, 6, 9} {
			for _, n := range []int{0, 1, 10, 300, 40000, 150000} {
				p := d.piece(1, n)
				got, err := newInflater(15, false).message(deflated(t, p, level))
				require.NoError(t, err, "%s, level %d, %d", d.name, level, n)
				require.True(t, bytes.Equal(p, got), "%s, level %d, %d", d.name, level, n)
			}
		}
	}
}

// TestInflaterRejectsWhatTheStandardLibraryRejects spoils messages. It may
// reject more: the standard library ends at a block that is the last of its
// stream and leaves what is behind it to others.
func TestInflaterRejectsWhatTheStandardLibraryRejects(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	whole := deflated(t, dataSets[0].piece(0, 2000), 6)
	rejected := 0
	for range 3000 {
		p := bytes.Clone(whole)
		p[r.IntN(len(p))] ^= 1 << r.IntN(8)
		got, err := newInflater(15, false).message(p)
		stream := append(bytes.Clone(p), deflateTail+"\x01\x00\x00\xff\xff"...)
		want, wantErr := io.ReadAll(flate.NewReader(bytes.NewReader(stream)))
		switch {
		case wantErr != nil:
			rejected++
			require.Error(t, err, "%x", p)
		case err == nil:
			require.True(t, bytes.HasPrefix(got, want), "%x", p)
		}
	}
	assert.Greater(t, rejected, 500)
}

func TestInflaterKeepsToTheWindow(t *testing.T) {
	random := make([]byte, 600)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	p := deflated(t, append(random, random...), 9)
	_, err := newInflater(10, false).message(p)
	assert.NoError(t, err, "600 octets back, window of 1,024")
	_, err = newInflater(9, false).message(p)
	assert.ErrorContains(t, err, "a reference 600 octets back, with a window of 512")
}

func TestInflaterForgetsWhatItWasToldTo(t *testing.T) {
	first := dataSets[0].piece(0, 1000)
	for _, takeover := range []bool{true, false} {
		c := newCompressor(15, true, 0)
		f := newInflater(15, takeover)
		got, err := f.message(c.message(first))
		require.NoError(t, err)
		require.Equal(t, string(first), string(got))
		got, err = f.message(c.message(first))
		if takeover {
			require.NoError(t, err)
			require.Equal(t, string(first), string(got))
		} else {
			assert.ErrorContains(t, err, "behind the beginning")
		}
	}
}

func TestCompressorKeepsToWhatWasAgreed(t *testing.T) {
	for _, bits := range []int{8, 9, 12, 15} {
		for _, takeover := range []bool{false, true} {
			for _, size := range []int{100, 5000} {
				c, f := newCompressor(bits, takeover, size), newInflater(bits, takeover)
				for i := range 20 {
					p := dataSets[0].piece(i, size)
					got, err := f.message(c.message(p))
					require.NoError(t, err)
					require.Equal(t, string(p), string(got))
				}
			}
		}
	}
}

// FuzzInflater: no input makes it panic, or return more than its limit.
func FuzzInflater(f *testing.F) {
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"))
	f.Add([]byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"))
	f.Add([]byte("\x02\x02\x00\x00"))
	f.Add(deflated(f, dataSets[0].piece(0, 500), 6))
	f.Fuzz(func(t *testing.T, p []byte) {
		in := newInflater(9, true)
		in.limit = 1 << 16
		for range 2 {
			if out, err := in.message(p); err == nil && len(out) > in.limit+len(p) {
				t.Fatalf("%d octets out of %d", len(out), len(p))
			}
		}
	})
}
