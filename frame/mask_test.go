package frame

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// naiveMask is the formula of RFC 6455 §5.3.
func naiveMask(p []byte, key [4]byte, pos int) []byte {
	out := make([]byte, len(p))
	for i := range p {
		out[i] = p[i] ^ key[(pos+i)%4]
	}
	return out
}

// Every size around the steps of the implementation, at every alignment, from
// every position of the key, in place and apart; nothing beside it is touched.
func TestMaskFollowsTheFormula(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	var sizes []int
	for n := range 150 {
		sizes = append(sizes, n)
	}
	for _, around := range []int{512, 576, 1024} {
		for d := -17; d <= 17; d++ {
			sizes = append(sizes, around+d)
		}
	}
	const margin = 40
	for _, n := range sizes {
		buf := make([]byte, n+2*margin)
		for i := range buf {
			buf[i] = byte(i*7 + i>>8)
		}
		for offset := range 17 {
			for pos := range 4 {
				start := margin - 16 + offset
				end := start + n
				want := bytes.Clone(buf)
				copy(want[start:], naiveMask(buf[start:end], key, pos))

				got := bytes.Clone(buf)
				next := Mask(got[start:end], key, pos)
				if !bytes.Equal(want, got) {
					t.Fatalf("Mask: size %d, offset %d, position %d", n, offset, pos)
				}
				if next != (pos+n)%4 {
					t.Fatalf("Mask: size %d from %d returns %d", n, pos, next)
				}

				got = bytes.Clone(buf)
				out := AppendMasked(got[:start:len(got)], buf[start:end], key, pos)
				if !bytes.Equal(want, got) || !bytes.Equal(want[:end], out) {
					t.Fatalf("AppendMasked: size %d, offset %d, position %d", n, offset, pos)
				}
			}
		}
	}
}

func TestMaskTwiceIsTheIdentity(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	p := []byte("A text that is longer than a word, in pieces.")
	want := bytes.Clone(p)
	Mask(p, key, 0)
	require.NotEqual(t, want, p)
	pos := 0
	for rest, n := p, 1; len(rest) > 0; n++ {
		n := min(n, len(rest))
		pos = Mask(rest[:n], key, pos)
		rest = rest[n:]
	}
	require.Equal(t, want, p)
}

func TestAppendMaskedGrowsAndKeepsWhatIsThere(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	p := bytes.Repeat([]byte("payload"), 100)
	keep := bytes.Clone(p)
	got := AppendMasked([]byte("head"), p, key, 0)
	require.Equal(t, append([]byte("head"), naiveMask(p, key, 0)...), got)
	require.Equal(t, keep, p, "the payload was changed")
	require.Equal(t, []byte("x"), AppendMasked([]byte("x"), nil, key, 3))
}
