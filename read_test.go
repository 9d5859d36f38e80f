package websocket_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestReaderYieldsTheMessageThenEOF(t *testing.T) {
	for name, c := range map[string]struct {
		frames []wstest.Frame
		want   string
	}{
		"empty":                  {[]wstest.Frame{wstest.Text("")}, ""},
		"one frame":              {[]wstest.Frame{wstest.Text("one frame")}, "one frame"},
		"fragments":              {[]wstest.Frame{wstest.Text("").Fragment(), wstest.Continuation("a").Fragment(), wstest.Ping(""), wstest.Continuation("").Fragment(), wstest.Continuation("b")}, "ab"},
		"empty last fragment":    {[]wstest.Frame{wstest.Text("a").Fragment(), wstest.Continuation("")}, "a"},
		"large":                  {[]wstest.Frame{wstest.Text(strings.Repeat("large", 20_000))}, strings.Repeat("large", 20_000)},
		"compressed":             {[]wstest.Frame{wstest.Text(deflatedHello).Compressed()}, "Hello"},
		"compressed in two":      {[]wstest.Frame{wstest.Text(deflatedHello[:2]).Compressed().Fragment(), wstest.Continuation(deflatedHello[2:])}, "Hello"},
		"compressed, empty last": {[]wstest.Frame{wstest.Text(deflatedHello).Compressed().Fragment(), wstest.Continuation("")}, "Hello"},
	} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				for _, how := range []func(io.Reader) io.Reader{
					func(r io.Reader) io.Reader { return r },
					iotest.OneByteReader,
					iotest.HalfReader,
				} {
					s := deflating(client, websocket.DeflateParams{})
					e := s.open(t)
					e.peer.Send(t, c.frames...)
					e.peer.Send(t, wstest.Text("next"))
					kind, r, err := e.Reader(t.Context())
					require.NoError(t, err)
					assert.Equal(t, websocket.MessageText, kind)
					assert.Equal(t, c.want, copyOf(t, how(r)))
					n, err := r.Read(make([]byte, 1))
					assert.Zero(t, n)
					assert.Equal(t, io.EOF, err, "again, and io.EOF itself")
					wantText(t, e.Conn, "next")
					_, err = r.Read(make([]byte, 1))
					assert.Equal(t, io.EOF, err, "still")
				}
			})
		})
	}
}

// A Reader writes nothing behind the end of the slice it is given, however much room
// there is: what it reads straight from the stream neither.
func TestReaderKeepsToTheSlice(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		want := strings.Repeat("a long message", 2_000)
		e.peer.Send(t, wstest.Text(want))
		_, r, err := e.Reader(t.Context())
		require.NoError(t, err)
		const size = 10
		var got []byte
		for {
			room := bytes.Repeat([]byte("."), 100*size)
			n, err := r.Read(room[:size])
			require.LessOrEqual(t, n, size)
			require.Equal(t, strings.Repeat(".", 99*size), string(room[size:]), "after %d bytes", len(got))
			got = append(got, room[:n]...)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
		assert.True(t, want == string(got), "%d bytes, want %d", len(got), len(want))
	})
}

// What a Reader leaves of its message is skipped by the next read, and the
// deflate context sees it all the same.
func TestReaderPartlyReadThenTheNextMessage(t *testing.T) {
	long := strings.Repeat("long message, ", 5000)
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, left := range []int{0, 1, 10_000, len(long) - 1} {
			s := deflating(client, websocket.DeflateParams{})
			e := s.open(t)
			d := newDeflater(15, 6)
			e.peer.Send(t,
				wstest.Text(long),
				wstest.Text(string(d.payload([]byte(long), true))).Compressed(),
				wstest.Text(string(d.payload([]byte(long), true))).Compressed(),
				wstest.Text("a").Fragment(), wstest.Continuation("b").Fragment(), wstest.Continuation("c"),
				wstest.Text("last"))
			var readers []io.Reader
			for range 2 {
				_, r, err := e.Reader(t.Context())
				require.NoError(t, err)
				p := make([]byte, left)
				_, err = io.ReadFull(r, p)
				require.NoError(t, err)
				assert.Equal(t, long[:left], string(p))
				readers = append(readers, r)
			}
			wantText(t, e.Conn, long)
			_, r, err := e.Reader(t.Context())
			require.NoError(t, err)
			_, err = r.Read(make([]byte, 1))
			require.NoError(t, err)
			wantText(t, e.Conn, "last")
			for _, r := range readers {
				n, err := r.Read(make([]byte, 10))
				assert.Zero(t, n)
				require.Error(t, err, "superseded")
				require.NotErrorIs(t, err, io.EOF, "a message cut short does not pass for a whole one")
			}
		}
	})
}

func TestReadIntoUsesTheCallersMemory(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20}}.open(t)
		buf := make([]byte, 3, 100)
		e.peer.Send(t, wstest.Text("fits"), wstest.Text(""), wstest.Binary(bytes.Repeat([]byte("x"), 100)), wstest.Binary(make([]byte, 101)), wstest.Binary(make([]byte, 500_000)))
		for _, size := range []int{4, 0, 100} {
			_, p, err := e.ReadInto(t.Context(), buf)
			require.NoError(t, err)
			require.Len(t, p, size)
			assert.Same(t, &buf[:1][0], &p[:1][0])
			assert.Equal(t, 100, cap(p))
		}
		_, p, err := e.ReadInto(t.Context(), buf)
		require.NoError(t, err)
		assert.Len(t, p, 101)
		_, p, err = e.ReadInto(t.Context(), p)
		require.NoError(t, err)
		assert.Len(t, p, 500_000)
		assert.Less(t, cap(p), 2_000_000)
	})
}

// The caller owns what Read returns.
func TestReadGivesMemoryAway(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		var kept [][]byte
		for range 3 {
			e.peer.Send(t, wstest.Text("one"), wstest.Text("two"), wstest.Text("three"))
		}
		for range 9 {
			_, p, err := e.Read(t.Context())
			require.NoError(t, err)
			kept = append(kept, p)
		}
		for i, p := range kept {
			assert.Equal(t, []string{"one", "two", "three"}[i%3], string(p))
		}
	})
}

// Readers on several goroutines take turns: each message goes to one of them.
func TestConcurrentReadsTakeTurns(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		var got []<-chan message
		for range 5 {
			got = append(got, e.beginRead(t.Context()))
			synctest.Wait()
		}
		for i := range got {
			e.peer.Send(t, wstest.Text(strings.Repeat("x", i)).Fragment(), wstest.Continuation("!"))
		}
		for i := range got {
			assert.Equal(t, strings.Repeat("x", i)+"!", (<-got[i]).payload, "in their order")
		}
	})
}

func TestSetReadLimit(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		open := func() *end {
			return socket{client: client, pipe: wstest.PipeOptions{Buffer: 4 << 20}, params: websocket.Params{
				Deflate: &websocket.DeflateParams{},
				Limits:  websocket.Limits{Message: 100, CompressedMessage: -1},
			}}.open(t)
		}
		send := func(e *end, n int) { e.peer.Send(t, wstest.Binary(make([]byte, n))) }
		e := open()
		e.SetReadLimit(200)
		send(e, 200)
		_, p, err := e.Read(t.Context())
		require.NoError(t, err)
		assert.Len(t, p, 200)
		e.SetReadLimit(0)
		send(e, 1<<20)
		_, p, err = e.Read(t.Context())
		require.NoError(t, err, "zero is the default")
		assert.Len(t, p, 1<<20)
		e.SetReadLimit(-1)
		send(e, 3<<20)
		_, p, err = e.Read(t.Context())
		require.NoError(t, err, "negative is none")
		assert.Len(t, p, 3<<20)
		e.SetReadLimit(50)
		send(e, 51)
		_, _, err = e.Read(t.Context())
		require.ErrorIs(t, err, websocket.ErrMessageTooBig)

		e = open()
		e.SetReadLimit(50)
		e.peer.Send(t, wstest.Binary(newDeflater(15, 6).payload(make([]byte, 51), true)).Compressed())
		_, _, err = e.Read(t.Context())
		require.ErrorIs(t, err, websocket.ErrMessageTooBig, "of a compressed message as well")
	})
}

func TestReadLimitNegativeIsNone(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 8 << 20}, params: websocket.Params{
			Deflate: &websocket.DeflateParams{},
			Limits:  websocket.Limits{Message: -1, Fragments: -1, EmptyFragments: -1},
		}}.open(t)
		frames := []wstest.Frame{wstest.Text("").Fragment()}
		for range 20_000 {
			frames = append(frames, wstest.Continuation("").Fragment())
		}
		e.peer.Send(t, append(frames, wstest.Continuation("end"))...)
		wantText(t, e.Conn, "end")
		e.peer.Send(t, wstest.Binary(make([]byte, 5<<20)), wstest.Binary(append(bomb(5), 0)).Compressed())
		for range 2 {
			_, p, err := e.Read(t.Context())
			require.NoError(t, err)
			assert.Len(t, p, 5<<20)
		}
	})
}

// An error that a stream returns together with its last bytes comes after
// them.
func TestBytesThatComeWithAnErrorAreRead(t *testing.T) {
	broken := errors.New("broken")
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, c := range []struct {
			err, want error
		}{{io.EOF, io.ErrUnexpectedEOF}, {broken, broken}} {
			near, far := wstest.Pipe(wstest.PipeOptions{})
			peer := wstest.NewClient(far)
			if client {
				peer = wstest.NewServer(far)
			}
			conn := websocket.New(&lastRead{near, c.err}, websocket.Params{Client: client, Limits: quiet})
			peer.Send(t, wstest.Text("one"), wstest.Text("two"))
			wantText(t, conn, "one")
			wantText(t, conn, "two")
			_, _, err := conn.Read(t.Context())
			wantEnd(t, err, 1006, true)
			require.ErrorIs(t, err, c.want)
			conn.CloseNow()
		}
	})
}

// A lastRead is a stream whose first read is its last.
type lastRead struct {
	*wstest.PipeStream
	err error
}

func (s *lastRead) Read(p []byte) (int, error) {
	n, err := s.PipeStream.Read(p)
	if err == nil {
		err = s.err
	}
	return n, err
}
