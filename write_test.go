package websocket_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A numbered message: who sent it, its place in that sender's order, and bytes
// that follow from both.
func numbered(sender, number uint32, size int) []byte {
	p := binary.BigEndian.AppendUint32(nil, sender)
	p = binary.BigEndian.AppendUint32(p, number)
	return append(p, randomBytes(uint64(sender)<<12|uint64(number), size)...)
}

// WS-25: messages of concurrent writers do not mix, whichever way they are
// written, and each writer's arrive in its order.
func TestWS25ConcurrentWritersDoNotMix(t *testing.T) {
	for name, deflate := range map[string]*websocket.DeflateParams{"plain": nil, "deflate": {}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				const writers, messages = 8, 30
				server, client := joined(t, wstest.PipeOptions{Buffer: 3000}, websocket.Params{
					Deflate: deflate, Limits: quiet, Compression: &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true},
				})
				var all sync.WaitGroup
				for _, c := range []*websocket.Conn{server, client} {
					for sender := range uint32(writers) {
						all.Go(func() {
							r := rand.New(rand.NewPCG(uint64(sender), 25))
							for number := range uint32(messages) {
								p := numbered(sender, number, r.IntN([]int{100, 20_000, 150_000}[r.IntN(3)]))
								assert.NoError(t, writeSomehow(t, c, r.IntN(4), p))
							}
						})
					}
				}
				for _, c := range []*websocket.Conn{server, client} {
					all.Go(func() {
						next := make([]uint32, writers)
						for range writers * messages {
							_, p, err := c.Read(t.Context())
							if !assert.NoError(t, err) {
								return
							}
							sender, number := binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])
							assert.Equal(t, next[sender], number, "in order")
							next[sender]++
							assert.True(t, bytes.Equal(numbered(sender, number, len(p)-8), p), "whole")
						}
					})
				}
				all.Wait()
			})
		})
	}
}

// writeSomehow writes p as one binary message, in one of four ways.
func writeSomehow(t testing.TB, c *websocket.Conn, way int, p []byte) error {
	ctx, kind := t.Context(), websocket.MessageBinary
	switch way {
	case 0:
		return c.Write(ctx, kind.Uncompressed(), p)
	case 1:
		m, err := websocket.NewPreparedMessage(kind, p)
		return errors.Join(err, c.WritePrepared(ctx, m))
	case 2:
		w, err := c.Writer(ctx, kind)
		if err != nil {
			return err
		}
		_, err = io.Copy(struct{ io.Writer }{w}, bytes.NewReader(p))
		return errors.Join(err, w.Close())
	}
	return c.Write(ctx, kind, p)
}

// RFC 6455 §5.4: control frames overtake between the fragments of a Writer's
// message, other messages do not.
func TestControlFramesOvertakeBetweenFragments(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		e.beginRead(t.Context())
		w, err := e.Writer(t.Context(), websocket.MessageBinary)
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 100_000))
		require.NoError(t, err)
		sent := 0
		for e.far.Readable() > 0 {
			f := e.peer.Next(t, "a fragment")
			assert.True(t, f.More)
			sent += len(f.Payload)
		}
		assert.Positive(t, sent)

		other := begin(func() error { return e.Write(t.Context(), websocket.MessageText, []byte("other")) })
		e.peer.Send(t, wstest.Ping("theirs"))
		e.peer.WantFrame(t, frame.Pong, "theirs", "in mid-message")
		pinged := begin(func() error { return e.Ping(t.Context()) })
		f := e.peer.Next(t, "our Ping")
		require.Equal(t, frame.Ping, f.Opcode)
		e.peer.Send(t, wstest.Pong(string(f.Payload)))
		require.NoError(t, <-pinged)
		e.peer.WantIdle(t, "the other message waits")
		assert.Empty(t, other)

		require.NoError(t, w.Close())
		for more := true; more; {
			f := e.peer.Next(t, "the rest")
			require.Equal(t, frame.Continuation, f.Opcode)
			sent += len(f.Payload)
			more = f.More
		}
		assert.Equal(t, 100_000, sent)
		e.peer.WantFrame(t, frame.Text, "other", "then the other")
		require.NoError(t, <-other)
		e.CloseNow()
	})
}

// Between the pieces of a large message in one frame nothing may pass.
func TestNothingPassesWithinAFrame(t *testing.T) {
	for _, vectored := range []bool{false, true} {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client, vectored: vectored, pipe: wstest.PipeOptions{Buffer: 1000}}.open(t)
			e.beginRead(t.Context())
			wrote := begin(func() error { return e.Write(t.Context(), websocket.MessageBinary, make([]byte, 400_000)) })
			synctest.Wait()
			pinged := begin(func() error { return e.Ping(t.Context()) })
			e.peer.Send(t, wstest.Ping("between?"))
			assert.Len(t, e.peer.Next(t, "whole").Payload, 400_000)
			require.NoError(t, <-wrote)
			var after []frame.Opcode
			for range 2 {
				f := e.peer.Next(t, "afterwards")
				after = append(after, f.Opcode)
				if f.Opcode == frame.Ping {
					e.peer.Send(t, wstest.Pong(string(f.Payload)))
				}
			}
			assert.ElementsMatch(t, []frame.Opcode{frame.Ping, frame.Pong}, after)
			require.NoError(t, <-pinged)
			e.CloseNow()
		})
	}
}

// A small frame leaves in one call of the stream's Write, header and payload
// together: one packet.
func TestSmallFramesAreOneWrite(t *testing.T) {
	for _, vectored := range []bool{false, true} {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client, vectored: vectored, pipe: wstest.PipeOptions{Record: true}}.open(t)
			require.NoError(t, e.Write(t.Context(), websocket.MessageText, make([]byte, 125)))
			require.NoError(t, e.Write(t.Context(), websocket.MessageText, make([]byte, 4000)))
			m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("prepared"))
			require.NoError(t, err)
			require.NoError(t, e.WritePrepared(t.Context(), m))
			w, err := e.Writer(t.Context(), websocket.MessageText)
			require.NoError(t, err)
			for range 10 {
				_, err = io.WriteString(w, "piece ")
				require.NoError(t, err)
			}
			require.NoError(t, w.Close())
			writes := e.near.Writes()
			require.Len(t, writes, 4)
			for _, w := range writes {
				frames, err := wstest.ParseFrames(w, client)
				require.NoError(t, err)
				require.Len(t, frames, 1)
				assert.False(t, frames[0].More, "a small message of a Writer is one frame")
			}
		})
	}
}

// A large message of a client, of a Writer or not, leaves in pieces of which each is one
// DATA frame on HTTP/2, in one TLS record.
func TestMaskedMessagesLeaveInPiecesOfARecord(t *testing.T) {
	e := socket{client: true, pipe: wstest.PipeOptions{Record: true, Buffer: 1 << 20}}.open(t)
	const most, size = 1<<14 - 9, 100 << 10
	w, err := e.Writer(t.Context(), websocket.MessageBinary)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, size))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, make([]byte, size)))
	full, total := 0, 0
	for _, p := range e.near.Writes() {
		assert.LessOrEqual(t, len(p), most)
		if total += len(p); len(p) == most {
			full++
		}
	}
	assert.GreaterOrEqual(t, full, total/most-1, "and they are full")
}

func TestWriterSendsOneMessage(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 2 << 20}}.open(t)
		r := rand.New(rand.NewPCG(5, 5))
		for _, size := range []int{0, 1, 1000, 16 << 10, 70_000, 1 << 20} {
			want := randomBytes(uint64(size), size)
			w, err := e.Writer(t.Context(), websocket.MessageBinary)
			require.NoError(t, err)
			for rest := want; len(rest) > 0; {
				n := min(len(rest), r.IntN(100_000))
				k, err := w.Write(rest[:n])
				require.NoError(t, err)
				require.Equal(t, n, k)
				rest = rest[n:]
			}
			require.NoError(t, w.Close())
			require.True(t, string(want) == e.nextMessage(t), "%d bytes", size)
			require.NoError(t, w.Close(), "again")
			_, err = w.Write([]byte("late"))
			require.Error(t, err)
			require.NotErrorAs(t, err, new(*websocket.CloseError))
		}
		e.peer.WantIdle(t, "nothing more")
	})
}

// An open Writer keeps other messages waiting, by their contexts, and closing
// it lets them pass.
func TestWriterExcludesOtherMessages(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		w, err := e.Writer(t.Context(), websocket.MessageText)
		require.NoError(t, err)
		_, err = io.WriteString(w, "first")
		require.NoError(t, err)
		var waiting []<-chan error
		for i := range 3 {
			waiting = append(waiting, begin(func() error {
				return e.Write(t.Context(), websocket.MessageText, fmt.Append(nil, "waiting ", i))
			}))
			synctest.Wait()
		}
		e.peer.WantIdle(t, "all wait")
		require.NoError(t, w.Close())
		e.peer.WantFrame(t, frame.Text, "first", "the Writer's")
		for i := range 3 {
			require.NoError(t, <-waiting[i])
			e.peer.WantFrame(t, frame.Text, fmt.Sprint("waiting ", i), "in the order in which they came")
		}
	})
}

func TestUnknownMessageTypeIsALocalError(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		for _, kind := range []websocket.MessageType{0, 3, 8, 9, websocket.MessageType(0).Uncompressed()} {
			require.Error(t, e.Write(t.Context(), kind, nil))
			_, err := e.Writer(t.Context(), kind)
			require.Error(t, err)
			_, err = websocket.NewPreparedMessage(kind, nil)
			require.Error(t, err)
			assert.Equal(t, "unknown message type", kind.String())
		}
		require.NoError(t, e.Write(t.Context(), websocket.MessageText, nil))
		e.peer.WantFrame(t, frame.Text, "", "an empty message, and nothing else")
		assert.Equal(t, "text binary", fmt.Sprint(websocket.MessageText, " ", websocket.MessageBinary))
	})
}

// Backpressure: a peer that does not read blocks the writer, and nothing is
// lost.
func TestSlowPeerBlocksTheWriter(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 10 << 10}}.open(t)
		const messages = 50
		written := 0
		done := begin(func() error {
			for i := range messages {
				if err := e.Write(t.Context(), websocket.MessageText, []byte(strings.Repeat(fmt.Sprint(i%10), 1000))); err != nil {
					return err
				}
				written++
			}
			return nil
		})
		for i := range messages {
			synctest.Wait()
			assert.Less(t, written, i+11, "no more than the buffer ahead of the peer")
			time.Sleep(20 * time.Second)
			wire := make([]byte, 4+4*btoi(client)+1000) // no more than one frame at a time
			_, err := io.ReadFull(e.far, wire)
			require.NoError(t, err)
			f, _, err := wstest.ParseFrame(wire, client)
			require.NoError(t, err)
			assert.Equal(t, strings.Repeat(fmt.Sprint(i%10), 1000), string(f.Payload))
		}
		require.NoError(t, <-done)
	})
}
