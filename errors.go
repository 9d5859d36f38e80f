package websocket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/wsmux/websocket/frame"
)

// Errors that a caller can act upon. They come wrapped: use errors.Is.
var (
	// ErrMessageTooBig: a message passed [Limits.Message] or
	// [Limits.CompressedMessage]. The socket was closed with status 1009.
	ErrMessageTooBig = errors.New("message too big")

	// ErrTooManyFragments: a message passed [Limits.Fragments] or
	// [Limits.EmptyFragments]. The socket was closed with status 1008.
	ErrTooManyFragments = errors.New("too many fragments")

	// ErrNotSupported: the peer, or the HTTP server a handler runs under, does
	// not support this bootstrap; another one may work. Nothing was sent that
	// could have been processed.
	ErrNotSupported = errors.New("bootstrap not supported")
)

// A StatusCode says why a socket ended (RFC 6455 §7.4). Applications may use
// 4000 to 4999 as they like.
type StatusCode = frame.StatusCode

// The registered status codes. [StatusNoStatusReceived],
// [StatusAbnormalClosure] and [StatusTLSHandshake] only report: they cannot be
// sent.
const (
	StatusNormalClosure      = frame.StatusNormalClosure
	StatusGoingAway          = frame.StatusGoingAway
	StatusProtocolError      = frame.StatusProtocolError
	StatusUnsupportedData    = frame.StatusUnsupportedData
	StatusNoStatusReceived   = frame.StatusNoStatusReceived
	StatusAbnormalClosure    = frame.StatusAbnormalClosure
	StatusInvalidPayload     = frame.StatusInvalidPayload
	StatusPolicyViolation    = frame.StatusPolicyViolation
	StatusMessageTooBig      = frame.StatusMessageTooBig
	StatusMandatoryExtension = frame.StatusMandatoryExtension
	StatusInternalError      = frame.StatusInternalError
	StatusServiceRestart     = frame.StatusServiceRestart
	StatusTryAgainLater      = frame.StatusTryAgainLater
	StatusBadGateway         = frame.StatusBadGateway
	StatusTLSHandshake       = frame.StatusTLSHandshake
)

// A CloseError says how a socket ended. Once a socket has ended, every method
// returns the same one for ever.
type CloseError struct {
	// Code is the status code that ended the socket: the peer's if Remote,
	// ours otherwise. [StatusAbnormalClosure] if the stream ended without a
	// Close frame, [StatusNoStatusReceived] for a Close frame without a code.
	Code StatusCode

	// Reason is the text that came, or went, with the code. A peer's reason is
	// its choice of words: quote it when printing it.
	Reason string

	// Remote says who ended the socket: the peer or its transport (true), or
	// this side (false).
	Remote bool

	// Err is the cause, if there is more to know: net.ErrClosed after a local
	// Close or CloseNow, io.ErrUnexpectedEOF for a stream that ended without a
	// Close frame, [ErrMessageTooBig], a *frame.Error for a rule that the peer
	// broke, the transport's error. It may be nil.
	Err error
}

// Error says who closed, with what, and why.
func (e *CloseError) Error() string {
	who := "closed locally"
	if e.Remote {
		who = "closed by peer"
	}
	s := "websocket: " + who + " with status " + strconv.Itoa(int(e.Code))
	if e.Reason != "" {
		s += " " + strconv.Quote(e.Reason)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *CloseError) Unwrap() error { return e.Err }

// gaveUp returns the error of a call whose context has ended, and that leaves the Conn
// as it was. It says what the call was doing, and errors.Is finds the context's error.
func gaveUp(doing string, ctx context.Context) error {
	return fmt.Errorf("websocket: %s: %w", doing, ctx.Err())
}

// A HandshakeError says why an opening handshake failed. Accept returns it
// after it has written the refusal, if it could; Dial returns it for a response that
// is not the acceptance of a socket.
type HandshakeError struct {
	// Status is the HTTP status of the refusal, sent or received. It is 0 if
	// the failure has none: a stream that was reset, an answer against the rules, a
	// second Accept for a request.
	Status int

	// Reason says what was wrong. It holds nothing that the peer sent but, on
	// the server, a quoted field value.
	Reason string

	// Remote says who refused: the peer (true) or this side (false).
	Remote bool

	// Header holds fields that belong to the refusal: those sent with it, or
	// those received.
	Header http.Header

	// Body holds up to 1 KiB of a received refusal's content.
	Body []byte

	// Err is the cause, if there is more to know.
	Err error
}

// Error says who refused and why.
func (e *HandshakeError) Error() string {
	who := "refused"
	if e.Remote {
		who = "refused by peer"
	}
	s := "websocket: handshake " + who
	if e.Status != 0 {
		s += fmt.Sprintf(" with %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *HandshakeError) Unwrap() error { return e.Err }
