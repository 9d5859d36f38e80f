package frame

// A Sender makes what one end of a connection sends, and refuses what would
// break a rule: the opposite [Receiver], if it has the same Deflate and no
// limits, accepts whatever a Sender has appended. The zero value is a server's,
// without compression. Fields are set before the first call.
//
// Every frame of a connection has to go through its Sender, in the order in
// which they are sent. An error leaves the Sender and the caller's slice as they
// were.
type Sender struct {
	// Side is the sending end: a Client masks (RFC 6455 §5.1).
	Side Side

	// Deflate says that permessage-deflate was negotiated: RSV1 may be set on
	// the first frame of a message (RFC 7692 §6).
	Deflate bool

	closed bool // a Close frame has been appended
	message
}

// A message is what a Sender remembers of the message in progress.
type message struct {
	opcode     Opcode // Text or Binary; Continuation between messages
	compressed bool
	text       UTF8
}

// Append appends a frame to b and returns the extended slice. Of h it uses Fin,
// RSV1 (the message is compressed), Opcode and, if Side is [Client], Key, which
// has to be new and unpredictable for every frame (RFC 6455 §5.3). It sets Masked
// and Length itself. payload stays as it is, and the room behind b must not
// overlap it.
//
// The error is [ErrClosed] after a Close frame, else a plain error that says why
// the frame must not be sent: a reserved opcode or bit; a control frame that is
// fragmented or has more than [MaxControlPayload] bytes; a message begun before
// the end of the one before, or a continuation outside one; RSV1 without
// Deflate or on a frame that does not begin a message; text that is not UTF-8,
// unless compressed; a close payload that [ParseClose] would refuse.
func (s *Sender) Append(b []byte, h Header, payload []byte) ([]byte, error) {
	if err := s.admit(&h, payload); err != nil {
		return b, err
	}
	b = h.appendTo(b)
	if h.Masked {
		return AppendMasked(b, payload, h.Key, 0), nil
	}
	return append(b, payload...), nil
}

// AppendHeader does what [Sender.Append] does, but appends the header alone: the
// caller sends payload itself, right behind it, and a [Client] masks it first
// ([Mask], from position 0, with h.Key).
func (s *Sender) AppendHeader(b []byte, h Header, payload []byte) ([]byte, error) {
	if err := s.admit(&h, payload); err != nil {
		return b, err
	}
	return h.appendTo(b), nil
}

// Closed reports whether a Close frame has been appended: nothing may be sent behind
// it (RFC 6455 §5.5.1).
func (s *Sender) Closed() bool { return s.closed }

// InMessage reports whether a message has begun and not ended.
func (s *Sender) InMessage() bool { return s.opcode != Continuation }

// admit decides whether the frame may be sent next. If so, it completes h and
// takes note of the frame.
func (s *Sender) admit(h *Header, payload []byte) error {
	if s.closed {
		return ErrClosed
	}

	// "a client MUST mask all frames that it sends to the server [...] A server
	// MUST NOT mask any frames that it sends to the client."
	// https://www.rfc-editor.org/rfc/rfc6455#section-5.1
	to := Client
	if s.Side == Client {
		to = Server
	}
	h.Masked = to == Server
	h.Length = int64(len(payload))

	rule := rules{to, s.Deflate, s.InMessage()}.broken(h)
	if rule != "" {
		return refusal(rule)
	}

	switch h.Opcode {
	case Ping, Pong:
	case Close:
		if _, _, bad := splitClose(payload); bad.Code != 0 {
			return refusal(bad.Rule)
		}
		s.closed = true
	default:
		m, ok := s.next(h, payload)
		if !ok {
			return refusal("text that is not valid UTF-8")
		}
		s.message = m
	}
	return nil
}

// next returns what m becomes by one more data frame, which may stand there by
// its header. It is not ok if the frame makes a text invalid.
//
// "Note that a particular text frame might include a partial UTF-8 sequence;
// however, the whole message MUST contain valid UTF-8."
// https://www.rfc-editor.org/rfc/rfc6455#section-5.6
func (m message) next(h *Header, payload []byte) (_ message, ok bool) {
	if h.Opcode != Continuation {
		m = message{opcode: h.Opcode, compressed: h.RSV1}
	}
	if m.opcode == Text && !m.compressed {
		if m.text.Check(payload) < len(payload) || h.Fin && !m.text.Complete() {
			return m, false
		}
	}
	if h.Fin {
		m = message{}
	}
	return m, true
}
