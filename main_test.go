package websocket_test

import (
	"context"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }

// quiet are limits under which a Conn sends nothing on its own.
var quiet = websocket.Limits{PingInterval: -1}

// A socket says which Conn a test wants.
type socket struct {
	client   bool // the Conn's role
	params   websocket.Params
	pipe     wstest.PipeOptions
	vectored bool // the stream offers WriteBuffers
	pushes   bool // the stream pushes
}

// An end is a Conn under test, with the peer that plays the other end by hand.
type end struct {
	*websocket.Conn
	peer *wstest.Peer
	near *wstest.PipeStream // what the Conn holds
	far  *wstest.PipeStream // what the peer holds
}

// open makes the Conn. Keep-alive is off unless the test sets an interval.
func (s socket) open(t testing.TB) *end {
	t.Helper()
	if s.params.Limits.PingInterval == 0 {
		s.params.Limits.PingInterval = -1
	}
	s.params.Client = s.client
	near, far := wstest.Pipe(s.pipe)
	var stream websocket.Stream = near
	switch {
	case s.vectored:
		stream = near.Vectored()
	case s.pushes:
		stream = newPushStream(near)
	}
	e := &end{Conn: websocket.New(stream, s.params), near: near, far: far}
	e.peer = wstest.NewClient(far)
	if s.client {
		e.peer = wstest.NewServer(far)
	}
	e.peer.Patience = time.Hour // on a bubble's clock
	t.Cleanup(func() {
		e.CloseNow()
		far.Abort()
	})
	return e
}

// inBubble runs a test on a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// asBothRoles runs a test with the Conn as server and as client, each in a
// bubble.
func asBothRoles(t *testing.T, test func(t *testing.T, client bool)) {
	t.Helper()
	for name, client := range map[string]bool{"server": false, "client": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, client) })
		})
	}
}

// joined returns two Conns that are each other's peer.
func joined(t testing.TB, pipe wstest.PipeOptions, p websocket.Params) (server, client *websocket.Conn) {
	t.Helper()
	a, b := wstest.Pipe(pipe)
	p.Client = false
	server = websocket.New(a, p)
	p.Client = true
	client = websocket.New(b, p)
	t.Cleanup(func() {
		server.CloseNow()
		client.CloseNow()
		a.Abort()
		b.Abort()
	})
	return server, client
}

// A message is what a read returned.
type message struct {
	kind    websocket.MessageType
	payload string
	err     error
}

// begin runs f on a goroutine of its own and returns what will hold its result.
func begin[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// beginRead reads one message on a goroutine of its own.
func (e *end) beginRead(ctx context.Context) <-chan message {
	return begin(func() message {
		kind, p, err := e.Read(ctx)
		return message{kind, string(p), err}
	})
}

// wantText wants Read to return this text.
func wantText(t testing.TB, c *websocket.Conn, want string) {
	t.Helper()
	kind, p, err := c.Read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, websocket.MessageText, kind)
	assert.Equal(t, want, string(p))
}

// wantEnd wants err to be the CloseError with which a Conn ended.
func wantEnd(t testing.TB, err error, code websocket.StatusCode, remote bool) *websocket.CloseError {
	t.Helper()
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, code, ce.Code, "%v", err)
	assert.Equal(t, remote, ce.Remote, "%v", err)
	return ce
}

// wantDead wants every method to return the error that the Conn ended with.
func (e *end) wantDead(t testing.TB, code websocket.StatusCode, remote bool) {
	t.Helper()
	ctx := t.Context()
	_, _, err := e.Read(ctx)
	wantEnd(t, err, code, remote)
	_, _, err = e.Reader(ctx)
	wantEnd(t, err, code, remote)
	wantEnd(t, e.Write(ctx, websocket.MessageText, nil), code, remote)
	_, err = e.Writer(ctx, websocket.MessageText)
	wantEnd(t, err, code, remote)
	wantEnd(t, e.Ping(ctx), code, remote)
	m, err := websocket.NewPreparedMessage(websocket.MessageText, nil)
	require.NoError(t, err)
	wantEnd(t, e.WritePrepared(ctx, m), code, remote)
	wantEnd(t, e.WriteJSON(ctx, 1), code, remote)
	wantEnd(t, e.ReadJSON(ctx, new(int)), code, remote)
	assert.NoError(t, e.CloseNow())
}

// wantBreach wants the Conn to have answered a broken rule as the close
// matrix's C10 says: Read fails with the code, the peer gets a Close frame with
// it and then END; what it still sends is discarded; the stream is closed in
// order once the peer has ended too.
func (e *end) wantBreach(t testing.TB, code websocket.StatusCode) *websocket.CloseError {
	t.Helper()
	_, p, err := e.Read(t.Context())
	assert.Empty(t, p)
	ce := wantEnd(t, err, code, false)
	e.wantFailed(t, code)
	return ce
}

// wantFailed is wantBreach without a Read.
func (e *end) wantFailed(t testing.TB, code websocket.StatusCode) {
	t.Helper()
	e.peer.WantClose(t, code, "RFC 6455 §7.1.7: fail the connection")
	e.peer.WantEOF(t, "END follows our Close")
	assert.Equal(t, wstest.EndCloseWrite, e.near.Ended())
	e.peer.Send(t, wstest.Text("nobody"), wstest.Ping("interprets"), wstest.Close(1000, "this"))
	e.wantDead(t, code, false)
	synctest.Wait()
	assert.Empty(t, e.near.Readable(), "discarded, so that flow control lets the peer end")
	require.NoError(t, e.far.CloseWrite())
	synctest.Wait()
	assert.Equal(t, wstest.EndClose, e.near.Ended())
	e.wantDead(t, code, false)
}

// copyOf reads r to its end.
func copyOf(t testing.TB, r io.Reader) string {
	t.Helper()
	p, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(p)
}
