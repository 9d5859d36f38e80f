package h3connect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
)

func TestMapErrorStreams(t *testing.T) {
	for _, c := range []struct {
		err    *quic.StreamError
		remote bool
		code   uint64
		text   string
	}{
		{&quic.StreamError{ErrorCode: 0x10c, Remote: true}, true, 0x10c, "stream reset by peer with H3_REQUEST_CANCELLED (0x10c)"},
		{&quic.StreamError{ErrorCode: 0x10c}, false, 0x10c, "stream reset locally with H3_REQUEST_CANCELLED (0x10c)"},
		{&quic.StreamError{ErrorCode: 0x107}, false, 0x107, "stream reset locally with H3_EXCESSIVE_LOAD (0x107)"},
		{&quic.StreamError{ErrorCode: 0x1234567, Remote: true}, true, 0x1234567, "stream reset by peer with error code 0x1234567"},
		{&quic.StreamError{ErrorCode: 0, Remote: true}, true, 0, "stream reset by peer with error code 0x0"},
	} {
		err := mapError(fmt.Errorf("wrapped: %w", c.err))
		se, ok := err.(*StreamError)
		require.True(t, ok)
		require.Equal(t, c.remote, se.Remote)
		require.Equal(t, c.code, se.Code)
		require.EqualError(t, err, c.text)
		require.ErrorIs(t, err, c.err, "quic-go's error can be seen")
		require.NotErrorIs(t, err, net.ErrClosed)
		require.Same(t, err, mapError(err), "mapped once")
	}
}

func TestMapErrorConnections(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		remote bool
		code   uint64
		closed bool // is net.ErrClosed
	}{
		{"peer's CONNECTION_CLOSE", &quic.ApplicationError{ErrorCode: 0x100, Remote: true}, true, 0x100, false},
		{"peer's error", &quic.ApplicationError{ErrorCode: 0x105, Remote: true, ErrorMessage: "why"}, true, 0x105, false},
		{"our close", &quic.ApplicationError{ErrorCode: 0x100}, false, 0x100, true},
		{"our error", &quic.ApplicationError{ErrorCode: 0x105}, false, 0x105, false},
		{"peer's transport error", &quic.TransportError{ErrorCode: quic.FlowControlError, Remote: true}, true, 0, false},
		{"our transport error", &quic.TransportError{ErrorCode: quic.FlowControlError}, false, 0, false},
		{"H3-16 idle timeout", &quic.IdleTimeoutError{}, true, 0, false},
		{"H3-16 handshake timeout", &quic.HandshakeTimeoutError{}, true, 0, false},
		{"H3-16 stateless reset", &quic.StatelessResetError{}, true, 0, false},
		{"version negotiation", &quic.VersionNegotiationError{}, true, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := mapError(c.err)
			ce, ok := err.(*ConnError)
			require.True(t, ok)
			require.Equal(t, c.remote, ce.Remote)
			require.Equal(t, c.code, ce.Code)
			require.Equal(t, c.closed, errors.Is(err, net.ErrClosed), "net.ErrClosed means a close of ours")
			require.ErrorIs(t, err, c.err, "quic-go's error can be seen")
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			var ne net.Error
			require.ErrorAs(t, err, &ne)
			require.False(t, ne.Timeout(), "a lost connection is no deadline")
			require.NotEmpty(t, err.Error())
			require.Same(t, err, mapError(fmt.Errorf("again: %w", err)).(interface{ Unwrap() error }).Unwrap())
		})
	}
	var idle *quic.IdleTimeoutError
	require.ErrorAs(t, mapError(&quic.IdleTimeoutError{}), &idle)
}

func TestMapErrorPassesTheRest(t *testing.T) {
	other := errors.New("other")
	for _, err := range []error{nil, io.EOF, os.ErrDeadlineExceeded, fmt.Errorf("w: %w", os.ErrDeadlineExceeded), other} {
		require.Equal(t, err, mapError(err))
	}
	e, ok := mapError(&http3.Error{ErrorCode: http3.ErrCodeInternalError, Remote: true}).(*StreamError)
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeInternalError, e.Code)
}
