package frame

import "errors"

// ErrClosed is what a [Sender] returns for every frame after a Close frame:
// "The application MUST NOT send any more data frames after sending a Close
// frame" (RFC 6455 §5.5.1), and no control frame would mean anything there.
var ErrClosed = errors.New("frame: a close frame has been sent")

// An Error is a rule broken by the peer. RFC 6455 demands that the connection
// fails then (§7.1.7): send a Close frame with Code, read no further.
type Error struct {
	// Code is the status code to send to the peer: 1002, 1007, 1008 or 1009.
	Code StatusCode

	// Rule says what was wrong, in a few lower-case words that hold nothing of
	// what the peer sent and fit into a Close frame.
	Rule string
}

// Error returns the rule with the package's name in front.
func (e *Error) Error() string { return "frame: " + e.Rule }

// protocolError returns the Error for a frame that breaks a rule of RFC 6455 §5
// ("1002 indicates that an endpoint is terminating the connection due to a
// protocol error", §7.4.1).
func protocolError(rule string) error {
	return &Error{Code: StatusProtocolError, Rule: rule}
}

// A refusal is what a [Sender] and [AppendClose] return for a frame that must not
// be sent. It is never an [*Error], which is about the peer.
type refusal string

// Error returns the rule that the frame would break.
func (r refusal) Error() string { return "frame: refused to send: " + string(r) }
