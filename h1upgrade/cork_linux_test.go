package h1upgrade

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/tlsrecord"
)

// corkSeen is a TCP connection that notes for each write whether TCP holds it
// back.
type corkSeen struct {
	*net.TCPConn
	t      *testing.T
	writes []bool
	err    error // of the next writes
}

func (c *corkSeen) NetConn() net.Conn { return c.TCPConn }

func (c *corkSeen) Write(p []byte) (int, error) {
	c.writes = append(c.writes, isCorked(c.t, c.TCPConn))
	if c.err != nil {
		return 0, c.err
	}
	return c.TCPConn.Write(p)
}

func isCorked(t *testing.T, c *net.TCPConn) (in bool) {
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		n, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK)
		assert.NoError(t, err)
		in = n != 0
	}))
	return in
}

func TestRecordsOfAFrameAreHeldTogether(t *testing.T) {
	s, c := tcpPair(t)
	seen := &corkSeen{TCPConn: s.(*net.TCPConn), t: t}
	server, client := handshaken(t, seen, c)
	go io.Copy(io.Discard, client) // ends with the connection
	whole := newStream(server, new(tls.ConnectionState))

	some := bytes.Repeat([]byte("p"), 4*tlsrecord.Size)
	_, err := whole.Write(some[:100]) // makes crypto/tls's records as large as they get
	require.NoError(t, err)
	for range 4 {
		_, err := whole.Write(some)
		require.NoError(t, err)
	}
	tests := []struct {
		name    string
		payload []byte
		write   func(p []byte) (int64, error)
		want    []bool
	}{
		{"short", some[:100], func(p []byte) (int64, error) { return whole.WriteBuffers(some[:4], p) }, []bool{false}},
		{"a record", some[:tlsrecord.Size-4], func(p []byte) (int64, error) { return whole.WriteBuffers(some[:4], p) }, []bool{false}},
		{"the header is a record", some, func(p []byte) (int64, error) { return whole.WriteBuffers(some[:4], p) }, []bool{true, true, true, true, true}},
		{"the header is copied", some[:tlsrecord.Size+9], func(p []byte) (int64, error) { return whole.WriteBuffers(some[:4], p) }, []bool{true, true}},
		{"a further step", some, func(p []byte) (int64, error) { n, err := whole.Write(p); return int64(n), err }, []bool{false, false, false, false}},
	}
	for _, test := range tests {
		seen.writes = nil
		_, err := test.write(test.payload)
		require.NoError(t, err, test.name)
		assert.Equal(t, test.want, seen.writes, test.name)
		assert.False(t, isCorked(t, seen.TCPConn), "%s: what was held back has gone", test.name)
	}

	seen.err = errors.New("broken")
	_, err = whole.WriteBuffers(some[:4], some)
	require.ErrorIs(t, err, seen.err)
	assert.False(t, isCorked(t, seen.TCPConn), "after a write that failed")
}

func TestADeadlineEndsAFrameThatIsHeldTogether(t *testing.T) {
	s, c := tcpPair(t)
	server, _ := handshaken(t, s, c)
	whole := newStream(server, new(tls.ConnectionState))
	require.NoError(t, whole.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	n, err := whole.WriteBuffers(make([]byte, 10), make([]byte, 64<<20)) // nobody reads
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.Positive(t, n)
	assert.False(t, isCorked(t, s.(*net.TCPConn)))
}

func TestNothingIsHeldBackWithoutTCP(t *testing.T) {
	server, client := tlsPair(t, unixPair)
	go io.Copy(io.Discard, client) // ends with the connection
	whole := streamOver(server)
	n, err := whole.WriteBuffers(make([]byte, 4), make([]byte, 2*tlsrecord.Size))
	require.NoError(t, err)
	assert.EqualValues(t, 4+2*tlsrecord.Size, n)
	assert.Nil(t, whole.large.cork.raw)
}
