package sockets_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/sockets"
	"github.com/wsmux/websocket/internal/wstest"
)

// A call is a handler call that has accepted a socket, and the peer of that.
type call struct {
	conn     *websocket.Conn
	ctx      context.Context // the request's
	peer     *wstest.Peer
	far      *wstest.PipeStream
	returned chan struct{}
}

// begin calls a handler that accepts a socket and hands it to serve.
func begin(t *testing.T, set *sockets.Set, pipe wstest.PipeOptions, serve func(*call)) *call {
	t.Helper()
	ours, theirs := wstest.Pipe(pipe)
	c := &call{peer: wstest.NewClient(theirs), far: theirs, returned: make(chan struct{})}
	c.peer.Patience = time.Hour
	accepted := make(chan struct{})
	h := sockets.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Nil(t, sockets.Admit(r))
		c.conn, c.ctx = sockets.Accepted(r, ours, websocket.Params{}), r.Context()
		close(accepted)
		serve(c)
	}), set)
	go func() {
		defer close(c.returned)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodConnect, "/", nil))
	}()
	<-accepted
	return c
}

// drain reads until the socket ends, and returns the messages.
func drain(c *websocket.Conn) (messages []string) {
	for {
		_, p, err := c.Read(context.Background())
		if err != nil {
			return messages
		}
		messages = append(messages, string(p))
	}
}

// answer plays a client's part in a closing handshake that the server began.
func (c *call) answer(t *testing.T) {
	c.peer.WantClose(t, websocket.StatusGoingAway, "goodbye")
	c.peer.Send(t, wstest.Close(websocket.StatusGoingAway, ""))
	c.peer.WantEOF(t, "the server ends first")
	require.NoError(t, c.far.CloseWrite())
}

// C14: a socket may finish: what its client sent before it answered is read, the
// handler's context lasts as long as the socket, and GoAway waits for the handler.
func TestC14GoAwayLetsSocketsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set sockets.Set
		var got []string
		goOn := make(chan struct{})
		c := begin(t, &set, wstest.PipeOptions{}, func(c *call) {
			got = drain(c.conn)
			<-goOn
		})
		told := make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- set.GoAway(t.Context(), func() { close(told) }) }()
		<-told
		c.peer.WantClose(t, websocket.StatusGoingAway, "told says that it was written")
		c.peer.Send(t, wstest.Text("on its way"))
		synctest.Wait()
		require.NoError(t, c.ctx.Err())
		c.peer.Send(t, wstest.Close(websocket.StatusGoingAway, ""))
		c.peer.WantEOF(t, "the server ends first")
		require.NoError(t, c.far.CloseWrite())
		synctest.Wait()
		require.Error(t, c.ctx.Err(), "the request's context ends with its socket")
		assert.Zero(t, set.Len())
		select {
		case <-done:
			t.Fatal("GoAway does not wait for handlers")
		default:
		}
		close(goOn)
		require.NoError(t, <-done)
		assert.Equal(t, []string{"on its way"}, got)
		require.NoError(t, set.GoAway(t.Context(), nil), "again")
	})
}

func TestGoAwayRefusesNewSockets(t *testing.T) {
	var set, outer sockets.Set
	ask := func() (e *websocket.HandshakeError) {
		h := http.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { e = sockets.Admit(r) }))
		r := httptest.NewRequest(http.MethodConnect, "/", nil)
		sockets.Handler(sockets.Handler(h, &set), &outer).ServeHTTP(nil, r)
		return e
	}
	require.Nil(t, ask())
	require.NoError(t, set.GoAway(t.Context(), nil), "nothing is left of a request that was admitted")
	refusal := ask()
	require.NotNil(t, refusal)
	assert.Equal(t, http.StatusServiceUnavailable, refusal.Status)
	assert.NotEmpty(t, refusal.Header.Get("Retry-After"))
	require.ErrorIs(t, refusal, http.ErrServerClosed)
	require.NoError(t, outer.GoAway(t.Context(), nil), "the outer set does not wait for what the inner one refused")
	assert.Nil(t, sockets.Admit(httptest.NewRequest(http.MethodConnect, "/", nil)), "nobody keeps track")
}

// A peer that takes no data holds up the others' GOAWAY for a second, not for ever.
func TestGoAwayDoesNotWaitForAStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set sockets.Set
		c := begin(t, &set, wstest.PipeOptions{Buffer: 10}, func(c *call) {
			c.conn.Write(context.Background(), websocket.MessageText, make([]byte, 100))
		})
		synctest.Wait()
		start := time.Now()
		told := make(chan time.Duration, 1)
		err := set.GoAway(t.Context(), func() { told <- time.Since(start) })
		assert.Equal(t, time.Second, <-told)
		assert.Equal(t, 5*time.Second, time.Since(start), "CloseTimeout")
		unclean, ok := errors.AsType[*sockets.Unclean](err)
		require.True(t, ok, "%v", err)
		assert.Len(t, unclean.Sockets, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c.peer.WantReset(t, "given up")
		<-c.returned
	})
}

// When the context ends the rest is cut, and what that was is said.
func TestGoAwayCutsAtTheEndOfItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set sockets.Set
		silent := begin(t, &set, wstest.PipeOptions{}, func(c *call) { drain(c.conn) })
		closing := begin(t, &set, wstest.PipeOptions{}, func(c *call) {
			c.conn.Close(context.Background(), websocket.StatusServiceRestart, "")
		})
		busy := begin(t, &set, wstest.PipeOptions{}, func(c *call) {
			drain(c.conn)
			time.Sleep(time.Hour)
		})
		gone := begin(t, &set, wstest.PipeOptions{}, func(c *call) { drain(c.conn) })
		synctest.Wait()
		go busy.answer(t)
		go func() {
			gone.peer.WantClose(t, websocket.StatusGoingAway, "told before it goes")
			gone.far.Abort()
		}()
		cause := errors.New("no more time")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- set.GoAway(ctx, nil) }()
		silent.peer.WantClose(t, websocket.StatusGoingAway, "told before it is cut")
		closing.peer.WantClose(t, websocket.StatusServiceRestart, "its own")
		err := <-done
		assert.Equal(t, time.Second, time.Since(start))
		unclean, ok := errors.AsType[*sockets.Unclean](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, map[websocket.Bootstrap]int{websocket.HTTP2: 3}, unclean.Sockets, "silent, closing and gone")
		assert.Equal(t, 1, unclean.Handlers)
		require.ErrorIs(t, err, cause)
		ce, ok := errors.AsType[*websocket.CloseError](err)
		require.True(t, ok, "how the one that was gone ended")
		assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
		for _, c := range []*call{silent, closing} {
			<-c.returned
			assert.ErrorIs(t, context.Cause(c.ctx), http.ErrServerClosed)
		}
		assert.Equal(t, time.Second, time.Since(start), "handlers return at once")
		silent.peer.WantReset(t, "cut")
		closing.peer.WantReset(t, "cut, though it was being closed")
		<-busy.returned
	})
}

// A handler that accepted nothing is not waited for, a tunnel of another protocol
// for instance; its context ends when the rest is cut.
func TestGoAwayDoesNotWaitForOtherProtocols(t *testing.T) {
	var set sockets.Set
	begun, returned := make(chan struct{}), make(chan error, 1)
	h := sockets.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		returned <- context.Cause(r.Context())
	}), &set)
	go h.ServeHTTP(nil, httptest.NewRequest(http.MethodConnect, "/", nil))
	<-begun
	require.NoError(t, set.GoAway(t.Context(), nil))
	assert.Empty(t, returned)
	set.CloseNow()
	assert.ErrorIs(t, <-returned, http.ErrServerClosed)
}

// Two servers' sets, one inside the other, may both say goodbye.
func TestBothSetsOfASocketSayGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inner, outer sockets.Set
		ours, theirs := wstest.Pipe(wstest.PipeOptions{})
		p := wstest.NewClient(theirs)
		h := sockets.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Nil(t, sockets.Admit(r))
			drain(sockets.Accepted(r, ours, websocket.Params{}))
		}), &inner)
		go sockets.Handler(h, &outer).ServeHTTP(nil, httptest.NewRequest(http.MethodConnect, "/", nil))
		synctest.Wait()
		done := make(chan error, 2)
		for _, set := range []*sockets.Set{&inner, &outer} {
			assert.Equal(t, 1, set.Len())
			go func() { done <- set.GoAway(t.Context(), nil) }()
		}
		p.WantClose(t, websocket.StatusGoingAway, "goodbye")
		p.WantIdle(t, "once")
		p.Send(t, wstest.Close(websocket.StatusGoingAway, ""))
		p.WantEOF(t, "the server ends first")
		require.NoError(t, theirs.CloseWrite())
		require.NoError(t, <-done)
		require.NoError(t, <-done)
	})
}

// serveOne calls a handler that accepts a socket over stream, and returns what
// its Read ended with when the handler has returned.
func serveOne(set *sockets.Set, stream websocket.Stream) error {
	var ended error
	h := sockets.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := sockets.Accepted(r, stream, websocket.Params{})
		_, _, ended = c.Read(context.Background())
	}), set)
	r := httptest.NewRequest(http.MethodConnect, "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	return ended
}

// A handshake that was on its way when the server was cut or shut down ends as the
// sockets before it did: nobody would come back for it.
func TestSocketsAcceptedTooLateEndToo(t *testing.T) {
	t.Run("CloseNow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var set sockets.Set
			set.CloseNow()
			start := time.Now()
			ours, theirs := wstest.Pipe(wstest.PipeOptions{})
			ce, ok := errors.AsType[*websocket.CloseError](serveOne(&set, ours))
			require.True(t, ok)
			assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
			wstest.NewClient(theirs).WantReset(t, "cut like the others")
			assert.Zero(t, time.Since(start), "at once: no timer had to find out")
		})
	})
	t.Run("GoAway", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var set sockets.Set
			require.NoError(t, set.GoAway(t.Context(), nil))
			ours, theirs := wstest.Pipe(wstest.PipeOptions{})
			ended := make(chan error, 1)
			go func() { ended <- serveOne(&set, ours) }()
			p := wstest.NewClient(theirs)
			p.WantClose(t, websocket.StatusGoingAway, "told like the others")
			p.Send(t, wstest.Close(websocket.StatusGoingAway, ""))
			p.WantEOF(t, "the server ends first")
			require.NoError(t, theirs.CloseWrite())
			ce, ok := errors.AsType[*websocket.CloseError](<-ended)
			require.True(t, ok)
			assert.Equal(t, websocket.StatusGoingAway, ce.Code)
			synctest.Wait()
			assert.Zero(t, set.Len())
		})
	})
}
