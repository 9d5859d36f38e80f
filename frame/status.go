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
