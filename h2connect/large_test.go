package h2connect

import (
	"bytes"
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// largeMessage is 64 KiB.
var largeMessage = bytes.Repeat([]byte("0123456789abcdef"), 4<<10)

// The window of a stream doubles with each increment as long as nothing waits for
// its reader, up to its bound; that of one whose reader lags behind by a byte stays.
func TestH2_17TheWindowGrowsForAReaderThatKeepsUp(t *testing.T) {
	for _, tt := range []struct {
		name       string
		most       int
		room       int // by how much it may grow at once
		leave      int // bytes that are not read
		afterwards []int
	}{
		{"keeps up", 256 << 10, 1 << 20, 0, []int{128 << 10, 256 << 10, 256 << 10}},
		{"no room for another doubling", 255 << 10, 1 << 20, 0, []int{128 << 10, 128 << 10}},
		{"as it was set", 64 << 10, 1 << 20, 0, []int{64 << 10, 64 << 10}},
		{"others have the room", 256 << 10, 64 << 10, 0, []int{128 << 10, 128 << 10}},
		{"lags behind", 256 << 10, 1 << 20, 1, []int{64 << 10, 64 << 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r receiver
			r.init(64 << 10)
			window, scratch := 64<<10, make([]byte, 1<<20)
			for _, size := range tt.afterwards {
				for n := 0; window > 0; window -= n {
					n = min(window, maxFrame)
					f, _, _, _ := r.deliver(nil, scratch[:n], n)
					require.Equal(t, fateKept, f, "the window allows it")
				}
				f, _, _, _ := r.deliver(nil, scratch[:1], 1)
				require.Equal(t, fateOverrun, f, "and no more")
				n, increment, err := r.tryRead(scratch[:r.unread()-tt.leave])
				require.NoError(t, err)
				require.NotZero(t, n)
				window += int(increment) + int(r.widen(tt.most, tt.room))
				assert.EqualValues(t, size, r.flow.size)
				assert.Equal(t, size, window+r.unread(), "all of it is known to the peer")
			}
		})
	}
}

// The windows of a server grow where they are its own choice.
func TestStreamWindowsGrowUnlessTheyAreSet(t *testing.T) {
	for _, tt := range []struct{ set, want Limits }{
		{Limits{}, Limits{StreamWindow: 64 << 10, MaxStreamWindow: 1 << 20}},
		{Limits{StreamWindow: 100 << 10}, Limits{StreamWindow: 100 << 10, MaxStreamWindow: 100 << 10}},
		{Limits{MaxStreamWindow: 2 << 20}, Limits{StreamWindow: 64 << 10, MaxStreamWindow: 2 << 20}},
		{Limits{MaxStreamWindow: 1}, Limits{StreamWindow: 64 << 10, MaxStreamWindow: 64 << 10}},
	} {
		l := tt.set.withDefaults()
		assert.Equal(t, tt.want, Limits{StreamWindow: l.StreamWindow, MaxStreamWindow: l.MaxStreamWindow})
	}
	client := new(Transport).limits()
	assert.Equal(t, client.StreamWindow, client.MaxStreamWindow)
}

// Together the windows of a connection grow by half of what it may hold, however many
// streams keep up: what those may send that are not read any more leaves their
// neighbours the rest. A stream that ends gives back what it had.
func TestH2_23WindowsGrowByHalfOfWhatAConnectionHolds(t *testing.T) {
	ours, _ := wstest.Pipe(wstest.PipeOptions{})
	c := newServerConn(&server{srv: new(http.Server), limits: Limits{}.withDefaults()}, ours.NetConn(), nil).c
	half, scratch := c.limits.ConnBuffer/2, make([]byte, 1<<20)
	keepUp := func(st *stream) {
		for range 8 {
			for left := int(st.recv.flow.avail); left > 0; {
				n := min(left, maxFrame)
				_, _, _, _ = st.recv.deliver(st, scratch[:n], n)
				left -= n
			}
			n, increment, err := st.recv.tryRead(scratch)
			require.NoError(t, err)
			c.buffered.Add(int64(n))
			c.consumed(st, n, increment)
		}
	}
	grown := func() (sum int) {
		for _, st := range c.streams {
			sum += st.recv.window() - c.limits.StreamWindow
		}
		return sum
	}
	for id := range uint32(8) {
		keepUp(c.newStream(2*id + 1))
		assert.LessOrEqual(t, grown(), half)
		assert.Equal(t, grown(), c.widened)
	}
	assert.Greater(t, grown(), half-c.limits.StreamWindow, "the room is used")
	assert.Equal(t, c.limits.MaxStreamWindow, c.streams[1].recv.window())
	assert.Equal(t, c.limits.StreamWindow, c.streams[15].recv.window())
	c.mu.Lock()
	c.forget(c.streams[1], nil)
	c.mu.Unlock()
	assert.Equal(t, grown(), c.widened)
	keepUp(c.streams[15])
	assert.Greater(t, c.streams[15].recv.window(), c.limits.StreamWindow)
}

// A message of 64 KiB is one batch: its last bytes do not go by themselves, and
// the next message's do not go with them in part.
func TestALargeMessageIsOneBatch(t *testing.T) {
	ours, _ := wstest.Pipe(wstest.PipeOptions{})
	c := newConn(ours.NetConn(), serverSide, Limits{}.withDefaults())
	c.outConn.window, c.outBase.initial = maxWindow, maxWindow
	header := frame.Header{Fin: true, Opcode: frame.Binary, Length: int64(len(largeMessage))}.Append(nil)
	for id := range uint32(2) {
		st := c.newStream(2*id + 1)
		st.socket = true
		st.send.begin()
		st.send.header, st.send.payload = header, largeMessage
		c.sched.enqueue(st)
		c.pump()
	}
	total := len(header) + len(largeMessage)
	frames := (total + maxData - 1) / maxData
	assert.Zero(t, c.streams[1].send.pending())
	assert.Equal(t, total, c.streams[3].send.pending())
	assert.Len(t, c.out, total+frames*frameHeader)
	assert.LessOrEqual(t, len(c.out), inlineMost)
	assert.Equal(t, largeBatch, cap(c.out), "in memory that is borrowed")
	c.recycle(c.out)
	assert.Less(t, cap(c.spare), largeBatch, "and given back")
}

// Answers of 64 KiB that the network does not take yet do not cost the connection
// its reader at once: one is on its way there, one is the next batch, and one waits
// for each socket. Beyond them a Handler has to wait, and another goroutine reads.
func TestLargeAnswersWaitForTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var returned atomic.Int32
		p := clientOver(t, wstest.PipeOptions{Buffer: 4 << 10}, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := Accept(w, r, nil)
			if !assert.NoError(t, err) {
				return
			}
			assert.NoError(t, c.Handle(messageFunc(func(c *websocket.Conn, kind websocket.MessageType, _ []byte) {
				c.Write(context.Background(), kind, largeMessage)
				returned.Add(1)
			})))
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.fr.WriteWindowUpdate(0, 1<<20)
		p.headers(1, false, connect()...)
		p.wantStatus(1, "200", false, "")
		synctest.Wait()
		h := frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Length: 1}
		const messages = 5
		for range messages {
			p.fr.WriteData(1, false, append(h.Append(nil), 'x'))
			synctest.Wait()
		}
		assert.EqualValues(t, 3, returned.Load())
		p.ours.mu.Lock()
		held := len(p.ours.out) + p.ours.streams[1].send.buffered.len()
		p.ours.mu.Unlock()
		assert.LessOrEqual(t, held, largeBatch+handlerBuffer)
		answer := frame.Header{Fin: true, Opcode: frame.Binary, Length: int64(len(largeMessage))}.Append(nil)
		p.wantSoFar(1, bytes.Repeat(append(answer, largeMessage...), messages), "all of it, in order")
		synctest.Wait()
		assert.EqualValues(t, messages, returned.Load())
		p.hangUp()
	})
}
