package meter

import "encoding/binary"

// A http2Flow finds the DATA frames in one direction of an HTTP/2 connection (RFC
// 9113 §4.1):
//
//	Length (24), Type (8), Flags (8), Reserved (1), Stream Identifier (31)
type http2Flow struct {
	skip   int // bytes of the connection preface still to come
	header [9]byte
	filled int    // bytes of header that have come
	left   int    // bytes of the frame's payload still to come
	padded bool   // the next byte of the payload is the length of the padding
	data   *int64 // sum of DATA payloads
}

const (
	prefaceLength = 24 // RFC 9113 §3.4
	typeData      = 0
	flagPadded    = 0x8
)

// take looks at the direction's next bytes.
func (f *http2Flow) take(p []byte) {
	n := min(f.skip, len(p))
	f.skip -= n
	p = p[n:]
	for len(p) > 0 {
		if f.left > 0 {
			p = f.payload(p)
			continue
		}
		n := copy(f.header[f.filled:], p)
		f.filled += n
		p = p[n:]
		if f.filled < len(f.header) {
			return
		}
		f.filled = 0
		f.left = int(binary.BigEndian.Uint32(f.header[:4]) >> 8)
		if f.header[3] == typeData {
			*f.data += int64(f.left)
			f.padded = f.header[4]&flagPadded != 0 && f.left > 0
		}
	}
}

// payload takes bytes of a frame's payload and returns those behind it.
func (f *http2Flow) payload(p []byte) []byte {
	if f.padded {
		f.padded = false
		*f.data -= 1 + int64(p[0])
	}
	n := min(f.left, len(p))
	f.left -= n
	return p[n:]
}
