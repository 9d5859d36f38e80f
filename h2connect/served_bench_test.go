package h2connect

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A wire is a server's network without a network: reads yield the same messages
// again and again, one to each of some streams, once those before have been
// answered. What remains is what the server itself costs.
type wire struct {
	raw syscall.RawConn // of something that always has room and nothing to read

	mu    sync.Mutex
	cond  sync.Cond
	input []byte // to be read before the messages
	round []byte // a message to each of the streams
	rest  []byte // of the round that is being read
	left  int    // rounds to come
	over  bool   // no more rounds are wanted: reads end
	owed  int    // bytes of DATA to be answered before the next round
	heads int    // HEADERS frames that have been written
	frame int    // bytes to come of the frame that was written last
	part  []byte // of a frame header that was written in pieces
}

func newWire(b *testing.B) *wire {
	in, out, err := os.Pipe()
	require.NoError(b, err)
	b.Cleanup(func() { in.Close(); out.Close() })
	w := &wire{}
	w.raw, err = out.SyscallConn()
	require.NoError(b, err)
	w.cond.L = &w.mu
	return w
}

func (w *wire) SyscallConn() (syscall.RawConn, error) { return w.raw, nil }

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case len(w.input) > 0:
			n := copy(p, w.input)
			w.input = w.input[n:]
			return n, nil
		case len(w.rest) > 0:
			n := copy(p, w.rest)
			w.rest = w.rest[n:]
			return n, nil
		case w.over:
			return 0, io.EOF
		case w.left > 0 && w.owed <= 0:
			w.left--
			w.rest = w.round
			w.owed = w.payload()
			continue
		}
		w.cond.Broadcast()
		w.cond.Wait()
	}
}

// payload returns how many bytes of DATA answer a round: those of its messages
// without their masks.
func (w *wire) payload() (n int) {
	for p := w.round; len(p) > 0; {
		size := frameLength(p)
		n += size - len(frame.Header{}.Key)
		p = p[frameHeader+size:]
	}
	return n
}

func frameLength(header []byte) int { return int(binary.BigEndian.Uint32(header) >> 8) }

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		if w.frame > 0 {
			k := min(w.frame, len(p))
			w.frame -= k
			p = p[k:]
			continue
		}
		header := p
		if len(w.part) > 0 || len(p) < frameHeader {
			k := min(frameHeader-len(w.part), len(p))
			w.part = append(w.part, p[:k]...)
			if p = p[k:]; len(w.part) < frameHeader {
				break
			}
			header, w.part = w.part, w.part[:0]
		} else {
			p = p[frameHeader:]
		}
		w.frame = frameLength(header)
		switch http2.FrameType(header[3]) {
		case http2.FrameData:
			w.owed -= w.frame
		case http2.FrameHeaders:
			w.heads++
		}
	}
	w.cond.Broadcast()
	return n, nil
}

func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.cond.Broadcast()
	return nil
}

func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// open has the client's side of n sockets read.
func (w *wire) open(n int) {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&b, nil)
	fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	fr.WriteSettingsAck()
	fr.WriteWindowUpdate(0, maxWindow-protocolWindow)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := range n {
		block.Reset()
		for _, f := range []hpack.HeaderField{
			{Name: ":method", Value: "CONNECT"}, {Name: ":protocol", Value: "websocket"},
			{Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "localhost"}, {Name: ":path", Value: "/"},
			{Name: "sec-websocket-version", Value: "13"},
		} {
			enc.WriteField(f)
		}
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndHeaders: true})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.input = b.Bytes()
	w.cond.Broadcast()
	for w.heads < n {
		w.cond.Wait()
	}
}

// messages makes a round a message of size bytes to each of n sockets.
func (w *wire) messages(n, size int) {
	payload := make([]byte, size)
	for i := range n {
		h := frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Key: [4]byte{1, 2, 3, byte(i)}, Length: int64(size)}
		m := frame.AppendMasked(h.Append(nil), payload, h.Key, 0)
		w.round = append(w.round, byte(len(m)>>16), byte(len(m)>>8), byte(len(m)), byte(http2.FrameData), 0)
		w.round = binary.BigEndian.AppendUint32(w.round, uint32(2*i+1))
		w.round = append(w.round, m...)
	}
}

// run has n rounds read and waits for the answers.
func (w *wire) run(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = n
	w.cond.Broadcast()
	for w.left > 0 || w.owed > 0 {
		w.cond.Wait()
	}
}

// BenchmarkServed is a server's cost of a message that it echoes, without the
// system's and TLS's: that many sockets' messages come with every read.
func BenchmarkServed(b *testing.B) {
	for _, mode := range []string{"handler", "loop"} {
		for _, sockets := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/sockets=%d", mode, sockets), func(b *testing.B) {
				h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					c, err := Accept(rw, r, nil)
					if err != nil {
						b.Error(err)
						return
					}
					if mode == "handler" {
						c.Handle(messageFunc(func(c *websocket.Conn, t websocket.MessageType, p []byte) { c.Write(context.Background(), t, p) }))
						return
					}
					defer c.CloseNow()
					for buf := []byte(nil); ; {
						t, p, err := c.ReadInto(r.Context(), buf)
						if err != nil {
							return
						}
						c.Write(context.Background(), t, p)
						buf = p
					}
				})
				w := newWire(b)
				conf := &Server{Limits: Limits{ConcurrentStreams: sockets}}
				s := newServer(&http.Server{Handler: h}, conf)
				conf.attach(s)
				sc := newServerConn(s, w, h)
				require.True(b, s.add(sc))
				go func() {
					defer s.remove(sc)
					sc.serve(false)
				}()
				w.open(sockets)
				w.messages(sockets, 32)
				w.run(100)
				b.ReportAllocs()
				b.ResetTimer()
				w.run(b.N/sockets + 1)
				b.StopTimer()
				w.Close()
				<-sc.c.done
			})
		}
	}
}
