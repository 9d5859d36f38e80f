package h2connect

import (
	"context"
	"encoding/binary"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"golang.org/x/net/http2"
)

// dataFrames appends DATA frames with content to b.
func dataFrames(b []byte, id uint32, content ...[]byte) []byte {
	for _, p := range content {
		b = append(b, raw(http2.FrameData, 0, id, p)...)
	}
	return b
}

func TestH2_17ABurstObeysItsStreamsWindows(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/echo" {
			rawEcho(w, r)
			return
		}
		_, err := responseWriterOf(w).accept()
		assert.NoError(t, err)
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	p.greet()
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "")
	p.headers(3, false, with(connect(), ":path", "/echo")...)
	p.wantStatus(3, "200", false, "")
	burst := dataFrames(nil, 1, slices.Repeat([][]byte{make([]byte, 1<<10)}, 64)...)
	burst = dataFrames(burst, 1, []byte("x"), []byte("y"))
	p.nc.Write(dataFrames(burst, 3, []byte("hello")))
	p.wantReset(1, http2.ErrCodeFlowControl, "a byte more than the stream's window")
	p.wantData(3, "hello", false, "no second reset; its neighbour is as well as before")
	p.wantAlive("and so is the connection")
	assert.EqualValues(t, 1, p.hits("StreamWindow"))
	p.ours.mu.Lock()
	defer p.ours.mu.Unlock()
	assert.Equal(t, p.ours.inConn.size, p.ours.inConn.avail+p.ours.inConn.unsent, "every byte has been paid back")
}

func TestABurstEndsAtTheConnectionsWindow(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(rawEcho))
	p.greet()
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "")
	p.ours.mu.Lock()
	p.ours.inConn.avail = 10
	p.ours.mu.Unlock()
	p.nc.Write(dataFrames(nil, 1, []byte("12345"), []byte("678901")))
	p.wantGoAway(http2.ErrCodeFlowControl, "a byte more than the connection's window")
}

// Another goroutine takes over in the middle of a burst, and takes all of it.
func TestABurstIsTakenOver(t *testing.T) {
	release := make(chan struct{})
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		slow := r.URL.Path == "/slow"
		assert.NoError(t, c.Handle(messageFunc(func(c *websocket.Conn, kind websocket.MessageType, m []byte) {
			if slow {
				<-release
			}
			c.Write(context.Background(), kind, m)
		})))
	}))
	p.greet()
	p.headers(1, false, with(connect(), ":path", "/slow")...)
	p.wantStatus(1, "200", false, "")
	p.headers(3, false, connect()...)
	p.wantStatus(3, "200", false, "")
	const rounds = 30
	var burst []byte
	var want []byte
	for i := range rounds {
		m := binary.BigEndian.AppendUint16(nil, uint16(i))
		h := frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: 2}
		masked := frame.AppendMasked(h.Append(nil), m, h.Key, 0)
		burst = dataFrames(dataFrames(burst, 1, masked), 3, masked)
		want = append(append(want, 0x82, 2), m...)
	}
	_, err := p.nc.Write(burst)
	require.NoError(t, err)
	p.wantSoFar(3, want, "the quick one's answers, while the other one waits")
	close(release)
	p.wantSoFar(1, want, "all of the slow one's, in their order")
}

// wantSoFar takes DATA frames of a stream until they have brought as many bytes as
// want has.
func (p *peer) wantSoFar(id uint32, want []byte, why string) {
	p.t.Helper()
	var got []byte
	for len(got) < len(want) {
		d, ok := p.next(why).(*http2.DataFrame)
		require.True(p.t, ok, why)
		require.Equal(p.t, id, d.StreamID, why)
		got = append(got, d.Data()...)
	}
	assert.Equal(p.t, want, got, why)
}
