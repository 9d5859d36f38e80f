package h2connect

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// This file goes through the close matrix frame by frame: which WebSocket frames,
// which END_STREAM and which RST_STREAM our end sends for each event in each
// state of a socket, as a server and as a client.

// A played is a socket of ours whose other end the test plays.
type played struct {
	*peer
	*websocket.Conn
	side    side
	ws      *wstest.Peer // spells frames as the other end does
	release func()       // server: lets the handler return
	failed  chan error   // what Read returned in the end
}

// playSocket opens a socket of ours in the role of s, in a bubble, and lets play go
// on from there. Whatever play does: the connection outlives the socket, unless
// play ends it, nothing is logged, and nothing stays.
func playSocket(t *testing.T, s side, play func(p *played)) {
	synctest.Test(t, func(t *testing.T) {
		p := &played{side: s, failed: make(chan error, 1), release: func() {}}
		if s == serverSide {
			p.acceptSocket(t)
		} else {
			p.dialSocket(t)
		}
		go func() {
			for {
				if _, _, err := p.Conn.Read(context.Background()); err != nil {
					p.failed <- err
					return
				}
			}
		}()
		play(p)
		p.release()
		synctest.Wait()
		p.ours.mu.Lock()
		assert.Empty(t, p.ours.streams, "no stream stays")
		assert.Zero(t, p.ours.slots, "no slot stays")
		p.ours.mu.Unlock()
		assert.Zero(t, p.ours.buffered.Load())
		assert.Empty(t, p.log.String(), "nothing is logged")
		p.hangUp()
	})
}

func (p *played) acceptSocket(t *testing.T) {
	accepted, released := make(chan *websocket.Conn), make(chan struct{})
	p.release = func() { close(released) }
	p.peer = clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if assert.NoError(t, err) {
			accepted <- c
			<-released
		}
	}))
	p.ws = wstest.NewClient(nil)
	p.greet()
	p.headers(1, false, connect()...)
	p.Conn = <-accepted
	p.wantStatus(1, "200", false, "accepted")
}

func (p *played) dialSocket(t *testing.T) {
	server, cc := serverOf(t, Limits{})
	p.peer, p.ws = server, wstest.NewServer(nil)
	require.NoError(t, p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}))
	p.settle()
	dialled := make(chan *websocket.Conn)
	go func() {
		c, _, err := cc.Dial(context.Background(), "ws://localhost/ws", nil)
		assert.NoError(t, err)
		dialled <- c
	}()
	p.wantHeaders(1, false, "the request")
	p.headers(1, false, ":status", "200")
	p.Conn = <-dialled
}

// says sends frames as one DATA frame.
func (p *played) says(end bool, frames ...wstest.Frame) {
	p.t.Helper()
	require.NoError(p.t, p.fr.WriteData(1, end, p.ws.Append(nil, frames...)))
}

func (p *played) resets(code http2.ErrCode) {
	p.t.Helper()
	require.NoError(p.t, p.fr.WriteRSTStream(1, code))
}

// hears reads the DATA frame that has the one WebSocket frame which is next, and
// returns whether END_STREAM is on it.
func (p *played) hears(want wstest.Frame, why string) (end bool) {
	p.t.Helper()
	f := p.next(why)
	d, ok := f.(*http2.DataFrame)
	require.True(p.t, ok, "%s: got %v", why, f)
	got, err := wstest.ParseFrames(d.Data(), p.side == clientSide)
	require.NoError(p.t, err, why)
	require.Len(p.t, got, 1, why)
	assert.Equal(p.t, want.Opcode, got[0].Opcode, why)
	assert.Equal(p.t, string(want.Payload), string(got[0].Payload), why)
	return d.StreamEnded()
}

// hearsClose: a Close that begins a handshake does not end the stream.
func (p *played) hearsClose(code frame.StatusCode) {
	p.t.Helper()
	assert.False(p.t, p.hears(wstest.Close(code, ""), "Close"), "a Close that begins a handshake never carries END_STREAM")
	p.wantAlive("and END_STREAM does not follow")
}

// hearsAnswer: a Close that answers, or follows a breach, is ended with.
func (p *played) hearsAnswer(want wstest.Frame) {
	p.t.Helper()
	if !p.hears(want, "the answering Close") {
		p.hearsEnd("after Close")
	}
}

func (p *played) hearsEnd(why string) {
	p.t.Helper()
	p.wantData(1, "", true, why)
}

// closing calls Close and returns where its result will be.
func (p *played) closing(code websocket.StatusCode) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.Conn.Close(context.Background(), code, "") }()
	return done
}

// wantFailed wants a CloseError of Read, and of every call after it.
func (p *played) wantFailed(code websocket.StatusCode, remote bool) error {
	p.t.Helper()
	err := <-p.failed
	p.wantCloseError(err, code, remote)
	_, _, again := p.Conn.Read(context.Background())
	p.wantCloseError(again, code, remote)
	p.wantCloseError(p.Conn.Write(context.Background(), websocket.MessageText, nil), code, remote)
	return err
}

func (p *played) wantCloseError(err error, code websocket.StatusCode, remote bool) {
	p.t.Helper()
	ce, ok := errors.AsType[*websocket.CloseError](err)
	require.True(p.t, ok, "%v", err)
	assert.Equal(p.t, code, ce.Code)
	assert.Equal(p.t, remote, ce.Remote)
}

func (p *played) wantStreamError(err error, code http2.ErrCode) {
	p.t.Helper()
	se, ok := errors.AsType[*StreamError](err)
	require.True(p.t, ok, "%v", err)
	assert.Equal(p.t, code, se.Code)
	assert.True(p.t, se.Remote)
}

// handshake goes on to the state in which both Close frames have passed, the
// peer's own direction is still open, and our Close returned nil.
func (p *played) handshake() {
	p.t.Helper()
	done := p.closing(1000)
	p.hearsClose(1000)
	p.says(false, wstest.Close(1000, ""))
	if p.side == serverSide {
		p.hearsEnd("rule 3: the server ends first")
	}
	require.NoError(p.t, <-done)
	p.wantAlive("and nothing else")
}

// matrix are the rows. A row is played in both roles, or has its own for each.
var matrix = []struct {
	name           string
	both           func(p *played)
	server, client func(p *played)
}{
	{name: "C1 open", both: func(p *played) {
		done := p.closing(1000)
		p.hearsClose(1000)
		for range 8 { // twice the stream's window: credit returns for what is discarded
			p.says(false, wstest.Binary(make([]byte, 16000)))
			synctest.Wait()
		}
		p.wantAlive("messages are discarded")
		p.says(false, wstest.Close(1000, ""))
		if p.side == serverSide {
			p.hearsEnd("rule 3: the server ends first")
			require.NoError(p.t, <-done)
			p.says(true)
		} else {
			require.NoError(p.t, <-done)
			p.wantAlive("rule 3: the client waits for the server's END_STREAM")
			p.says(true)
			p.hearsEnd("and follows")
		}
		p.wantAlive("no reset")
		assert.NoError(p.t, <-p.closing(1001), "the same result again")
		assert.ErrorIs(p.t, p.wantFailed(1000, false), net.ErrClosed)
	}},
	{name: "C1 called twice", both: func(p *played) {
		first, second := p.closing(1000), p.closing(1000)
		p.hearsClose(1000)
		p.says(true, wstest.Close(1000, ""))
		p.hearsEnd("END_STREAM")
		assert.NoError(p.t, <-first)
		assert.NoError(p.t, <-second)
		p.wantAlive("one Close frame, no reset")
	}},
	{name: "C2 open", server: func(p *played) {
		p.says(false, wstest.Close(3001, "bye"))
		p.hearsAnswer(wstest.Close(3001, ""))
		p.wantFailed(3001, true)
		p.says(true)
		p.wantAlive("no reset")
		assert.NoError(p.t, <-p.closing(1000))
	}, client: func(p *played) {
		p.says(false, wstest.Close(3001, "bye"))
		assert.False(p.t, p.hears(wstest.Close(3001, ""), "the same code"))
		p.wantAlive("the client waits for END_STREAM")
		p.wantFailed(3001, true)
		p.says(true)
		p.hearsEnd("and follows")
		p.wantAlive("no reset")
	}},
	{name: "C2 open, an empty Close", both: func(p *played) {
		p.says(p.side == clientSide, wstest.Frame{Opcode: frame.Close})
		p.hearsAnswer(wstest.Frame{Opcode: frame.Close})
		p.wantFailed(websocket.StatusNoStatusReceived, true)
		if p.side == serverSide {
			p.says(true)
		}
		p.wantAlive("no reset")
	}},
	{name: "C2 both passed", both: func(p *played) {
		p.handshake()
		p.says(false, wstest.Close(1002, ""), wstest.Text("late"), wstest.Ping("late"))
		p.wantAlive("a second Close and what follows is ignored")
		p.says(true)
		p.endsAfterPeer()
	}},
	{name: "C3 open", both: func(p *played) {
		p.says(true)
		p.hearsEnd("END_STREAM, no Close")
		assert.ErrorIs(p.t, p.wantFailed(1006, true), io.ErrUnexpectedEOF)
		p.wantAlive("no reset")
	}},
	{name: "C3 open, inside a message", both: func(p *played) {
		p.says(true, wstest.Text("half").Fragment())
		p.hearsEnd("END_STREAM, no Close")
		assert.ErrorIs(p.t, p.wantFailed(1006, true), io.ErrUnexpectedEOF)
		p.wantAlive("no reset")
	}},
	{name: "C3 our Close sent", both: func(p *played) {
		done := p.closing(1000)
		p.hearsClose(1000)
		p.says(true)
		p.hearsEnd("END_STREAM")
		err := <-done
		p.wantCloseError(err, 1006, true)
		assert.ErrorIs(p.t, err, io.ErrUnexpectedEOF)
		p.wantAlive("no reset")
	}},
	{name: "C3 both passed", both: func(p *played) {
		p.handshake()
		p.says(true)
		p.endsAfterPeer()
	}},
	{name: "C4 open", both: func(p *played) {
		p.says(true, wstest.Close(1000, ""))
		p.hearsAnswer(wstest.Close(1000, ""))
		p.wantFailed(1000, true)
		p.wantAlive("no reset")
	}},
	{name: "C4 our Close sent", both: func(p *played) {
		done := p.closing(1000)
		p.hearsClose(1000)
		p.says(true, wstest.Close(1000, ""))
		p.hearsEnd("END_STREAM")
		assert.NoError(p.t, <-done)
		p.wantAlive("no reset")
	}},
	{name: "C5 open", both: func(p *played) {
		p.resets(http2.ErrCodeNo)
		p.wantStreamError(p.wantFailed(1006, true), http2.ErrCodeNo)
		p.wantAlive("nothing is said about a reset")
	}},
	{name: "C5 our Close sent", both: func(p *played) {
		done := p.closing(1000)
		p.hearsClose(1000)
		p.resets(http2.ErrCodeCancel)
		err := <-done
		p.wantCloseError(err, 1006, true)
		p.wantStreamError(err, http2.ErrCodeCancel)
		p.wantAlive("nothing is said about a reset")
	}},
	{name: "C5 both passed, NO_ERROR", both: func(p *played) { p.handshake(); p.resets(http2.ErrCodeNo) }},
	{name: "C5 both passed, CANCEL", both: func(p *played) { p.handshake(); p.resets(http2.ErrCodeCancel) }},
	{name: "C7 open", client: func(p *played) {
		require.NoError(p.t, p.fr.WriteGoAway(1, http2.ErrCodeNo, nil))
		p.says(false, wstest.Ping("still here"))
		p.hears(wstest.Pong("still here"), "the socket lives on")
		_, _, err := p.ours.role.(*ClientConn).Dial(context.Background(), "ws://localhost/ws", nil)
		assert.True(p.t, retryable(err), "no new stream here, but elsewhere: %v", err)
		p.says(true, wstest.Close(1000, ""))
		p.hearsAnswer(wstest.Close(1000, ""))
		p.wantFailed(1000, true)
		p.wantGoAway(http2.ErrCodeNo, "with the last stream the connection ends")
	}},
	{name: "C8", client: func(p *played) {
		dialled := make(chan error)
		go func() {
			_, _, err := p.ours.role.(*ClientConn).Dial(context.Background(), "ws://localhost/ws", nil)
			dialled <- err
		}()
		p.wantHeaders(3, false, "a second socket")
		require.NoError(p.t, p.fr.WriteGoAway(1, http2.ErrCodeNo, nil))
		err := <-dialled
		assert.True(p.t, retryable(err), "%v", err)
		p.says(false, wstest.Ping("still here"))
		p.hears(wstest.Pong("still here"), "the first one lives on")
		p.resets(http2.ErrCodeCancel)
		p.wantFailed(1006, true)
	}},
	{name: "C9 open", both: func(p *played) {
		p.nc.Close()
		_, ok := errors.AsType[*ConnError](p.wantFailed(1006, true))
		assert.True(p.t, ok)
	}},
	{name: "C9 open, a fatal GOAWAY of ours", both: func(p *played) {
		p.nc.Write(raw(http2.FramePing, 0, 1, make([]byte, 8)))
		p.wantGoAway(http2.ErrCodeProtocol, "PING on a stream")
		ce, ok := errors.AsType[*ConnError](p.wantFailed(1006, true))
		require.True(p.t, ok)
		assert.False(p.t, ce.Remote)
	}},
	{name: "C9 our Close sent", both: func(p *played) {
		done := p.closing(1000)
		p.hearsClose(1000)
		p.nc.Close()
		p.wantCloseError(<-done, 1006, true)
	}},
	{name: "C9 both passed", both: func(p *played) {
		p.handshake()
		p.nc.Close()
		assert.ErrorIs(p.t, p.wantFailed(1000, false), net.ErrClosed)
	}},
	{name: "C10 open", both: func(p *played) {
		p.says(false, wstest.Frame{Opcode: 3})
		p.hearsBreach(1002)
		for range 8 {
			p.says(false, wstest.Text(strings.Repeat("x", 16000)), wstest.Close(1000, ""))
			synctest.Wait()
		}
		p.wantAlive("discarded, credit returned, nothing answered")
		p.wantFailed(1002, false)
		p.wantResetAfter(5 * time.Second)
	}},
	{name: "C10 open, and the peer ends", both: func(p *played) {
		p.says(true, wstest.Text("\xff"))
		p.hearsBreach(1007)
		p.wantFailed(1007, false)
		p.wantAlive("no reset")
	}},
	{name: "C10 our Close sent", both: func(p *played) {
		done := p.closing(1000)
		p.hearsClose(1000)
		p.says(false, wstest.Frame{Opcode: 3})
		p.hearsEnd("END_STREAM")
		assert.Error(p.t, <-done)
		p.wantResetAfter(5 * time.Second)
	}},
	{name: "C10 both passed", both: func(p *played) {
		p.handshake()
		p.says(false, wstest.Frame{Opcode: 3})
		p.wantAlive("ignored")
		p.says(true)
		p.endsAfterPeer()
	}},
	{name: "C11 open", both: func(p *played) {
		assert.NoError(p.t, p.CloseNow())
		p.wantReset(1, http2.ErrCodeCancel, "P21")
		assert.ErrorIs(p.t, p.wantFailed(1006, false), net.ErrClosed)
	}},
	{name: "C11 open, in the middle of a frame", both: func(p *played) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := p.Conn.Write(ctx, websocket.MessageBinary, make([]byte, 1<<20))
		assert.ErrorIs(p.t, err, context.DeadlineExceeded)
		f := p.next("a part of it")
		for ; f.Header().Type == http2.FrameData; f = p.next("another part, or the reset") {
			assert.Zero(p.t, f.Header().Flags)
		}
		rst, ok := f.(*http2.RSTStreamFrame)
		require.True(p.t, ok, "the rest never comes")
		assert.Equal(p.t, http2.ErrCodeCancel, rst.ErrCode)
		begin := time.Now()
		p.wantCloseError(p.Conn.Write(context.Background(), websocket.MessageText, nil), 1006, false)
		assert.Zero(p.t, time.Since(begin), "later writes fail at once")
	}},
	{name: "C11 our Close sent", both: func(p *played) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Conn.Close(ctx, 1000, "") }()
		p.hearsClose(1000)
		cancel()
		p.wantReset(1, http2.ErrCodeCancel, "the wait is cut short")
		assert.ErrorIs(p.t, <-done, context.Canceled)
	}},
	{name: "C12 open", server: func(p *played) {
		p.release()
		p.release = func() {}
		p.hearsClose(1000)
		p.says(false, wstest.Close(1000, ""))
		p.hearsEnd("END_STREAM, not a bare reset")
		p.says(true)
		p.wantAlive("no reset")
	}},
	{name: "C12 our Close sent", server: func(p *played) {
		done := p.closing(4000)
		p.hearsClose(4000)
		p.release()
		p.release = func() {}
		p.wantAlive("the handshake may finish")
		p.says(true, wstest.Close(4000, ""))
		p.hearsEnd("END_STREAM")
		assert.NoError(p.t, <-done)
		p.wantAlive("no reset")
	}},
	{name: "C12 both passed", server: func(p *played) {
		p.handshake()
		p.release()
		p.release = func() {}
		p.wantAlive("there is nothing to add")
		p.says(true)
		p.wantAlive("no reset")
	}},
	{name: "C15 our Close sent", both: func(p *played) {
		done := p.closing(1000)
		p.hearsClose(1000)
		time.Sleep(4 * time.Second)
		p.says(false, wstest.Text("does not extend the time"))
		p.wantResetAfter(time.Second)
		assert.ErrorIs(p.t, <-done, context.DeadlineExceeded)
	}},
	{name: "C15 both passed", both: func(p *played) {
		begin := time.Now()
		p.handshake()
		p.wantResetAfter(5*time.Second - time.Since(begin))
		assert.NoError(p.t, <-p.closing(1000))
	}},
	{name: "C16", both: func(p *played) {
		done := p.closing(1000)
		p.says(false, wstest.Close(1000, ""))
		if p.hears(wstest.Close(1000, ""), "ours") {
			// It may have become an answer, which ends the stream.
			p.says(true)
		} else {
			p.endsTogether()
		}
		assert.NoError(p.t, <-done)
		p.wantAlive("one Close frame of ours, no reset")
	}},
	{name: "Chromium of 2024, server closes", server: func(p *played) {
		done := p.closing(1001)
		p.hearsClose(1001)
		p.says(false, wstest.Close(1001, ""))
		p.hearsEnd("END_STREAM")
		p.resets(http2.ErrCodeCancel)
		assert.NoError(p.t, <-done)
		p.wantAlive("nothing about it")
		assert.ErrorIs(p.t, p.wantFailed(1001, false), net.ErrClosed)
	}},
	{name: "Chromium of 2024, page closes", server: func(p *played) {
		p.says(false, wstest.Close(1000, ""))
		p.hearsAnswer(wstest.Close(1000, ""))
		p.resets(http2.ErrCodeCancel)
		p.wantFailed(1000, true)
		p.wantAlive("nothing about it")
	}},
	{name: "Chromium of 2026, server closes", server: func(p *played) {
		done := p.closing(1001)
		p.hearsClose(1001)
		p.says(true, wstest.Close(1001, ""))
		p.hearsEnd("END_STREAM")
		assert.NoError(p.t, <-done)
		p.wantAlive("no reset")
	}},
	{name: "Chromium of 2026, page closes", server: func(p *played) {
		p.says(true, wstest.Close(1000, ""))
		p.hearsAnswer(wstest.Close(1000, ""))
		p.wantFailed(1000, true)
		p.wantAlive("no reset")
	}},
	{name: "Chromium, the page goes away", server: func(p *played) {
		p.resets(http2.ErrCodeCancel)
		p.wantStreamError(p.wantFailed(1006, true), http2.ErrCodeCancel)
		p.wantAlive("nothing about it")
	}},
}

// endsAfterPeer: when the peer has ended the client does, the server had.
func (p *played) endsAfterPeer() {
	p.t.Helper()
	if p.side == clientSide {
		p.hearsEnd("the client follows")
	}
	p.wantAlive("no reset")
}

// endsTogether plays the rest when both Close frames have passed.
func (p *played) endsTogether() {
	p.t.Helper()
	if p.side == serverSide {
		p.hearsEnd("the server ends first")
		p.says(true)
		return
	}
	p.says(true)
	p.hearsEnd("the client follows")
}

// hearsBreach: the Close after a broken rule has a reason, and is ended with.
func (p *played) hearsBreach(code frame.StatusCode) {
	p.t.Helper()
	d, ok := p.next("Close").(*http2.DataFrame)
	require.True(p.t, ok)
	got, err := wstest.ParseFrames(d.Data(), p.side == clientSide)
	require.NoError(p.t, err)
	require.Len(p.t, got, 1)
	is, _, ok := got[0].CloseCode()
	require.True(p.t, ok)
	assert.Equal(p.t, code, is)
	if !d.StreamEnded() {
		p.hearsEnd("END_STREAM")
	}
}

func (p *played) wantResetAfter(d time.Duration) {
	p.t.Helper()
	begin := time.Now()
	p.wantReset(1, http2.ErrCodeCancel, "the timer")
	assert.Equal(p.t, d, time.Since(begin))
}

func TestCloseMatrixFrameByFrame(t *testing.T) {
	for _, row := range matrix {
		server, client := row.server, row.client
		if row.both != nil {
			server, client = row.both, row.both
		}
		if server != nil {
			t.Run(row.name+", server", func(t *testing.T) { playSocket(t, serverSide, server) })
		}
		if client != nil {
			t.Run(row.name+", client", func(t *testing.T) { playSocket(t, clientSide, client) })
		}
	}
}
