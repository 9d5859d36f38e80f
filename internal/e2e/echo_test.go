package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// random returns n bytes that follow from seed.
func random(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func TestEcho(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		c := tr.mustDial(t, tr.listen(t, tr.handler(t, nil, echo)), nil)
		for _, size := range []int{0, 1, 125, 126, 4096, 16383, 16384, 65535, 65536, 1 << 20} {
			for kind, want := range map[websocket.MessageType][]byte{
				websocket.MessageBinary: random(1, size),
				websocket.MessageText:   []byte(strings.Repeat("ä", size/2) + "a"[:size%2]),
			} {
				sent := begin(func() error { return c.Write(soon(t), kind, want) })
				wantMessage(t, c, kind, want)
				require.NoError(t, <-sent)
			}
		}
		require.NoError(t, c.Close(soon(t), 1000, ""))
	})
}

// A message in fragments, streamed through a server that streams as well.
func TestFragments(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c := tr.mustDial(t, tr.listen(t, tr.handler(t, nil, func(c *websocket.Conn) {
			for {
				kind, r, err := c.Reader(context.Background())
				if err != nil {
					return
				}
				w, err := c.Writer(context.Background(), kind)
				if err != nil {
					return
				}
				if _, err := io.Copy(w, r); err != nil {
					return
				}
				w.Close()
			}
		})), nil)
		for _, piece := range []int{1, 1000, 100_000} {
			want := random(2, 300_000)
			if piece == 1 {
				want = want[:5000]
			}
			sent := begin(func() error {
				w, err := c.Writer(soon(t), websocket.MessageBinary)
				if err != nil {
					return err
				}
				for rest := want; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
					if _, err := w.Write(rest[:min(piece, len(rest))]); err != nil {
						return err
					}
				}
				return w.Close()
			})
			wantMessage(t, c, websocket.MessageBinary, want)
			require.NoError(t, <-sent)
		}
		require.NoError(t, c.Close(soon(t), 1000, ""))
	})
}

// The peer's bytes come one by one.
func TestOneByteWrites(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		raw := tr.rawDial(t, tr.listen(t, tr.handler(t, nil, echo)))
		p := wstest.NewClient(raw)
		for _, b := range p.Append(nil, wstest.Text("by").Fragment(), wstest.Ping("?"), wstest.Continuation(" the byte"), wstest.Binary(random(3, 200)), wstest.Close(1000, "")) {
			_, err := raw.Write([]byte{b})
			require.NoError(t, err)
		}
		p.WantFrame(t, frame.Pong, "?", "answered in mid-message")
		p.WantFrame(t, frame.Text, "by the byte", "echo")
		p.WantFrame(t, frame.Binary, string(random(3, 200)), "echo")
		p.WantClose(t, 1000, "the same code")
		p.WantEOF(t, "the server ends first")
		require.NoError(t, raw.CloseWrite())
	})
}

// The same from a server.
func TestOneByteWritesOfAServer(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		over := make(chan struct{})
		c := tr.mustDial(t, tr.rawListen(t, func(raw rawStream) {
			defer close(over)
			p := wstest.NewServer(raw)
			for _, b := range p.Append(nil, wstest.Text("by").Fragment(), wstest.Continuation(" the byte"), wstest.Close(1000, "")) {
				if _, err := raw.Write([]byte{b}); !assert.NoError(t, err) {
					return
				}
			}
			f, err := p.TryNext()
			assert.NoError(t, err)
			assert.Equal(t, frame.Close, f.Opcode)
			assert.NoError(t, raw.CloseWrite())
			_, err = p.TryNext()
			assert.Equal(t, io.EOF, err, "the client follows")
		}), nil)
		wantMessage(t, c, websocket.MessageText, []byte("by the byte"))
		_, _, err := c.Read(soon(t))
		wantEnd(t, err, 1000, true)
		<-over
	})
}

func TestPing(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for name := range (pair{}).ends() {
			ends := tr.connect(t, nil, nil).ends()[name]
			reading := begin(func() error { _, _, err := ends[1].Read(context.Background()); return err })
			for range 3 {
				require.NoError(t, ends[0].Ping(soon(t)), name)
			}
			require.NoError(t, ends[0].Close(soon(t), 1000, ""), name)
			wantEnd(t, <-reading, 1000, true)
		}
	})
}

// Messages of concurrent writers arrive whole, each writer's in order.
func TestWS25ConcurrentWriters(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		const writers, messages = 8, 50
		p := tr.connect(t, nil, nil)
		var all sync.WaitGroup
		for name, ends := range p.ends() {
			for w := range uint32(writers) {
				all.Go(func() {
					for n := range uint32(messages) {
						m := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), n)
						m = append(m, bytes.Repeat([]byte{byte(w + n)}, int(n*n*7))...)
						if !assert.NoError(t, ends[0].Write(soon(t), websocket.MessageBinary, m), name) {
							return
						}
					}
				})
			}
			all.Go(func() {
				var next [writers]uint32
				for range writers * messages {
					_, m, err := ends[1].Read(soon(t))
					if !assert.NoError(t, err, name) {
						return
					}
					w, n := binary.BigEndian.Uint32(m), binary.BigEndian.Uint32(m[4:])
					assert.Equal(t, next[w], n, name)
					next[w]++
					assert.True(t, bytes.Equal(bytes.Repeat([]byte{byte(w + n)}, int(n*n*7)), m[8:]), name)
				}
			})
		}
		all.Wait()
	})
}

// Every agreement about deflate, as negotiated by the handshake.
func TestDeflate(t *testing.T) {
	text := []byte(strings.Repeat("deflated text, ", 1000))
	onEach(t, func(t *testing.T, tr transport) {
		options := make(chan *websocket.Compression, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := tr.accept(w, r, &websocket.AcceptOptions{Compression: <-options, Limits: quick})
			if assert.NoError(t, err) {
				echo(c)
				s := c.Stats()
				assert.Positive(t, s.CompressedRead)
				assert.Less(t, s.CompressedRead, s.InflatedRead)
			}
		}))
		for _, o := range []websocket.Compression{
			{},
			{ServerContextTakeover: true},
			{ClientContextTakeover: true},
			{ServerContextTakeover: true, ClientContextTakeover: true},
			{ServerMaxWindowBits: 8, ClientMaxWindowBits: 8},
			{ServerMaxWindowBits: 9, ServerContextTakeover: true, Level: 9, Threshold: -1},
			{ClientMaxWindowBits: 10, ClientContextTakeover: true},
		} {
			t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
				options <- &o
				c := tr.mustDial(t, authority, &websocket.DialOptions{Compression: &o, Limits: quick})
				for range 3 {
					require.NoError(t, c.Write(soon(t), websocket.MessageText, text))
					wantMessage(t, c, websocket.MessageText, text)
					require.NoError(t, c.Write(soon(t), websocket.MessageBinary.Uncompressed(), random(4, 5000)))
					wantMessage(t, c, websocket.MessageBinary, random(4, 5000))
				}
				s := c.Stats()
				assert.Positive(t, s.CompressedWritten)
				assert.Less(t, s.CompressedWritten, s.DeflatedWritten/5)
				assert.Less(t, s.CompressedRead, s.InflatedRead)
				require.NoError(t, c.Close(soon(t), 1000, ""))
			})
		}
	})
}

// P69: the deflate context belongs to one socket, not to the connection that
// carries several.
func TestP69DeflateContextsOfTwoSocketsOnOneConnection(t *testing.T) {
	both := &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true, Threshold: -1}
	for _, m := range multiplexers {
		t.Run(m.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			tr := transportNamed(m.name)
			authority := tr.listen(t, tr.handler(t, &websocket.AcceptOptions{Compression: both}, echo))
			dial, _ := m.dialer(t)
			_, client := wstest.Certificates()
			var socks []*websocket.Conn
			for range 2 {
				c, _, err := dial(soon(t), tr.url(authority), &websocket.DialOptions{Compression: both, TLSClientConfig: client})
				require.NoError(t, err)
				socks = append(socks, c)
			}
			for i := range 20 {
				c := socks[i%2]
				want := []byte(strings.Repeat(fmt.Sprintf("socket %d ", i%2), 10+i))
				require.NoError(t, c.Write(soon(t), websocket.MessageText, want))
				wantMessage(t, c, websocket.MessageText, want)
			}
			for _, c := range socks {
				require.NoError(t, c.Close(soon(t), 1000, ""))
			}
		})
	}
}

// An offer that the server does not take leaves both ends without deflate.
func TestDeflateRefused(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		p := tr.connect(t, nil, &websocket.DialOptions{Compression: &websocket.Compression{}})
		text := []byte(strings.Repeat("plain ", 1000))
		for _, ends := range p.ends() {
			sent := begin(func() error { return ends[0].Write(soon(t), websocket.MessageText, text) })
			wantMessage(t, ends[1], websocket.MessageText, text)
			require.NoError(t, <-sent)
			assert.Zero(t, ends[0].Stats().CompressedWritten)
		}
		require.NoError(t, errors.Join(p.client.CloseNow(), p.server.CloseNow()))
	})
}
