package wstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/wsmux/websocket/frame"
)

// A Frame is a WebSocket frame, legal or not. Its zero value is a final, empty
// continuation.
//
// Frames are written and read here with a few plain lines made from the
// picture in RFC 6455 §5.2, and not with package frame's codec: a mistake that
// the codec made in both directions would otherwise go unseen.
type Frame struct {
	More             bool // FIN is clear: another fragment follows
	RSV1, RSV2, RSV3 bool
	Opcode           frame.Opcode
	Payload          []byte

	// WrongMask masks what the sender's role forbids to mask, and does not
	// mask what it demands to mask. It is not set in frames that were read.
	WrongMask bool

	// Length is the length that the header declares, if it is not 0 and
	// another than the payload's. It is not set in frames that were read.
	Length uint64

	// LengthBits is the form of the length, 7, 16 or 64. Zero: the shortest.
	LengthBits int
}

// Text returns a text message of one frame.
func Text(s string) Frame { return Frame{Opcode: frame.Text, Payload: []byte(s)} }

// Binary returns a binary message of one frame.
func Binary(p []byte) Frame { return Frame{Opcode: frame.Binary, Payload: p} }

// Continuation returns the last fragment of a message.
func Continuation(s string) Frame { return Frame{Payload: []byte(s)} }

// Ping returns a Ping frame.
func Ping(s string) Frame { return Frame{Opcode: frame.Ping, Payload: []byte(s)} }

// Pong returns a Pong frame.
func Pong(s string) Frame { return Frame{Opcode: frame.Pong, Payload: []byte(s)} }

// Close returns a Close frame with any code and any reason. Code 0 makes it
// one without a payload.
func Close(code frame.StatusCode, reason string) Frame {
	f := Frame{Opcode: frame.Close}
	if code != 0 {
		f.Payload = append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
	}
	return f
}

// Fragment returns f as a fragment that another one follows.
func (f Frame) Fragment() Frame {
	f.More = true
	return f
}

// Compressed returns f with RSV1 set: the mark of permessage-deflate on the
// first frame of a message (RFC 7692 §6).
func (f Frame) Compressed() Frame {
	f.RSV1 = true
	return f
}

// Append appends the frame to dst as a client (which masks) or a server sends
// it. A client's masking key is derived from key, so that tests are repeatable.
func (f Frame) Append(dst []byte, client bool, key uint32) []byte {
	first := byte(f.Opcode)
	for i, set := range []bool{!f.More, f.RSV1, f.RSV2, f.RSV3} {
		if set {
			first |= 0x80 >> i
		}
	}
	masked := byte(0)
	if client != f.WrongMask {
		masked = 0x80
	}
	dst = f.appendLength(append(dst, first), masked)
	if masked == 0 {
		return append(dst, f.Payload...)
	}
	dst = binary.BigEndian.AppendUint32(dst, key)
	start := len(dst)
	dst = append(dst, f.Payload...)
	xor(dst[start:], key)
	return dst
}

func (f Frame) appendLength(dst []byte, masked byte) []byte {
	n := f.Length
	if n == 0 {
		n = uint64(len(f.Payload))
	}
	bits := f.LengthBits
	if bits == 0 {
		bits = shortest(n)
	}
	switch bits {
	case 7:
		return append(dst, masked|byte(n))
	case 16:
		return binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, masked|127), n)
	}
}

// shortest returns the width in bits of the shortest form for length n.
func shortest(n uint64) int {
	switch {
	case n <= 125:
		return 7
	case n <= 0xFFFF:
		return 16
	}
	return 64
}

func xor(p []byte, key uint32) {
	for i := range p {
		p[i] ^= byte(key >> (24 - 8*(i%4)))
	}
}

// errShort says that a frame is not complete.
var errShort = errors.New("frame not complete")

// ParseFrame reads the frame at the start of p, sent by a client or a server,
// and returns it with the number of bytes it takes. The payload is a copy. A
// frame that is masked against its sender's role, or whose length is not in
// the shortest form, is an error: a frame that may not be sent whatever came
// before it.
func ParseFrame(p []byte, client bool) (f Frame, n int, err error) {
	if len(p) < 2 {
		return f, 0, errShort
	}
	f.More = p[0]&0x80 == 0
	f.RSV1, f.RSV2, f.RSV3 = p[0]&0x40 != 0, p[0]&0x20 != 0, p[0]&0x10 != 0
	f.Opcode = frame.Opcode(p[0] & 0xF)
	if masked := p[1]&0x80 != 0; masked != client {
		return f, 0, fmt.Errorf("%v frame: masked %t", f.Opcode, masked)
	}
	size := uint64(p[1] & 0x7F)
	f.LengthBits = 7
	n = 2
	switch {
	case size == 126 && len(p) < 4, size == 127 && len(p) < 10:
		return f, 0, errShort
	case size == 126:
		f.LengthBits, size, n = 16, uint64(binary.BigEndian.Uint16(p[2:])), 4
	case size == 127:
		f.LengthBits, size, n = 64, binary.BigEndian.Uint64(p[2:]), 10
	}
	if f.LengthBits != shortest(size) || size>>63 != 0 {
		return f, 0, fmt.Errorf("%v frame: length %d written in %d bits", f.Opcode, size, f.LengthBits)
	}
	var key uint32
	if client {
		if len(p) < n+4 {
			return f, 0, errShort
		}
		key = binary.BigEndian.Uint32(p[n:])
		n += 4
	}
	if uint64(len(p)-n) < size {
		return f, 0, errShort
	}
	f.Payload = append([]byte{}, p[n:n+int(size)]...)
	if client {
		xor(f.Payload, key)
	}
	return f, n + int(size), nil
}

// ParseFrames reads all of p as frames of one sender.
func ParseFrames(p []byte, client bool) ([]Frame, error) {
	var frames []Frame
	for len(p) > 0 {
		f, n, err := ParseFrame(p, client)
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
		p = p[n:]
	}
	return frames, nil
}

// String draws the frame in one line: "text+ rsv1 [5] \"hello\"", where the
// plus sign stands for a fragment that another one follows.
func (f Frame) String() string {
	s := f.Opcode.String()
	if f.More {
		s += "+"
	}
	for i, set := range []bool{f.RSV1, f.RSV2, f.RSV3} {
		if set {
			s += fmt.Sprintf(" rsv%d", i+1)
		}
	}
	s += fmt.Sprintf(" [%d]", len(f.Payload))
	if code, reason, ok := f.CloseCode(); ok {
		return s + fmt.Sprintf(" %d %q", code, reason)
	}
	const shown = 64
	p := f.Payload[:min(len(f.Payload), shown)]
	if utf8.Valid(p) {
		s += fmt.Sprintf(" %q", p)
	} else {
		s += fmt.Sprintf(" %x", p)
	}
	if len(f.Payload) > shown {
		s += "…"
	}
	return s
}

// CloseCode returns what a Close frame carries: code 0 if it is empty. It is
// false for other frames and for a payload of one byte.
func (f Frame) CloseCode() (frame.StatusCode, string, bool) {
	switch {
	case f.Opcode != frame.Close || len(f.Payload) == 1:
		return 0, "", false
	case len(f.Payload) == 0:
		return 0, "", true
	}
	return frame.StatusCode(binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:]), true
}
