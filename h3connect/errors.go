package h3connect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket/internal/tunnel"
)

// A StreamError says that the stream under a socket was reset, or that the peer
// asked to stop sending on it, without the connection that carries it coming to
// harm (RFC 9114 §8). It is found with errors.As in what a socket returns.
type StreamError struct {
	// Code is the error code (RFC 9114 §8.1).
	Code uint64

	// Remote says who did it: the peer (true) or this side (false).
	Remote bool

	// Err is quic-go's error, if there is one.
	Err error
}

// Error says who reset the stream and with which code.
func (e *StreamError) Error() string {
	who := "stream reset locally"
	if e.Remote {
		who = "stream reset by peer"
	}
	return who + " with " + codeName(e.Code)
}

// Unwrap returns Err.
func (e *StreamError) Unwrap() error { return e.Err }

// Is tells a proxy of this module a reset from the loss of the connection.
func (e *StreamError) Is(target error) bool { return target == tunnel.ErrReset }

// A ConnError says that the QUIC connection under a socket has ended, and with
// it all its streams: closed by either side, timed out, or reset because the
// peer has forgotten it. It is found with errors.As in what a socket returns.
//
// errors.As and errors.Is see quic-go's error through it, with one exception: it
// is net.ErrClosed only if this side closed the connection in an orderly way.
type ConnError struct {
	// Code is the HTTP/3 error code with which the connection was closed (RFC
	// 9114 §8.1), 0 if there is none: Err says more.
	Code uint64

	// Remote says who ended it: the peer, or its silence (true), or this side
	// (false).
	Remote bool

	// Err is quic-go's error.
	Err error
}

// Error says who closed the connection and why.
func (e *ConnError) Error() string {
	who := "connection closed locally"
	if e.Remote {
		who = "connection closed by peer"
	}
	if e.Code != 0 {
		return who + " with " + codeName(e.Code)
	}
	return "connection lost: " + e.Err.Error()
}

// Is says whether the cause is target. All errors of quic-go's that end a
// connection call themselves net.ErrClosed, also those of the peer's doing;
// here that means a close of ours.
func (e *ConnError) Is(target error) bool {
	if target == net.ErrClosed {
		return !e.Remote && e.Code == uint64(http3.ErrCodeNoError)
	}
	return errors.Is(e.Err, target)
}

// As finds the cause.
func (e *ConnError) As(target any) bool { return errors.As(e.Err, target) }

// Timeout returns false: a connection that timed out is lost, whereas a timeout
// of a stream is a deadline that can be moved.
func (e *ConnError) Timeout() bool { return false }

// Temporary returns false.
func (e *ConnError) Temporary() bool { return false }

var _ net.Error = (*ConnError)(nil)

// codeName returns the RFC's name of a code and its number.
func codeName(code uint64) string {
	if name := http3.ErrCode(code).String(); code <= 0xffff && !strings.HasPrefix(name, "unknown") {
		return fmt.Sprintf("%s (%#x)", name, code)
	}
	return fmt.Sprintf("error code %#x", code)
}

// mapError turns what quic-go returns into what a Stream may return. io.EOF,
// deadlines and errors that are none of quic-go's pass.
func mapError(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*StreamError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*ConnError](err); ok {
		return err
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok {
		return &StreamError{Code: uint64(e.ErrorCode), Remote: e.Remote, Err: err}
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return &ConnError{Code: uint64(e.ErrorCode), Remote: e.Remote, Err: err}
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		return &ConnError{Remote: e.Remote, Err: err}
	}
	if socketFailed(err) {
		return &ConnError{Err: err}
	}
	if lost(err) {
		return &ConnError{Remote: true, Err: err}
	}
	// Older versions of http3 do not say what is behind their error.
	if e, ok := errors.AsType[*http3.Error](err); ok {
		return &StreamError{Code: uint64(e.ErrorCode), Remote: e.Remote, Err: err}
	}
	return err
}

// socketFailed says whether err is the end of a connection because its UDP socket, on
// this side, has failed, or the system does not let it send.
func socketFailed(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok || errors.Is(err, quic.ErrTransportClosed)
}

// lost says whether err is the end of a connection of which nobody spoke.
func lost(err error) bool {
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*quic.VersionNegotiationError](err); ok {
		return true
	}
	_, ok := errors.AsType[*quic.StatelessResetError](err)
	return ok
}
