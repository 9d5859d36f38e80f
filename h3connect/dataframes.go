package h3connect

import (
	"errors"

	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// Frame types (RFC 9114 §7.2, RFC 9218 §7.2).
const (
	frameData               = 0x00
	frameHeaders            = 0x01
	frameCancelPush         = 0x03
	frameSettings           = 0x04
	framePushPromise        = 0x05
	frameGoAway             = 0x07
	frameMaxPushID          = 0x0d
	framePriorityUpdate     = 0xf0700
	framePriorityUpdatePush = 0xf0701
)

// reservedType says whether t is a frame type of HTTP/2 without a counterpart:
//
//	"These frame types MUST NOT be sent, and their receipt MUST be treated as
//	a connection error of type H3_FRAME_UNEXPECTED."
//
// https://www.rfc-editor.org/rfc/rfc9114#section-7.2.8
func reservedType(t uint64) bool { return t == 0x02 || t == 0x06 || t == 0x08 || t == 0x09 }

// Bounds on what a peer may send without sending anything: a frame without
// payload is legal, and so is an unknown one, but they cost time (RFC 9114
// §10.5). Payload starts the count anew. Senders that flush often produce empty
// DATA frames by the thousand, so the bound is far above that.
const (
	maxIdleFrames = 16384   // frames in a row without a byte of payload
	maxIdleBytes  = 1 << 20 // bytes in unknown frames since the last byte of payload
)

// maxFrameHeader is the length of a frame's type and length, 8 bytes each.
const maxFrameHeader = 16

// A frameError is a rule of HTTP/3 that the peer broke, or a bound it passed.
type frameError struct {
	code http3.ErrCode
	conn bool // the rule asks for the connection to be closed
	text string
}

func (e *frameError) Error() string { return e.text }

// errTrailers is what a deframer returns for a trailer section where one is
// allowed.
var errTrailers = errors.New("trailers")

// A deframer takes DATA frames apart. It does no I/O and holds no payload.
type deframer struct {
	left   uint64 // bytes of the current frame still to come
	idle   uint64 // bytes in unknown frames since the last byte of payload
	frames int32  // since the last byte of payload
	data   bool   // the current frame is DATA

	// trailers says that a HEADERS frame ends the content, as it does in an
	// ordinary response. On a stream that CONNECT has opened it may not come.
	trailers bool

	nhead uint8
	head  [maxFrameHeader]byte // of a frame header, as far as it has come
}

// deframe takes the raw bytes p off the stream, moves the payload among them to
// the front of p and returns its length. Whatever stood before a violation is
// payload all the same.
func (d *deframer) deframe(p []byte) (n int, err error) {
	for r := 0; r < len(p); {
		if d.left == 0 {
			m, err := d.header(p[r:])
			if err != nil {
				return n, err
			}
			r += m
			continue
		}
		m := int(min(uint64(len(p)-r), d.left))
		if d.data {
			if n != r {
				copy(p[n:], p[r:r+m])
			}
			n += m
			d.frames, d.idle = 0, 0
		}
		r += m
		d.left -= uint64(m)
	}
	return n, nil
}

// header takes a frame header, or what there is of it, off the front of p and
// returns how much it took. It begins a frame when the header is complete.
func (d *deframer) header(p []byte) (int, error) {
	if d.nhead == 0 {
		if t, length, n, ok := parseHeader(p); ok {
			return n, d.begin(t, length)
		}
	}
	// It is cut: gathered byte by byte, it cannot become longer than it is.
	d.head[d.nhead] = p[0]
	d.nhead++
	t, length, _, ok := parseHeader(d.head[:d.nhead])
	if !ok {
		return 1, nil
	}
	d.nhead = 0
	return 1, d.begin(t, length)
}

// parseHeader parses a frame's type and length (RFC 9114 §7.1).
func parseHeader(p []byte) (t, length uint64, n int, ok bool) {
	t, i, err := quicvarint.Parse(p)
	if err != nil {
		return 0, 0, 0, false
	}
	length, j, err := quicvarint.Parse(p[i:])
	return t, length, i + j, err == nil
}

// begin begins a frame.
func (d *deframer) begin(t, length uint64) error {
	d.left = length
	d.data = t == frameData
	d.frames++
	if d.frames > maxIdleFrames {
		return &frameError{code: http3.ErrCodeExcessiveLoad, text: "too many frames without payload"}
	}
	if d.data {
		return nil
	}
	if t == frameHeaders && d.trailers {
		return errTrailers
	}
	// "Once the CONNECT method has completed, only DATA frames are permitted
	// to be sent on the stream. […] Receipt of any other known frame type
	// MUST be treated as a connection error of type H3_FRAME_UNEXPECTED."
	// https://www.rfc-editor.org/rfc/rfc9114#section-4.4
	if knownType(t) || reservedType(t) {
		return &frameError{code: http3.ErrCodeFrameUnexpected, conn: true, text: "frame of a type that is not allowed here"}
	}
	// "Implementations MUST ignore unknown or unsupported values in all
	// extensible protocol elements."
	// https://www.rfc-editor.org/rfc/rfc9114#section-9
	if length > maxIdleBytes || d.idle+length > maxIdleBytes {
		return &frameError{code: http3.ErrCodeExcessiveLoad, text: "too much in frames of unknown types"}
	}
	d.idle += length
	return nil
}

func knownType(t uint64) bool {
	switch t {
	case frameData, frameHeaders, frameCancelPush, frameSettings, framePushPromise, frameGoAway,
		frameMaxPushID, framePriorityUpdate, framePriorityUpdatePush:
		return true
	}
	return false
}

// whole says whether the stream may end here:
//
//	"When a stream terminates cleanly, if the last frame on the stream was
//	truncated, this MUST be treated as a connection error of type
//	H3_FRAME_ERROR."
//
// https://www.rfc-editor.org/rfc/rfc9114#section-7.1
func (d *deframer) whole() bool { return d.nhead == 0 && d.left == 0 }

// appendDataHeader appends the header of a DATA frame.
func appendDataHeader(b []byte, length int) []byte {
	b = append(b, frameData)
	return quicvarint.Append(b, uint64(length))
}
