package frame

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// naiveCheck finds the first byte that makes p invalid, by the standard library
// and one byte at a time. cut is the number of bytes of a code point cut off at
// the end.
func naiveCheck(p []byte) (n, cut int) {
	var rest []byte
	for i, c := range p {
		rest = append(rest, c)
		if !utf8.FullRune(rest) {
			continue
		}
		if r, size := utf8.DecodeRune(rest); r == utf8.RuneError && size == 1 {
			return i, 0
		}
		rest = rest[:0]
	}
	return len(p), len(rest)
}

// checkInPieces checks p in pieces as cut says.
func checkInPieces(t testing.TB, p []byte, cut cutter) (n int, complete bool) {
	t.Helper()
	var u UTF8
	for n < len(p) {
		k := cut(len(p) - n)
		got := u.Check(p[n : n+k])
		n += got
		if got < k {
			require.Zero(t, u.Check(p[n:]), "an invalid text became valid again")
			require.Zero(t, u.Check([]byte("a")), "an invalid text became valid again")
			require.False(t, u.Complete())
			break
		}
	}
	complete = u.Complete()
	u.Reset()
	require.True(t, u.Complete())
	require.Equal(t, 3, u.Check([]byte("abc")))
	return n, complete
}

func requireUTF8(t testing.TB, p []byte, cut cutter) {
	t.Helper()
	want, tail := naiveCheck(p)
	n, complete := checkInPieces(t, p, cut)
	if want != n || (want == len(p) && tail == 0) != complete {
		t.Fatalf("%q: %d, %v; want %d, %d bytes cut off", p, n, complete, want, tail)
	}
}

// Every sequence of up to three bytes, and of four from the bytes that matter,
// alone and at places where the implementation changes its step.
func TestUTF8EverySequence(t *testing.T) {
	edges := []byte{
		0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2,
		0xDF, 0xE0, 0xE1, 0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5,
	}
	for a := range 256 {
		requireUTF8(t, []byte{byte(a)}, whole)
		for b := range 256 {
			requireUTF8(t, []byte{byte(a), byte(b)}, whole)
		}
	}
	for _, around := range [][2]int{{0, 0}, {30, 1}} {
		before := strings.Repeat("x", around[0])
		p := []byte(before + "abcd" + strings.Repeat("y", around[1]))
		for i := range len(edges) * len(edges) * len(edges) * len(edges) {
			for k := range 4 {
				p[len(before)+k] = edges[i%len(edges)]
				i /= len(edges)
			}
			var u UTF8
			if n := u.Check(p); u.Complete() != utf8.Valid(p) {
				t.Fatalf("%q: %d, %v", p, n, u.Complete())
			}
		}
	}
	for a := range edges {
		for b := range edges {
			for c := range edges {
				p := []byte{edges[a], edges[b], edges[c]}
				requireUTF8(t, p, whole)
				requireUTF8(t, p, single)
			}
		}
	}
}

func TestUTF8EveryCodePoint(t *testing.T) {
	var u UTF8
	var p []byte
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if utf8.ValidRune(r) {
			p = utf8.AppendRune(p, r)
		}
	}
	require.Equal(t, len(p), u.Check(p))
	require.True(t, u.Complete())
	for _, n := range []int{1, 7, 33} {
		u.Reset()
		for rest := p; len(rest) > 0; {
			n := min(n, len(rest))
			if u.Check(rest[:n]) != n {
				t.Fatalf("pieces of %d bytes: bad byte in %q", n, rest[:n])
			}
			rest = rest[n:]
		}
		require.True(t, u.Complete())
	}
}

// ASCII behind a code point that is cut off, wherever the two meet.
func TestUTF8ASCIIDoesNotHideACodePointCutOff(t *testing.T) {
	for before := range 100 {
		for _, cut := range []string{"\xCE", "\xE2", "\xE2\x82", "\xF0", "\xF0\x9F", "\xF0\x9F\x90"} {
			for _, after := range []int{1, 8, 31, 32, 100} {
				good := strings.Repeat("x", before) + cut
				var u UTF8
				require.Equal(t, len(good), u.Check([]byte(good+strings.Repeat("y", after))))
			}
		}
	}
}

func TestUTF8FindsTheBadByteWhereverTheTextIsCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	text := []rune("a plain text, ein Fläschchen, κόσμε, 漢字, \U0001F408\x00\U0010FFFF\uD7FF\uE000")
	for range 5_000 {
		var p []byte
		for n := rng.IntN(100); len(p) < n; {
			p = utf8.AppendRune(p, text[rng.IntN(len(text))])
		}
		for range rng.IntN(3) {
			if len(p) > 0 {
				p[rng.IntN(len(p))] = byte(rng.IntN(256))
			}
		}
		requireUTF8(t, p, whole)
		requireUTF8(t, p, single)
		requireUTF8(t, p, randomly(rng))
		if len(p) > 0 {
			requireUTF8(t, p[:rng.IntN(len(p))], whole) // cut off at the end
		}
	}
}
