package frame

// A Side is one end of a connection. RFC 6455 §5.1 treats them differently in
// one respect: a client masks what it sends, a server does not.
type Side uint8

// The two sides.
const (
	Server Side = iota
	Client
)

// String returns "server" or "client".
func (s Side) String() string {
	if s == Client {
		return "client"
	}
	return "server"
}

// rules holds what the rules for headers depend on besides the header.
type rules struct {
	to        Side // the receiving end
	deflate   bool // permessage-deflate was negotiated
	inMessage bool // a message has begun and not ended
}

// broken returns the rule of RFC 6455 §5 that a frame with header h breaks, ""
// if none. All the rules that a header can break are here, but for the two about
// the form of its length in [ParseHeader]; a Receiver and a Sender both ask here.
// Breaking any of them is status 1002.
func (r rules) broken(h *Header) string {
	// "If a nonzero value is received and none of the negotiated extensions
	// defines the meaning of such a nonzero value, the receiving endpoint MUST
	// _Fail the WebSocket Connection_."
	// https://www.rfc-editor.org/rfc/rfc6455#section-5.2
	if h.RSV2 || h.RSV3 {
		return "reserved bit RSV2 or RSV3 set"
	}
	if h.RSV1 && !r.deflate {
		return "reserved bit RSV1 set without a negotiated extension"
	}

	// "An endpoint MUST NOT set the "Per-Message Compressed" bit of control
	// frames and non-first fragments of a data message. An endpoint receiving
	// such a frame MUST _Fail the WebSocket Connection_."
	// https://www.rfc-editor.org/rfc/rfc7692#section-6
	if h.RSV1 && (h.Opcode.IsControl() || h.Opcode == Continuation) {
		return "reserved bit RSV1 set on a frame that does not begin a message"
	}

	// "The server MUST close the connection upon receiving a frame that is not
	// masked. [...] A client MUST close a connection if it detects a masked
	// frame."
	// https://www.rfc-editor.org/rfc/rfc6455#section-5.1
	if !h.Masked && r.to == Server {
		return "frame from a client not masked"
	}
	if h.Masked && r.to == Client {
		return "frame from a server masked"
	}

	switch h.Opcode {
	case Continuation:
		// "A fragmented message consists of a single frame with the FIN bit
		// clear and an opcode other than 0, followed by zero or more frames
		// with the FIN bit clear and the opcode set to 0, and terminated by a
		// single frame with the FIN bit set and an opcode of 0."
		// https://www.rfc-editor.org/rfc/rfc6455#section-5.4
		if !r.inMessage {
			return "continuation frame outside a message"
		}

	case Text, Binary:
		// "The fragments of one message MUST NOT be interleaved between the
		// fragments of another message unless an extension has been negotiated
		// that can interpret the interleaving."
		// https://www.rfc-editor.org/rfc/rfc6455#section-5.4
		if r.inMessage {
			return "message begun before the end of the one before"
		}

	case Close, Ping, Pong:
		// "All control frames MUST have a payload length of 125 bytes or less
		// and MUST NOT be fragmented."
		// https://www.rfc-editor.org/rfc/rfc6455#section-5.5
		if h.Length > MaxControlPayload {
			return "control frame with a payload of more than 125 bytes"
		}
		if !h.Fin {
			return "control frame fragmented"
		}

	default:
		// "If an unknown opcode is received, the receiving endpoint MUST _Fail
		// the WebSocket Connection_."
		// https://www.rfc-editor.org/rfc/rfc6455#section-5.2
		return "reserved opcode"
	}
	return ""
}
