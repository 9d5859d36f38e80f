package websocket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/nettest"
)

// The rules that every net.Conn obeys, as x/net tests them. The stream holds a
// whole number of the test's frames in each direction, so that no write times
// out within a frame, which would end the socket.
func TestOP05NetConnObeysTheRules(t *testing.T) {
	for name, serverFirst := range map[string]bool{"server": true, "client": false} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				server, client := joined(t, wstest.PipeOptions{Buffer: 1028 * 1032}, websocket.Params{
					Limits: websocket.Limits{CloseTimeout: time.Second},
				})
				c1, c2 = server.NetConn(websocket.MessageBinary), client.NetConn(websocket.MessageBinary)
				if !serverFirst {
					c1, c2 = c2, c1
				}
				return c1, c2, func() { server.CloseNow(); client.CloseNow() }, nil
			})
		})
	}
}

// OP-12: Read cuts the messages as it likes, of either type; Write makes one
// message of each call.
func TestOP12NetConnIsAStreamOfBytes(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		c := e.NetConn(websocket.MessageText)
		e.peer.Send(t, wstest.Text("abc"), wstest.Binary(nil), wstest.Binary([]byte("def")).Fragment(), wstest.Ping(""), wstest.Continuation("gh"))
		var got []string
		for len(strings.Join(got, "")) < 8 {
			p := make([]byte, 2)
			n, err := c.Read(p)
			require.NoError(t, err)
			require.Positive(t, n)
			got = append(got, string(p[:n]))
		}
		assert.Equal(t, "abcdefgh", strings.Join(got, ""))
		e.peer.WantFrame(t, frame.Pong, "", "answered on the way")

		n, err := c.Write([]byte("one call"))
		require.NoError(t, err)
		assert.Equal(t, 8, n)
		e.peer.WantFrame(t, frame.Text, "one call", "one message")
		n, err = c.Write(nil)
		require.NoError(t, err)
		assert.Zero(t, n)
		assert.Equal(t, "pipe", c.LocalAddr().Network())
		assert.Equal(t, "a", c.LocalAddr().String())
		assert.Equal(t, "b", c.RemoteAddr().String())
	})
}

// OP-12: io.Copy both ways, at once.
func TestOP12NetConnCopiesBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, client := joined(t, wstest.PipeOptions{Buffer: 10_000, ReadChunk: 999}, websocket.Params{Limits: quiet})
		want := randomBytes(12, 1<<20)
		echoed := begin(func() error {
			c := server.NetConn(websocket.MessageBinary)
			_, err := io.Copy(c, c)
			return errors.Join(err, c.Close())
		})
		c := client.NetConn(websocket.MessageBinary)
		sent := begin(func() error { _, err := io.Copy(c, bytes.NewReader(want)); return err })
		got := make([]byte, len(want))
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, got))
		require.NoError(t, <-sent)
		require.NoError(t, c.Close())
		require.NoError(t, <-echoed)
		_, err = c.Read(got)
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// OP-12: which ends are io.EOF.
func TestOP12NetConnEnds(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, code := range []websocket.StatusCode{1000, 1001, 0, 1002, 1011, 4000} {
			e := socket{client: client}.open(t)
			c := e.NetConn(websocket.MessageBinary)
			e.peer.Send(t, wstest.Binary([]byte("last")), wstest.Close(code, "because"))
			got, err := io.ReadAll(c)
			assert.Equal(t, "last", string(got))
			if code == 1000 || code == 1001 {
				require.NoError(t, err, "%d is io.EOF", code)
				_, err = c.Read(make([]byte, 1))
				assert.Equal(t, io.EOF, err, "again, and io.EOF itself")
			} else {
				want := code
				if code == 0 {
					want = websocket.StatusNoStatusReceived
				}
				assert.Equal(t, "because"[:7*btoi(code != 0)], strings.TrimSpace(wantEnd(t, err, want, true).Reason))
			}
			_, err = c.Write([]byte("x"))
			require.Error(t, err)
		}
	})
}

// A message cut short is no end of file.
func TestOP12NetConnCutShort(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Text("half").Fragment())
		require.NoError(t, e.far.CloseWrite())
		got, err := io.ReadAll(e.NetConn(websocket.MessageText))
		assert.Equal(t, "half", string(got))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

// Close is the closing handshake with status 1000.
func TestOP12NetConnClose(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		c := e.NetConn(websocket.MessageText)
		closed := begin(c.Close)
		e.peer.WantClose(t, 1000, "Close")
		e.peer.Send(t, wstest.Close(1000, ""))
		require.NoError(t, <-closed)
		e.wantOrderlyEnd(t, client)
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = c.Write(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		require.NoError(t, c.Close())
	})
}

// OP-05: deadlines in the past, zero, and moved while a call is blocked; to the
// nanosecond. A read that timed out is repeated without loss, also within a
// message.
func TestOP05NetConnReadDeadlines(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		c := e.NetConn(websocket.MessageText)
		start := time.Now()
		read := func() (string, error) {
			p := make([]byte, 100)
			n, err := c.Read(p)
			return string(p[:n]), err
		}
		wantTimeout := func(at time.Duration) {
			t.Helper()
			_, err := read()
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var timeout net.Error
			require.ErrorAs(t, err, &timeout)
			assert.True(t, timeout.Timeout())
			assert.Equal(t, at, time.Since(start))
		}
		require.NoError(t, c.SetReadDeadline(start.Add(time.Second)))
		wantTimeout(time.Second)
		wantTimeout(time.Second)

		require.NoError(t, c.SetReadDeadline(time.Unix(1, 0)))
		e.peer.Send(t, wstest.Text("waiting"))
		wantTimeout(time.Second) // in the past, although there is data

		require.NoError(t, c.SetReadDeadline(time.Time{}))
		got, err := read()
		require.NoError(t, err)
		assert.Equal(t, "waiting", got)

		// Moved nearer, then farther, while Read is blocked.
		require.NoError(t, c.SetReadDeadline(start.Add(time.Hour)))
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(start.Add(3 * time.Second)) })
		time.AfterFunc(1500*time.Millisecond, func() { c.SetReadDeadline(start.Add(10 * time.Second)) })
		wantTimeout(10 * time.Second)

		// In the middle of a message, and of a frame.
		wire := e.peer.Append(nil, wstest.Text("012").Fragment(), wstest.Continuation("34567"))
		require.NoError(t, c.SetReadDeadline(start.Add(11*time.Second)))
		e.peer.SendRaw(t, wire[:len(wire)-2])
		var all string
		for err == nil {
			got, err = read()
			all += got
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 11*time.Second, time.Since(start))
		e.peer.SendRaw(t, wire[len(wire)-2:])
		require.NoError(t, c.SetDeadline(time.Time{}))
		for len(all) < 8 {
			got, err = read()
			require.NoError(t, err)
			all += got
		}
		assert.Equal(t, "01234567", all)

		// Writing is another direction.
		require.NoError(t, c.SetReadDeadline(time.Unix(1, 0)))
		_, err = c.Write([]byte("written"))
		require.NoError(t, err)
		e.peer.WantFrame(t, frame.Text, "written", "not touched by the read deadline")
	})
}

func TestOP05NetConnWriteDeadlines(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 100}}.open(t)
		c := e.NetConn(websocket.MessageBinary)
		e.fillStream(t, client)
		start := time.Now()
		require.NoError(t, c.SetWriteDeadline(start.Add(time.Second)))
		n, err := c.Write([]byte("x"))
		assert.Zero(t, n)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))

		require.NoError(t, c.SetDeadline(start.Add(time.Hour)))
		time.AfterFunc(time.Second, func() { c.SetDeadline(time.Unix(1, 0)) })
		_, err = c.Write([]byte("x"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 2*time.Second, time.Since(start))

		require.NoError(t, c.SetWriteDeadline(time.Time{}))
		wrote := begin(func() error { _, err := c.Write([]byte("fine")); return err })
		synctest.Wait()
		e.peer.Next(t, "what filled the stream")
		e.peer.WantFrame(t, frame.Binary, "fine", "usable")
		require.NoError(t, <-wrote)

		// Within a frame it is the end.
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		_, err = c.Write(make([]byte, 1000))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		e.peer.WantReset(t, "a frame cut short")
		_, err = c.Write([]byte("x"))
		require.Error(t, err)
	})
}

// A Read of no bytes has nothing to wait for, as a TCP connection's.
func TestOP05NetConnReadOfNothingDoesNotWait(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		nc := e.NetConn(websocket.MessageBinary)
		n, err := nc.Read(nil)
		assert.Zero(t, n)
		require.NoError(t, err)
		e.peer.Send(t, wstest.Text(""), wstest.Text("x"))
		n, err = nc.Read([]byte{})
		assert.Zero(t, n)
		require.NoError(t, err)
		b := make([]byte, 10)
		n, err = nc.Read(b)
		require.NoError(t, err)
		assert.Equal(t, "x", string(b[:n]))
	})
}
