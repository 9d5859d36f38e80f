package h1upgrade

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// TestContextInEachPhase: the handshake ends with its context, whatever it is
// waiting for, and the connection is closed.
func TestContextInEachPhase(t *testing.T) {
	_, forClient := wstest.Certificates()
	mute := func(c net.Conn) { c.Write([]byte{0}) } // blocks on a pipe that nobody reads
	for _, tc := range []struct {
		name string
		url  string
		play func(c net.Conn) // nil: dialling does not end
	}{
		{"dialling", "ws://a", nil},
		{"TLS, a peer that reads nothing", "wss://localhost", mute},
		{"TLS, a peer that says nothing", "wss://localhost", func(c net.Conn) { io.Copy(io.Discard, c) }},
		{"writing", "ws://a", mute},
		{"reading", "ws://a", func(c net.Conn) { io.Copy(io.Discard, c) }},
		{"reading in the middle of the answer", "ws://a", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 101 Switch")
			io.Copy(io.Discard, c)
		}},
	} {
		dialer := func() (*websocket.DialOptions, func()) {
			o := &websocket.DialOptions{TLSClientConfig: forClient}
			wait := func() {}
			o.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				if tc.play == nil {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				var nc net.Conn
				nc, wait = pipeServer(tc.play)
				return nc, nil
			}
			return o, func() { wait() }
		}
		run := func(name string, f func(t *testing.T, o *websocket.DialOptions)) {
			t.Run(tc.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o, wait := dialer()
					f(t, o)
					synctest.Wait() // the server's end has seen the close: nothing is left
					wait()
				})
			})
		}
		run("cancelled", func(t *testing.T, o *websocket.DialOptions) {
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(time.Second, cancel).Stop()
			began := time.Now()
			_, resp, err := Dial(ctx, tc.url, o)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Nil(t, resp)
			assert.LessOrEqual(t, time.Since(began), time.Second+closePatience)
		})
		run("deadline", func(t *testing.T, o *websocket.DialOptions) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			o.Limits.Handshake = -1
			_, _, err := Dial(ctx, tc.url, o)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
		run("default limit", func(t *testing.T, o *websocket.DialOptions) {
			began := time.Now()
			_, _, err := Dial(t.Context(), tc.url, o)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.InDelta(t, 10, time.Since(began).Seconds(), 0.2)
		})
		run("limit", func(t *testing.T, o *websocket.DialOptions) {
			began := time.Now()
			o.Limits.Handshake = time.Second
			_, _, err := Dial(t.Context(), tc.url, o)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.InDelta(t, 1, time.Since(began).Seconds(), 0.2)
		})
	}
}

func TestDialSaysThatItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &websocket.DialOptions{DialContext: wstest.LateDial}
		for _, url := range []string{"ws://a", "wss://a"} {
			_, _, err := Dial(t.Context(), url, o)
			assert.ErrorIs(t, err, context.DeadlineExceeded, url)
		}
	})
}

// TestContextEndsWithTheHandshake: ctx has no hold over the socket.
func TestContextEndsWithTheHandshake(t *testing.T) {
	wstest.NoLeaks(t)
	h, _ := acceptor(nil)
	ctx, cancel := context.WithCancel(t.Context())
	c, _, err := Dial(ctx, "ws://"+serve(t, h), nil)
	require.NoError(t, err)
	cancel()
	require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte("alive")))
	_, got, err := c.Read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "alive", string(got))
	require.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
}
