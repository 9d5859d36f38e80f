package deflate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pack packs bit strings as RFC 1951 §3.1.1 does, the first bit lowest, and
// fills up the last octet with zeros. Spaces do not count.
func pack(parts ...string) []byte {
	var b []byte
	n := 0
	for _, part := range parts {
		for i := range len(part) {
			if part[i] == ' ' {
				continue
			}
			if n%8 == 0 {
				b = append(b, 0)
			}
			b[n/8] |= (part[i] - '0') << (n % 8)
			n++
		}
	}
	return b
}

// canonicalCode assigns codes to these lengths as RFC 1951 §3.2.2 says, and
// returns them as they stand in the data, first bit first.
func canonicalCode(lengths []int) []string {
	codes := make([]string, len(lengths))
	next := 0
	for n := 1; n <= 15; n++ {
		for i, length := range lengths {
			if length == n {
				codes[i] = fmt.Sprintf("%0*b", n, next)
				next++
			}
		}
		next <<= 1
	}
	return codes
}

// lowFirst returns the n low bits of v as they stand in the data.
func lowFirst(v, n int) string {
	var s []byte
	for i := range n {
		s = append(s, '0'+byte(v>>i&1))
	}
	return string(s)
}

// dynamicHeader returns the header of a block with these code lengths, without
// any repetition.
func dynamicHeader(lit, dist []int) string {
	// 13 codes of 4 bits and 6 of 5 make a complete code length code.
	lengths := make([]int, numCodeLens)
	for i := range lengths {
		lengths[i] = 4 + i/13
	}
	var s strings.Builder
	s.WriteString("0 01" + lowFirst(len(lit)-257, 5) + lowFirst(len(dist)-1, 5) + lowFirst(numCodeLens-4, 4))
	for _, i := range codeLenOrder {
		s.WriteString(lowFirst(lengths[i], 3))
	}
	codes := canonicalCode(lengths)
	for _, n := range append(slices.Clone(lit), dist...) {
		s.WriteString(codes[n])
	}
	return s.String()
}

// A blockWriter writes DEFLATE blocks symbol by symbol, as RFC 1951 puts it, and
// keeps what they inflate to.
type blockWriter struct {
	r    *rand.Rand
	bits []byte // one character each
	want []byte
}

// write adds bits that stand so in the data.
func (w *blockWriter) write(bits string) {
	w.bits = append(w.bits, strings.ReplaceAll(bits, " ", "")...)
}

// stored adds a stored block.
func (w *blockWriter) stored(data []byte) {
	w.write("000")
	for len(w.bits)%8 != 0 {
		w.write("0")
	}
	w.write(lowFirst(len(data), 16) + lowFirst(^len(data), 16))
	for _, b := range data {
		w.write(lowFirst(int(b), 8))
	}
	w.want = append(w.want, data...)
}

// compressed adds a block of n symbols with random codes, or the fixed ones.
func (w *blockWriter) compressed(fixed bool, n int) {
	lit, dist := slices.Repeat([]int{8}, 288), slices.Repeat([]int{5}, 32)
	if fixed {
		copy(lit[144:], slices.Repeat([]int{9}, 112))
		copy(lit[256:], slices.Repeat([]int{7}, 24))
		w.write("0 10")
	} else {
		for lit = nil; lit == nil || lit[endOfBlock] == 0; {
			lit = randomCode(w.r, 2+w.r.IntN(maxLit-1), maxLit, 15)
		}
		dist = randomCode(w.r, 2+w.r.IntN(maxDist-1), maxDist, 15)
		w.write(dynamicHeader(lit, dist))
	}
	litCodes, distCodes := canonicalCode(lit), canonicalCode(dist)
	for range n {
		w.symbol(litCodes, distCodes)
	}
	w.write(litCodes[endOfBlock])
}

// symbol adds a literal or a match, if the codes have one.
func (w *blockWriter) symbol(lit, dist []string) {
	s := w.r.IntN(maxLit)
	switch {
	case lit[s] == "" || s == endOfBlock:
	case s < endOfBlock:
		w.write(lit[s])
		w.want = append(w.want, byte(s))
	default:
		d := w.r.IntN(maxDist)
		length, lengthBits := valueOf(s-257, 3, 4, w.r)
		if s == 285 {
			length, lengthBits = 258, ""
		}
		distance, distanceBits := valueOf(d, 1, 2, w.r)
		if dist[d] == "" || distance > len(w.want) {
			return
		}
		w.write(lit[s] + lengthBits + dist[d] + distanceBits)
		for range length {
			w.want = append(w.want, w.want[len(w.want)-distance])
		}
	}
}

// valueOf returns a value of the length or distance symbol n and its extra
// bits. Symbols begin with first, and from the second group on, groups of them
// have one extra bit more than the group before (RFC 1951 §3.2.5).
func valueOf(n, first, group int, r *rand.Rand) (value int, extra string) {
	bits := max(0, n/group-1)
	value = first
	for i := range n {
		value += 1 << max(0, i/group-1)
	}
	v := r.IntN(1 << bits)
	return value + v, lowFirst(v, bits)
}

// mixedBlocks returns a message of n blocks of all kinds and what it inflates
// to.
func mixedBlocks(n int, r *rand.Rand) (message, want []byte) {
	w := &blockWriter{r: r}
	for range n {
		if kind := r.IntN(3); kind == 0 {
			w.stored(mixedData(r.IntN(30), r))
		} else {
			w.compressed(kind == 1, r.IntN(1<<r.IntN(9)))
		}
	}
	w.write("000")
	return pack(string(w.bits)), w.want
}

// words make up the text that the tests compress.
var words = []string{
	"alpha", "temperature", "pressure", "sensor", "active", "pending", "closed",
	"Zürich", "London", "buy", "sell", "München", "quantity", "price", "humidity",
}

// jsonText returns size bytes of JSON-like text, another for every seed.
func jsonText(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	word := func() string { return words[r.IntN(len(words))] }
	b := bytes.NewBufferString("[")
	for b.Len() < size {
		fmt.Fprintf(b, `{"id":%d,"name":%q,"ok":%v,"tags":[%q,%q],"ts":%d,"value":%.2f},`,
			r.IntN(1e6), word(), r.IntN(2) == 0, word(), word(), 1_700_000_000_000+r.Int64N(1e8), r.Float64()*1e4)
	}
	return b.Bytes()[:size]
}

// mixedData returns size bytes of all kinds: noise, text, runs, and copies from
// every distance up to 40,000 bytes.
func mixedData(size int, r *rand.Rand) []byte {
	p := make([]byte, 0, size+4096)
	for len(p) < size {
		n := 1 + r.IntN(1<<r.IntN(12))
		switch kind := r.IntN(5); {
		case kind == 0:
			for range n {
				p = append(p, byte(r.Uint32()))
			}
		case kind == 1:
			p = append(p, jsonText(n, r.Uint64())...)
		case kind == 2:
			p = append(p, bytes.Repeat([]byte{byte(r.Uint32())}, n)...)
		case len(p) > 0:
			back := 1 + r.IntN(min(len(p), 1+r.IntN(1<<(1+r.IntN(15)))))
			for range min(n, 600) {
				p = append(p, p[len(p)-back])
			}
		}
	}
	return p[:size]
}

// deflateMessage compresses p as a message of its own.
func deflateMessage(t testing.TB, p []byte, level, windowBits int) []byte {
	t.Helper()
	c, err := AppendMessage(nil, p, level, windowBits)
	require.NoError(t, err)
	return c
}

// inflateAll inflates one message in a single call, however large.
func inflateAll(f *Inflater, message []byte) ([]byte, error) {
	out, n, done, err := f.Finish(nil, message, 1<<30)
	if err == nil && (!done || n != len(message)) {
		return out, fmt.Errorf("took %d of %d octets, done %v", n, len(message), done)
	}
	return out, err
}

// inflateInPieces inflates one message: cut says how many of the next left
// octets to give, room how many bytes it may make. Every other call goes to a
// buffer of its own that is overwritten afterwards.
func inflateInPieces(f *Inflater, message []byte, cut, room func(left int) int) ([]byte, error) {
	var all, buf []byte
	for rest := message; ; {
		piece := rest[:min(len(rest), cut(len(rest)))]
		limit := room(len(rest))
		var n int
		var done bool
		var err error
		before := len(buf)
		if len(piece) == len(rest) {
			buf, n, done, err = f.Finish(buf, piece, limit)
		} else {
			buf, n, err = f.Inflate(buf, piece, limit)
		}
		if made := len(buf) - before; made > limit {
			return all, fmt.Errorf("made %d bytes with a limit of %d", made, limit)
		}
		if n < len(piece) && len(buf)-before < limit && err == nil {
			return all, fmt.Errorf("stopped without cause after %d of %d octets", n, len(piece))
		}
		all = append(all, buf[before:]...)
		if done || err != nil {
			return all, err
		}
		rest = rest[n:]
		if len(rest)%2 == 0 {
			clear(buf)
			buf = buf[:0]
		}
	}
}
