package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A half is a socket with a Conn on one end and a peer that is played by hand on
// the other.
type half struct {
	role string // the Conn's
	conn *websocket.Conn
	peer *wstest.Peer
	raw  rawStream

	proxied bool // there is a ReverseProxy between them
}

// A side opens halves with the Conn in one role, all on the same server.
type side struct {
	role string
	open func() half
}

// sides returns both roles. The sockets end with the test.
func (tr transport) sides(t testing.TB, limits websocket.Limits, c *websocket.Compression) []side {
	return []side{tr.serverSide(t, limits, c), tr.clientSide(t, limits, c)}
}

// serverSide opens halves whose Conn is the server's.
func (tr transport) serverSide(t testing.TB, limits websocket.Limits, c *websocket.Compression) side {
	accepted := make(chan *websocket.Conn)
	authority := tr.listen(t, tr.handler(t, &websocket.AcceptOptions{Limits: limits, Compression: c}, func(c *websocket.Conn) {
		accepted <- c
		<-t.Context().Done()
		c.CloseNow()
	}))
	return side{"server", func() half {
		raw := tr.rawDial(t, authority)
		return half{"server", <-accepted, wstest.NewClient(raw), raw, tr.hop != nil}
	}}
}

// clientSide opens halves whose Conn is the client's.
func (tr transport) clientSide(t testing.TB, limits websocket.Limits, c *websocket.Compression) side {
	opened := make(chan rawStream)
	authority := tr.rawListen(t, func(raw rawStream) {
		opened <- raw
		<-t.Context().Done()
	})
	return side{"client", func() half {
		dialled := begin(func() *websocket.Conn {
			c, _, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{Limits: limits, Compression: c})
			if err != nil {
				t.Error(err)
			}
			return c
		})
		raw := <-opened
		conn := <-dialled
		require.NotNil(t, conn)
		t.Cleanup(func() { conn.CloseNow() })
		return half{"client", conn, wstest.NewServer(raw), raw, tr.hop != nil}
	}}
}

// wantRefused wants what the peer has sent to have cost it the socket: Read says
// so, and the peer sees the Close frame and then our END. It returns what Read
// said.
func (h half) wantRefused(t testing.TB, code websocket.StatusCode, why string) *websocket.CloseError {
	t.Helper()
	_, p, err := h.conn.Read(soon(t))
	require.Empty(t, p, why)
	ce := wantEnd(t, err, code, false)
	h.peer.WantClose(t, code, why)
	h.wantEndOfRefusal(t, why)
	return ce
}

// wantEndOfRefusal wants our END behind the Close frame with which we have given the
// socket up, whatever the peer does. A proxy keeps a client's back until the server
// has ended as well.
func (h half) wantEndOfRefusal(t testing.TB, why string) {
	t.Helper()
	if h.proxied {
		h.wantEnded(t, why)
		return
	}
	h.peer.WantEOF(t, why)
	require.NoError(t, h.raw.CloseWrite(), why)
}

// wantClosed lets the peer close the socket, and wants that to be clean.
func (h half) wantClosed(t testing.TB, why string) {
	t.Helper()
	h.peer.Send(t, wstest.Close(1000, ""))
	_, _, err := h.conn.Read(soon(t))
	wantEnd(t, err, 1000, true)
	h.peer.WantClose(t, 1000, why)
	h.wantEnded(t, why)
}

// wantEnded wants the stream to end in order behind the Close frames that have
// passed: the server first (RFC 6455 §7.1.1).
func (h half) wantEnded(t testing.TB, why string) {
	t.Helper()
	if h.role == "server" {
		h.peer.WantEOF(t, why)
		require.NoError(t, h.raw.CloseWrite(), why)
		return
	}
	require.NoError(t, h.raw.CloseWrite(), why)
	h.peer.WantEOF(t, why)
}

// wantRule wants err to name a rule of the codec that was broken.
func wantRule(t testing.TB, ce *websocket.CloseError, code websocket.StatusCode, why string) {
	t.Helper()
	var fe *frame.Error
	require.ErrorAs(t, ce, &fe, why)
	require.Equal(t, code, fe.Code, why)
}
