package h2connect

import (
	"errors"
	"strconv"

	"github.com/wsmux/websocket/internal/tunnel"
	"golang.org/x/net/http2"
)

// A StreamError says that one stream was reset (RFC 9113 §5.4.2). It is found
// with errors.As in what a socket, a request body or a response body returns.
// The connection and its other streams live on.
type StreamError struct {
	// Code is the error code of the RST_STREAM frame.
	Code http2.ErrCode

	// Remote says who reset the stream: the peer (true) or this side (false).
	Remote bool

	// Err is the cause, if there is more to know.
	Err error
}

// Error says who reset the stream, with which code, and why.
func (e *StreamError) Error() string {
	s := "h2connect: stream reset locally with "
	if e.Remote {
		s = "h2connect: stream reset by peer with "
	}
	s += e.Code.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *StreamError) Unwrap() error { return e.Err }

// Is tells a proxy of this module a reset from the loss of the connection.
func (e *StreamError) Is(target error) bool { return target == tunnel.ErrReset }

// A ConnError says how a connection ended and with it all its streams. It is
// found with errors.As in what a socket, a body or a round trip returns.
type ConnError struct {
	// Code is the error code of the GOAWAY frame that ended the connection
	// (RFC 9113 §6.8), NO_ERROR if there was none.
	Code http2.ErrCode

	// Remote says who ended it: the peer or the network (true), or this side
	// (false).
	Remote bool

	// Debug is the GOAWAY frame's debug data. A peer's is its choice of bytes:
	// quote it when printing it.
	Debug string

	// Err is the cause, if there is more to know: the network's error,
	// net.ErrClosed after a local close, io.ErrUnexpectedEOF for a connection
	// that the peer closed while it had streams.
	Err error
}

// Error says who ended the connection, with which code, and why.
func (e *ConnError) Error() string {
	s := "h2connect: connection ended locally"
	if e.Remote {
		s = "h2connect: connection ended by peer"
	}
	if e.Code != http2.ErrCodeNo || e.Debug != "" {
		s += " with " + e.Code.String()
	}
	if e.Debug != "" {
		s += " " + strconv.Quote(e.Debug)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *ConnError) Unwrap() error { return e.Err }

// A violation is a rule that the peer broke. fatal ones end the connection with
// GOAWAY, others only reset the stream. rule is what the debug data and the
// error say, behind the name of the limit that was passed if it was one.
type violation struct {
	code  http2.ErrCode
	fatal bool
	limit limit
	rule  string
}

func (v *violation) Error() string {
	if v.limit != noLimit {
		return v.limit.String() + ": " + v.rule
	}
	return v.rule
}

func connViolation(code http2.ErrCode, rule string) *violation {
	return &violation{code: code, fatal: true, rule: rule}
}

// passed says which limit it is that a violation has passed.
func (v *violation) passed(l limit) *violation {
	v.limit = l
	return v
}

// tooMuch is the violation of a limit that only an attack meets: it ends the
// connection (RFC 9113 §10.5).
func tooMuch(l limit, rule string) *violation {
	return connViolation(http2.ErrCodeEnhanceYourCalm, rule).passed(l)
}

func streamViolation(code http2.ErrCode, rule string) *violation {
	return &violation{code: code, rule: rule}
}

// notProcessed marks an error as one after which the request may be sent again:
// the peer said that it had not looked at it (RFC 9113 §8.7).
type notProcessed struct{ error }

func (e notProcessed) Unwrap() error { return e.error }

// retryable reports whether the request that failed with err was certainly not
// processed.
func retryable(err error) bool {
	var np notProcessed
	return errors.As(err, &np)
}

// A timeoutError is a limit of time that has run out. It is not a deadline of
// the caller's: the stream or the connection has ended.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }

// Timeout reports true: see net.Error.
func (e timeoutError) Timeout() bool { return true }

// Temporary reports true, as net/http's timeouts do: see net.Error.
func (e timeoutError) Temporary() bool { return true }

const errWriteStall = timeoutError("the peer accepts no data")

var (
	errHandlerDone = errors.New("h2connect: the handler has returned")
	errConnDrained = errors.New("h2connect: connection takes no new requests")
)
