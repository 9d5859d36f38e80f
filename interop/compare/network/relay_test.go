package network

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An ending is one end of a cable in a test: packets in and out by channels.
type ending struct {
	in, out chan []byte
	closed  chan struct{}
}

func newEnding() *ending {
	return &ending{in: make(chan []byte, 1000), out: make(chan []byte, 1000), closed: make(chan struct{})}
}

func (e *ending) Read(p []byte) (int, error) {
	select {
	case b := <-e.in:
		return copy(p, b), nil
	case <-e.closed:
		return 0, io.EOF
	}
}

func (e *ending) Write(p []byte) (int, error) {
	e.out <- p
	return len(p), nil
}

func (e *ending) Close() error { close(e.closed); return nil }

func TestCableDelaysEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEnding(), newEnding()
		c := Connect(a, b, Link{Delay: 25 * time.Millisecond})
		defer c.Close()
		begin := time.Now()
		a.in <- []byte("there")
		assert.Equal(t, "there", string(<-b.out))
		b.in <- []byte("and back")
		assert.Equal(t, "and back", string(<-a.out))
		assert.Equal(t, 50*time.Millisecond, time.Since(begin))
		assert.Equal(t, int64(1), c.AB.Packets.Load())
		assert.Equal(t, int64(8), c.BA.Bytes.Load())
	})
}

func TestCableKeepsItsRateAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEnding(), newEnding()
		c := Connect(a, b, Link{Delay: 10 * time.Millisecond, Rate: 8e6}) // a byte in a microsecond
		defer c.Close()
		begin := time.Now()
		for i := range 20 {
			p := make([]byte, 1000)
			p[0] = byte(i)
			a.in <- p
		}
		for i := range 20 {
			assert.Equal(t, byte(i), (<-b.out)[0])
			assert.Equal(t, 10*time.Millisecond+time.Duration(i+1)*time.Millisecond, time.Since(begin))
		}
	})
}

func TestCableDropsWhatItsQueueHasNoRoomFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEnding(), newEnding()
		c := Connect(a, b, Link{Rate: 8e6, Queue: 5000})
		defer c.Close()
		for range 20 {
			a.in <- make([]byte, 1000)
		}
		time.Sleep(time.Second)
		assert.Len(t, b.out, 6, "five wait, one is being sent")
		assert.Equal(t, int64(14), c.AB.Overflown.Load())
	})
}

func TestCableLosesItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEnding(), newEnding()
		c := Connect(a, b, Link{Loss: 0.5})
		defer c.Close()
		const n = 1000
		for range n {
			a.in <- make([]byte, 100)
		}
		time.Sleep(time.Second)
		assert.EqualValues(t, n, c.AB.Packets.Load())
		assert.EqualValues(t, n-len(b.out), c.AB.Lost.Load())
		// Ten standard deviations of a binomial distribution.
		assert.InDelta(t, n/2, len(b.out), 160)
	})
}

func TestProxyPassesOnWhatItIsGiven(t *testing.T) {
	echo, err := newEcho()
	require.NoError(t, err)
	defer echo.close()
	p, err := NewProxy(echo.addr(), Link{Delay: time.Millisecond, Loss: 0.2, Rate: 100e6})
	require.NoError(t, err)
	defer p.Close()
	sent := make([]byte, 300_000)
	for i := range sent {
		sent[i] = byte(i / 7)
	}
	got, err := exchange(p.Addr(), sent)
	require.NoError(t, err)
	assert.Equal(t, sent, got, "TCP loses nothing")
	datagrams, err := datagrams(p.Addr(), 1000)
	require.NoError(t, err)
	assert.Greater(t, datagrams, 0)
	assert.Less(t, datagrams, 1000, "UDP loses some")
}
