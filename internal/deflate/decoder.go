package deflate

import (
	"encoding/binary"
	"sync"
)

// A DataError says how compressed data is wrong: the sender broke RFC 1951 or
// RFC 7692. It ends the socket with status 1007.
type DataError string

// Error returns the text of e.
func (e DataError) Error() string { return "permessage-deflate: " + string(e) }

// The ways in which data can be wrong.
const (
	errBlockType  DataError = "reserved block type"
	errStoredLen  DataError = "stored block's length does not match its complement"
	errCounts     DataError = "too many literal or distance codes"
	errCode       DataError = "over-subscribed or incomplete Huffman code"
	errRepeat     DataError = "repeated code length without a place"
	errNoEnd      DataError = "block without a code for its end"
	errSymbol     DataError = "bits that are no code"
	errDistance   DataError = "reference to before the window"
	errUnfinished DataError = "message ends inside a block"
)

// A verdict is why a step of the decoder stopped.
type verdict uint8

const (
	goOn      verdict = iota // there is another step to make
	needInput                // the input is used up
	needRoom                 // the next byte of output has no room
	corrupt                  // decoder.err says why
)

// A step is where in a block the decoder stands:
//
//	            ┌────────────► stepStoredLen ─► stepStored ──────┐
//	stepHeader ─┼────────────────────────────► stepSymbols ──────┤
//	  ▲         └► stepCounts ─► stepCodeLens ─► stepLens ─┘     │
//	  └──────────────────────────────────────────────────────────┘
type step uint8

const (
	stepHeader    step = iota // before the three header bits (RFC 1951 §3.2.3)
	stepStoredLen             // before LEN and NLEN (§3.2.4)
	stepStored                // in a stored block's data
	stepCounts                // before HLIT, HDIST and HCLEN (§3.2.7)
	stepCodeLens              // in the code lengths of the code length code
	stepLens                  // in the code lengths of the other two codes
	stepSymbols               // in a compressed block's data
)

// A decoder decodes one message's DEFLATE blocks. It can stop before any octet
// of input and any byte of output and go on later: every step takes its bits
// only when it has them all, and what a step needs to know of itself stands in
// the decoder. The fields before src last as long as the message, src and those
// after it as long as one call.
type decoder struct {
	bits  uint64 // input taken but not used, next bit lowest
	nbits uint   // how many, at most 63
	step  step
	final bool // the block has BFINAL

	stored   int // bytes left in the stored block
	copyLen  int // bytes left of the match being copied
	copyDist int

	numLit, numDist, numCodeLen int // of the dynamic block's codes
	numRead                     int // code lengths read in this step
	lastLen                     int // the last of them

	lens    [maxLit + maxDist]codeLen // those that are not zero, of both codes
	numLens int

	codes       *tables // of the block: &own or the fixed ones
	own         tables
	codeLenCode [codeLenRoom]uint32
	codeLens    [numCodeLens]uint8

	src    []byte  // the call's input
	in     int     // how much of it was taken
	out    []byte  // the call's output, as long as there may be
	base   int     // where the call's output begins
	pos    int     // where the next byte goes
	window *window // what was before base; nil: nothing
	reach  int     // 2^windowBits: no distance may be larger
	err    error
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// newDecoder returns a decoder that stands before the first block.
func newDecoder() *decoder {
	d := decoders.Get().(*decoder)
	d.bits, d.nbits = 0, 0
	d.step, d.final = stepHeader, false
	d.copyLen = 0
	return d
}

// free returns d to its pool.
func (d *decoder) free() { decoders.Put(d) }

// run decodes until it lacks input or room, or finds the data corrupt.
func (d *decoder) run() verdict {
	for {
		var v verdict
		switch d.step {
		case stepHeader:
			v = d.header()
		case stepStoredLen:
			v = d.storedLen()
		case stepStored:
			v = d.storedData()
		case stepCounts:
			v = d.counts()
		case stepCodeLens:
			v = d.readCodeLens()
		case stepLens:
			v = d.readLens()
		case stepSymbols:
			v = d.symbols()
		}
		if v != goOn {
			return v
		}
	}
}

// fail records what is wrong with the data.
func (d *decoder) fail(err DataError) verdict {
	d.err = err
	return corrupt
}

// have takes input until there are n bits, n ≤ 56, and reports whether there
// are.
func (d *decoder) have(n uint) bool {
	for d.nbits < n {
		if d.in == len(d.src) {
			return false
		}
		d.bits |= uint64(d.src[d.in]) << (d.nbits & 63)
		d.nbits += 8
		d.in++
	}
	return true
}

// take uses up n bits, n ≤ 32, that there are.
func (d *decoder) take(n uint) int {
	v := d.bits & (1<<(n&63) - 1)
	d.bits >>= n & 63
	d.nbits -= n
	return int(v)
}

// align drops the rest of the octet that was begun.
func (d *decoder) align() {
	d.take(d.nbits & 7)
}

// giveBack returns to the input the whole octets that were taken in this call
// but not used.
func (d *decoder) giveBack() {
	n := min(int(d.nbits>>3), d.in)
	d.in -= n
	d.nbits -= 8 * uint(n)
	d.bits &= 1<<(d.nbits&63) - 1
}

// header reads BFINAL and BTYPE (RFC 1951 §3.2.3).
func (d *decoder) header() verdict {
	if !d.have(3) {
		return needInput
	}
	d.final = d.take(1) == 1
	switch d.take(2) {
	case 0:
		d.align()
		d.step = stepStoredLen
	case 1:
		d.codes = fixedTables()
		d.step = stepSymbols
	case 2:
		d.codes = &d.own
		d.step = stepCounts
	default:
		return d.fail(errBlockType)
	}
	return goOn
}

// endBlock goes on to the next block. A block with BFINAL ends a DEFLATE stream
// and thereby on an octet's border, but not the message (RFC 7692 §7.2.3.4).
func (d *decoder) endBlock() verdict {
	if d.final {
		d.align()
	}
	d.step = stepHeader
	return goOn
}

// storedLen reads LEN and NLEN (RFC 1951 §3.2.4).
func (d *decoder) storedLen() verdict {
	if !d.have(32) {
		return needInput
	}
	n, not := d.take(16), d.take(16)
	if n != ^not&0xffff {
		return d.fail(errStoredLen)
	}
	d.stored = n
	d.step = stepStored
	return goOn
}

// storedData copies a stored block's data, first what has already been taken
// from the input.
func (d *decoder) storedData() verdict {
	for d.stored > 0 && d.nbits > 0 {
		if d.pos == len(d.out) {
			return needRoom
		}
		d.out[d.pos] = byte(d.take(8))
		d.pos++
		d.stored--
	}
	n := copy(d.out[d.pos:], d.src[d.in:min(len(d.src), d.in+d.stored)])
	d.pos += n
	d.in += n
	d.stored -= n
	switch {
	case d.stored == 0:
		return d.endBlock()
	case d.in == len(d.src):
		return needInput
	}
	return needRoom
}

// counts reads HLIT, HDIST and HCLEN (RFC 1951 §3.2.7).
func (d *decoder) counts() verdict {
	if !d.have(14) {
		return needInput
	}
	d.numLit, d.numDist, d.numCodeLen = 257+d.take(5), 1+d.take(5), 4+d.take(4)
	if d.numLit > maxLit || d.numDist > maxDist {
		return d.fail(errCounts)
	}
	d.codeLens = [numCodeLens]uint8{}
	d.numRead = 0
	d.step = stepCodeLens
	return goOn
}

// codeLenOrder is the order in which the code lengths of the code length code
// stand (RFC 1951 §3.2.7).
var codeLenOrder = [numCodeLens]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readCodeLens reads the code length code.
func (d *decoder) readCodeLens() verdict {
	for ; d.numRead < d.numCodeLen; d.numRead++ {
		if !d.have(3) {
			return needInput
		}
		d.codeLens[codeLenOrder[d.numRead]] = uint8(d.take(3))
	}
	var lens [numCodeLens]codeLen
	used := 0
	for i, n := range d.codeLens {
		if n != 0 {
			lens[used] = makeCodeLen(i, int(n))
			used++
		}
	}
	if !buildTable(d.codeLenCode[:], codeLenRoot, lens[:used], codeLenSymbols[:], 0) {
		return d.fail(errCode)
	}
	d.numRead, d.numLens, d.lastLen = 0, 0, -1
	d.step = stepLens
	return goOn
}

// readLens reads the literal/length and the distance code.
func (d *decoder) readLens() verdict {
	bits, nbits := d.bits, d.nbits
	src, in := d.src, d.in
	v := goOn
	for end := d.numLit + d.numDist; d.numRead < end; {
		if nbits < 14 { // a code and its extra bits
			bits, nbits, in = refill(bits, nbits, src, in)
		}
		e := d.codeLenCode[bits&(codeLenRoom-1)]
		n := uint(e & 63)
		if n > nbits {
			v = needInput
			break
		}
		if int32(e) < 0 { // entryPlain
			d.lastLen = int(e >> 16 & 15)
			d.addLens(1)
		} else {
			if e&entryOther != 0 {
				v = d.fail(errSymbol)
				break
			}
			if e&entryPrevious == 0 {
				d.lastLen = 0
			}
			repeat := int(e>>16) + int(bits&(1<<n-1)>>(e>>8&15))
			if repeat > end-d.numRead || d.lastLen < 0 {
				v = d.fail(errRepeat)
				break
			}
			d.addLens(repeat)
		}
		bits >>= n
		nbits -= n
	}
	d.bits, d.nbits, d.in = bits&(1<<(nbits&63)-1), nbits, in
	if v != goOn {
		return v
	}
	return d.buildCodes()
}

// addLens adds the last code length for the next n symbols.
func (d *decoder) addLens(n int) {
	if d.lastLen == 0 {
		d.numRead += n
		return
	}
	for range n {
		d.lens[d.numLens] = makeCodeLen(d.numRead, d.lastLen)
		d.numLens++
		d.numRead++
	}
}

// buildCodes makes the tables of a dynamic block.
func (d *decoder) buildCodes() verdict {
	lit := d.numLens // how many belong to the first code
	for lit > 0 && d.lens[lit-1].symbol() >= d.numLit {
		lit--
	}
	end := lit // where the end of the block stands
	for end > 0 && d.lens[end-1].symbol() > endOfBlock {
		end--
	}
	if end == 0 || d.lens[end-1].symbol() != endOfBlock {
		return d.fail(errNoEnd)
	}
	if !buildTable(d.own.lit[:], litRoot, d.lens[:lit], litSymbols[:], 0) ||
		!buildTable(d.own.dist[:], distRoot, d.lens[lit:d.numLens], distSymbols[:], d.numLit) {
		return d.fail(errCode)
	}
	d.step = stepSymbols
	return goOn
}

// refill takes input until there are at least 56 bits, or all there is. Bits
// above the count may be set: they are the ones that come next.
func refill(bits uint64, nbits uint, src []byte, in int) (uint64, uint, int) {
	if len(src)-in < 8 {
		return refillSlowly(bits, nbits, src, in)
	}
	bits |= binary.LittleEndian.Uint64(src[in:]) << (nbits & 63)
	return bits, nbits | 56, in + int((63-nbits)>>3)
}

// refillSlowly is refill octet by octet.
func refillSlowly(bits uint64, nbits uint, src []byte, in int) (uint64, uint, int) {
	bits &= 1<<(nbits&63) - 1
	for nbits < 56 && in < len(src) {
		bits |= uint64(src[in]) << (nbits & 63)
		nbits += 8
		in++
	}
	return bits, nbits, in
}
