package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// C1, C2 over real transports, in both directions.
func TestC1C2CloseBothDirections(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		for _, c := range []struct {
			code   websocket.StatusCode
			reason string
		}{{1000, ""}, {1001, "going"}, {3000, "réason"}, {4999, "custom"}, {websocket.StatusNoStatusReceived, ""}} {
			for _, fromServer := range []bool{true, false} {
				p := tr.connect(t, nil, nil)
				closer, other := p.client, p.server
				if fromServer {
					closer, other = p.server, p.client
				}
				ended := begin(func() error { _, _, err := other.Read(context.Background()); return err })
				require.NoError(t, closer.Close(soon(t), c.code, c.reason))
				err := <-ended
				ce := wantEnd(t, err, c.code, true)
				assert.Equal(t, c.reason, ce.Reason)
				_, _, err = closer.Read(soon(t))
				wantEnd(t, err, c.code, false)
				require.ErrorIs(t, err, net.ErrClosed)
				require.NoError(t, other.Close(soon(t), 1000, ""), "the peer had closed")
				require.Error(t, other.Write(soon(t), websocket.MessageText, nil))
			}
		}
	})
}

// C16 over real transports.
func TestWS18BothSidesCloseAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for range 10 {
			p := tr.connect(t, nil, nil)
			other := begin(func() error { return p.server.Close(soon(t), 1000, "") })
			require.NoError(t, p.client.Close(soon(t), 1000, ""))
			require.NoError(t, <-other)
		}
	})
}

// C5, C11: an abort of one side is 1006 on the other.
func TestC11AbortIs1006AtTheOtherEnd(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		for name := range (pair{}).ends() {
			t.Run(name, func(t *testing.T) {
				ends := tr.connect(t, nil, nil).ends()[name]
				require.NoError(t, ends[0].Write(soon(t), websocket.MessageText, []byte("before")))
				wantMessage(t, ends[1], websocket.MessageText, []byte("before"))
				blocked := begin(func() error { _, _, err := ends[0].Read(context.Background()); return err })
				require.NoError(t, ends[0].CloseNow())
				_, _, err := ends[1].Read(soon(t))
				wantEnd(t, err, 1006, true)
				wantEnd(t, <-blocked, 1006, false)
				require.Error(t, ends[1].Write(soon(t), websocket.MessageText, nil))
				require.Error(t, ends[1].Close(soon(t), 1000, ""))
			})
		}
	})
}

// C3, C4 as the raw peer of each role sees and does them.
func TestWS19C3C4RawEnds(t *testing.T) {
	type outcome struct {
		code websocket.StatusCode
		err  error
	}
	for name, c := range map[string]struct {
		frames []wstest.Frame
		end    func(rawStream) error
		want   outcome
		answer websocket.StatusCode // of our Close frame; 0 if there is none
	}{
		"END without Close":      {nil, rawStream.CloseWrite, outcome{1006, io.ErrUnexpectedEOF}, 0},
		"END in mid-message":     {[]wstest.Frame{wstest.Text("half").Fragment()}, rawStream.CloseWrite, outcome{1006, io.ErrUnexpectedEOF}, 0},
		"Close and END together": {[]wstest.Frame{wstest.Close(1001, "")}, rawStream.CloseWrite, outcome{1001, nil}, 1001},
		"rule broken, then END":  {[]wstest.Frame{{Opcode: 0xF}}, rawStream.CloseWrite, outcome{1002, nil}, 1002},
		"bad text, then END":     {[]wstest.Frame{wstest.Text("\xff")}, rawStream.CloseWrite, outcome{1007, nil}, 1007},
		"reset":                  {nil, rawStream.Abort, outcome{1006, nil}, 0},
	} {
		check := func(t *testing.T, conn *websocket.Conn, want outcome) {
			_, _, err := conn.Read(soon(t))
			wantEnd(t, err, want.code, want.code != 1002 && want.code != 1007)
			if want.err != nil {
				assert.ErrorIs(t, err, want.err)
			}
		}
		play := func(t testing.TB, raw rawStream, p *wstest.Peer, answer websocket.StatusCode) {
			assert.NoError(t, p.TrySend(c.frames...))
			assert.NoError(t, c.end(raw))
			if name == "reset" {
				return
			}
			if answer != 0 {
				f, err := p.TryNext()
				assert.NoError(t, err, "a reply is owed")
				code, _, _ := f.CloseCode()
				assert.Equal(t, answer, code)
			}
			_, err := p.TryNext()
			assert.Equal(t, io.EOF, err, "END, and no reset")
		}
		t.Run(name+" of a client", func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				checked := make(chan struct{})
				raw := tr.rawDial(t, tr.listen(t, tr.handler(t, nil, func(conn *websocket.Conn) {
					defer close(checked)
					check(t, conn, c.want)
				})))
				play(t, raw, wstest.NewClient(raw), c.answer)
				<-checked
			})
		})
		t.Run(name+" of a server", func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				want, answer := c.want, c.answer
				if tr.hop != nil && want.err == io.ErrUnexpectedEOF {
					want, answer = outcome{1012, nil}, 1012 // the proxy says that the backend was lost
				}
				if tr.hop != nil && name == "rule broken, then END" {
					t.Skip("behind frames that are none no Close frame could stand: the proxy resets what the client may not have read")
				}
				played := make(chan struct{})
				checked := make(chan struct{})
				conn := tr.mustDial(t, tr.rawListen(t, func(raw rawStream) {
					defer close(played)
					p := wstest.NewServer(raw)
					_, err := p.TryNext() // on h3 an end at once could overtake the 200
					assert.NoError(t, err)
					play(t, raw, p, answer)
					select {
					case <-checked:
					case <-t.Context().Done():
					}
				}), nil)
				require.NoError(t, conn.Write(soon(t), websocket.MessageText, []byte("open")))
				check(t, conn, want)
				close(checked)
				<-played
			})
		})
	}
}

// The server's half of RFC 6455 §7.1.1 on the wire: it ends first, and the
// client follows.
func TestServerEndsFirstOnTheWire(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		raw := tr.rawDial(t, tr.listen(t, tr.handler(t, nil, func(c *websocket.Conn) {
			assert.NoError(t, c.Close(soon(t), 4000, "server first"))
		})))
		p := wstest.NewClient(raw)
		assert.Equal(t, "server first", p.WantClose(t, 4000, "the handler closes"))
		p.Send(t, wstest.Close(4000, ""))
		p.WantEOF(t, "and ends the stream without waiting for our END")
		require.NoError(t, raw.CloseWrite())
	})
}

// C12: a handler that returns closes its socket with 1000; C13: one that panics
// with 1011.
func TestC12C13HandlerReturnsAndPanics(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		c := tr.mustDial(t, tr.listen(t, tr.handler(t, nil, func(c *websocket.Conn) {
			assert.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("and out")))
		})), nil)
		wantMessage(t, c, websocket.MessageText, []byte("and out"))
		_, _, err := c.Read(soon(t))
		wantEnd(t, err, 1000, true)
	})
	onEachWay(t, func(t *testing.T, tr transport) {
		authority := tr.listen(t, tr.handler(t, nil, func(c *websocket.Conn) {
			panic(http.ErrAbortHandler) // the one that servers do not log
		}))
		for range 2 { // the server lives
			c := tr.mustDial(t, authority, nil)
			_, _, err := c.Read(soon(t))
			wantEnd(t, err, 1011, true)
		}
	})
}

// C15 over real transports: a peer that never answers is cut.
func TestWS17PeerThatNeverAnswersOurClose(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		limits := websocket.Limits{CloseTimeout: 100 * time.Millisecond}
		closed := make(chan error, 1)
		raw := tr.rawDial(t, tr.listen(t, tr.handler(t, &websocket.AcceptOptions{Limits: limits}, func(c *websocket.Conn) {
			closed <- c.Close(soon(t), 1000, "")
		})))
		p := wstest.NewClient(raw)
		p.WantClose(t, 1000, "the server closes")
		require.ErrorIs(t, <-closed, context.DeadlineExceeded)
		if tr.hop != nil {
			p.WantEOF(t, "the proxy ends behind the Close frame: a reset could take it away")
			return
		}
		p.WantReset(t, "and cuts a client that does not answer")
	})
}

// C5: a reset by the peer ends the request's context on HTTP/2. A read with that
// context that begins behind it tells of the reset all the same, and not that the
// context has ended.
func TestC5AReadBehindTheResetTellsOfIt(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		read := make(chan error, 3)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := tr.accept(w, r, &websocket.AcceptOptions{Limits: quick})
			if !assert.NoError(t, err) {
				return
			}
			if r.ProtoMajor == 2 {
				<-r.Context().Done()
			}
			for err == nil { // the message, if it has not been lost
				_, _, err = c.Read(r.Context())
			}
			read <- err
			_, _, err = c.Reader(r.Context())
			read <- err
			read <- c.Write(r.Context(), websocket.MessageText, nil)
		}))
		c := tr.mustDial(t, authority, nil)
		require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("message")))
		require.NoError(t, c.CloseNow())
		for range cap(read) {
			wantEnd(t, <-read, websocket.StatusAbnormalClosure, true)
		}
	})
}
