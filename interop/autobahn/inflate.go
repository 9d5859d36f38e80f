package autobahn

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An inflater inflates the endpoint's messages. It is written from RFC 1951 for
// this one purpose, because what it has to find out no other decoder tells:
// whether a reference goes farther back than was agreed on, or to a message that
// the endpoint should have forgotten.
type inflater struct {
	bits     int
	takeover bool
	window   []byte // the end of the earlier messages
	limit    int    // octets of a message

	src  []byte
	pos  int
	hold uint64 // bits of src not used yet, the next one lowest
	n    uint   // how many
	out  []byte // window, then the message

	literals, distances huffman // of a dynamic block
}

var (
	errInflateShort = errors.New("compressed message ends too early")
	errInflateBlock = errors.New("invalid deflate block")
	errInflateBig   = errors.New("message inflates to too much")
)

func newInflater(bits int, takeover bool) *inflater {
	return &inflater{bits: bits, takeover: takeover, limit: maxPayload}
}

// message inflates a message (RFC 7692 §7.2.2). The result is valid until the
// next call.
func (f *inflater) message(p []byte) ([]byte, error) {
	f.src = append(append(f.src[:0], p...), deflateTail...)
	f.pos, f.hold, f.n = 0, 0, 0
	f.out = append(f.out[:0], f.window...)
	before := len(f.window)
	for f.pos < len(f.src) || f.n >= 8 {
		if err := f.block(before); err != nil {
			return nil, err
		}
	}
	if f.n > 0 && f.hold != 0 {
		return nil, errInflateBlock
	}
	if f.takeover {
		keep := f.out[max(0, len(f.out)-1<<f.bits):]
		f.window = append(f.window[:0], keep...)
	}
	return f.out[before:], nil
}

// block inflates one block. before is where the message begins in f.out.
func (f *inflater) block(before int) error {
	head, err := f.take(3)
	if err != nil {
		return err
	}
	switch head >> 1 {
	case 0:
		err = f.stored()
	case 1:
		err = f.symbols(&fixedLiterals, &fixedDistances, before)
	case 2:
		if err = f.tables(); err == nil {
			err = f.symbols(&f.literals, &f.distances, before)
		}
	default:
		err = errInflateBlock
	}
	if head&1 != 0 { // the last block of a stream: what follows begins with an octet
		f.align()
	}
	return err
}

// fill makes sure that hold has at least 32 bits, if there are as many.
func (f *inflater) fill() {
	if f.n > 32 {
		return
	}
	if len(f.src)-f.pos >= 8 {
		f.hold |= binary.LittleEndian.Uint64(f.src[f.pos:]) << f.n
		taken := (63 - f.n) / 8
		f.pos += int(taken)
		f.n += taken * 8
		f.hold &= 1<<f.n - 1
		return
	}
	for f.n <= 56 && f.pos < len(f.src) {
		f.hold |= uint64(f.src[f.pos]) << f.n
		f.pos++
		f.n += 8
	}
}

func (f *inflater) take(bits uint) (int, error) {
	f.fill()
	if f.n < bits {
		return 0, errInflateShort
	}
	v := int(f.hold & (1<<bits - 1))
	f.hold >>= bits
	f.n -= bits
	return v, nil
}

// align drops the bits of an octet begun.
func (f *inflater) align() {
	f.hold >>= f.n % 8
	f.n -= f.n % 8
}

func (f *inflater) stored() error {
	f.align()
	size, err := f.take(16)
	if err != nil {
		return err
	}
	inverse, err := f.take(16)
	if err != nil {
		return err
	}
	if size != inverse^0xffff {
		return errInflateBlock
	}
	f.pos -= int(f.n / 8) // what was taken ahead goes back
	f.hold, f.n = 0, 0
	if len(f.src)-f.pos < size {
		return errInflateShort
	}
	f.out = append(f.out, f.src[f.pos:f.pos+size]...)
	f.pos += size
	return nil
}

// Lengths and distances: what a symbol begins with, and how many more bits say
// the rest (RFC 1951 §3.2.5).
var (
	lengthBase = [29]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthMore = [29]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = [30]int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distMore   = [30]uint{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbols inflates the rest of a block of literals and references.
func (f *inflater) symbols(literals, distances *huffman, before int) error {
	for {
		f.fill()
		symbol, err := f.symbol(literals)
		switch {
		case err != nil:
			return err
		case symbol < 256:
			f.out = append(f.out, byte(symbol))
			continue
		case symbol == 256:
			return nil
		case symbol > 285:
			return errInflateBlock
		}
		length, err := f.take(lengthMore[symbol-257])
		if err != nil {
			return err
		}
		length += lengthBase[symbol-257]
		f.fill()
		if symbol, err = f.symbol(distances); err != nil {
			return err
		}
		if symbol > 29 {
			return errInflateBlock
		}
		distance, err := f.take(distMore[symbol])
		if err != nil {
			return err
		}
		if err := f.repeat(distBase[symbol]+distance, length, before); err != nil {
			return err
		}
	}
}

// repeat copies length octets from distance octets ago.
func (f *inflater) repeat(distance, length, before int) error {
	switch {
	case distance > 1<<f.bits:
		return fmt.Errorf("a reference %d octets back, with a window of %d", distance, 1<<f.bits)
	case distance > len(f.out):
		return fmt.Errorf("a reference %d octets back, behind the beginning of what may be referred to", distance)
	case len(f.out)-before+length > f.limit:
		return errInflateBig
	}
	from := len(f.out) - distance
	if distance >= length {
		f.out = append(f.out, f.out[from:from+length]...)
		return nil
	}
	for i := range length {
		f.out = append(f.out, f.out[from+i])
	}
	return nil
}

// tables reads the codes of a dynamic block (RFC 1951 §3.2.7).
func (f *inflater) tables() error {
	counts, err := f.take(14)
	if err != nil {
		return err
	}
	nl, nd, nc := counts&31+257, counts>>5&31+1, counts>>10+4
	var lengths [320]uint8
	for i := range nc {
		n, err := f.take(3)
		if err != nil {
			return err
		}
		lengths[[19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[i]] = uint8(n)
	}
	if err := f.distances.build(lengths[:19]); err != nil {
		return err
	}
	lengths = [320]uint8{}
	for i := 0; i < nl+nd; {
		f.fill()
		symbol, err := f.symbol(&f.distances)
		if err != nil {
			return err
		}
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		code, times, err := f.run(symbol, lengths[:i])
		if err != nil || i+times > nl+nd {
			return errInflateBlock
		}
		for range times {
			lengths[i] = code
			i++
		}
	}
	if err := f.literals.build(lengths[:nl]); err != nil {
		return err
	}
	return f.distances.build(lengths[nl : nl+nd])
}

// run reads the rest of a symbol that repeats a code length.
func (f *inflater) run(symbol int, before []uint8) (length uint8, times int, err error) {
	switch {
	case symbol == 16 && len(before) == 0:
		return 0, 0, errInflateBlock
	case symbol == 16:
		times, err = f.take(2)
		return before[len(before)-1], times + 3, err
	case symbol == 17:
		times, err = f.take(3)
		return 0, times + 3, err
	}
	times, err = f.take(7)
	return 0, times + 11, err
}
