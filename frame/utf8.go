package frame

// A UTF8 checks text that arrives in pieces: "a particular text frame might
// include a partial UTF-8 sequence; however, the whole message MUST contain
// valid UTF-8" (RFC 6455 §5.6). The zero value is ready for the start of a text.
//
// A [Receiver] and a [Sender] check text themselves. A UTF8 is for text that
// they do not see, because it travels compressed.
type UTF8 struct {
	state uint8 // xor utfStart, so that the zero value is at the start
}

// Check checks the next piece of the text and returns the number of bytes, from
// its start, with which the text can still become valid: len(p) if all is well.
// If it returns n < len(p), then p[n] is the first byte that makes the text
// invalid, wherever the text was cut into pieces. The text stays invalid:
// further calls return 0 until [UTF8.Reset].
func (u *UTF8) Check(p []byte) int {
	s := uint64(u.state ^ utfStart) // the state is in the low six bits
	n := 0
	for ; n <= len(p)-32; n += 32 {
		b := (*[32]byte)(p[n:])
		words := load64(b[0:8]) | load64(b[8:16]) | load64(b[16:24]) | load64(b[24:32])
		if words&notASCII == 0 && s&63 == utfStart {
			continue
		}
		before := s
		for i := 0; i < 32; i += 8 {
			s = utfNext[b[i]] >> (s & 63)
			s = utfNext[b[i+1]] >> (s & 63)
			s = utfNext[b[i+2]] >> (s & 63)
			s = utfNext[b[i+3]] >> (s & 63)
			s = utfNext[b[i+4]] >> (s & 63)
			s = utfNext[b[i+5]] >> (s & 63)
			s = utfNext[b[i+6]] >> (s & 63)
			s = utfNext[b[i+7]] >> (s & 63)
		}
		if s&63 == utfBad {
			s = before // the bad byte is one of these: find it below
			break
		}
	}

	s &= 63
	for s == utfStart && n < len(p) && len(p) >= 8 {
		i := min(n, len(p)-8) // the last word overlaps the one before
		if load64(p[i:])&notASCII != 0 {
			break
		}
		n = i + 8
	}
	for ; n < len(p); n++ {
		s = utfNext[p[n]] >> (s & 63) & 63
		if s == utfBad {
			break
		}
	}
	u.state = uint8(s) ^ utfStart
	return n
}

// Complete reports whether the text so far is valid and does not end within a
// code point.
func (u *UTF8) Complete() bool { return u.state == 0 }

// Reset makes u ready for the start of another text.
func (u *UTF8) Reset() { u.state = 0 }

// notASCII is the bit of each byte in a word that no ASCII character has.
const notASCII = 0x8080808080808080

// The states of an automaton for UTF-8. Each is the place, in a word of
// transitions, of the six bits that hold the state after it; so a step is a load
// and a shift, without a branch.
const (
	utfBad    = 6 * iota // invalid, whatever follows
	utfStart             // not within a code point
	utfTail1             // a code point lacks one byte
	utfTail2             // two
	utfTail3             // three
	utfTailE0            // two, after E0
	utfTailED            // two, after ED
	utfTailF0            // three, after F0
	utfTailF4            // three, after F4
)

// The transitions for classes of bytes; those not named lead to utfBad.
//
//	UTF8-1      = %x00-7F
//	UTF8-2      = %xC2-DF UTF8-tail
//	UTF8-3      = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
//	              %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
//	UTF8-4      = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
//	              %xF4 %x80-8F 2( UTF8-tail )
//	UTF8-tail   = %x80-BF
//
// https://www.rfc-editor.org/rfc/rfc3629#section-4
const (
	xx = 0                     // C0, C1, F5-FF: in no text
	as = utfStart << utfStart  // 00-7F
	l2 = utfTail1 << utfStart  // C2-DF
	l3 = utfTail2 << utfStart  // E1-EC, EE, EF
	l4 = utfTail3 << utfStart  // F1-F3
	e0 = utfTailE0 << utfStart // E0
	ed = utfTailED << utfStart // ED
	f0 = utfTailF0 << utfStart // F0
	f4 = utfTailF4 << utfStart // F4
	tt = utfStart<<utfTail1 | utfTail1<<utfTail2 | utfTail2<<utfTail3
	t8 = tt | utfTail1<<utfTailED | utfTail2<<utfTailF4 // 80-8F
	t9 = tt | utfTail1<<utfTailED | utfTail2<<utfTailF0 // 90-9F
	ta = tt | utfTail1<<utfTailE0 | utfTail2<<utfTailF0 // A0-BF
)

// utfNext holds the transitions for each byte.
var utfNext = [256]uint64{
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 00
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 10
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 20
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 30
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 40
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 50
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 60
	as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, as, // 70
	t8, t8, t8, t8, t8, t8, t8, t8, t8, t8, t8, t8, t8, t8, t8, t8, // 80
	t9, t9, t9, t9, t9, t9, t9, t9, t9, t9, t9, t9, t9, t9, t9, t9, // 90
	ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, // A0
	ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, ta, // B0
	xx, xx, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, // C0
	l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, l2, // D0
	e0, l3, l3, l3, l3, l3, l3, l3, l3, l3, l3, l3, l3, ed, l3, l3, // E0
	f0, l4, l4, l4, f4, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, // F0
}
