package negotiate_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// patience bounds what happens on loopback unless something is wrong.
const patience = 20 * time.Second

// drained serves h by an http.Server on which Drain was called, without TLS.
func drained(t *testing.T, h http.HandlerFunc) (addr string, srv *http.Server, shutdown func(context.Context) error) {
	t.Helper()
	srv = &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	shutdown = negotiate.Drain(srv)
	require.NoError(t, h2connect.ConfigureServer(srv, &h2connect.Server{Limits: h2connect.Limits{Linger: 50 * time.Millisecond}}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		assert.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l.Addr().String(), srv, shutdown
}

// overTCP runs a test over the bootstraps of an http.Server.
func overTCP(t *testing.T, test func(t *testing.T, d *negotiate.Dialer)) {
	for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2} {
		t.Run(b.String(), func(t *testing.T) {
			wstest.NoLeaks(t)
			d := &negotiate.Dialer{Policy: negotiate.Only(b)}
			defer d.CloseIdleConnections()
			test(t, d)
		})
	}
}

// ending returns how c's reading ends.
func ending(c *websocket.Conn) <-chan error {
	ended := make(chan error, 1)
	go func() {
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

func wantCode(t *testing.T, err error, code websocket.StatusCode) {
	t.Helper()
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, code, ce.Code)
	assert.True(t, ce.Remote)
}

// C14 with a plain http.Server: 1001 on every socket, and a wait for handlers.
func TestC14DrainOfAPlainServer(t *testing.T) {
	overTCP(t, func(t *testing.T, d *negotiate.Dialer) {
		goOn := make(chan struct{})
		returned := make(chan error, 1)
		addr, _, shutdown := drained(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				<-ending(c)
				<-r.Context().Done()
				<-goOn
				returned <- nil
			}
		})
		c, _, err := d.Dial(t.Context(), "ws://"+addr+"/ws", nil)
		require.NoError(t, err)
		ended := ending(c)
		down := make(chan error, 1)
		go func() { down <- shutdown(context.Background()) }()
		wantCode(t, <-ended, websocket.StatusGoingAway)
		assert.Empty(t, down, "handlers are waited for")
		close(goOn)
		require.NoError(t, <-down)
		assert.Len(t, returned, 1)
		require.NoError(t, shutdown(t.Context()), "again")
	})
}

// What does not end in time is cut, and counted.
func TestShutdownErrorSaysWhatDidNotEnd(t *testing.T) {
	overTCP(t, func(t *testing.T, d *negotiate.Dialer) {
		accepted, returned := make(chan struct{}), make(chan error, 2)
		addr, _, shutdown := drained(t, func(w http.ResponseWriter, r *http.Request) {
			defer func() { returned <- context.Cause(r.Context()) }()
			if r.URL.Path == "/ordinary" {
				<-r.Context().Done()
				return
			}
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				close(accepted)
				<-ending(c)
			}
		})
		c, _, err := d.Dial(t.Context(), "ws://"+addr+"/ws", nil) // which nobody reads
		require.NoError(t, err)
		defer c.CloseNow()
		<-accepted // or it would be a handler that has not returned
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err = shutdown(ctx)
		failed, ok := errors.AsType[*negotiate.ShutdownError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, map[websocket.Bootstrap]int{c.Bootstrap(): 1}, failed.Sockets)
		assert.Zero(t, failed.Handlers)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "1 sockets over "+c.Bootstrap().String())
		assert.ErrorIs(t, <-returned, http.ErrServerClosed, "the handler's context ends, and so does the handler")
	})
}

// A plain Shutdown says goodbye too.
func TestDrainHearsOfAPlainShutdown(t *testing.T) {
	overTCP(t, func(t *testing.T, d *negotiate.Dialer) {
		returned := make(chan struct{})
		addr, srv, _ := drained(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			if c, err := negotiate.Accept(w, r, nil); assert.NoError(t, err) {
				<-ending(c)
			}
		})
		c, _, err := d.Dial(t.Context(), "ws://"+addr+"/ws", nil)
		require.NoError(t, err)
		ended := ending(c)
		require.NoError(t, srv.Shutdown(t.Context()))
		wantCode(t, <-ended, websocket.StatusGoingAway)
		<-returned
	})
}

// C13 under a plain server over HTTP/1.1 too.
func TestC13DrainTellsAPanicFromAReturn(t *testing.T) {
	overTCP(t, func(t *testing.T, d *negotiate.Dialer) {
		addr, _, _ := drained(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := negotiate.Accept(w, r, nil)
			assert.NoError(t, err)
			panic(http.ErrAbortHandler)
		})
		c, _, err := d.Dial(t.Context(), "ws://"+addr+"/ws", nil)
		require.NoError(t, err)
		wantCode(t, <-ending(c), websocket.StatusInternalError)
	})
}

// A request that was under way when the shutdown began gets no socket, and is told
// when to come again. Ordinary requests are answered.
func TestShutdownRefusesNewSockets(t *testing.T) {
	overTCP(t, func(t *testing.T, d *negotiate.Dialer) {
		arrived, goOn := make(chan struct{}, 2), make(chan struct{})
		addr, _, shutdown := drained(t, func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-goOn
			if r.URL.Path == "/ordinary" {
				io.WriteString(w, "ordinary")
				return
			}
			_, err := negotiate.Accept(w, r, nil)
			assert.ErrorIs(t, err, http.ErrServerClosed)
		})
		refused := make(chan error, 1)
		go func() {
			_, _, err := d.Dial(context.Background(), "ws://"+addr+"/ws", nil)
			refused <- err
		}()
		<-arrived
		answer := make(chan string, 1)
		go func() { answer <- get(t, d, "GET", "http://"+addr+"/ordinary", "") }()
		<-arrived
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		down := make(chan error, 1)
		go func() { down <- shutdown(ctx) }()
		awaitClosed(t, addr)
		close(goOn)
		var he *websocket.HandshakeError
		require.ErrorAs(t, <-refused, &he)
		assert.Equal(t, http.StatusServiceUnavailable, he.Status)
		assert.NotEmpty(t, he.Header.Get("Retry-After"))
		assert.Equal(t, "ordinary", <-answer)
		require.NoError(t, <-down)
	})
}

// awaitClosed returns when nobody listens on addr any more: new sockets are refused
// from before that.
func awaitClosed(t *testing.T, addr string) {
	t.Helper()
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
		require.NoError(t, t.Context().Err())
	}
}
