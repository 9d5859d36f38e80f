package h3connect

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
)

func patient() *websocket.DialOptions {
	return &websocket.DialOptions{Limits: websocket.Limits{Handshake: time.Minute, PingInterval: -1}}
}

// A socket does not wait for the idle timeout of a connection whose path has died.
func TestSocketLeavesASilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		bubbleServer(t, n, new(Server), http.HandlerFunc(echo))
		tr := bubbleTransport(t, n)
		first := bubbleDial(t, tr, patient())
		time.Sleep(time.Second) // nothing is on its way any more
		n.setCut(true)
		begin := time.Now()
		time.AfterFunc(answerTime+time.Second, func() { n.setCut(false) })
		second := bubbleDial(t, tr, patient())
		took := time.Since(begin)
		assert.GreaterOrEqual(t, took, answerTime+time.Second)
		assert.Less(t, took, answerTime+3*time.Second)
		assert.Len(t, tr.connections(), 2)
		wantEcho(t, second, "on another connection")
		wantEcho(t, first, "it was but a pause")
		third := bubbleDial(t, tr, patient())
		assert.Len(t, tr.connections(), 2, "the new one is used")
		for _, c := range []*websocket.Conn{first, second, third} {
			require.NoError(t, c.CloseNow())
		}
	})
}

// A server that takes its time is not silent: it acknowledges.
func TestSlowAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		bubbleServer(t, n, new(Server), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * answerTime)
			echo(w, r)
		}))
		tr := bubbleTransport(t, n)
		begin := time.Now()
		c := bubbleDial(t, tr, patient())
		assert.Less(t, time.Since(begin), 6*answerTime)
		assert.Len(t, tr.connections(), 1)
		wantEcho(t, c, "here it is")
		require.NoError(t, c.CloseNow())
	})
}
