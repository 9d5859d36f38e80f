package arrivals

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnreadIsWhatHasCome(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			near, far := pair(t, network)
			a := Of(near)
			if runtime.GOOS != "linux" {
				_, err := far.Write(make([]byte, LargestRecord))
				require.NoError(t, err)
				assert.Zero(t, a.Unread(), "here it cannot be told")
				return
			}
			assert.Zero(t, a.Unread())
			_, err := far.Write(make([]byte, LargestRecord-1))
			require.NoError(t, err)
			for a.Unread() < LargestRecord-1 {
				runtime.Gosched() // it is on its way
			}
			assert.Equal(t, LargestRecord-1, a.Unread(), "asking does not read")
			assert.Zero(t, a.Records(), "the last byte is missing")
			_, err = far.Write(make([]byte, LargestRecord+1))
			require.NoError(t, err)
			for a.Unread() < 2*LargestRecord {
				runtime.Gosched()
			}
			assert.Equal(t, 2, a.Records())
			_, err = near.Read(make([]byte, 100))
			require.NoError(t, err)
			assert.Equal(t, 2*LargestRecord-100, a.Unread())
			assert.Equal(t, 1, a.Records())
			require.NoError(t, near.Close())
			assert.Zero(t, a.Unread(), "of a connection that has been closed")
			assert.Zero(t, Of(near).Unread())
		})
	}
}

func TestOfAConnectionThatIsNoneOfTheSystems(t *testing.T) {
	near, _ := net.Pipe()
	assert.Zero(t, Of(near).Unread())
}

func pair(t *testing.T, network string) (near, far net.Conn) {
	address := "127.0.0.1:0"
	if network == "unix" {
		// A short path: the system allows no long one.
		dir, err := os.MkdirTemp("", "")
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	defer l.Close()
	far, err = net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	near, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}
