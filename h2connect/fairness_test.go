package h2connect

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// bulkBound is how many bytes of bulk, frame headers included, may go out
// between a socket's write and its frame: a batch that is being written, which a
// last frame may overfill, and nothing of the next.
const bulkBound = batchBytes + maxFrame

// endlessAndEcho serves sockets that echo bytes and responses without an end.
func endlessAndEcho(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		rawEcho(w, r)
		return
	}
	content := make([]byte, 64<<10)
	for {
		if _, err := w.Write(content); err != nil {
			return
		}
	}
}

// A message of a socket waits behind what the network has been given already,
// and behind one batch that is on its way there; never behind the bulk that
// waits with us, however much and for however many streams.
func TestSocketsMessageDoesNotWaitForBulk(t *testing.T) {
	for _, bulk := range []int{1, 50} {
		t.Run(fmt.Sprint(bulk), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const network = 8 << 10
				p := clientOver(t, wstest.PipeOptions{Buffer: network}, nil, http.HandlerFunc(endlessAndEcho))
				p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
				p.fr.WriteWindowUpdate(0, 1<<30)
				p.headers(1, false, connect()...)
				p.wantStatus(1, "200", false, "a socket")
				for i := range bulk {
					p.headers(uint32(2*i+3), true, get("/")...)
				}
				for range 100 {
					synctest.Wait() // the network is full and everything has stopped
					p.fr.WriteData(1, false, make([]byte, 64))
					synctest.Wait() // and the echo waits behind it
					waited := 0
					for {
						f := p.next("bulk, then the echo")
						if f.Header().StreamID == 1 {
							break
						}
						waited += frameHeader + int(f.Header().Length)
					}
					require.LessOrEqual(t, waited, network+bulkBound)
				}
				p.hangUp()
			})
		})
	}
}

// While all have something to send, sockets share by bytes, and of bulkTurn+1
// frames one is bulk's, which is shared in turn.
func TestStreamsShareTheConnection(t *testing.T) {
	const sockets, bulk = 4, 2
	ours, _ := wstest.Pipe(wstest.PipeOptions{})
	c := newConn(ours.NetConn(), serverSide, Limits{}.withDefaults())
	c.outConn.window, c.outBase.initial = maxWindow, maxWindow
	for i := range sockets + bulk {
		st := c.newStream(uint32(2*i + 1))
		st.socket = i < sockets
		st.send.begin()
		st.send.payload = make([]byte, 8<<20)
		c.sched.enqueue(st)
	}
	c.pump()
	assert.LessOrEqual(t, len(c.out), socketBytes)
	assert.Greater(t, len(c.out), socketBytes-maxFrame, "a batch is full")
	bytes := make(map[uint32]int)
	var sequence []bool
	for range 450 {
		c.fill()
		for p := c.out; len(p) > 0; {
			n := int(p[0])<<16 | int(p[1])<<8 | int(p[2])
			id := binary.BigEndian.Uint32(p[5:])
			bytes[id] += n
			sequence = append(sequence, id > 2*sockets)
			p = p[frameHeader+n:]
		}
		c.out, c.lastData = c.out[:0], nil
	}
	for i := 0; i+bulkTurn < len(sequence); i += bulkTurn + 1 {
		turns := sequence[i : i+bulkTurn+1]
		require.Equal(t, 1, len(slices.DeleteFunc(slices.Clone(turns), func(b bool) bool { return !b })), "one of nine")
	}
	for i := range sockets {
		assert.InDelta(t, bytes[1], bytes[uint32(2*i+1)], maxData, "sockets")
	}
	for i := range bulk {
		assert.InDelta(t, bytes[2*sockets+1], bytes[uint32(2*(sockets+i)+1)], maxData, "bulk")
	}
}

// Between flushes only sockets enter the batch, and no more of them than leaves
// bulk its turn.
func TestBulkWaitsOutsideTheBatch(t *testing.T) {
	ours, _ := wstest.Pipe(wstest.PipeOptions{})
	c := newConn(ours.NetConn(), serverSide, Limits{}.withDefaults())
	c.outConn.window, c.outBase.initial = maxWindow, maxWindow
	socket, bulk := c.newStream(1), c.newStream(3)
	socket.socket = true
	bulk.send.begin()
	bulk.send.payload = make([]byte, 1<<20)
	c.sched.enqueue(bulk)
	c.pump()
	assert.Empty(t, c.out)
	assert.True(t, c.sendable(), "but a flusher would find it")
	for range 3 * bulkTurn {
		socket.send.begin()
		socket.send.payload = make([]byte, 10)
		c.sched.enqueue(socket)
		c.lastData = nil // a frame each
		c.pump()
	}
	assert.Equal(t, bulkTurn*(frameHeader+10), len(c.out), "then it is bulk's turn")
	c.fill()
	assert.GreaterOrEqual(t, len(c.out), batchBytes)
}
