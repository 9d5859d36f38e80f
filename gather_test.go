package websocket_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// allocatedBy returns how many bytes are allocated while f runs.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What a socket's last message had may be taken for its next one at once; what is
// announced beyond that may not, whoever reads.
func TestWS06OnlyWhatASocketHasSentIsTakenAtOnce(t *testing.T) {
	for name, handled := range map[string]bool{"read": false, "handled": true} {
		t.Run(name, func(t *testing.T) {
			onEveryStream(t, func(t *testing.T, s socket) {
				s.params.Limits.Message = 1 << 40
				s.pipe.Buffer = 1 << 20
				e := s.open(t)
				handle := func() { synctest.Wait() }
				if handled {
					require.NoError(t, e.Handle(new(recorder)))
				} else {
					handle = func() {
						e.beginRead(t.Context())
						synctest.Wait()
					}
				}
				e.peer.Send(t, wstest.Binary(make([]byte, 300<<10)))
				handle()
				e.peer.Send(t, wstest.Frame{Opcode: frame.Binary, Length: 1 << 39, Payload: make([]byte, 2000)})
				assert.Less(t, allocatedBy(handle), uint64(600<<10))
			})
		})
	}
}

// Messages of a size that comes again and again are gathered in the same memory.
func TestHandledMessagesAreGatheredInTheSameMemory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would empty the pools
	for _, size := range []int{100 << 10, 1 << 20} {
		t.Run(sizeName(size), func(t *testing.T) {
			const messages = 100
			c := websocket.New(newLoop(size), websocket.Params{Limits: websocket.Limits{Message: 4 << 20}})
			defer c.CloseNow()
			n, end := 0, make(chan struct{})
			allocated := allocatedBy(func() {
				require.NoError(t, c.Handle(&checker{func(p []byte) {
					if n++; n == messages {
						c.CloseNow()
						close(end)
					}
				}}))
				<-end
			})
			// With the race detector pools forget a fourth of what they are given.
			assert.Less(t, allocated, uint64(size*messages*2/3))
		})
	}
}

// The memory of a message is its reader's until it asks for the next one, however
// many sockets there are and however their messages come.
func TestGatheredMessagesDoNotMix(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		s.params.Deflate = &websocket.DeflateParams{}
		s.pipe.Buffer = 1 << 20
		var all sync.WaitGroup
		for i := range 8 {
			handled := i%2 == 0
			e := s.open(t)
			messages := variedMessages(i)
			n := 0
			check := func(p []byte) {
				want := messages[n]
				n++
				runtime.Gosched()
				assert.True(t, string(p) == want, "socket %d, message %d of %d bytes", i, n, len(want))
			}
			if handled {
				require.NoError(t, e.Handle(&checker{check}))
			} else {
				all.Go(func() {
					var buf []byte
					for k := range messages {
						if k%3 == 0 {
							buf = nil
						}
						_, p, err := e.ReadInto(t.Context(), buf)
						if !assert.NoError(t, err) {
							return
						}
						check(p)
						buf = p
					}
				})
			}
			all.Go(func() {
				d := newDeflater(15, 6)
				for k, m := range messages {
					switch k % 3 {
					case 0:
						e.peer.Send(t, wstest.Text(m))
					case 1:
						e.peer.Send(t, wstest.Text(m[:len(m)/3]).Fragment(), wstest.Continuation(m[len(m)/3:]))
					case 2:
						e.peer.Send(t, wstest.Text(string(d.payload([]byte(m), true))).Compressed())
					}
				}
			})
			defer func() {
				synctest.Wait()
				assert.Equal(t, len(messages), n)
			}()
		}
		all.Wait()
		synctest.Wait()
	})
}

// variedMessages are texts of all sizes, different for each i.
func variedMessages(i int) (messages []string) {
	r := rand.New(rand.NewPCG(uint64(i), 6))
	for k := range 24 {
		word := fmt.Sprintf("%d.%d ", i, k)
		messages = append(messages, strings.Repeat(word, r.IntN(1<<r.IntN(16))))
	}
	return messages
}

// A checker is a Handler that looks at messages where they lie.
type checker struct{ check func(p []byte) }

func (h *checker) OnMessage(_ *websocket.Conn, _ websocket.MessageType, p []byte) { h.check(p) }
func (h *checker) OnClose(*websocket.Conn, error)                                 {}

// What Read and ReadInto return stays as it is when others read.
func TestReadGivesLargeMessagesAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := socket{pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		other := socket{pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		var kept [][]byte
		for i := range byte(6) {
			for _, e := range []*end{e, other} {
				e.peer.Send(t, wstest.Binary(bytes.Repeat([]byte{i}, 200<<10)), wstest.Binary(bytes.Repeat([]byte{i}, 70<<10)).Fragment(), wstest.Continuation(""))
				for range 2 {
					_, p, err := e.Read(t.Context())
					require.NoError(t, err)
					kept = append(kept, p)
				}
			}
		}
		for i, p := range kept {
			assert.Equal(t, len(p), bytes.Count(p, []byte{byte(i / 4)}))
		}
	})
}
