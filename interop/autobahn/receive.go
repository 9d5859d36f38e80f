package autobahn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// maxPayload bounds a frame and a message from the endpoint. No case makes an
// honest one send as much.
const maxPayload = 64 << 20

// A received frame, as it was on the wire.
type received struct {
	wstest.Frame
	masked  bool
	longish bool // the length is not in the shortest form
}

// readFrame reads a frame, legal or not. The error is io.EOF between frames.
func readFrame(br *bufio.Reader) (received, error) {
	var f received
	first, err := br.ReadByte()
	if err != nil {
		return f, err
	}
	second, err := br.ReadByte()
	if err != nil {
		return f, unexpected(err)
	}
	f.More = first&0x80 == 0
	f.RSV1, f.RSV2, f.RSV3 = first&0x40 != 0, first&0x20 != 0, first&0x10 != 0
	f.Opcode = frame.Opcode(first & 15)
	f.masked = second&0x80 != 0
	var rest [8]byte
	n := uint64(second & 0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(br, rest[:2])
		n = uint64(binary.BigEndian.Uint16(rest[:]))
		f.longish = n < 126
	case 127:
		_, err = io.ReadFull(br, rest[:8])
		n = binary.BigEndian.Uint64(rest[:])
		f.longish = n < 1<<16
	}
	var key [4]byte
	if f.masked && err == nil {
		_, err = io.ReadFull(br, key[:])
	}
	if err != nil {
		return f, unexpected(err)
	}
	if n > maxPayload {
		return f, breach(fmt.Sprintf("a frame of %d octets", n))
	}
	if f.Payload, err = readPayload(br, int(n)); err != nil {
		return f, err
	}
	if f.masked {
		for i := range f.Payload {
			f.Payload[i] ^= key[i%4]
		}
	}
	return f, nil
}

// readPayload reads n octets into memory that grows as they come.
func readPayload(br *bufio.Reader, n int) ([]byte, error) {
	p := make([]byte, min(n, 1<<20))
	for have := 0; ; {
		m, err := io.ReadFull(br, p[have:])
		have += m
		switch {
		case err != nil:
			return nil, unexpected(err)
		case have == n:
			return p, nil
		}
		p = append(p, make([]byte, min(n-have, have))...)
	}
}

// errCutShort is the end of the stream within a frame.
var errCutShort = errors.New("the stream ended within a frame")

func unexpected(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCutShort
	}
	return err
}

// An assembler judges the endpoint's frames and puts its messages together.
type assembler struct {
	masks   bool // the endpoint is a client
	inflate *inflater

	open       bool // a message has begun
	binary     bool
	compressed bool
	data       []byte
	closed     bool // its Close frame has come
}

// A breach is what the endpoint must not send.
type breach string

func (b breach) Error() string { return string(b) }

// add takes the next frame. It returns an event, if the frame makes one, or a
// breach.
func (a *assembler) add(f received) (Event, bool, error) {
	if err := a.checkHeader(f); err != nil {
		return Event{}, false, err
	}
	switch f.Opcode {
	case frame.Ping:
		return Event{Kind: Ping, Data: string(f.Payload)}, true, nil
	case frame.Pong:
		return Event{Kind: Pong, Data: string(f.Payload)}, true, nil
	case frame.Close:
		a.closed = true
		return Event{}, false, checkClose(f.Payload)
	case frame.Continuation:
		a.data = append(a.data, f.Payload...)
	default:
		a.open, a.binary, a.compressed = true, f.Opcode == frame.Binary, f.RSV1
		a.data = f.Payload
	}
	if len(a.data) > maxPayload {
		return Event{}, false, breach("a message larger than any that was sent")
	}
	if f.More {
		return Event{}, false, nil
	}
	a.open = false
	return a.message()
}

// checkHeader applies the rules of RFC 6455 §5 to a frame's header.
func (a *assembler) checkHeader(f received) error {
	control := f.Opcode >= frame.Close
	switch {
	case a.closed:
		return breach("a frame behind its Close frame")
	case f.masked && !a.masks:
		return breach("a server's frame that is masked")
	case !f.masked && a.masks:
		return breach("a client's frame that is not masked")
	case f.RSV2 || f.RSV3 || f.RSV1 && a.inflate == nil:
		return breach("a reserved bit without an extension")
	case f.RSV1 && f.Opcode != frame.Text && f.Opcode != frame.Binary:
		return breach("RSV1 on a frame that begins no message")
	case f.longish:
		return breach("a length that is not in the shortest form")
	case f.Opcode > frame.Binary && !control || f.Opcode > frame.Pong:
		return breach(fmt.Sprintf("reserved opcode %d", f.Opcode))
	case control && f.More:
		return breach("a fragment of a control frame")
	case control && len(f.Payload) > 125:
		return breach("a control frame of more than 125 octets")
	case f.Opcode == frame.Continuation && !a.open:
		return breach("a continuation frame of nothing")
	case !control && f.Opcode != frame.Continuation && a.open:
		return breach("a message within a message")
	}
	return nil
}

// checkClose applies the rules of RFC 6455 §5.5.1 and §7.4, which say nothing of
// codes above 4999.
func checkClose(payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	if len(payload) == 1 {
		return breach("a Close frame with a payload of one octet")
	}
	switch code := binary.BigEndian.Uint16(payload); {
	case code < 1000, code == 1004, code == 1005, code == 1006, code >= 1015 && code < 3000:
		return breach(fmt.Sprintf("a Close frame with status %d", code))
	case !utf8.Valid(payload[2:]):
		return breach("a Close frame with a reason that is no UTF-8")
	}
	return nil
}

func (a *assembler) message() (Event, bool, error) {
	if a.compressed {
		data, err := a.inflate.message(a.data)
		if err != nil {
			return Event{}, false, breach(err.Error())
		}
		a.data = data
	}
	if !a.binary && !utf8.Valid(a.data) {
		return Event{}, false, breach("a text message that is no UTF-8")
	}
	return Event{Kind: Message, Binary: a.binary, Data: string(a.data)}, true, nil
}
