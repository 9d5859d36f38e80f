package frame

// MaxHeaderSize is the size in bytes of the largest frame header: two bytes, a
// 64-bit length and a masking key (RFC 6455 §5.2).
const MaxHeaderSize = 2 + 8 + 4

// MaxControlPayload is the size in bytes of the largest payload of a control
// frame (RFC 6455 §5.5).
const MaxControlPayload = 125

// The values of the 7-bit length field that stand for a longer field behind it
// (RFC 6455 §5.2).
const (
	length16 = 126
	length64 = 127
)

// The bits of a header's first two bytes (RFC 6455 §5.2).
const (
	bitFin  = 0x80
	bitRSV1 = 0x40
	bitRSV2 = 0x20
	bitRSV3 = 0x10
	bitMask = 0x80
)

// A Header is a frame's header (RFC 6455 §5.2): everything of it but the payload.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//	|I|S|S|S|  (4)  |A|     (7)     |           (0/16/64)           |
//	|N|V|V|V|       |S|             |                               |
//	| |1|2|3|       |K|             |                               |
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|                      Masking-key (0/32)                       |
//	+---------------------------------------------------------------+
//
// Any Header can be appended, also one that no endpoint may send: whether a
// header may stand where it does is what a [Receiver] and a [Sender] check.
type Header struct {
	Fin    bool    // the final frame of its message
	RSV1   bool    // the message is compressed (RFC 7692 §6)
	RSV2   bool    // reserved
	RSV3   bool    // reserved
	Opcode Opcode  // four bits
	Masked bool    // a masking key follows, and the payload is masked with it
	Key    [4]byte // the masking key, if Masked
	Length int64   // payload bytes
}

// ParseHeader parses the header at the start of p and returns the number of
// bytes it takes. If p holds no whole header yet, n is 0 and err is nil.
//
// It returns an [*Error] with status 1002 for what is wrong with a header
// whoever sends it wherever: a length that is not in its shortest form, or that
// has its top bit set. It does so once the length is there, even if the masking
// key is not. All other rules are a [Receiver]'s.
func ParseHeader(p []byte) (h Header, n int, err error) {
	n, rule := h.parse(p)
	if rule != "" {
		return Header{}, 0, protocolError(rule)
	}
	return h, n, nil
}

// parse is ParseHeader on a zero h, which stays zero if n is 0. A broken rule is
// not yet an error; it is "" if there is none.
func (h *Header) parse(p []byte) (n int, rule string) {
	if len(p) < 2 {
		return 0, ""
	}
	first, second := p[0], p[1]
	length := int64(second &^ bitMask)

	n = 2
	switch length {
	case length16:
		if len(p) < 4 {
			return 0, ""
		}
		n = 4
		length = int64(p[2])<<8 | int64(p[3])
		// "Note that in all cases, the minimal number of bytes MUST be used to
		// encode the length, for example, the length of a 124-byte-long string
		// can't be encoded as the sequence 126, 0, 124."
		// https://www.rfc-editor.org/rfc/rfc6455#section-5.2
		if length < length16 {
			return 0, "payload length not in its shortest form"
		}
	case length64:
		if len(p) < 10 {
			return 0, ""
		}
		n = 10
		length = int64(load64be(p[2:10]))
		// "If 127, the following 8 bytes interpreted as a 64-bit unsigned
		// integer (the most significant bit MUST be 0) are the payload length."
		// https://www.rfc-editor.org/rfc/rfc6455#section-5.2
		if length < 0 {
			return 0, "payload length with its top bit set"
		}
		if length <= 0xFFFF { // RFC 6455 §5.2, as above
			return 0, "payload length not in its shortest form"
		}
	}

	if second&bitMask != 0 {
		if len(p) < n+4 {
			return 0, ""
		}
		h.Masked = true
		h.Key = [4]byte(p[n:])
		n += 4
	}
	h.Fin = first&bitFin != 0
	h.RSV1 = first&bitRSV1 != 0
	h.RSV2 = first&bitRSV2 != 0
	h.RSV3 = first&bitRSV3 != 0
	h.Opcode = Opcode(first & 0xF)
	h.Length = length
	return n, ""
}

// Append appends the header in its shortest form to b and returns the extended
// slice. Only the low four bits of Opcode count. Nothing is checked: a negative
// Length gives a header with the top bit of its length set, which every
// receiver refuses.
func (h Header) Append(b []byte) []byte { return h.appendTo(b) }

// appendTo is Append without a copy of the header.
func (h *Header) appendTo(b []byte) []byte {
	first := byte(h.Opcode & 0xF)
	if h.Fin {
		first |= bitFin
	}
	if h.RSV1 {
		first |= bitRSV1
	}
	if h.RSV2 {
		first |= bitRSV2
	}
	if h.RSV3 {
		first |= bitRSV3
	}
	var mask byte
	if h.Masked {
		mask = bitMask
	}

	switch l := uint64(h.Length); {
	case l < length16:
		b = append(b, first, mask|byte(l))
	case l <= 0xFFFF:
		b = append(b, first, mask|length16, byte(l>>8), byte(l))
	default:
		b = append(b, first, mask|length64,
			byte(l>>56), byte(l>>48), byte(l>>40), byte(l>>32),
			byte(l>>24), byte(l>>16), byte(l>>8), byte(l))
	}
	if h.Masked {
		b = append(b, h.Key[:]...)
	}
	return b
}

// Size returns the number of bytes that [Header.Append] appends.
func (h Header) Size() int {
	n := 2
	switch l := uint64(h.Length); {
	case l < length16:
	case l <= 0xFFFF:
		n += 2
	default:
		n += 8
	}
	if h.Masked {
		n += 4
	}
	return n
}
