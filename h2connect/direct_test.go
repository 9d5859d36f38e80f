//go:build linux

package h2connect

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"golang.org/x/net/http2"
)

// overTCP plays a client to a server of ours over TCP, with windows that let
// everything through: only the system holds it up.
func overTCP(t *testing.T, h http.HandlerFunc) *peer {
	ours, theirs := tcpPair(t)
	p := clientAt(t, ours, theirs, nil, h)
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	require.NoError(t, p.fr.WriteWindowUpdate(0, maxWindow-protocolWindow))
	require.True(t, p.ours.room.direct())
	return p
}

// full waits until the system takes nothing more and the connection holds what is
// left of a batch, or waits with the next.
func (p *peer) full() {
	require.Eventually(p.t, func() bool {
		p.ours.mu.Lock()
		defer p.ours.mu.Unlock()
		return p.ours.flushing && !p.ours.writeSince.IsZero() && time.Since(p.ours.writeSince) > 20*time.Millisecond
	}, 20*time.Second, time.Millisecond)
}

// content reads until so many bytes of DATA have come on each of the streams, whose
// frames must be whole, and returns them.
func (p *peer) content(want map[uint32]int) map[uint32][]byte {
	got := make(map[uint32][]byte)
	for id, n := range want {
		for len(got[id]) < n {
			f, err := p.fr.ReadFrame()
			require.NoError(p.t, err)
			if d, ok := f.(*http2.DataFrame); ok {
				require.LessOrEqual(p.t, len(d.Data()), maxData)
				got[d.StreamID] = append(got[d.StreamID], d.Data()...)
			}
		}
	}
	return got
}

func randomBytes(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

// What a write has not copied has left its caller's memory when it returns, whether
// the system has taken it at once or not, and stands in order between what others
// write and what is copied.
func TestLargeWritesOverTCPLeaveTheirCallersMemory(t *testing.T) {
	sizes := []int{256 << 10, 1, 20 << 10, directLeast, 100 << 10, 66 << 10, 14, 300 << 10, maxData, 2*maxData + 1, 1 << 20}
	total := 0
	for _, n := range sizes {
		total += n
	}
	sent := map[uint32][]byte{1: randomBytes(1, 4*total), 3: randomBytes(3, 4*total)}
	p := overTCP(t, func(w http.ResponseWriter, r *http.Request) {
		st, err := responseWriterOf(w).accept()
		if !assert.NoError(t, err) {
			return
		}
		b := make([]byte, 1<<20)
		for rest := sent[st.id]; len(rest) > 0; {
			for i, n := range sizes {
				n = copy(b[:n], rest)
				header := b[:min(n, i%3*7)]
				written, err := st.WriteBuffers(header, b[len(header):n])
				if !assert.NoError(t, err) || !assert.EqualValues(t, n, written) {
					return
				}
				clear(b)
				rest = rest[n:]
			}
		}
		assert.NoError(t, st.CloseWrite())
	})
	p.headers(1, false, connect()...)
	p.headers(3, false, connect()...)
	p.full()
	got := p.content(map[uint32]int{1: 4 * total, 3: 4 * total})
	for id := range sent {
		require.True(t, bytes.Equal(sent[id], got[id]), "stream %d", id)
	}
}

// A writer whose bytes the system does not take returns by its deadline, or when the
// stream is reset: what it had in frames is sent without it, and frames stay whole.
func TestABlockedLargeWriteOverTCPEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(p *peer, deadline func(time.Time) error)
		want func(err error) bool
	}{
		{"by its deadline", func(p *peer, deadline func(time.Time) error) {
			require.NoError(p.t, deadline(time.Unix(1, 0)))
		}, func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }},
		{"by a reset", func(p *peer, _ func(time.Time) error) {
			require.NoError(p.t, p.fr.WriteRSTStream(1, http2.ErrCodeCancel))
		}, func(err error) bool { se := new(StreamError); return errors.As(err, &se) && se.Remote }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			content := randomBytes(1, 64<<20) // more than a system holds
			accepted, ended := make(chan *stream, 1), make(chan int, 1)
			p := overTCP(t, func(w http.ResponseWriter, r *http.Request) {
				st, err := responseWriterOf(w).accept()
				if !assert.NoError(t, err) {
					return
				}
				accepted <- st
				b := bytes.Clone(content)
				n, err := st.Write(b)
				assert.True(t, tc.want(err), "%v", err)
				clear(b)
				ended <- n
				<-r.Context().Done()
			})
			p.headers(1, false, connect()...)
			st := <-accepted
			p.full()
			tc.end(p, st.SetWriteDeadline)
			n := <-ended
			require.Less(t, n, len(content))
			got := p.content(map[uint32]int{1: n})[1]
			require.True(t, bytes.Equal(content[:len(got)], got), "what was sent is what was written")
			require.Len(t, got, n, "and as much as the writer was told")
			p.wantAlive("frames are whole")
		})
	}
}

// What Handlers write first goes out while the rest is written, and the rest together;
// where there was much of it the last time, all of it goes by larger pieces.
func TestFirstAnswersOfABurstGoAhead(t *testing.T) {
	const sockets = 3
	handled := make(chan struct{}, sockets)
	var p *peer
	var waits []int // what waited to be sent when each was called; under the connection's lock
	answer := make([]byte, firstCorkBytes)
	p = overTCP(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		assert.NoError(t, c.Handle(messageFunc(func(c *websocket.Conn, kind websocket.MessageType, _ []byte) {
			p.ours.mu.Lock()
			waits = append(waits, len(p.ours.out))
			p.ours.mu.Unlock()
			assert.True(t, p.ours.lead.away(), "the reader calls it")
			assert.NoError(t, c.Write(context.Background(), kind, answer))
		})))
		handled <- struct{}{}
	})
	p.ours.lead.watched.Store(true) // its timer does not run: nobody takes the lead over
	var burst []byte
	for i := range uint32(sockets) {
		id := 2*i + 1
		p.headers(id, false, connect()...)
		p.wantStatus(id, "200", false, "")
		<-handled
		burst = dataFrames(burst, id, []byte{0x82, 0x80, 1, 2, 3, 4})
	}
	a := len(answer) + 4 // with its header, and w with its frame's
	w := a + frameHeader
	for _, step := range []struct {
		bursts int
		want   []int
	}{
		{1, []int{0, 0, w}},
		{1, []int{0, 0, w}},
		{3, []int{0, 0, w, 2 * w, 0, w, 2 * w, 0, w}},
		{1, []int{0, w, 2 * w}},
		{1, []int{0, 0, w}},
	} {
		_, err := p.nc.Write(bytes.Repeat(burst, step.bursts))
		require.NoError(t, err)
		n := step.bursts * a
		p.content(map[uint32]int{1: n, 3: n, 5: n})
		p.ours.mu.Lock()
		got := waits
		waits = nil
		p.ours.mu.Unlock()
		require.Equal(t, step.want, got)
	}
}
