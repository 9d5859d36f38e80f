package websocket_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// echoes returns a Handler that answers with the message.
func echoes(t *testing.T) *recorder {
	r := new(recorder)
	r.do = func(c *websocket.Conn, p []byte) {
		assert.NoError(t, c.Write(t.Context(), websocket.MessageText, p))
	}
	return r
}

// pushedSockets runs a test of a handled socket whose stream pushes.
func pushedSockets(t *testing.T, s socket, test func(t *testing.T, e *end)) {
	asBothRoles(t, func(t *testing.T, client bool) {
		s.client, s.pushes = client, true
		e := s.open(t)
		require.NoError(t, e.Handle(echoes(t)))
		test(t, e)
	})
}

// What a message has made is given back some seconds later, nothing is forgotten that
// Stats tells, and the next message is as the first.
func TestIdleSocketGivesBackWhatAMessageNeeded(t *testing.T) {
	pushedSockets(t, socket{}, func(t *testing.T, e *end) {
		require.True(t, websocket.AtRest(e.Conn))
		for i := range 3 {
			e.peer.Send(t, wstest.Text("one"))
			e.peer.Next(t, "the echo")
			synctest.Wait()
			require.False(t, websocket.AtRest(e.Conn))
			before := e.Stats()
			assert.EqualValues(t, i+1, before.MessagesRead)
			assert.Equal(t, e.far.WrittenBytes(), before.BytesRead)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			require.True(t, websocket.AtRest(e.Conn))
			assert.Equal(t, before, e.Stats())
		}
	})
}

// A loop that is busy with its message for long is at rest too, and has not told Stats
// of it yet.
func TestAMessageReadJustBeforeRestIsCounted(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		for i := range int64(3) {
			e.peer.Send(t, wstest.Text("one"))
			_, p, err := e.Read(t.Context())
			require.NoError(t, err)
			require.NoError(t, e.Write(t.Context(), websocket.MessageText, p))
			e.peer.Next(t, "the echo")
			time.Sleep(3 * time.Second)
			synctest.Wait()
			require.True(t, websocket.AtRest(e.Conn))
			assert.Equal(t, i+1, e.Stats().MessagesRead)
			assert.Equal(t, e.far.WrittenBytes(), e.Stats().BytesRead)
		}
	})
}

func TestCompressedMessagesStayCountedAtRest(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		s := deflating(client, websocket.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true})
		s.pushes = true
		e := s.open(t)
		require.NoError(t, e.Handle(echoes(t)))
		for i := range int64(2) {
			e.peer.Send(t, wstest.Text(deflatedHello).Compressed())
			e.peer.Next(t, "the echo")
			time.Sleep(3 * time.Second)
			synctest.Wait()
			require.True(t, websocket.AtRest(e.Conn), "without takeover nothing is kept")
			assert.EqualValues(t, (i+1)*5, e.Stats().InflatedRead)
			assert.EqualValues(t, (i+1)*int64(len(deflatedHello)), e.Stats().CompressedRead)
		}
	})
}

// What has begun is kept: a part of a frame or of a message, and the peer's window.
func TestNothingIsGivenBackThatIsStillNeeded(t *testing.T) {
	for name, begun := range map[string]func(p *wstest.Peer) []byte{
		"a part of a header":  func(p *wstest.Peer) []byte { return p.Append(nil, wstest.Text("two"))[:1] },
		"a part of a payload": func(p *wstest.Peer) []byte { b := p.Append(nil, wstest.Text("two")); return b[:len(b)-1] },
		"a fragment":          func(p *wstest.Peer) []byte { return p.Append(nil, wstest.Text("tw").Fragment()) },
	} {
		t.Run(name, func(t *testing.T) {
			pushedSockets(t, socket{}, func(t *testing.T, e *end) {
				e.peer.Send(t, wstest.Text("one"))
				e.peer.Next(t, "the echo")
				e.peer.SendRaw(t, begun(e.peer))
				time.Sleep(5 * time.Second)
				synctest.Wait()
				require.False(t, websocket.AtRest(e.Conn))
			})
		})
	}
	t.Run("the window", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			s := deflating(client, websocket.DeflateParams{})
			s.pushes = true
			e := s.open(t)
			require.NoError(t, e.Handle(echoes(t)))
			for range 2 {
				e.peer.Send(t, wstest.Text(deflatedHello).Compressed())
				e.peer.Next(t, "the echo")
				time.Sleep(5 * time.Second)
				synctest.Wait()
				require.False(t, websocket.AtRest(e.Conn))
			}
		})
	})
}

// Rest is no way around the limit on control frames: it comes when a peer that has
// used some of it up has earned all of it back.
func TestRestForgetsNoControlFrames(t *testing.T) {
	pushedSockets(t, socket{params: websocket.Params{Limits: websocket.Limits{ControlBurst: 10, ControlRate: 1}}}, func(t *testing.T, e *end) {
		for range 9 {
			e.peer.Send(t, wstest.Ping(""))
			e.peer.Next(t, "the Pong")
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.False(t, websocket.AtRest(e.Conn))
		for range 5 {
			e.peer.Send(t, wstest.Ping(""))
			e.peer.Next(t, "the Pong")
		}
		e.peer.Send(t, wstest.Ping(""))
		e.peer.WantClose(t, 1008, "the sixth of five")
	})
}

// A stall watch that looks for the last time is no stall's beginning: a write that
// begins then has all of its time.
func TestOP06WriteAfterAQuietSecondHasAllOfItsTime(t *testing.T) {
	for _, pause := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 1999 * time.Millisecond, 2500 * time.Millisecond} {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 50}}.open(t)
			require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, make([]byte, 40)))
			time.Sleep(pause)
			start := time.Now()
			wantEnd(t, e.Write(t.Context(), websocket.MessageBinary, make([]byte, 1000)), 1006, true)
			assert.GreaterOrEqual(t, time.Since(start), 30*time.Second)
			assert.LessOrEqual(t, time.Since(start), 31*time.Second)
		})
	}
}
