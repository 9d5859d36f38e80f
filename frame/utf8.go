package frame

import "unicode/utf8"

// A UTF8 checks text that arrives in pieces: "a particular text frame might
// include a partial UTF-8 sequence; however, the whole message MUST contain
// valid UTF-8" (RFC 6455 §5.6). The zero value is ready for the start of a text.
//
// A [Receiver] and a [Sender] check text themselves. A UTF8 is for text that
// they do not see, because it travels compressed.
type UTF8 struct {
	// need is the number of bytes that the code point in progress lacks, and lo
	// and hi the bounds of the next of them (RFC 3629 §4).
	need   uint8
	lo, hi uint8
}

// Check checks the next piece of the text and returns the number of bytes, from
// its start, with which the text can still become valid: len(p) if all is well.
// If it returns n < len(p), then p[n] is the first byte that makes the text
// invalid, wherever the text was cut into pieces. The text stays invalid:
// further calls return 0 until [UTF8.Reset].
func (u *UTF8) Check(p []byte) int {
	n := 0
	for u.need > 0 && n < len(p) { // the code point that the piece before cut off
		if !u.step(p[n]) {
			return n
		}
		n++
	}

	end := len(p) - cutOff(p[n:])
	if !utf8.Valid(p[n:end]) {
		end = len(p) // the bad byte is somewhere: find it
	} else {
		n = end
	}
	for n < len(p) {
		if !u.step(p[n]) {
			return n
		}
		n++
	}
	return n
}

// Complete reports whether the text so far is valid and does not end within a
// code point.
func (u *UTF8) Complete() bool { return u.need == 0 }

// Reset makes u ready for the start of another text.
func (u *UTF8) Reset() { *u = UTF8{} }

// step takes one byte. It reports whether the text can still become valid.
//
//	UTF8-octets = *( UTF8-char )
//	UTF8-char   = UTF8-1 / UTF8-2 / UTF8-3 / UTF8-4
//	UTF8-1      = %x00-7F
//	UTF8-2      = %xC2-DF UTF8-tail
//	UTF8-3      = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
//	              %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
//	UTF8-4      = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
//	              %xF4 %x80-8F 2( UTF8-tail )
//	UTF8-tail   = %x80-BF
//
// https://www.rfc-editor.org/rfc/rfc3629#section-4
func (u *UTF8) step(c byte) bool {
	if u.need > 0 {
		if c < u.lo || u.hi < c {
			u.fail()
			return false
		}
		u.need--
		u.lo, u.hi = 0x80, 0xBF
		return true
	}

	u.lo, u.hi = 0x80, 0xBF
	switch {
	case c < 0x80:
	case c < 0xC2:
		u.fail()
		return false
	case c < 0xE0:
		u.need = 1
	case c < 0xF0:
		u.need = 2
		switch c {
		case 0xE0:
			u.lo = 0xA0
		case 0xED:
			u.hi = 0x9F
		}
	case c < 0xF5:
		u.need = 3
		switch c {
		case 0xF0:
			u.lo = 0x90
		case 0xF4:
			u.hi = 0x8F
		}
	default:
		u.fail()
		return false
	}
	return true
}

// fail makes u refuse every further byte.
func (u *UTF8) fail() { *u = UTF8{need: 1, lo: 1, hi: 0} }

// cutOff returns how many bytes at the end of p are the beginning of a code
// point that may go on behind p.
func cutOff(p []byte) int {
	for i := 1; i <= 3 && i <= len(p); i++ {
		switch c := p[len(p)-i]; {
		case c < 0x80:
			return 0
		case c < 0xC0: // not the first byte of a code point
		case c < 0xE0 && i < 2, 0xE0 <= c && c < 0xF0 && i < 3, 0xF0 <= c && i < 4:
			return i
		default:
			return 0
		}
	}
	return 0
}
