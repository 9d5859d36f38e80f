package frame

import "unicode/utf8"

// MaxCloseReason: what a control frame holds besides the code (RFC 6455 §5.5.1).
const maxCloseReason = MaxControlPayload - 2

// AppendClose appends the payload of a Close frame to b and returns the extended
// slice. [StatusNoStatusReceived] with an empty reason stands for an empty
// payload.
//
// It returns b as it was and an error for a code that must not be sent (RFC 6455
// §7.4), for a reason of more than 123 bytes, and for one that is not UTF-8.
func AppendClose(b []byte, code StatusCode, reason string) ([]byte, error) {
	if code == StatusNoStatusReceived && reason == "" {
		return b, nil
	}
	if !code.onWire() {
		return b, refusal("status code " + code.String() + " in a close frame")
	}
	if len(reason) > maxCloseReason {
		return b, refusal("close reason of more than 123 bytes")
	}
	if !utf8.ValidString(reason) {
		return b, refusal("close reason that is not valid UTF-8")
	}
	b = append(b, byte(code>>8), byte(code))
	return append(b, reason...), nil
}

// ParseClose parses the payload of a Close frame. An empty one gives
// [StatusNoStatusReceived]: "If this Close control frame contains no status code,
// _The WebSocket Connection Close Code_ is considered to be 1005" (RFC 6455
// §7.1.5).
//
// It returns an [*Error] with status 1002 for a payload of one byte and for a
// code that must not be sent, and with status 1007 for a reason that is not
// UTF-8. A [Receiver] has checked all this before it reports a Close frame.
func ParseClose(p []byte) (StatusCode, string, error) {
	code, reason, bad := splitClose(p)
	if bad != (Error{}) {
		return 0, "", &Error{Code: bad.Code, Rule: bad.Rule}
	}
	return code, string(reason), nil
}

// splitClose is ParseClose without a copy of the reason and without an
// allocation: bad is zero if p is well.
func splitClose(p []byte) (code StatusCode, reason []byte, bad Error) {
	if len(p) == 0 {
		return StatusNoStatusReceived, nil, Error{}
	}

	// "If there is a body, the first two bytes of the body MUST be a 2-byte
	// unsigned integer (in network byte order) representing a status code with
	// value /code/ defined in Section 7.4."
	// https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
	if len(p) == 1 {
		return 0, nil, Error{StatusProtocolError, "close payload of one byte"}
	}
	code = StatusCode(p[0])<<8 | StatusCode(p[1])
	if !code.onWire() {
		return 0, nil, Error{StatusProtocolError, "illegal status code in a close frame"}
	}

	// "Following the 2-byte integer, the body MAY contain UTF-8-encoded data
	// with value /reason/", and "when an endpoint is to interpret a byte stream
	// as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8
	// stream, that endpoint MUST _Fail the WebSocket Connection_."
	// https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
	// https://www.rfc-editor.org/rfc/rfc6455#section-8.1
	if !utf8.Valid(p[2:]) {
		return 0, nil, Error{StatusInvalidPayload, "close reason that is not valid UTF-8"}
	}
	return code, p[2:], Error{}
}
