package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

// A calls is a connection that notes how much is written to it at once.
type calls struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

func (c *calls) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sizes = append(c.sizes, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *calls) taken() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sizes := c.sizes
	c.sizes = nil
	return sizes
}

// connect returns the two ends of a TLS connection, whose records are as large as they
// get; the near end is on top of a Conn, and that of seen.
func connect(t *testing.T) (near, far *tls.Conn, seen *calls) {
	a, b := net.Pipe()
	server, client := wstest.Certificates()
	server.DynamicRecordSizingDisabled = true
	client.ServerName = "localhost"
	seen = &calls{Conn: a}
	near, far = tls.Server(New(seen), server), tls.Client(b, client)
	done := make(chan error)
	go func() { done <- far.Handshake() }()
	require.NoError(t, near.Handshake())
	require.NoError(t, <-done)
	seen.taken()
	t.Cleanup(func() { a.Close() })
	return near, far, seen
}

func TestTheRecordsOfAWriteLeaveTogether(t *testing.T) {
	near, far, seen := connect(t)
	const overhead = 5 + 1 + 16 // header, content type and tag (RFC 8446 §5.2)
	for _, tc := range []struct {
		n    int
		want []int
	}{
		{0, nil},
		{1, []int{1 + overhead}},
		{Size, []int{Size + overhead}},
		{Size + 1, []int{Size + 1 + 2*overhead}},
		{66 << 10, []int{66<<10 + 5*overhead}},
		{9*Size + 1, []int{4 * (Size + overhead), 4 * (Size + overhead), Size + 1 + 2*overhead}},
	} {
		p := bytes.Repeat([]byte("0123456789abcdef!"), tc.n/17+1)[:tc.n]
		got := make([]byte, tc.n)
		arrived := make(chan error)
		go func() {
			_, err := io.ReadFull(far, got)
			arrived <- err
		}()
		n, err := Write(near, p)
		require.NoError(t, err)
		assert.Equal(t, tc.n, n)
		require.NoError(t, <-arrived)
		assert.True(t, bytes.Equal(p, got), tc.n)
		assert.Equal(t, tc.want, seen.taken(), tc.n)
	}
	assert.Nil(t, Under(near).held, "an idle connection holds nothing")
	assert.Zero(t, borrowed.Load())
}

// TestMemoryIsBounded: where too many hold records, for peers that take nothing perhaps,
// the others' leave one by one.
func TestMemoryIsBounded(t *testing.T) {
	near, far, seen := connect(t)
	go io.Copy(io.Discard, far) // ends with the connection
	var others [][]byte
	for range borrowers {
		p := borrow()
		require.NotNil(t, p)
		others = append(others, p)
	}
	for _, calls := range []int{3, 1} {
		n, err := Write(near, make([]byte, 3*Size))
		require.NoError(t, err)
		assert.Equal(t, 3*Size, n)
		assert.Len(t, seen.taken(), calls)
		if calls > 1 {
			giveBack(others[0])
		}
	}
	for _, p := range others[1:] {
		giveBack(p)
	}
	assert.Zero(t, borrowed.Load())
}

func TestWithoutAConnEachRecordLeavesByItself(t *testing.T) {
	near, far, seen := connect(t)
	bare := struct{ net.Conn }{near} // nobody can look beneath it
	go io.Copy(io.Discard, far)
	assert.Nil(t, Under(bare))
	n, err := Write(bare, make([]byte, 3*Size))
	require.NoError(t, err)
	assert.Equal(t, 3*Size, n)
	assert.Len(t, seen.taken(), 3)
}

// TestWhatComesMeanwhileKeepsItsPlace: crypto/tls may write while Release does, and never
// waits for the peer.
func TestWhatComesMeanwhileKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tooMuch := range []bool{false, true} {
			a, b := net.Pipe()
			c := New(a)
			c.Hold()
			n, err := c.Write(make([]byte, together))
			require.NoError(t, err)
			assert.Equal(t, together, n)
			released := make(chan error)
			go func() { released <- c.Release() }()
			synctest.Wait() // nobody reads
			n, err = c.Write([]byte("second "))
			require.NoError(t, err)
			assert.Equal(t, 7, n)
			_, err = c.Write(make([]byte, together-7))
			require.NoError(t, err)
			want := error(nil)
			if tooMuch {
				want = errUnread
				_, err = c.Write([]byte("x"))
				assert.ErrorIs(t, err, want)
				_, err = c.Write(nil)
				assert.ErrorIs(t, err, want, "it stays")
			}
			got := make([]byte, together)
			_, err = io.ReadFull(b, got)
			require.NoError(t, err)
			if !tooMuch {
				_, err = io.ReadFull(b, got)
				require.NoError(t, err)
				assert.Equal(t, "second ", string(got[:7]))
			}
			assert.ErrorIs(t, <-released, want)
			assert.Nil(t, c.held)
			assert.Nil(t, c.aside)
		}
	})
}

// A slow is a connection that takes a write when open is closed.
type slow struct {
	net.Conn
	open chan struct{}

	mu    sync.Mutex
	taken []byte
}

func (s *slow) Write(p []byte) (int, error) {
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, p...)
	return len(p), nil
}

// TestReleaseBehindAnAnswer: between the last record of a write and Release crypto/tls
// answers to what it reads, for which what is held has to leave.
func TestReleaseBehindAnAnswer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		held   int
		answer []byte
	}{
		{"more than is held at most", together - 1, []byte{23, 'x'}},
		{"a handshake", 100, []byte{22, 'x'}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer := &slow{open: make(chan struct{})}
				c := New(peer)
				c.Hold()
				p := bytes.Repeat([]byte("0123456789abcdef"), together/16)[:tc.held]
				_, err := c.Write(p)
				require.NoError(t, err)
				wrote, released := make(chan error, 1), make(chan error, 1)
				go func() {
					_, err := c.Write(tc.answer)
					wrote <- err
				}()
				synctest.Wait()
				go func() { released <- c.Release() }()
				synctest.Wait()
				assert.Empty(t, released, "nothing has been taken")
				close(peer.open)
				require.NoError(t, <-wrote)
				require.NoError(t, <-released)
				assert.True(t, bytes.Equal(append(p, tc.answer...), peer.taken), "once, and in its order")
				assert.Nil(t, c.held)
				assert.Zero(t, borrowed.Load())
			})
		})
	}
}

// TestAHandshakeIsNotHeld: whoever writes it, in TLS 1.2 once more, waits for its answer
// before Release is called.
func TestAHandshakeIsNotHeld(t *testing.T) {
	for _, kind := range []byte{20, 22} {
		seen := &calls{Conn: &failing{n: 2}}
		c := New(seen)
		c.Hold()
		for _, p := range [][]byte{{23, 1}, {kind, 2}, {23, 3}, {23, 4, 5}} {
			_, err := c.Write(p)
			require.NoError(t, err)
		}
		assert.Equal(t, []int{4}, seen.taken(), "behind what was before it")
		require.NoError(t, c.Release())
		assert.Equal(t, []int{5}, seen.taken())
		c.Hold()
		_, err := c.Write([]byte{kind})
		assert.ErrorIs(t, err, errFailing)
		assert.ErrorIs(t, c.Release(), errFailing)
	}
}

// TestCloseDoesNotWaitForThePeer: nor does the alert with which crypto/tls announces it.
func TestCloseDoesNotWaitForThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _, _ := connect(t)
		failed := make(chan error)
		go func() {
			_, err := Write(near, make([]byte, 2*Size))
			failed <- err
		}()
		synctest.Wait() // nobody reads
		began := time.Now()
		require.NoError(t, near.Close())
		assert.Error(t, <-failed)
		assert.Nil(t, Under(near).held)
		assert.Nil(t, Under(near).aside, "nor does the alert stay")
		assert.Zero(t, borrowed.Load())
		assert.Zero(t, time.Since(began))
	})
}

func TestADeadlineHoldsForWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far, seen := connect(t)
		require.NoError(t, near.SetWriteDeadline(time.Now().Add(time.Second)))
		began := time.Now()
		n, err := Write(near, make([]byte, 2*Size))
		assert.Zero(t, n)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		assert.Len(t, seen.taken(), 1)

		// Something of it may have arrived: nothing may follow.
		require.NoError(t, near.SetWriteDeadline(time.Time{}))
		go io.Copy(io.Discard, far)
		for _, size := range []int{1, 2 * Size} {
			_, err = Write(near, make([]byte, size))
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		assert.Empty(t, seen.taken())
		assert.Nil(t, Under(near).held)
	})
}

// A failing is a connection whose nth write fails.
type failing struct {
	net.Conn
	n int
}

var errFailing = errors.New("it fails")

func (f *failing) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errFailing
	}
	return len(p), nil
}

func TestErrorsAreNotLost(t *testing.T) {
	for at, writes := range [][]int{ // to the connection below, before it fails
		0: {together, 1},
		1: {together, 1, together},
	} {
		c := New(&failing{n: at})
		c.Hold()
		var failed []error
		for _, n := range writes {
			_, err := c.Write(make([]byte, n))
			failed = append(failed, err)
		}
		assert.ErrorIs(t, c.Release(), errFailing)
		assert.ErrorIs(t, failed[len(failed)-1], errFailing, at)
		assert.Equal(t, at+1, len(slices.DeleteFunc(failed, func(err error) bool { return err != nil })), at)
		assert.ErrorIs(t, c.Release(), errFailing, "that of the write stays")
	}
}

func TestWhatStandsBeneath(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer far.Close()
	near, err := Listener{l}.Accept()
	require.NoError(t, err)
	defer near.Close()
	require.IsType(t, (*Conn)(nil), near)
	c := near.(*Conn)
	assert.IsType(t, (*net.TCPConn)(nil), c.NetConn())
	assert.Same(t, c, Under(tls.Server(c, nil)))
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(uintptr) {}))

	own, _ := net.Pipe()
	assert.Equal(t, own, Beneath(own), "its type may matter")
	assert.Nil(t, Under(tls.Server(own, nil)))
	_, err = New(own).SyscallConn()
	assert.Error(t, err)
	require.NoError(t, l.Close())
	_, err = Listener{l}.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}
