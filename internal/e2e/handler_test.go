package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// calls is a websocket.Handler of functions, which may be nil.
type calls struct {
	message func(c *websocket.Conn, t websocket.MessageType, p []byte)
	closed  func(c *websocket.Conn, err error)
}

func (h *calls) OnMessage(c *websocket.Conn, t websocket.MessageType, p []byte) {
	if h.message != nil {
		h.message(c, t, p)
	}
}

func (h *calls) OnClose(c *websocket.Conn, err error) {
	if h.closed != nil {
		h.closed(c, err)
	}
}

// echoes writes every message back.
func echoes(c *websocket.Conn, t websocket.MessageType, p []byte) {
	c.Write(context.Background(), t, p)
}

// handled accepts sockets for h. The HTTP handler returns at once.
func (tr transport) handled(t testing.TB, o *websocket.AcceptOptions, h websocket.Handler) http.Handler {
	return tr.handler(t, o, func(c *websocket.Conn) { assert.NoError(t, c.Handle(h)) })
}

func TestHandlerEcho(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		c := tr.mustDial(t, tr.listen(t, tr.handled(t, nil, &calls{message: echoes})), nil)
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
		require.NoError(t, c.Ping(soon(t)), "control frames are answered")
		require.NoError(t, c.Close(soon(t), 1000, ""))
	})
}

// The request's content is none of the socket's, whatever middleware does with it.
func TestHandlerSurvivesTheRequestsBody(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		accept := tr.handled(t, nil, &calls{message: echoes})
		c := tr.mustDial(t, tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			accept.ServeHTTP(w, r)
			n, err := r.Body.Read(make([]byte, 1))
			assert.Zero(t, n)
			assert.Error(t, err)
			assert.NoError(t, r.Body.Close())
		})), nil)
		for range 3 {
			require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("alive")))
			wantMessage(t, c, websocket.MessageText, []byte("alive"))
		}
		require.NoError(t, c.Close(soon(t), 1000, ""))
	})
}

// A client may have a Handler as well.
func TestHandlerOfAClient(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		got, end := make(chan string, 3), make(chan error, 1)
		p := tr.connect(t, nil, nil)
		require.NoError(t, p.client.Handle(&calls{
			message: func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { got <- string(p) },
			closed:  func(_ *websocket.Conn, err error) { end <- err },
		}))
		for _, m := range []string{"one", "", "three"} {
			require.NoError(t, p.server.Write(soon(t), websocket.MessageText, []byte(m)))
			assert.Equal(t, m, <-got)
		}
		_, _, err := p.client.Read(soon(t))
		require.Error(t, err, "there is a Handler")
		var ce *websocket.CloseError
		require.NotErrorAs(t, err, &ce)
		require.Error(t, p.client.Handle(&calls{}), "there is one already")
		reading := begin(func() error { _, _, err := p.server.Read(soon(t)); return err })
		require.NoError(t, p.client.Ping(soon(t)), "nobody reads but the Handler")
		require.NoError(t, p.server.Close(soon(t), 4000, "enough"))
		wantEnd(t, <-reading, 4000, false)
		wantEnd(t, <-end, 4000, true)
	})
}

// The peer's bytes come one by one.
func TestHandlerOneByteWrites(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		raw := tr.rawDial(t, tr.listen(t, tr.handled(t, nil, &calls{message: echoes})))
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

// Many messages that arrive at once, and a Close behind them: all are delivered,
// in order, before OnClose.
func TestHandlerGetsEverythingBeforeAClose(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		const messages = 500
		var got []string
		end := make(chan error, 1)
		raw := tr.rawDial(t, tr.listen(t, tr.handled(t, nil, &calls{
			message: func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { got = append(got, string(p)) },
			closed:  func(_ *websocket.Conn, err error) { end <- err },
		})))
		p := wstest.NewClient(raw)
		var b []byte
		for i := range messages {
			b = p.Append(b, wstest.Text(fmt.Sprint(i)), wstest.Text("in ").Fragment(), wstest.Continuation("pieces"))
		}
		_, err := raw.Write(p.Append(b, wstest.Close(4001, "bye")))
		require.NoError(t, err)
		ce := wantEnd(t, <-end, 4001, true)
		assert.Equal(t, "bye", ce.Reason)
		require.Len(t, got, 2*messages)
		for i := range messages {
			require.Equal(t, fmt.Sprint(i), got[2*i])
			require.Equal(t, "in pieces", got[2*i+1])
		}
		p.WantClose(t, 4001, "the same code")
		p.WantEOF(t, "the server ends first")
		require.NoError(t, raw.CloseWrite())
	})
}

// Messages of concurrent writers arrive whole, each writer's in order, while the
// handlers write, too.
func TestHandlerWS25ConcurrentWriters(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		const writers, messages = 8, 50
		c := tr.mustDial(t, tr.listen(t, tr.handled(t, nil, &calls{message: echoes})), nil)
		var all sync.WaitGroup
		for w := range uint32(writers) {
			all.Go(func() {
				for n := range uint32(messages) {
					m := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), n)
					m = append(m, bytes.Repeat([]byte{byte(w + n)}, int(n*n*7))...)
					if !assert.NoError(t, c.Write(soon(t), websocket.MessageBinary, m)) {
						return
					}
				}
			})
		}
		var next [writers]uint32
		for range writers * messages {
			_, m, err := c.Read(soon(t))
			require.NoError(t, err)
			w, n := binary.BigEndian.Uint32(m), binary.BigEndian.Uint32(m[4:])
			assert.Equal(t, next[w], n)
			next[w]++
			assert.True(t, bytes.Equal(bytes.Repeat([]byte{byte(w + n)}, int(n*n*7)), m[8:]))
		}
		all.Wait()
		require.NoError(t, c.Close(soon(t), 1000, ""))
	})
}

func TestHandlerDeflate(t *testing.T) {
	text := []byte(strings.Repeat("deflated text, ", 1000))
	onEach(t, func(t *testing.T, tr transport) {
		for _, o := range []websocket.Compression{
			{},
			{ServerContextTakeover: true, ClientContextTakeover: true},
			{ServerMaxWindowBits: 9, ClientMaxWindowBits: 9, Level: 9, Threshold: -1},
		} {
			end := make(chan websocket.Stats, 1)
			c := tr.mustDial(t, tr.listen(t, tr.handled(t, &websocket.AcceptOptions{Compression: &o, Limits: quick}, &calls{
				message: echoes,
				closed:  func(c *websocket.Conn, _ error) { end <- c.Stats() },
			})), &websocket.DialOptions{Compression: &o, Limits: quick})
			for range 3 {
				require.NoError(t, c.Write(soon(t), websocket.MessageText, text))
				wantMessage(t, c, websocket.MessageText, text)
				small := []byte("small")
				require.NoError(t, c.Write(soon(t), websocket.MessageText, small))
				wantMessage(t, c, websocket.MessageText, small)
			}
			require.NoError(t, c.Close(soon(t), 1000, ""))
			s := <-end
			assert.Positive(t, s.CompressedRead)
			assert.Less(t, s.CompressedRead, s.InflatedRead)
			assert.EqualValues(t, 6, s.MessagesRead)
		}
	})
}

// The rules and limits hold: each breach ends the socket with its code, on the
// wire and in OnClose.
func TestHandlerRulesAndLimits(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, bad := range []struct {
			name  string
			bytes func(*wstest.Peer) []byte
			code  websocket.StatusCode
		}{
			{"not masked", func(*wstest.Peer) []byte { return []byte{0x81, 0x01, 'a'} }, 1002},
			{"reserved opcode", func(*wstest.Peer) []byte { return []byte{0x83, 0x80, 0, 0, 0, 0} }, 1002},
			{"text that is not UTF-8", func(p *wstest.Peer) []byte { return p.Append(nil, wstest.Text("ab\xffcd")) }, 1007},
			{"too big", func(p *wstest.Peer) []byte { return p.Append(nil, wstest.Binary(make([]byte, 2000))) }, 1009},
			{"too many fragments", func(p *wstest.Peer) []byte {
				b := p.Append(nil, wstest.Text("a").Fragment())
				for range 20 {
					b = p.Append(b, wstest.Continuation("b").Fragment())
				}
				return b
			}, 1008},
			{"too many pings", func(p *wstest.Peer) (b []byte) {
				for range 20 {
					b = p.Append(b, wstest.Ping("x"))
				}
				return b
			}, 1008},
		} {
			limits := quick
			limits.Message, limits.Fragments, limits.ControlBurst = 1000, 10, 10
			end := make(chan error, 1)
			raw := tr.rawDial(t, tr.listen(t, tr.handled(t, &websocket.AcceptOptions{Limits: limits}, &calls{
				message: func(*websocket.Conn, websocket.MessageType, []byte) { assert.Fail(t, "no message was whole", bad.name) },
				closed:  func(_ *websocket.Conn, err error) { end <- err },
			})))
			p := wstest.NewClient(raw)
			_, err := raw.Write(bad.bytes(p))
			require.NoError(t, err)
			wantEnd(t, <-end, bad.code, false)
			for f := p.Next(t, bad.name); f.Opcode != frame.Close; f = p.Next(t, bad.name) {
				require.Equal(t, frame.Pong, f.Opcode, bad.name)
			}
			p.WantEOF(t, bad.name)
			require.NoError(t, raw.CloseWrite())
		}
	})
}

// Every way to end, as OnClose sees it; it is called once, and after it nothing.
func TestHandlerOnClose(t *testing.T) {
	ctx := context.Background()
	for _, e := range []struct {
		name   string
		end    func(t *testing.T, p pair)
		code   websocket.StatusCode
		remote bool
	}{
		{"the peer closes", func(t *testing.T, p pair) { assert.NoError(t, p.client.Close(soon(t), 4000, "x")) }, 4000, true},
		{"we close", func(t *testing.T, p pair) {
			reading := begin(func() error { _, _, err := p.client.Read(soon(t)); return err })
			assert.NoError(t, p.server.Close(soon(t), 4001, "x"))
			wantEnd(t, <-reading, 4001, true)
		}, 4001, false},
		{"the peer aborts", func(_ *testing.T, p pair) { p.client.CloseNow() }, 1006, true},
		{"we abort", func(_ *testing.T, p pair) { p.server.CloseNow() }, 1006, false},
		{"OnMessage closes", func(t *testing.T, p pair) {
			assert.NoError(t, p.client.Write(ctx, websocket.MessageText, []byte("close")))
			_, _, err := p.client.Read(soon(t))
			wantEnd(t, err, 4003, true)
		}, 4003, false},
		{"OnMessage panics", func(t *testing.T, p pair) {
			assert.NoError(t, p.client.Write(ctx, websocket.MessageText, []byte("panic")))
			_, _, err := p.client.Read(soon(t))
			wantEnd(t, err, 1011, true)
		}, 1011, false},
	} {
		t.Run(e.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				p := tr.connect(t, nil, nil)
				end := make(chan error, 2)
				require.NoError(t, p.server.Handle(&calls{
					message: func(c *websocket.Conn, _ websocket.MessageType, m []byte) {
						switch string(m) {
						case "close":
							assert.NoError(t, c.Close(soon(t), 4003, "from within"))
						case "panic":
							panic(io.ErrNoProgress)
						}
						assert.Empty(t, end, "no call after OnClose")
					},
					closed: func(c *websocket.Conn, err error) {
						assert.Equal(t, err, c.Write(ctx, websocket.MessageText, nil), "the same for ever")
						end <- err
					},
				}))
				require.NoError(t, p.client.Write(soon(t), websocket.MessageText, []byte("hello")))
				e.end(t, p)
				ce := wantEnd(t, <-end, e.code, e.remote)
				if e.code == 1011 {
					var pe *websocket.PanicError
					require.ErrorAs(t, ce, &pe)
					assert.Equal(t, io.ErrNoProgress, pe.Value)
					assert.ErrorIs(t, ce, io.ErrNoProgress)
					assert.Contains(t, string(pe.Stack), "TestHandlerOnClose")
				}
				p.client.CloseNow()
				assert.Empty(t, end, "once")
			})
		})
	}
}

// An OnMessage that blocks, a panic, a socket that is not read by its peer: they
// hold up their own socket and no other of the connection.
func TestHandlerThatBlocksHoldsUpItsSocketOnly(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		tr = tr.negotiated(t) // sockets share connections
		release := make(chan struct{})
		authority := tr.listen(t, tr.handled(t, nil, &calls{message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			switch string(p) {
			case "block":
				<-release
			case "panic":
				panic("contained")
			case "flood":
				big := make([]byte, 1<<20)
				for c.Write(context.Background(), websocket.MessageBinary, big) == nil { // the peer does not read
				}
				return
			}
			c.Write(context.Background(), kind, p)
		}}))
		good := tr.mustDial(t, authority, nil)
		var blocked []*websocket.Conn
		for _, what := range []string{"block", "panic", "flood", "block", "block", "panic"} {
			bad := tr.mustDial(t, authority, nil)
			defer bad.CloseNow()
			require.NoError(t, bad.Write(soon(t), websocket.MessageText, []byte(what)))
			if what == "block" {
				for i := range 20 { // they wait for their turn
					require.NoError(t, bad.Write(soon(t), websocket.MessageText, []byte{byte('a' + i)}))
				}
				blocked = append(blocked, bad)
			}
			for range 20 {
				require.NoError(t, good.Write(soon(t), websocket.MessageText, []byte(what)[:1]))
				wantMessage(t, good, websocket.MessageText, []byte(what)[:1])
			}
		}
		close(release)
		for _, c := range blocked {
			wantMessage(t, c, websocket.MessageText, []byte("block"))
			for i := range 20 {
				wantMessage(t, c, websocket.MessageText, []byte{byte('a' + i)})
			}
			require.NoError(t, c.Close(soon(t), 1000, ""))
		}
		require.NoError(t, good.Close(soon(t), 1000, ""))
	})
}

// An OnMessage that waits for another socket of its connection, and for its own
// pong, gets what it waits for.
func TestHandlerMayWaitForOtherSocketsAndPongs(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		tr = tr.negotiated(t)
		relay := make(chan string)
		authority := tr.listen(t, tr.handled(t, nil, &calls{message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			switch string(p) {
			case "wait":
				p = []byte(<-relay)
			case "ping":
				if err := c.Ping(soon(t)); err != nil {
					p = []byte(err.Error())
				}
			default:
				relay <- string(p)
			}
			c.Write(context.Background(), kind, p)
		}}))
		a, b := tr.mustDial(t, authority, nil), tr.mustDial(t, authority, nil)
		for range 5 {
			require.NoError(t, a.Write(soon(t), websocket.MessageText, []byte("wait")))
			require.NoError(t, b.Write(soon(t), websocket.MessageText, []byte("word")))
			wantMessage(t, a, websocket.MessageText, []byte("word"))
			wantMessage(t, b, websocket.MessageText, []byte("word"))
			require.NoError(t, a.Write(soon(t), websocket.MessageText, []byte("ping")))
			wantMessage(t, a, websocket.MessageText, []byte("ping"))
		}
		for _, c := range []*websocket.Conn{a, b} {
			require.NoError(t, c.Close(soon(t), 1000, ""))
		}
	})
}

// OP-01: Shutdown says 1001 to sockets whose HTTP handlers have long returned.
func TestHandlerOP01Shutdown(t *testing.T) {
	withAndWithoutTLS(t, func(t *testing.T, secure bool) {
		ends := make(chan error, 8)
		accept := transport{accept: negotiate.Accept}
		s := serveNegotiated(t, accept.handled(t, nil, &calls{message: echoes, closed: func(_ *websocket.Conn, err error) { ends <- err }}), secure)
		var reads []<-chan error
		for _, b := range bootstraps(secure) {
			c, _, err := newDialer(t, b).Dial(soon(t), s.url(b), nil)
			require.NoError(t, err)
			require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("here")))
			wantMessage(t, c, websocket.MessageText, []byte("here"))
			reads = append(reads, begin(func() error { _, _, err := c.Read(soon(t)); return err }))
		}
		require.NoError(t, s.Shutdown(soon(t)))
		for _, r := range reads {
			wantEnd(t, <-r, 1001, true)
			wantEnd(t, <-ends, 1001, false)
		}
	})
}
