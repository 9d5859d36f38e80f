package deflate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
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
	s := "0 01" + lowFirst(len(lit)-257, 5) + lowFirst(len(dist)-1, 5) + lowFirst(numCodeLens-4, 4)
	for _, i := range codeLenOrder {
		s += lowFirst(lengths[i], 3)
	}
	codes := canonicalCode(lengths)
	for _, n := range append(slices.Clone(lit), dist...) {
		s += codes[n]
	}
	return s
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
			r.IntN(1e6), word(), r.IntN(2) == 0, word(), word(), 1_700_000_000_000+r.IntN(1e8), r.Float64()*1e4)
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
