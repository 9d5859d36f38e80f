package autobahn

import "math/bits"

// A huffman is a code as a table with an entry for every sequence of as many
// bits as the longest code has: symbol<<4 | length. Zero: no code.
type huffman struct {
	table   []uint16
	longest uint
}

var fixedLiterals, fixedDistances = fixedCodes()

// fixedCodes returns the codes of RFC 1951 §3.2.6.
func fixedCodes() (literals, distances huffman) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	literals.build(lengths[:])
	for i := range 32 {
		lengths[i] = 5
	}
	distances.build(lengths[:32])
	return literals, distances
}

// build makes the code with these lengths (RFC 1951 §3.2.2). It is an error if
// more words are asked for than there are, or fewer, but for a code of one word
// or of none.
func (h *huffman) build(lengths []uint8) error {
	var counts, next [17]int
	h.longest = 0
	for _, n := range lengths {
		counts[n]++
		h.longest = max(h.longest, uint(n))
	}
	counts[0] = 0
	code := 0
	for n := 1; n <= 15; n++ {
		code = (code + counts[n-1]) << 1
		next[n] = code
	}
	if used := code + counts[15]; used > 1<<15 || used < 1<<15 && h.longest > 1 {
		return errInflateBlock
	}
	size := 1 << h.longest
	if cap(h.table) < size {
		h.table = make([]uint16, size)
	}
	h.table = h.table[:size]
	clear(h.table)
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		// Codes are packed with their first bit lowest.
		word := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		for i := word; i < size; i += 1 << n {
			h.table[i] = uint16(symbol)<<4 | uint16(n)
		}
	}
	return nil
}

// symbol takes the next symbol. The caller has called fill.
func (f *inflater) symbol(h *huffman) (int, error) {
	entry := h.table[f.hold&(1<<h.longest-1)]
	n := uint(entry & 15)
	if n == 0 {
		return 0, errInflateBlock
	}
	if n > f.n {
		return 0, errInflateShort
	}
	f.hold >>= n
	f.n -= n
	return int(entry >> 4), nil
}
