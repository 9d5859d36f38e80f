package frame

import "strconv"

// An Opcode says what a frame carries (RFC 6455 §5.2, §11.8).
type Opcode uint8

// The opcodes of RFC 6455. All others are reserved.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// IsControl reports whether o is a control opcode, a reserved one included: its
// most significant bit is 1 (RFC 6455 §5.5).
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// String returns the opcode's name in RFC 6455.
func (o Opcode) String() string {
	switch o {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "reserved opcode 0x" + strconv.FormatUint(uint64(o), 16)
}
