package websocket_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// deflated are frames of "Hello", compressed (RFC 7692 §7.2.3.1, §7.2.3.3), and
// what they say.
const deflatedHello = "\xf2\x48\xcd\xc9\xc9\x07\x00"

// A read that is abandoned leaves the Conn usable wherever the stream stands:
// the message is read whole by the next one. Every offset is tried.
func TestAbandonedReadKeepsTheMessage(t *testing.T) {
	for name, c := range map[string]struct {
		frames []wstest.Frame
		want   string
		step   int
	}{
		"one frame":             {[]wstest.Frame{wstest.Text("a whole message")}, "a whole message", 1},
		"16-bit length":         {[]wstest.Frame{wstest.Text(strings.Repeat("sixteen ", 40))}, strings.Repeat("sixteen ", 40), 13},
		"large":                 {[]wstest.Frame{wstest.Text(strings.Repeat("x", 30_000))}, strings.Repeat("x", 30_000), 2_477},
		"fragments":             {[]wstest.Frame{wstest.Text("one ").Fragment(), wstest.Continuation("two ").Fragment(), wstest.Continuation("three")}, "one two three", 1},
		"large fragments":       {[]wstest.Frame{wstest.Text(strings.Repeat("a", 5_000)).Fragment(), wstest.Continuation(strings.Repeat("b", 5_000))}, strings.Repeat("a", 5_000) + strings.Repeat("b", 5_000), 997},
		"split character":       {[]wstest.Frame{wstest.Text("\xe2\x82").Fragment(), wstest.Continuation("\xac")}, "€", 1},
		"control in between":    {[]wstest.Frame{wstest.Text("one ").Fragment(), wstest.Pong("x"), wstest.Continuation("two")}, "one two", 1},
		"compressed":            {[]wstest.Frame{wstest.Text(deflatedHello).Compressed()}, "Hello", 1},
		"compressed fragments":  {[]wstest.Frame{wstest.Text(deflatedHello[:3]).Compressed().Fragment(), wstest.Continuation(deflatedHello[3:])}, "Hello", 1},
		"compressed, then text": {[]wstest.Frame{wstest.Text(deflatedHello).Compressed(), wstest.Text("!")}, "Hello", 1},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				for cut := 0; ; cut += c.step {
					e := socket{client: client, params: websocket.Params{Deflate: &websocket.DeflateParams{}}}.open(t)
					wire := e.peer.Append(nil, c.frames...)
					if cut >= len(wire) {
						break
					}
					e.peer.SendRaw(t, wire[:cut])
					ctx, cancel := context.WithCancel(t.Context())
					got := e.beginRead(ctx)
					synctest.Wait()
					cancel()
					m := <-got
					if m.err == nil { // the first message of two was whole
						require.Equal(t, c.want, m.payload)
						continue
					}
					require.ErrorIs(t, m.err, context.Canceled)
					require.NotErrorAs(t, m.err, new(*websocket.CloseError))
					again, cancel := context.WithTimeout(t.Context(), time.Second)
					_, _, err := e.Read(again)
					cancel()
					require.ErrorIs(t, err, context.DeadlineExceeded, "and once more")
					e.peer.SendRaw(t, wire[cut:])
					if cut%2 == 0 {
						wantText(t, e.Conn, c.want)
					} else {
						_, r, err := e.Reader(t.Context())
						require.NoError(t, err)
						require.Equal(t, c.want, copyOf(t, r), "by a Reader, cut at %d", cut)
					}
					if len(c.frames) == 2 && c.frames[1].Opcode == frame.Text {
						wantText(t, e.Conn, "!")
					}
					e.peer.Send(t, wstest.Text("next"))
					wantText(t, e.Conn, "next")
				}
			})
		})
	}
}

// ReadInto keeps what it gathered although the caller's buffer is used for
// something else meanwhile.
func TestAbandonedReadIntoDoesNotRelyOnTheCallersBuffer(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		wire := e.peer.Append(nil, wstest.Text("0123456789"))
		e.peer.SendRaw(t, wire[:len(wire)-3])
		buf := make([]byte, 100)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := e.ReadInto(ctx, buf)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		clear(buf)
		e.peer.SendRaw(t, wire[len(wire)-3:])
		_, p, err := e.ReadInto(t.Context(), buf)
		require.NoError(t, err)
		assert.Equal(t, "0123456789", string(p))
		assert.Same(t, &buf[0], &p[0], "in the caller's memory")
	})
}

// A Reader's context governs all its calls. What it had not handed out yet is
// skipped by the next read.
func TestAbandonedReaderLeavesTheConnUsable(t *testing.T) {
	for name, frames := range map[string][]wstest.Frame{
		"one frame":            {wstest.Text(strings.Repeat("0123456789", 1000))},
		"fragments":            {wstest.Text(strings.Repeat("a", 5000)).Fragment(), wstest.Continuation(strings.Repeat("b", 5000))},
		"compressed":           {wstest.Text(deflatedHello).Compressed()},
		"compressed fragments": {wstest.Text(deflatedHello[:5]).Compressed().Fragment(), wstest.Continuation(deflatedHello[5:])},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client, params: websocket.Params{Deflate: &websocket.DeflateParams{}}}.open(t)
				wire := e.peer.Append(nil, frames...)
				e.peer.SendRaw(t, wire[:len(wire)-2])
				ctx, cancel := context.WithCancel(t.Context())
				_, r, err := e.Reader(ctx)
				require.NoError(t, err)
				abandoned := begin(func() error { _, err := io.Copy(io.Discard, r); return err })
				synctest.Wait()
				cancel()
				require.ErrorIs(t, <-abandoned, context.Canceled)
				_, err = r.Read(make([]byte, 1))
				require.ErrorIs(t, err, context.Canceled, "its context has ended for good")

				e.peer.SendRaw(t, wire[len(wire)-2:])
				e.peer.Send(t, wstest.Text("next"))
				wantText(t, e.Conn, "next")
				_, err = r.Read(make([]byte, 1))
				require.Error(t, err)
			})
		})
	}
}

// A call that gives up says what it was doing, whether its context had ended before it
// began or ends while it waits, and errors.Is finds the context's error.
func TestCallsThatGiveUpSayWhatTheyDid(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, ctx := range map[string]func(t *testing.T) (context.Context, error){
		"before": func(*testing.T) (context.Context, error) { return ended, context.Canceled },
		"while it waits": func(t *testing.T) (context.Context, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			return ctx, context.DeadlineExceeded
		},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				gaveUp := func(doing string, call func(ctx context.Context) error) {
					t.Helper()
					ctx, why := ctx(t)
					err := call(ctx)
					require.ErrorIs(t, err, why)
					require.NotErrorAs(t, err, new(*websocket.CloseError))
					assert.EqualError(t, err, "websocket: "+doing+": "+why.Error())
				}
				gaveUp("read", func(ctx context.Context) error { _, _, err := e.Read(ctx); return err })
				gaveUp("read", func(ctx context.Context) error { _, _, err := e.Reader(ctx); return err })
				reading, stop := context.WithCancel(t.Context())
				first := e.beginRead(reading)
				synctest.Wait()
				gaveUp("read", func(ctx context.Context) error { _, _, err := e.Read(ctx); return err })
				stop()
				assert.EqualError(t, (<-first).err, "websocket: read: context canceled")

				w, err := e.Writer(t.Context(), websocket.MessageText)
				require.NoError(t, err)
				gaveUp("write", func(ctx context.Context) error { return e.Write(ctx, websocket.MessageText, []byte("x")) })
				gaveUp("write", func(ctx context.Context) error { _, err := e.Writer(ctx, websocket.MessageText); return err })
				require.NoError(t, w.Close())
				e.peer.WantFrame(t, frame.Text, "", "of the Writer")
				if ctx, _ := ctx(t); ctx.Err() == nil {
					gaveUp("ping", e.Ping)
				} else {
					gaveUp("write", e.Ping)
				}
			})
		})
	}
}

// A context that has ended reads nothing, and a deadline holds to the
// nanosecond.
func TestReadHonoursItsContext(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := e.Read(ended)
		require.ErrorIs(t, err, context.Canceled)
		_, _, err = e.Reader(ended)
		require.ErrorIs(t, err, context.Canceled)

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		_, _, err = e.Read(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1500*time.Millisecond, time.Since(start))

		// A reader that waits behind another goes by its own context.
		first := e.beginRead(t.Context())
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err = e.Read(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		e.peer.Send(t, wstest.Text("for the first"))
		assert.Equal(t, "for the first", (<-first).payload)
	})
}

// A context that ends while frames flow never loses or repeats one.
func TestReadsAbandonedAtRandomLoseNothing(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		const messages = 200
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 300, ReadChunk: 50}}.open(t)
		go func() {
			for i := range messages {
				half := strings.Repeat(fmt.Sprint(i, " "), i%90)
				e.peer.TrySend(wstest.Text(half).Fragment())
				time.Sleep(time.Duration(i%7) * time.Millisecond)
				e.peer.TrySend(wstest.Continuation(half))
			}
		}()
		abandoned := 0
		for i := 0; i < messages; {
			ctx, cancel := context.WithTimeout(t.Context(), 1700*time.Microsecond)
			_, p, err := e.Read(ctx)
			cancel()
			if err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				abandoned++
				continue
			}
			require.Equal(t, strings.Repeat(fmt.Sprint(i, " "), 2*(i%90)), string(p))
			i++
		}
		assert.Greater(t, abandoned, 50)
	})
}

// fillStream writes a frame that fills the stream's buffer of 100 bytes.
func (e *end) fillStream(t testing.TB, client bool) {
	t.Helper()
	size := 98
	if client {
		size = 94
	}
	require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, make([]byte, size)))
	require.Equal(t, 100, e.far.Readable())
}

// WS-24: a write that is cancelled before its first byte was taken leaves the
// Conn usable, deflate contexts included.
func TestWS24WriteCancelledBeforeItsFirstByte(t *testing.T) {
	text := strings.Repeat("compressible ", 3)
	prepared, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(text))
	require.NoError(t, err)
	for name, write := range map[string]func(ctx context.Context, c *websocket.Conn) error{
		"Write": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, []byte(text))
		},
		"WritePrepared": func(ctx context.Context, c *websocket.Conn) error { return c.WritePrepared(ctx, prepared) },
		"WriteJSON":     func(ctx context.Context, c *websocket.Conn) error { return c.WriteJSON(ctx, text) },
		"Ping":          func(ctx context.Context, c *websocket.Conn) error { return c.Ping(ctx) },
		"large Write": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageBinary.Uncompressed(), make([]byte, 100_000))
		},
		"Writer": func(ctx context.Context, c *websocket.Conn) error {
			w, err := c.Writer(ctx, websocket.MessageText)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
			return w.Close()
		},
	} {
		for _, vectored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, WriteBuffers %t", name, vectored), func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					e := socket{client: client, vectored: vectored, pipe: wstest.PipeOptions{Buffer: 100}, params: websocket.Params{
						Deflate:     &websocket.DeflateParams{},
						Compression: &websocket.Compression{Threshold: 30, ServerContextTakeover: true, ClientContextTakeover: true},
					}}.open(t)
					in := newInflater(15, true)
					require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte(text)))
					assert.Equal(t, text, in.message(t, e.peer.Next(t, "compressed")))
					require.NoError(t, e.Write(t.Context(), websocket.MessageText.Uncompressed(), make([]byte, 100-2-4*btoi(client))))
					for range 3 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						start := time.Now()
						err := write(ctx, e.Conn)
						cancel()
						require.ErrorIs(t, err, context.DeadlineExceeded)
						require.NotErrorAs(t, err, new(*websocket.CloseError))
						assert.Equal(t, time.Second, time.Since(start))
					}
					e.peer.Next(t, "what filled the stream")
					e.peer.WantIdle(t, "nothing of the cancelled ones")
					require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte(text)))
					assert.Equal(t, text, in.message(t, e.peer.Next(t, "usable")))
				})
			})
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// WS-24, C11: a write that is cancelled in mid-frame ends the Conn: the peer
// sees 1006, never a short message.
func TestWS24WriteCancelledInMidFrame(t *testing.T) {
	prepared, err := websocket.NewPreparedMessage(websocket.MessageText, make([]byte, 1000))
	require.NoError(t, err)
	for name, write := range map[string]func(ctx context.Context, c *websocket.Conn) error{
		"Write": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, make([]byte, 1000))
		},
		"large Write": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, make([]byte, 200_000))
		},
		"WritePrepared": func(ctx context.Context, c *websocket.Conn) error { return c.WritePrepared(ctx, prepared) },
		"Writer": func(ctx context.Context, c *websocket.Conn) error {
			w, err := c.Writer(ctx, websocket.MessageText)
			if err != nil {
				return err
			}
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return err
			}
			return w.Close()
		},
	} {
		for _, vectored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, WriteBuffers %t", name, vectored), func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					e := socket{client: client, vectored: vectored, pipe: wstest.PipeOptions{Buffer: 100}}.open(t)
					got := e.beginRead(t.Context())
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					start := time.Now()
					err := write(ctx, e.Conn)
					assert.Equal(t, time.Second, time.Since(start))
					require.ErrorIs(t, err, context.DeadlineExceeded)
					e.peer.WantReset(t, "1006 for the peer")
					wantEnd(t, (<-got).err, 1006, false)
					e.wantDead(t, 1006, false)
				})
			})
		}
	}
}

// A Writer whose context ends between its fragments ends the Conn as well.
func TestWS24WriterCancelledBetweenFragments(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := e.Writer(ctx, websocket.MessageText)
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 200_000))
		require.NoError(t, err)
		assert.True(t, e.peer.Next(t, "a fragment").More)
		cancel()
		_, err = w.Write(make([]byte, 200_000))
		if err == nil {
			err = w.Close()
		}
		require.ErrorIs(t, err, context.Canceled)
		e.peer.WantReset(t, "1006 for the peer")
		e.wantDead(t, 1006, false)
		require.Error(t, w.Close())
	})
	t.Run("before the first", func(t *testing.T) {
		asBothRoles(t, func(t *testing.T, client bool) {
			e := socket{client: client}.open(t)
			ctx, cancel := context.WithCancel(t.Context())
			w, err := e.Writer(ctx, websocket.MessageText)
			require.NoError(t, err)
			_, err = io.WriteString(w, "never sent")
			require.NoError(t, err)
			cancel()
			require.ErrorIs(t, w.Close(), context.Canceled)
			require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte("usable")))
			e.peer.WantFrame(t, frame.Text, "usable", "nothing of the message was sent")
		})
	})
}

// One direction's contexts do not touch the other's calls, nor a later call.
func TestContextsDoNotReachOtherCalls(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 100}}.open(t)
		e.fillStream(t, client)
		readCtx, cancelRead := context.WithCancel(t.Context())
		writeCtx, cancelWrite := context.WithCancel(t.Context())
		got := e.beginRead(readCtx)
		wrote := begin(func() error { return e.Write(writeCtx, websocket.MessageText, []byte("x")) })
		synctest.Wait()
		cancelRead()
		require.ErrorIs(t, (<-got).err, context.Canceled)
		synctest.Wait()
		assert.Empty(t, wrote)
		got = e.beginRead(t.Context())
		synctest.Wait()
		cancelWrite()
		require.ErrorIs(t, <-wrote, context.Canceled)
		synctest.Wait()
		assert.Empty(t, got)

		// A context that ends after its call has returned does nothing.
		ctx, cancel := context.WithCancel(t.Context())
		e.peer.Next(t, "what filled the stream")
		require.NoError(t, e.Write(ctx, websocket.MessageText, []byte("done")))
		cancel()
		synctest.Wait()
		require.NoError(t, e.Write(t.Context(), websocket.MessageText, []byte("fine")))
		e.peer.Send(t, wstest.Text("fine too"))
		assert.Equal(t, "fine too", (<-got).payload)
	})
}
