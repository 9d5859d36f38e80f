package websocket_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// A pushStream is a pipe's end that pushes, as simply as that can be done: a
// goroutine reads the pipe and hands on what it gets, until the pipe ends.
type pushStream struct {
	*wstest.PipeStream

	mu       sync.Mutex
	cond     sync.Cond
	waiting  []byte
	err      error
	deadline time.Time
	blocked  int // Reads that wait
	pushing  bool
	busy     bool
	to       interface {
		Begin() bool
		Take(p []byte) (more bool)
		Resume()
	}
}

func newPushStream(s *wstest.PipeStream) *pushStream {
	p := &pushStream{PipeStream: s}
	p.cond.L = &p.mu
	go p.run()
	return p
}

func (s *pushStream) run() {
	for {
		buf := make([]byte, 3000)
		n, err := s.PipeStream.Read(buf)
		s.mu.Lock()
		s.err = err
		push := s.pushing && !s.busy && s.blocked == 0
		switch {
		case push && n > 0 && s.to.Begin():
			s.busy = true
			go s.take(buf[:n]) // it may last, while reading goes on
		default:
			s.waiting = append(s.waiting, buf[:n]...)
			s.cond.Broadcast()
			if push && s.again() {
				go s.serve()
			}
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take calls Take.
func (s *pushStream) take(p []byte) {
	more := true
	defer func() { // also if a Handler ends the goroutine
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range p {
			p[i] = 0xaa // it was theirs until now
		}
		if more || s.again() {
			go s.serve()
		}
	}()
	more = s.to.Take(p)
}

// again says whether there is something to resume for.
func (s *pushStream) again() bool {
	s.busy = s.pushing && (len(s.waiting) > 0 || s.err != nil)
	return s.busy
}

func (s *pushStream) serve() {
	returned := false
	defer func() {
		if !returned {
			go s.serve()
		}
	}()
	for more := true; more; {
		s.to.Resume()
		s.mu.Lock()
		more = s.again()
		s.mu.Unlock()
	}
	returned = true
}

func (s *pushStream) Push(to interface {
	Begin() bool
	Take(p []byte) (more bool)
	Resume()
}, now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to, s.pushing, s.busy = to, true, true
	if now || s.again() {
		go s.serve()
	}
}

func (s *pushStream) Pull() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushing = false
}

func (s *pushStream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked++
	defer func() { s.blocked-- }()
	for {
		switch {
		case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(s.waiting) > 0 || s.err != nil:
			return s.read(p)
		}
		s.cond.Wait()
	}
}

func (s *pushStream) read(p []byte) (int, error) {
	if len(s.waiting) == 0 {
		return 0, s.err
	}
	n := copy(p, s.waiting)
	s.waiting = slices.Delete(s.waiting, 0, n)
	return n, nil
}

func (s *pushStream) TryRead(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(p)
}

func (s *pushStream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	s.cond.Broadcast()
	return nil
}

// onEveryStream runs a test of a handled socket with streams that push and others,
// in both roles.
func onEveryStream(t *testing.T, test func(t *testing.T, s socket)) {
	t.Helper()
	for name, pushes := range map[string]bool{"pulled": false, "pushed": true} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) { test(t, socket{client: client, pushes: pushes}) })
		})
	}
}

// However the input is cut, the same messages are delivered.
func TestWS27HandledMessagesInAnyPieces(t *testing.T) {
	for _, piece := range []int{1, 2, 3, 7, 139, 1000, 2999, 5000, 100_000} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			onEveryStream(t, func(t *testing.T, s socket) {
				e := s.open(t)
				r := new(recorder)
				require.NoError(t, e.Handle(r))
				var want []string
				var frames []wstest.Frame
				for i := range 14 {
					text := fmt.Sprintf("%d %s", i, string(make([]byte, i*i*20)))
					want = append(want, "text "+text, "binary "+text)
					frames = append(frames, wstest.Text(text), wstest.Ping("?"),
						wstest.Binary([]byte(text[:1])).Fragment(), wstest.Pong(""), wstest.Continuation(text[1:]))
				}
				b := e.peer.Append(nil, frames...)
				if piece < 100 {
					b = b[:1500]
				}
				for rest := b; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
					e.peer.SendRaw(t, rest[:min(piece, len(rest))])
					synctest.Wait()
				}
				if piece < 100 {
					require.NotEmpty(t, r.messages)
					want = want[:len(r.messages)]
				}
				assert.Equal(t, want, r.messages)
				assert.EqualValues(t, len(r.messages), e.Stats().MessagesRead)
			})
		})
	}
}

// While OnMessage runs, Ping reads what it waits for, and what it reads ahead is
// delivered afterwards, in order, with what lay behind the message all along. The
// message itself stays as it is.
func TestHandlePingWithinOnMessage(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		r := new(recorder)
		r.do = func(c *websocket.Conn, p []byte) {
			before := string(p)
			if before[0] == '!' {
				assert.NoError(t, c.Ping(context.Background()))
			}
			assert.Equal(t, before, string(p))
		}
		require.NoError(t, e.Handle(r))
		e.peer.Send(t, wstest.Text("!one"), wstest.Text("two"), wstest.Text("!thr").Fragment())
		p := e.wantPing(t, "from within")
		e.peer.Send(t, wstest.Continuation("ee"), wstest.Text("four"), wstest.Pong(p))
		p = e.wantPing(t, "from within")
		e.peer.Send(t, wstest.Text("five"), wstest.Pong(p), wstest.Text("six"))
		synctest.Wait()
		assert.Equal(t, []string{"text !one", "text two", "text !three", "text four", "text five", "text six"}, r.messages)
	})
}

// Bytes that Begin has refused wait, and are delivered before those that come behind them,
// also if those are read by a Ping.
func TestHandlePingBehindBytesThatBeginRefused(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client, pushes: true}.open(t)
		r := new(recorder)
		require.NoError(t, e.Handle(r))
		synctest.Wait()
		release := websocket.HoldInput(e.Conn) // as one does who looks whether to read ahead
		e.peer.Send(t, wstest.Text("one"))
		synctest.Wait()
		assert.Empty(t, r.messages)
		release()
		ping := begin(func() error { return e.Ping(context.Background()) })
		p := e.wantPing(t, "beside them")
		e.peer.Send(t, wstest.Text("two"), wstest.Pong(p))
		require.NoError(t, <-ping)
		synctest.Wait()
		assert.Equal(t, []string{"text one", "text two"}, r.messages)
	})
}

// What a Ping reads ahead while the only message there is runs is delivered when
// that has returned, although nothing more arrives; and Stats knows of it.
func TestHandleDeliversWhatWasReadBesideALoneMessage(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		r := new(recorder)
		r.do = func(c *websocket.Conn, p []byte) {
			if p[0] == '!' {
				assert.NoError(t, c.Ping(context.Background()))
			}
		}
		require.NoError(t, e.Handle(r))
		synctest.Wait()
		e.peer.Send(t, wstest.Text("!one"))
		p := e.wantPing(t, "from within")
		e.peer.Send(t, wstest.Text("two"), wstest.Pong(p))
		synctest.Wait()
		assert.Equal(t, []string{"text !one", "text two"}, r.messages)
		assert.EqualValues(t, 2, e.Stats().MessagesRead)
	})
}

// Close within OnMessage completes the closing handshake, whatever lies between.
func TestHandleCloseWithinOnMessage(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		r := &recorder{do: func(c *websocket.Conn, p []byte) {
			assert.NoError(t, c.Close(context.Background(), 4000, "enough"))
			assert.Equal(t, "one", string(p))
		}}
		require.NoError(t, e.Handle(r))
		e.peer.Send(t, wstest.Text("one"), wstest.Text("two"), wstest.Text("three").Fragment())
		e.peer.WantClose(t, 4000, "from within")
		e.peer.Send(t, wstest.Continuation("!"), wstest.Close(4000, ""))
		synctest.Wait()
		assert.Equal(t, []string{"text one"}, r.messages)
		require.Len(t, r.ends, 1)
		wantEnd(t, r.ends[0], 4000, false)
	})
}

// CloseWrite from anywhere leaves the Handler its messages up to the answer.
func TestHandleCloseWrite(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		r := new(recorder)
		require.NoError(t, e.Handle(r))
		require.NoError(t, e.CloseWrite(t.Context(), 1001, "going"))
		e.peer.WantClose(t, 1001, "our goodbye")
		e.peer.Send(t, wstest.Text("still"), wstest.Text("here"))
		synctest.Wait()
		assert.Equal(t, []string{"text still", "text here"}, r.messages)
		e.peer.Send(t, wstest.Text("last"), wstest.Close(1001, ""))
		synctest.Wait()
		assert.Equal(t, []string{"text still", "text here", "text last"}, r.messages)
		require.Len(t, r.ends, 1)
		wantEnd(t, r.ends[0], 1001, false)
	})
}

// Ping by somebody else while nothing happens leaves the reading to the Handler;
// while OnMessage runs it does not have to wait for it.
func TestHandlePingBesideOnMessage(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		e := s.open(t)
		release := make(chan struct{})
		r := &recorder{do: func(_ *websocket.Conn, p []byte) {
			if string(p) == "block" {
				<-release
			}
		}}
		require.NoError(t, e.Handle(r))
		for _, m := range []string{"idle", "block", "blocked"} {
			pinged := begin(func() error { return e.Ping(t.Context()) })
			p := e.wantPing(t, m)
			e.peer.Send(t, wstest.Text(m), wstest.Pong(p))
			time.Sleep(time.Second)
			synctest.Wait()
			select {
			case err := <-pinged:
				require.NoError(t, err, m)
			default:
				require.Fail(t, "Ping waits for OnMessage", m)
			}
		}
		assert.Equal(t, []string{"text idle", "text block"}, r.messages)
		close(release)
		synctest.Wait()
		assert.Equal(t, []string{"text idle", "text block", "text blocked"}, r.messages)
	})
}

// The end of the stream in whatever state: OnClose says 1006.
func TestHandleEndOfTheStream(t *testing.T) {
	onEveryStream(t, func(t *testing.T, s socket) {
		for name, end := range map[string]func(e *end){
			"END":              func(e *end) { e.far.CloseWrite() },
			"reset":            func(e *end) { e.far.Abort() },
			"END within frame": func(e *end) { e.peer.SendRaw(t, e.peer.Append(nil, wstest.Text("cut short"))[:9]); e.far.CloseWrite() },
		} {
			e := s.open(t)
			r := new(recorder)
			require.NoError(t, e.Handle(r))
			e.peer.Send(t, wstest.Text("whole"))
			synctest.Wait()
			end(e)
			synctest.Wait()
			assert.Equal(t, []string{"text whole"}, r.messages, name)
			require.Len(t, r.ends, 1, name)
			wantEnd(t, r.ends[0], 1006, true)
		}
	})
}

// Deflate with context takeover, messages in pieces: the inflater sees all of them.
func TestHandleDeflate(t *testing.T) {
	for name, pushes := range map[string]bool{"pulled": false, "pushed": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				near, far := wstest.Pipe(wstest.PipeOptions{})
				params := websocket.Params{Deflate: &websocket.DeflateParams{}, Compression: &websocket.Compression{Threshold: -1}, Limits: quiet}
				var stream websocket.Stream = near
				if pushes {
					stream = newPushStream(near)
				}
				server := websocket.New(stream, params)
				params.Client = true
				client := websocket.New(far, params)
				r := new(recorder)
				require.NoError(t, server.Handle(r))
				var want []string
				for i := range 30 {
					m := fmt.Sprintf("message %d of many that are much the same %s", i, string(make([]byte, 200*i)))
					want = append(want, "text "+m)
					require.NoError(t, client.Write(t.Context(), websocket.MessageText, []byte(m)))
				}
				synctest.Wait()
				assert.Equal(t, want, r.messages)
				client.CloseNow()
				server.CloseNow()
			})
		})
	}
}
