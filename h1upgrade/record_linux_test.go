package h1upgrade

import (
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/tlsrecord"
)

func TestAStreamOverTLSKnowsWhichRecordsHaveCome(t *testing.T) {
	s, c := tcpPair(t)
	server, client := handshaken(t, s, c)
	whole := streamOver(server)
	assert.Zero(t, whole.Records())
	_, err := client.Write(make([]byte, 64<<10))
	require.NoError(t, err)
	for whole.Records() < 2 {
		runtime.Gosched() // they are on their way
	}
	p := make([]byte, tlsrecord.Size+1)
	left := 64 << 10
	for range whole.Records() {
		n, err := whole.Read(p)
		require.NoError(t, err)
		assert.LessOrEqual(t, n, tlsrecord.Size)
		left -= n
	}
	n, err := io.ReadFull(whole, make([]byte, left))
	require.NoError(t, err)
	assert.Equal(t, left, n)
	assert.Zero(t, whole.Records())
}

func TestAStreamWithoutTLSHasNoRecords(t *testing.T) {
	s, c := tcpPair(t)
	whole := streamOver(s)
	_, err := c.Write(make([]byte, 64<<10))
	require.NoError(t, err)
	_, err = io.ReadFull(whole, make([]byte, 1))
	require.NoError(t, err)
	assert.Zero(t, whole.Records())
}
