package h3connect

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/altsvc"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestConnectOpensNoStream(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	url := "wss://" + s.addr + "/"
	assert.False(t, tr.Connected(url))
	type result struct {
		sockets bool
		err     error
	}
	done := make(chan result, 1)
	go func() {
		sockets, err := tr.Connect(soon(t), url)
		done <- result{sockets, err}
	}()
	conn := s.accept(socketSettings())
	require.Equal(t, result{sockets: true}, <-done)
	assert.True(t, tr.Connected(url))
	c := goDial(soon(t), tr, s.addr, nil)
	str, _ := conn.acceptStream()
	assert.EqualValues(t, 0, str.Stream.StreamID(), "the socket's is the first")
	str.send(headersFrame(":status: 200"))
	wantSocket(t, c)
}

func TestConnectToAServerWithoutSockets(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	done := make(chan bool, 1)
	go func() {
		sockets, err := tr.Connect(soon(t), "https://"+s.addr)
		assert.NoError(t, err)
		done <- sockets
	}()
	s.accept(settingsFrame())
	assert.False(t, <-done)
	assert.False(t, tr.Connected("https://"+s.addr))
	_, err := tr.Connect(soon(t), "ws://"+s.addr)
	require.ErrorIs(t, err, websocket.ErrNotSupported)
}

// A connection to an alternative is one to the origin: the host of the URL is
// what the certificate is checked against, and what the request names.
func TestConnectionToAnAlternative(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	c := goDial(altsvc.With(soon(t), net.JoinHostPort("127.0.0.1", port)), tr, "localhost:1", nil)
	str, fields := s.accept(socketSettings()).acceptStream()
	assert.Contains(t, strings.Join(fields, "\n"), "localhost:1")
	str.send(headersFrame(":status: 200"))
	wantSocket(t, c)

	tr = newTransport(t)
	c = goDial(altsvc.With(soon(t), net.JoinHostPort("127.0.0.1", port)), tr, "other.example", nil)
	require.ErrorContains(t, wantFailure(t, c).err, "other.example", "the certificate is not the origin's")

	tr = newTransport(t) // the zone of an address is in neither
	c = goDial(altsvc.With(soon(t), net.JoinHostPort("127.0.0.1", port)), tr, "[::1%25lo]:1", nil)
	str, fields = s.accept(socketSettings()).acceptStream()
	assert.Contains(t, strings.Join(fields, "\n"), "[::1]:1")
	str.send(headersFrame(":status: 200"))
	wantSocket(t, c)
}
