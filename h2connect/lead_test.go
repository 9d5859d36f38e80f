package h2connect

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// A messageFunc is a Handler that is not interested in the end.
type messageFunc func(c *websocket.Conn, t websocket.MessageType, p []byte)

func (f messageFunc) OnMessage(c *websocket.Conn, t websocket.MessageType, p []byte) { f(c, t, p) }
func (f messageFunc) OnClose(*websocket.Conn, error)                                 {}

// handled starts a server whose sockets have this Handler, and returns a Transport
// and the URL to dial.
func handled(t testing.TB, h websocket.Handler) (*Transport, string) {
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if assert.NoError(t, err) {
			assert.NoError(t, c.Handle(h))
		}
	}))
	return testTransport(t), "wss://" + s.addr + "/"
}

func dialHandled(t testing.TB, tr *Transport, url string) *websocket.Conn {
	t.Helper()
	c, _, err := tr.Dial(testContext(t), url, nil)
	require.NoError(t, err)
	return c
}

// Idle sockets with a Handler at both ends have no goroutines.
func TestHandledSocketsHoldNoGoroutines(t *testing.T) {
	wstest.NoLeaks(t)
	const sockets = 100
	tr, url := handled(t, messageFunc(func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
		c.Write(context.Background(), kind, p)
	}))
	echoed := make(chan string, 1)
	var all []*websocket.Conn
	for range sockets {
		c := dialHandled(t, tr, url)
		require.NoError(t, c.Handle(messageFunc(func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { echoed <- string(p) })))
		all = append(all, c)
	}
	for i, c := range all {
		require.NoError(t, c.Write(testContext(t), websocket.MessageText, fmt.Append(nil, i)))
		require.Equal(t, fmt.Sprint(i), <-echoed)
	}
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() >= sockets && time.Now().Before(deadline) {
		runtime.Gosched() // those that are on their way out
	}
	assert.Less(t, runtime.NumGoroutine(), sockets)
	for _, c := range all {
		c.CloseNow()
	}
}

// The reader is replaced as often as it has to be, by a call that lasts, by one
// that ends its goroutine, and by one whose write has to wait for the peer; and
// each socket's messages keep their order.
func TestLeadIsTakenOver(t *testing.T) {
	wstest.NoLeaks(t)
	release := make(chan struct{})
	tr, url := handled(t, messageFunc(func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
		switch string(p) {
		case "block":
			<-release
		case "exit":
			runtime.Goexit()
		case "large":
			c.Write(context.Background(), kind, make([]byte, 900_000)) // more than the windows
		}
		c.Write(context.Background(), kind, p)
	}))
	witness := dialHandled(t, tr, url)
	var blocked, large []*websocket.Conn
	for i := range 10 {
		for _, what := range []string{"block", "exit", "large"} {
			c := dialHandled(t, tr, url)
			require.NoError(t, c.Write(testContext(t), websocket.MessageText, []byte(what)))
			for n := range 10 {
				if c.Write(testContext(t), websocket.MessageText, fmt.Append(nil, n)) != nil {
					require.Equal(t, "exit", what)
				}
			}
			switch what {
			case "block":
				blocked = append(blocked, c)
			case "large":
				large = append(large, c)
			default:
				_, _, err := c.Read(testContext(t))
				var ce *websocket.CloseError
				require.ErrorAs(t, err, &ce)
				assert.Equal(t, websocket.StatusInternalError, ce.Code)
			}
			wantEcho(t, witness, fmt.Sprint(i, what))
		}
	}
	close(release)
	for _, c := range append(blocked, large...) {
		_, first, err := c.Read(testContext(t))
		require.NoError(t, err)
		if len(first) > 10 {
			_, first, err = c.Read(testContext(t))
			require.NoError(t, err)
			assert.Equal(t, "large", string(first))
		}
		for n := range 10 {
			_, p, err := c.Read(testContext(t))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(n), string(p))
		}
		require.NoError(t, c.Close(testContext(t), 1000, ""))
	}
	require.NoError(t, witness.Close(testContext(t), 1000, ""))
}

// A refusal is what is pushed to with Begin always false.
type refusal struct{}

func (refusal) Begin() bool      { return false }
func (refusal) Take([]byte) bool { panic("Take without Begin") }
func (refusal) Resume()          {}

// Bytes that Begin refuses wait at once, in front of all that comes later, for Resume or
// whoever reads.
func TestBytesThatBeginRefusesWait(t *testing.T) {
	ours, _ := wstest.Pipe(wstest.PipeOptions{})
	c := newServerConn(&server{srv: new(http.Server), limits: Limits{}.withDefaults()}, ours.NetConn(), nil).c
	st := c.newStream(1)
	st.Push(refusal{}, false)
	f, buffered, _, _ := st.recv.deliver(st, []byte("one"), 3)
	assert.Equal(t, fateServe, f)
	assert.Equal(t, 3, buffered)
	p := make([]byte, 10)
	n, err := st.TryRead(p[:2])
	require.NoError(t, err)
	assert.Equal(t, "on", string(p[:n]))
	f, _, _, _ = st.recv.deliver(st, []byte("two"), 3)
	assert.Equal(t, fateKept, f, "Resume is on its way")
	n, err = st.Read(p)
	require.NoError(t, err)
	assert.Equal(t, "etwo", string(p[:n]))
}

func TestLeadTerms(t *testing.T) {
	c := &conn{}
	c.lead.timer = time.NewTimer(time.Hour)
	l := &c.lead
	first := l.enter(7)
	assert.True(t, l.away())
	assert.EqualValues(t, 7, calls(first))
	assert.True(t, l.leave(first))
	assert.False(t, l.away())
	second := l.enter(9)
	assert.Zero(t, l.overdue(), "seen for the first time")
	assert.Equal(t, second, l.overdue(), "still the same")
	assert.True(t, l.term.CompareAndSwap(second, ended(second)), "deposed")
	assert.False(t, l.leave(second))
	assert.False(t, l.leave(first), "terms do not come again")
	assert.True(t, l.flushDue())
	assert.False(t, l.flushDue())
	assert.Zero(t, l.overdue(), "nobody is in a call")
	assert.True(t, l.watched.Load())
	assert.Zero(t, l.overdue(), "and nobody was")
	assert.False(t, l.watched.Load())
}

// Where the timer finds nobody in a call it looks less and less often, and as often
// as ever once it has found somebody.
func TestLeadLooksLessOftenWhereCallsAreQuick(t *testing.T) {
	c := &conn{}
	c.lead.timer = time.NewTimer(time.Hour)
	l := &c.lead
	for _, pause := range []time.Duration{1, 2, 4, 8, 8} {
		assert.True(t, l.leave(l.enter(1)))
		assert.Equal(t, pause*leadPatience, l.pause)
		assert.Zero(t, l.overdue())
	}
	term := l.enter(1)
	assert.Zero(t, l.overdue(), "seen for the first time")
	assert.Equal(t, leadPatience, l.pause)
	assert.Equal(t, term, l.overdue())
}
