package frame

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	require.Equal(t, "server", Server.String())
	require.Equal(t, "client", Client.String())
	for op, want := range map[Opcode]string{
		Continuation: "continuation", Text: "text", Binary: "binary", Close: "close", Ping: "ping", Pong: "pong",
		0x3: "reserved opcode 0x3", 0xF: "reserved opcode 0xf",
	} {
		require.Equal(t, want, op.String())
		require.Equal(t, op >= 8, op.IsControl())
	}
	require.Equal(t, "1000", StatusNormalClosure.String())
}

func TestErrorNamesTheRule(t *testing.T) {
	var r Receiver
	_, _, err := r.Next(unhex("81 00"))
	var broken *Error
	require.ErrorAs(t, err, &broken)
	require.Equal(t, &Error{Code: StatusProtocolError, Rule: "frame from a client not masked"}, broken)
	require.EqualError(t, err, "frame: frame from a client not masked")
}

func TestRefusalNamesTheRule(t *testing.T) {
	var s Sender
	_, err := s.Append(nil, Header{Opcode: Ping}, nil)
	require.EqualError(t, err, "frame: refused to send: control frame fragmented")
	var broken *Error
	require.False(t, errors.As(err, &broken))
}
