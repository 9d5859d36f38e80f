package frame

import "encoding/binary"

// A naive is a second decoder, written from RFC 6455 §5 and RFC 7692 §6 without
// a thought for speed or for pieces: it has the whole stream before it.
type naive struct {
	server, deflate bool

	maxMessage, maxCompressed       uint64 // 0: none
	maxFragments, maxEmptyFragments int    // 0: none
}

// decode returns the frames of the stream, the last one perhaps in part, and the
// status code for the rule that the stream breaks behind them, 0 for none.
func (d naive) decode(p []byte) (frames []taken, code StatusCode) {
	var (
		message    []byte // of the message in progress, text only
		typ        byte   // its opcode, 0 between messages
		compressed bool
		size       uint64
		fragments  int
		empties    int
	)
	for len(p) >= 2 {
		fin := p[0]>>7 == 1
		rsv1, rsv2, rsv3 := p[0]>>6&1 == 1, p[0]>>5&1 == 1, p[0]>>4&1 == 1
		opcode := p[0] % 16
		masked := p[1]>>7 == 1
		length := uint64(p[1] % 128)
		head := 2

		// 5.2: extended payload length, in the minimal number of bytes.
		switch length {
		case 126:
			if len(p) < 4 {
				return frames, 0
			}
			length = uint64(binary.BigEndian.Uint16(p[2:]))
			head = 4
			if length < 126 {
				return frames, 1002
			}
		case 127:
			if len(p) < 10 {
				return frames, 0
			}
			length = binary.BigEndian.Uint64(p[2:])
			head = 10
			if length < 1<<16 || length >= 1<<63 {
				return frames, 1002
			}
		}
		var key []byte
		if masked {
			if len(p) < head+4 {
				return frames, 0
			}
			key = p[head : head+4]
			head += 4
		}

		// 5.1, 5.2, 5.4, 5.5
		control := opcode >= 8
		switch {
		case rsv2, rsv3, rsv1 && !d.deflate, masked != d.server:
			return frames, 1002
		case opcode >= 3 && opcode <= 7, opcode >= 11:
			return frames, 1002
		case control && (!fin || length > 125 || rsv1):
			return frames, 1002
		case opcode == 0 && (typ == 0 || rsv1):
			return frames, 1002
		case (opcode == 1 || opcode == 2) && typ != 0:
			return frames, 1002
		}

		// What is there of the payload, unmasked (5.3).
		payload := p[head:]
		if uint64(len(payload)) > length {
			payload = payload[:length]
		}
		payload = append([]byte(nil), payload...)
		for i := range payload {
			if masked {
				payload[i] ^= key[i%4]
			}
		}
		complete := uint64(len(payload)) == length
		p = p[head+len(payload):]

		if control {
			if !complete {
				return frames, 0
			}
			if opcode == 8 {
				if code := d.closeCode(payload); code != 0 {
					return frames, code
				}
			}
			frames = append(frames, taken{Kind: Control, Opcode: Opcode(opcode), Payload: string(payload)})
			if opcode == 8 {
				return frames, 0
			}
			continue
		}

		frame := taken{Kind: Data, First: opcode != 0}
		if opcode != 0 {
			typ, compressed, message, size, fragments, empties = opcode, rsv1, nil, 0, 0, 0
		}
		frame.Opcode, frame.Compressed = Opcode(typ), compressed
		limit := d.maxMessage
		if compressed {
			limit = d.maxCompressed
		}
		size += length // of at most a few frames in a test: no overflow in 64 bits without sign
		fragments++
		if length == 0 && !fin {
			empties++
		}
		switch {
		case limit != 0 && size > limit:
			return frames, 1009
		case d.maxFragments != 0 && fragments > d.maxFragments:
			return frames, 1008
		case d.maxEmptyFragments != 0 && empties > d.maxEmptyFragments:
			return frames, 1008
		}

		end := fin && complete
		if typ == 1 && !compressed { // 5.6, 8.1
			before := len(message)
			message = append(message, payload...)
			good, cut := naiveCheck(message)
			if good == len(message) && end && cut > 0 {
				if len(payload) == 0 {
					return frames, 1007 // the header was the fault
				}
				good-- // the byte that ended it
			}
			if good < len(message) {
				frame.Payload = string(payload[:good-before])
				return append(frames, frame), 1007
			}
		}
		frame.Payload = string(payload)
		frame.Last = end
		frames = append(frames, frame)
		if end {
			typ = 0
		}
		if !complete {
			return frames, 0
		}
	}
	return frames, 0
}

// closeCode checks the payload of a Close frame (5.5.1, 7.4).
func (naive) closeCode(p []byte) StatusCode {
	if len(p) == 0 {
		return 0
	}
	if len(p) == 1 || !legal(int(binary.BigEndian.Uint16(p))) {
		return 1002
	}
	if good, cut := naiveCheck(p[2:]); good < len(p)-2 || cut > 0 {
		return 1007
	}
	return 0
}
