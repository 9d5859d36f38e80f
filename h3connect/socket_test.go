package h3connect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// accepted runs a handler that accepts, and gives the socket to the test, which
// lets the handler return by closing the channel.
type accepted struct {
	options *websocket.AcceptOptions
	ws      chan *websocket.Conn
	ctx     chan context.Context
	release chan struct{}
}

func newAccepted() *accepted {
	return &accepted{nil, make(chan *websocket.Conn, 1), make(chan context.Context, 1), make(chan struct{})}
}

func (a *accepted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	c, err := Accept(w, r, a.options)
	if err != nil {
		return
	}
	a.ws <- c
	a.ctx <- r.Context()
	<-a.release
}

// want1006 checks that a socket has ended without a Close, by the peer's doing,
// and returns the cause.
func want1006(t testing.TB, err error) error {
	t.Helper()
	ce, ok := errors.AsType[*websocket.CloseError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
	require.True(t, ce.Remote)
	return ce.Err
}

// begin opens a socket from a raw client to a Server whose handler waits.
func begin(t *testing.T) (*accepted, *rawPeer, *rawStream, *websocket.Conn) {
	t.Helper()
	wstest.NoLeaks(t)
	a := newAccepted()
	addr := serve(t, new(Server), a)
	t.Cleanup(func() { close(a.release) })
	p := dialRaw(t, addr)
	s := p.open(headersFrame(connect()...))
	s.wantStatus("200")
	return a, p, s, <-a.ws
}

func TestXC12HeadersAfterAcceptance(t *testing.T) {
	_, p, s, c := begin(t)
	s.send(headersFrame("x-trailer: y"))
	_, _, err := c.Read(soon(t))
	cause := want1006(t, err)
	ce, ok := errors.AsType[*ConnError](cause)
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeFrameUnexpected, ce.Code)
	require.False(t, ce.Remote)
	require.Equal(t, http3.ErrCodeFrameUnexpected, p.closed())
}

func TestXC12UnderPlainServer(t *testing.T) {
	a := newAccepted()
	defer close(a.release)
	p := dialRaw(t, servePlain(t, &http3.Server{Handler: a}))
	s := p.open(headersFrame(connect()...))
	s.wantStatus("200")
	c := <-a.ws
	s.send(headersFrame("x-trailer: y"))
	_, _, err := c.Read(soon(t))
	se, ok := errors.AsType[*StreamError](want1006(t, err))
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeFrameUnexpected, se.Code)
	s.wantReset(http3.ErrCodeFrameUnexpected)
	s.wantStop(http3.ErrCodeFrameUnexpected)
	wantAlive(t, p)
}

func TestP40FINWithinDATA(t *testing.T) {
	_, p, s, c := begin(t)
	s.send(dataFrame("hello")[:3])
	require.NoError(t, s.Close())
	_, _, err := c.Read(soon(t))
	_, ok := errors.AsType[*ConnError](want1006(t, err))
	require.True(t, ok)
	require.Equal(t, http3.ErrCodeFrameError, p.closed())
}

func TestXC13ResetInMidMessage(t *testing.T) {
	a, p, s, c := begin(t)
	msg := wstest.NewClient(nil).Append(nil, wstest.Text("never to be seen whole"))
	s.send(dataFrame(string(msg[:10])))
	s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	_, _, err := c.Read(soon(t))
	se, ok := errors.AsType[*StreamError](want1006(t, err))
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeRequestCanceled, se.Code)
	require.True(t, se.Remote)
	s.wantReset(http3.ErrCodeRequestCanceled) // C5: answered with both
	select {
	case <-(<-a.ctx).Done():
	case <-time.After(patience):
		require.Fail(t, "the request's context is still alive")
	}
	require.ErrorAs(t, c.Write(soon(t), websocket.MessageText, []byte("x")), new(*websocket.CloseError), "T26")
	wantAlive(t, p)
}

func TestXC14HandlerReturns(t *testing.T) {
	wstest.NoLeaks(t)
	for _, c := range []struct {
		name string
		end  func()
		code frame.StatusCode
	}{
		{"returns", func() {}, websocket.StatusNormalClosure},
		{"panics", func() { panic(http.ErrAbortHandler) }, websocket.StatusInternalError},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := Accept(w, r, nil); err == nil {
					c.end()
				}
			})
			s := dialRaw(t, serve(t, new(Server), h)).open(headersFrame(connect()...))
			s.wantStatus("200")
			peer := wstest.NewClient(s)
			peer.WantClose(t, c.code, "the handler is done")
			peer.Send(t, wstest.Close(c.code, ""))
			s.wantEnd() // FIN, no reset, and the server's first (P60)
			require.NoError(t, s.Close())
		})
	}
}

// TestHandlerMayReturnUnderPlainServer: http3 leaves a stream alone that was taken
// over, so the socket outlives its handler.
func TestHandlerMayReturnUnderPlainServer(t *testing.T) {
	wstest.NoLeaks(t)
	a := newAccepted()
	close(a.release)
	addr := servePlain(t, &http3.Server{Handler: a})
	c := dial(t, newTransport(t), addr, nil)
	server := <-a.ws
	go func() {
		_, p, err := server.Read(context.Background())
		assert.NoError(t, err)
		assert.NoError(t, server.Write(context.Background(), websocket.MessageText, p))
		_, _, _ = server.Read(context.Background())
	}()
	wantEcho(t, c, "still here")
	require.NoError(t, c.Close(soon(t), websocket.StatusNormalClosure, ""))
}

func TestP38GreaseAndP39TinyFrames(t *testing.T) {
	wstest.NoLeaks(t)
	s := dialRaw(t, serve(t, new(Server), http.HandlerFunc(echo))).open(headersFrame(connect()...))
	s.wantStatus("200")
	peer := wstest.NewClient(s)
	msg := peer.Append(nil, wstest.Text("one byte at a time"))
	var out []byte
	for i := range msg {
		out = append(out, dataFrame(string(msg[i:i+1]))...)
		out = append(out, greaseFrame("ignored")...)
	}
	s.send(greaseFrame(""), out)
	peer.WantFrame(t, frame.Text, "one byte at a time", "borders of DATA frames mean nothing")
}

func TestH3_02FiveThousandEmptyFramesWithinMessage(t *testing.T) {
	wstest.NoLeaks(t)
	s := dialRaw(t, serve(t, new(Server), http.HandlerFunc(echo))).open(headersFrame(connect()...))
	s.wantStatus("200")
	peer := wstest.NewClient(s)
	msg := peer.Append(nil, wstest.Text("intact"))
	empty := strings.Repeat(string(dataFrame("")), 5000)
	s.send(dataFrame(string(msg[:8])), []byte(empty), dataFrame(string(msg[8:])))
	peer.WantFrame(t, frame.Text, "intact", "empty DATA frames are legal")
}

func TestH3_02EmptyFramesForEver(t *testing.T) {
	_, p, s, c := begin(t)
	empty := []byte(strings.Repeat(string(dataFrame("")), 10000))
	go func() {
		for range 100 {
			if _, err := s.Stream.Write(empty); err != nil {
				return
			}
		}
	}()
	_, _, err := c.Read(soon(t))
	se, ok := errors.AsType[*StreamError](want1006(t, err))
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeExcessiveLoad, se.Code)
	require.False(t, se.Remote)
	s.wantStop(http3.ErrCodeExcessiveLoad)
	s.wantReset(http3.ErrCodeExcessiveLoad)
	wantAlive(t, p)
}

func TestH3_17ForeignFrames(t *testing.T) {
	_, p, s, c := begin(t)
	// Something like a capsule (RFC 9297 §3.2), in a frame nobody knows.
	s.send(rawFrame(0x1234, []byte("\x00\x05hello")))
	wstest.NewClient(s).Send(t, wstest.Text("fine"))
	_, m, err := c.Read(soon(t))
	require.NoError(t, err)
	require.Equal(t, "fine", string(m))

	// More of it than anybody has a use for.
	big := make([]byte, 100<<10)
	go func() {
		for range 20 {
			if _, err := s.Stream.Write(rawFrame(0x1234, big)); err != nil {
				return
			}
		}
	}()
	_, _, err = c.Read(soon(t))
	se, ok := errors.AsType[*StreamError](want1006(t, err))
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeExcessiveLoad, se.Code)
	wantAlive(t, p)
}

// TestH3_12StopSending: writing ends, what the peer still has to say is read, and
// the request's context lives on for it (P42, C6).
func TestH3_12StopSending(t *testing.T) {
	a, p, s, c := begin(t)
	s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	ctx := <-a.ctx
	wstest.NewClient(s).Send(t, wstest.Text("last words"), wstest.Close(1000, "bye"))
	_, m, err := c.Read(ctx)
	require.NoError(t, err) // STOP_SENDING has come with it, or before
	require.Equal(t, "last words", string(m))
	_, _, err = c.Read(ctx)
	ce, ok := errors.AsType[*websocket.CloseError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, websocket.StatusNormalClosure, ce.Code)
	wantAlive(t, p)
}

func TestH3_12StopSendingInMidWrite(t *testing.T) {
	_, p, s, c := begin(t)
	big := make([]byte, 8<<20) // more than any window
	wrote := make(chan error, 1)
	go func() { wrote <- c.Write(context.Background(), websocket.MessageBinary, big) }()
	_, err := io.ReadFull(s, make([]byte, 1000))
	require.NoError(t, err)
	s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	se, ok := errors.AsType[*StreamError](want1006(t, <-wrote))
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeRequestCanceled, se.Code)
	require.True(t, se.Remote)
	wantAlive(t, p)
}
