package websocket_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A recorder is a Handler that writes down what it is called with.
type recorder struct {
	messages []string
	ends     []error
	do       func(c *websocket.Conn, p []byte) // in OnMessage, if not nil
}

func (r *recorder) OnMessage(c *websocket.Conn, t websocket.MessageType, p []byte) {
	r.messages = append(r.messages, t.String()+" "+string(p))
	if r.do != nil {
		r.do(c, p)
	}
}

func (r *recorder) OnClose(_ *websocket.Conn, err error) { r.ends = append(r.ends, err) }

// wantPing wants a Ping and returns its payload.
func (e *end) wantPing(t testing.TB, why string) string {
	t.Helper()
	f := e.peer.Next(t, why)
	require.Equal(t, frame.Ping, f.Opcode, why)
	return string(f.Payload)
}

func TestHandleDeliversWhatWasReadAheadAndBuffered(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		peer := wstest.NewClient(nil)
		if s.client {
			peer = wstest.NewServer(nil)
		}
		s.params.Buffered = peer.Append(nil, wstest.Text("buffered"), wstest.Text("in ").Fragment())
		e := s.open(t)
		e.peer.Send(t, wstest.Continuation("pieces"), wstest.Binary([]byte("ahead")))
		pinged := begin(func() error { return e.Ping(t.Context()) })
		p := e.wantPing(t, "it reads ahead")
		e.peer.Send(t, wstest.Pong(p), wstest.Text("behind"))
		require.NoError(t, <-pinged)
		r := new(recorder)
		require.NoError(t, e.Handle(r))
		synctest.Wait()
		assert.Equal(t, []string{"text buffered", "text in pieces", "binary ahead", "text behind"}, r.messages)
		assert.Empty(t, r.ends)
	})
}

func TestHandleSkipsTheRestOfAReadersMessage(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		e.peer.Send(t, wstest.Text("begun ").Fragment())
		_, reader, err := e.Reader(t.Context())
		require.NoError(t, err)
		r := new(recorder)
		require.NoError(t, e.Handle(r))
		e.peer.Send(t, wstest.Continuation("and given up"), wstest.Text("next"))
		synctest.Wait()
		assert.Equal(t, []string{"text next"}, r.messages)
		_, err = reader.Read(make([]byte, 1))
		assert.Error(t, err)
	})
}

// A Read that has its turn behind Handle takes nothing: what it left of its input would
// wait until more comes.
func TestHandleBesideReads(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		reading := e.beginRead(t.Context())
		synctest.Wait()
		waiting := e.beginRead(t.Context())
		synctest.Wait()
		r := new(recorder)
		require.NoError(t, e.Handle(r))
		e.peer.SendRaw(t, e.peer.Append(nil, wstest.Text("one"), wstest.Text("two"), wstest.Text("three")))
		synctest.Wait()
		assert.Equal(t, "one", (<-reading).payload, "it was in progress")
		assert.ErrorContains(t, (<-waiting).err, "Handler")
		assert.Equal(t, []string{"text two", "text three"}, r.messages)
	})
}

func TestHandleAnAbandonedReadsMessage(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		e.peer.Send(t, wstest.Text("what ").Fragment())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := e.Read(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		r := new(recorder)
		require.NoError(t, e.Handle(r))
		e.peer.Send(t, wstest.Continuation("had come"))
		synctest.Wait()
		assert.Equal(t, []string{"text what had come"}, r.messages)
	})
}

func TestHandleOfASocketThatHasEnded(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		e.CloseNow()
		r := new(recorder)
		wantEnd(t, e.Handle(r), 1006, false)
		synctest.Wait()
		assert.Empty(t, r.ends, "it never was this Handler's")
	})
}

// Once the peer has ended the socket, what it sent before is still delivered.
func TestHandleOfASocketThatThePeerHasEnded(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		pinged := begin(func() error { return e.Ping(t.Context()) })
		e.wantPing(t, "it reads ahead")
		e.peer.Send(t, wstest.Text("last words"), wstest.Close(4000, ""))
		require.Error(t, <-pinged)
		r := new(recorder)
		require.NoError(t, e.Handle(r))
		synctest.Wait()
		assert.Equal(t, []string{"text last words"}, r.messages)
		require.Len(t, r.ends, 1)
		wantEnd(t, r.ends[0], 4000, true)
	})
}

func TestHandlePanicsAndGoexitEndTheSocket(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("oh") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			onEveryStream(t, func(t *testing.T, s socket) {
				e := s.open(t)
				r := &recorder{do: func(*websocket.Conn, []byte) { end() }}
				require.NoError(t, e.Handle(r))
				e.peer.Send(t, wstest.Text("one"), wstest.Text("two"))
				e.wantFailed(t, 1011)
				assert.Equal(t, []string{"text one"}, r.messages)
				require.Len(t, r.ends, 1)
				var pe *websocket.PanicError
				require.ErrorAs(t, r.ends[0], &pe)
				assert.NotEmpty(t, pe.Stack)
				assert.Equal(t, name == "Goexit", pe.Value == nil)
			})
		})
	}
}

// A panic of OnClose harms nobody.
type badEnd struct{ recorder }

func (*badEnd) OnClose(*websocket.Conn, error) { panic("contained") }

func TestHandleContainsAPanicOfOnClose(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		require.NoError(t, e.Handle(new(badEnd)))
		e.peer.Send(t, wstest.Close(1000, ""))
		e.peer.WantClose(t, 1000, "all the same")
		synctest.Wait()
	})
}

// OP-06: an OnMessage that takes longer than a keep-alive is not taken for a dead
// peer, and a peer that is dead is found.
func TestOP06HandleKeepAlive(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		s.params.Limits = websocket.Limits{PingInterval: 10 * time.Second, PingTimeout: 5 * time.Second}
		e := s.open(t)
		r := &recorder{do: func(*websocket.Conn, []byte) { time.Sleep(time.Minute) }}
		require.NoError(t, e.Handle(r))
		e.peer.Send(t, wstest.Text("slowly"))
		for range 5 {
			p := e.wantPing(t, "keep-alive")
			e.peer.Send(t, wstest.Pong(p))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Empty(t, r.ends)
		e.wantPing(t, "not answered")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Len(t, r.ends, 1)
		wantEnd(t, r.ends[0], 1006, true)
		assert.ErrorIs(t, r.ends[0], context.DeadlineExceeded)
	})
}
