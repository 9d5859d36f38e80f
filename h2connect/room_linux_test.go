package h2connect

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/tlsrecord"
)

// A write that takes has promised does not wait, however small the send buffer is and
// however small the writes are, of which each takes more of it than its bytes.
func TestRoomPromisesNoMoreThanTheKernelTakes(t *testing.T) {
	for name, buffer := range map[string]int{"the system's": 0, "the smallest": 1, "16 KiB": 16 << 10, "256 KiB": 256 << 10} {
		t.Run(name, func(t *testing.T) {
			for _, most := range []int{100, inlineBytes} {
				r, out := watched(t, buffer)
				wrote := 0
				for range 1 << 20 { // nobody reads: at some time there is no room
					n := 1 + rand.IntN(most)
					if !r.takes(n) {
						break
					}
					require.NoError(t, out.SetWriteDeadline(time.Now().Add(10*time.Second)))
					_, err := out.Write(make([]byte, n))
					require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "a write of %d bytes after %d waited", n, wrote)
					require.NoError(t, err)
					wrote += n
				}
				require.False(t, r.takes(1))
			}
		})
	}
}

// Of small writes most need no question.
func TestRoomAsksOnceForSeveralSmallWrites(t *testing.T) {
	r, out := watched(t, 256<<10)
	asked, poll := 0, r.poll
	r.poll = func(fd uintptr) { asked++; poll(fd) }
	for range 30 {
		require.True(t, r.takes(64))
		_, err := out.Write(make([]byte, 64))
		require.NoError(t, err)
	}
	require.LessOrEqual(t, asked, 3)
	r.written()
	before := asked
	require.True(t, r.takes(64))
	require.Equal(t, before+1, asked, "a write that may have waited came between")
}

// watched returns a connection, with a send buffer of so many bytes or, for 0, of the
// system's choice, and its room. Nobody reads at its other end.
func watched(t *testing.T, buffer int) (*room, net.Conn) {
	out, _ := tcpPair(t)
	r := new(room)
	r.watch(out)
	if buffer > 0 {
		require.NoError(t, out.(*net.TCPConn).SetWriteBuffer(buffer))
	}
	return r, out
}

// TestRoomKnowsWhatIsBeneathTLS: also beneath what gathers its records.
func TestRoomKnowsWhatIsBeneathTLS(t *testing.T) {
	for name, beneath := range map[string]func(net.Conn) net.Conn{
		"TCP":     func(c net.Conn) net.Conn { return c },
		"records": tlsrecord.Beneath,
	} {
		nc, _ := tcpPair(t)
		var r room
		r.watch(tls.Server(beneath(nc), nil))
		assert.True(t, r.check(), name)
		assert.NotZero(t, r.space(), name)
		raw, err := nc.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) {
			n, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat)
			require.NoError(t, err)
			assert.Equal(t, notSentLowat, n, name)
		}))
	}
}
