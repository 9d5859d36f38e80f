package deflate

import (
	"math/bits"
	"sync"
)

// Sizes of the three codes of a dynamic block (RFC 1951 §3.2.7) and of their
// tables. A table is indexed with the next bits of input: the first 2^…Root
// entries directly, further ones through an entry that links to them. …Room is
// the most that a complete code of that many symbols with codes of at most 15
// bits can take (TestTableRoomIsEnough computes it).
const (
	maxLit      = 286 // literals, end of block, lengths
	maxDist     = 30
	numCodeLens = 19

	litRoot     = 9
	litRoom     = 854 // with the 288 symbols of the fixed code
	distRoot    = 8
	distRoom    = 402 // with the 32 symbols of the fixed code
	codeLenRoot = 7   // a code length code has at most 7 bits: no links
	codeLenRoom = 1 << codeLenRoot

	endOfBlock = 256
)

// A table entry tells what the next bits of input mean:
//
//	bit 31      entryPlain: bits 16–23 are a literal or a code length
//	bits 16–30  base of the length or distance; offset of a linked table
//	bit 15      entryOther: one of the next three, or an invalid code
//	bit 14      entryLink: the code goes on in a linked table
//	bit 13      entryEnd: the end of the block
//	bit 12      entryPrevious: repeat the previous code length
//	bits 8–11   bits in the code; or bits that index the linked table
//	bits 0–5    bits in the code and the extra bits that follow it
const (
	entryPlain    = 1 << 31
	entryOther    = 1 << 15
	entryLink     = 1 << 14
	entryEnd      = 1 << 13
	entryPrevious = 1 << 12

	// codeBit is one bit of code length, in both counts.
	codeBit = 1<<8 | 1
)

// invalidCode stands where no symbol does. It is one bit long, so that it is
// only believed when there is input.
const invalidCode = entryOther | codeBit

// The symbols of the three codes as entries without their codes' lengths.
var (
	litSymbols     = makeLitSymbols()
	distSymbols    = makeDistSymbols()
	codeLenSymbols = makeCodeLenSymbols()
)

// makeLitSymbols makes the literal/length alphabet (RFC 1951 §3.2.5). Symbols
// 286 and 287 take part in the fixed code but never occur in data.
func makeLitSymbols() (s [288]uint32) {
	for i := range endOfBlock {
		s[i] = entryPlain | uint32(i)<<16
	}
	s[endOfBlock] = entryOther | entryEnd
	base := uint32(3)
	for i := endOfBlock + 1; i < 285; i++ {
		extra := uint32(max(0, (i-261)/4))
		s[i] = base<<16 | extra
		base += 1 << extra
	}
	s[285] = 258 << 16
	s[286], s[287] = entryOther, entryOther
	return s
}

// makeDistSymbols makes the distance alphabet (RFC 1951 §3.2.5). Symbols 30 and
// 31 take part in the fixed code but never occur in data.
func makeDistSymbols() (s [32]uint32) {
	base := uint32(1)
	for i := range maxDist {
		extra := uint32(max(0, i/2-1))
		s[i] = base<<16 | extra
		base += 1 << extra
	}
	s[30], s[31] = entryOther, entryOther
	return s
}

// makeCodeLenSymbols makes the alphabet of code lengths (RFC 1951 §3.2.7):
// sixteen lengths and three ways to repeat.
func makeCodeLenSymbols() (s [numCodeLens]uint32) {
	for i := range 16 {
		s[i] = entryPlain | uint32(i)<<16
	}
	s[16] = 3<<16 | entryPrevious | 2
	s[17] = 3<<16 | 3
	s[18] = 11<<16 | 7
	return s
}

// tables are what the symbols of a block are read with.
type tables struct {
	lit  [litRoom]uint32
	dist [distRoom]uint32
}

// fixedTables returns the tables of the fixed codes (RFC 1951 §3.2.6).
var fixedTables = sync.OnceValue(func() *tables {
	var lit [288]codeLen
	var dist [32]codeLen
	for i := range lit {
		n := 8
		if i >= 144 && i < 256 {
			n = 9
		} else if i >= 256 && i < 280 {
			n = 7
		}
		lit[i] = makeCodeLen(i, n)
	}
	for i := range dist {
		dist[i] = makeCodeLen(i, 5)
	}
	t := new(tables)
	buildTable(t.lit[:], litRoot, lit[:], litSymbols[:], 0)
	buildTable(t.dist[:], distRoot, dist[:], distSymbols[:], 0)
	return t
})

// A codeLen is a symbol that has a code, and the length of that code, 1 to 15.
type codeLen uint16

func makeCodeLen(symbol, length int) codeLen { return codeLen(symbol<<4 | length) }

func (c codeLen) symbol() int { return int(c >> 4) }
func (c codeLen) length() int { return int(c & 15) }

// buildTable fills table for the canonical code (RFC 1951 §3.2.2) with these
// code lengths, which are ordered by symbol. symbols are the entries of the
// alphabet, its first symbol being the one with the number first.
//
// It reports whether they make a code: one that leaves no bit sequence without
// a symbol and gives none two. As in zlib and compress/flate two incomplete
// ones are accepted, in which the missing sequences are invalid: a single code
// of one bit, and none at all.
func buildTable(table []uint32, root int, lengths []codeLen, symbols []uint32, first int) bool {
	var count [16]int
	for _, c := range lengths {
		count[c.length()]++
	}
	longest := 15
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	space := 1 << longest // what is left of the code space
	for n := 1; n <= longest; n++ {
		space -= count[n] << (longest - n)
	}
	if space != 0 {
		if longest > 1 || space < 0 {
			return false
		}
		zero := uint32(invalidCode)
		if len(lengths) == 1 {
			zero = symbols[lengths[0].symbol()-first] + codeBit
		}
		for i := 0; i < 1<<root; i += 2 {
			table[i], table[i+1] = zero, invalidCode
		}
		return true
	}

	// Sort the entries by length of code, and within one length by symbol: the
	// order in which canonical codes are given out.
	var sorted [288]uint32
	var next [16]int
	for n := 1; n < longest; n++ {
		next[n+1] = next[n] + count[n]
	}
	for _, c := range lengths {
		n := c.length()
		sorted[next[n]] = symbols[c.symbol()-first] + uint32(n)*codeBit
		next[n]++
	}
	used, code := buildRoot(table, root, &count, sorted[:])
	if longest > root {
		buildLinked(table, root, longest, &count, sorted[used:], code)
	}
	return true
}

// buildRoot enters the codes of at most root bits. Codes are packed beginning
// with their most significant bit, so a table is indexed by reversed codes. For
// codes of n bits 2^n entries are enough: the table is doubled for every
// further bit, which copies what shorter codes have put there to all their
// continuations. It returns how many symbols it has entered and the next code,
// reversed.
func buildRoot(table []uint32, root int, count *[16]int, sorted []uint32) (used int, code uint) {
	size := 1
	for n := 1; n <= root; n++ {
		copy(table[size:2*size], table[:size])
		size *= 2
		for _, e := range sorted[used : used+count[n]] {
			table[code] = e
			code = nextCode(code, n)
		}
		used += count[n]
	}
	return used, code
}

// buildLinked enters the codes of more than root bits in tables of their own,
// one for each root bits that they begin with, and links to them.
func buildLinked(table []uint32, root, longest int, count *[16]int, sorted []uint32, code uint) {
	mask := uint(1)<<root - 1
	prefix := mask + 1 // none yet
	start, end := 0, 1<<root
	for n := root + 1; n <= longest; n++ {
		for left := count[n]; left > 0; left-- {
			if code&mask != prefix {
				prefix = code & mask
				width := linkedWidth(root, n, longest, left, count)
				start, end = end, end+1<<width
				table[prefix] = uint32(start)<<16 | entryOther | entryLink | uint32(width)<<8
			}
			e := sorted[0]
			sorted = sorted[1:]
			for i := start + int(code>>root); i < end; i += 1 << (n - root) {
				table[i] = e
			}
			code = nextCode(code, n)
		}
	}
}

// linkedWidth returns how many bits index the linked table that begins with a
// code of n bits, left such codes remaining: so many that the table is filled
// by the codes that come next.
func linkedWidth(root, n, longest, left int, count *[16]int) int {
	width := n - root
	for space := 1<<width - left; space > 0 && n < longest; {
		n++
		width++
		space = 2*space - count[n]
	}
	return width
}

// nextCode returns the code that follows code among codes of n bits, both
// reversed: the most significant 0, which stands lowest in the code proper, is
// incremented and the ones above it are cleared. Behind the last code it
// returns 0.
func nextCode(code uint, n int) uint {
	zeros := code ^ (1<<n - 1)
	if zeros == 0 {
		return 0
	}
	bit := uint(1) << (bits.Len(zeros) - 1)
	return code&(bit-1) | bit
}
