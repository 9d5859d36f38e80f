package websocket_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// A message that will not go on is no message to begin.
func TestReaderAfterAnEndInMidMessage(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Text("half").Fragment())
		require.NoError(t, e.far.CloseWrite())
		_, _, err := e.Read(t.Context())
		wantEnd(t, err, 1006, true)
		_, _, err = e.Reader(t.Context())
		wantEnd(t, err, 1006, true)
	})
}

// A Reader whose message a later read has begun to skip does not go on in it, also if
// that read has given up: what it would yield has a hole.
func TestReaderBehindAReadThatGaveUp(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Text("one ").Fragment())
		_, r, err := e.Reader(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err = e.Read(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		e.peer.Send(t, wstest.Continuation("two "), wstest.Text("next"))
		got, err := io.ReadAll(r)
		assert.Error(t, err, "superseded")
		assert.Empty(t, got)
		wantText(t, e.Conn, "next")
		_, err = r.Read(make([]byte, 1))
		assert.Error(t, err)
	})
}

// What Close discards is not the end of a Reader's message.
func TestReaderOfWhatCloseDiscards(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.peer.Send(t, wstest.Text("a message"))
		_, r, err := e.Reader(t.Context())
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, 2))
		require.NoError(t, err)
		require.NoError(t, e.CloseWrite(t.Context(), 1001, ""))
		closed := begin(func() error { return e.Close(t.Context(), 1001, "") })
		synctest.Wait()
		e.peer.Send(t, wstest.Close(1001, ""))
		require.NoError(t, <-closed)
		_, err = r.Read(make([]byte, 100))
		wantEnd(t, err, 1001, false)
	})
}

// C5, middle column: the result is the 1006, not the local code.
func TestOP03C5CloseAfterAResetNobodyHasNoticed(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		e.far.Abort()
		err := e.Close(t.Context(), 1000, "")
		wantEnd(t, err, 1006, true)
		require.ErrorIs(t, err, wstest.ErrReset)
		synctest.Wait()
		assert.GreaterOrEqual(t, e.near.Ended(), wstest.EndClose)
	})
}

// A Pong that is owed and cannot be written does not hold Read.
func TestReadHonoursItsContextWhileAPongIsBlocked(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 60}}.open(t)
		require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, make([]byte, 50)))
		e.peer.Send(t, wstest.Ping(strings.Repeat("p", 20)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, _, err := e.Read(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// Of several Pings without a reader one reads for all.
func TestWS21ConcurrentPingsWithoutAReader(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		const n = 3
		var pinged []<-chan error
		var payloads []string
		for range n {
			pinged = append(pinged, begin(func() error { return e.Ping(t.Context()) }))
			payloads = append(payloads, string(e.peer.Next(t, "a Ping").Payload))
		}
		for i := range n {
			synctest.Wait()
			assert.Empty(t, pinged[i])
			e.peer.Send(t, wstest.Pong(payloads[i]))
			require.NoError(t, <-pinged[i])
		}
	})
}

// A write that finds the watch running is caught at most a thirtieth late.
func TestWriteStallIsCaughtInTimeAfterAnotherWrite(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 100}}.open(t)
		require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, make([]byte, 10)))
		start := time.Now()
		wantEnd(t, e.Write(t.Context(), websocket.MessageBinary, make([]byte, 1000)), 1006, true)
		assert.LessOrEqual(t, time.Since(start), 31*time.Second)
	})
}

// A message that failed is not returned beside its error.
func TestPMD07NoBytesWithAnError(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := deflating(client, websocket.DeflateParams{}).open(t)
		e.peer.Send(t, wstest.Text(string(newDeflater(15, 6).payload([]byte("cut \xe2\x82"), true))).Compressed())
		_, p, err := e.Read(t.Context())
		wantEnd(t, err, 1007, false)
		assert.Empty(t, p)
	})
}

// A limit counts for the messages that begin after it was set, compressed or not.
func TestSetReadLimitDoesNotReachTheMessageInProgress(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, compressed := range []bool{false, true} {
			s := deflating(client, websocket.DeflateParams{})
			s.params.Limits.Message = 100
			e := s.open(t)
			first, second := wstest.Binary(make([]byte, 60)).Fragment(), wstest.Frame{Payload: make([]byte, 40)}
			if compressed {
				d := newDeflater(15, 6)
				first.RSV1 = true
				first.Payload = d.payload(first.Payload, false)
				second.Payload = d.payload(second.Payload, true)
			}
			e.peer.Send(t, first)
			_, r, err := e.Reader(t.Context())
			require.NoError(t, err)
			e.SetReadLimit(70)
			e.peer.Send(t, second)
			assert.Len(t, copyOf(t, r), 100)
		}
	})
}

// The peer's Close is Read's io.EOF, and Write's error.
func TestNetConnWriteDoesNotSayEOF(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		c := e.NetConn(websocket.MessageBinary)
		e.peer.Send(t, wstest.Close(1000, ""))
		_, err := c.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = c.Write([]byte("x"))
		wantEnd(t, err, 1000, true)
		require.NotErrorIs(t, err, io.EOF)
	})
}

// A timeout asks the caller to try again; a socket that has ended does not.
func TestNetConnAfterAWriteThatEndedTheSocket(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 100}}.open(t)
		c := e.NetConn(websocket.MessageBinary)
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		_, err := c.Write(make([]byte, 1000))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, c.SetDeadline(time.Time{}))
		_, err = c.Write([]byte("x"))
		wantEnd(t, err, 1006, false)
		_, err = c.Read(make([]byte, 1))
		wantEnd(t, err, 1006, false)
	})
}

func TestStatsCountAClientsPreparedMessages(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := deflating(client, websocket.DeflateParams{}).open(t)
		m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("text"))
		require.NoError(t, err)
		require.NoError(t, e.WritePrepared(t.Context(), m))
		assert.EqualValues(t, len(e.peer.Next(t, "prepared").Payload), e.Stats().CompressedWritten)
	})
}

// C1, "keep reading and discard messages": two ends with a blocked writer each
// that close at once must not wait for one another.
func TestC1CloseReadsWhileItWaitsToWrite(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, client := joined(t, wstest.PipeOptions{Buffer: 2000}, websocket.Params{Limits: quiet})
		results := make(chan error, 4)
		for _, c := range []*websocket.Conn{server, client} {
			go func() { results <- c.Write(t.Context(), websocket.MessageBinary, make([]byte, 3000)) }()
		}
		synctest.Wait()
		for _, c := range []*websocket.Conn{server, client} {
			go func() { results <- c.Close(t.Context(), 1000, "") }()
		}
		for range 4 {
			assert.NoError(t, <-results)
		}
	})
}

// The same with one end: a client that sends without reading to a server that
// echoes, and then closes.
func TestC1CloseOfAClientThatDidNotReadItsEchoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, client := joined(t, wstest.PipeOptions{Buffer: 2000}, websocket.Params{Limits: quiet})
		echoes := begin(func() error {
			for {
				kind, p, err := server.Read(t.Context())
				if err != nil {
					return err
				}
				if err := server.Write(t.Context(), kind, p); err != nil {
					return err
				}
			}
		})
		sent := begin(func() error {
			for range 6 {
				if err := client.Write(t.Context(), websocket.MessageBinary, make([]byte, 1800)); err != nil {
					return err
				}
			}
			return nil
		})
		synctest.Wait()
		start := time.Now()
		require.NoError(t, client.Close(t.Context(), 1000, ""))
		assert.Zero(t, time.Since(start))
		<-sent
		wantEnd(t, <-echoes, 1000, true)
	})
}
