package frame

import "strconv"

// A StatusCode says why a connection ends. It travels in the first two bytes
// of a Close frame's payload (RFC 6455 §5.5.1, §7.4).
type StatusCode uint16

// The status codes of RFC 6455 §7.4.1 and of the IANA WebSocket close code
// registry. StatusNoStatusReceived, StatusAbnormalClosure and StatusTLSHandshake
// never travel on the wire: they report what happened locally.
const (
	StatusNormalClosure      StatusCode = 1000
	StatusGoingAway          StatusCode = 1001
	StatusProtocolError      StatusCode = 1002
	StatusUnsupportedData    StatusCode = 1003
	StatusNoStatusReceived   StatusCode = 1005
	StatusAbnormalClosure    StatusCode = 1006
	StatusInvalidPayload     StatusCode = 1007
	StatusPolicyViolation    StatusCode = 1008
	StatusMessageTooBig      StatusCode = 1009
	StatusMandatoryExtension StatusCode = 1010
	StatusInternalError      StatusCode = 1011
	StatusServiceRestart     StatusCode = 1012
	StatusTryAgainLater      StatusCode = 1013
	StatusBadGateway         StatusCode = 1014
	StatusTLSHandshake       StatusCode = 1015
)

// String returns the code's decimal form, as RFC 6455 writes codes.
func (c StatusCode) String() string { return strconv.Itoa(int(c)) }

// onWire reports whether a Close frame may carry c (RFC 6455 §7.4).
func (c StatusCode) onWire() bool {
	switch {
	// "Status codes in the range 0-999 are not used."
	// https://www.rfc-editor.org/rfc/rfc6455#section-7.4.2
	case c < 1000:
		return false

	// 1004 is reserved. 1005, 1006 and 1015 are reserved values "and MUST NOT be
	// set as a status code in a Close control frame by an endpoint". 1012 to 1014
	// came later, by registration with IANA.
	// https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
	case c <= StatusBadGateway:
		return c != 1004 && c != StatusNoStatusReceived && c != StatusAbnormalClosure

	// "Status codes in the range 1000-2999 are reserved for definition by this
	// protocol, its future revisions, and extensions": the rest has no meaning
	// yet.
	// https://www.rfc-editor.org/rfc/rfc6455#section-7.4.2
	case c < 3000:
		return false
	}
	// 3000 to 3999 are registered by libraries and frameworks, 4000 to 4999 are
	// private (RFC 6455 §7.4.2); there is nothing beyond.
	return c < 5000
}
