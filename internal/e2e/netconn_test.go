package e2e

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
)

// OP-12: io.Copy over NetConn carries a stream of bytes whole, both ways at the
// same time, and ends with io.EOF.
func TestOP12NetConnCopiesBothWays(t *testing.T) {
	const size = 3 << 20
	onEachWay(t, func(t *testing.T, tr transport) {
		p := tr.connect(t, &websocket.AcceptOptions{Compression: &websocket.Compression{}}, &websocket.DialOptions{Compression: &websocket.Compression{}})
		server, client := p.server.NetConn(websocket.MessageBinary), p.client.NetConn(websocket.MessageText.Uncompressed())
		text := bytes.Repeat([]byte("text, "), size/6)
		noise := random(7, size)
		down := begin(func() error { _, err := io.Copy(server, plain{bytes.NewReader(noise)}); return err })
		up := begin(func() error { _, err := io.Copy(client, plain{bytes.NewReader(text)}); return err })
		atServer := begin(func() []byte { b, _ := io.ReadAll(io.LimitReader(server, size)); return b })
		atClient := begin(func() []byte { b, _ := io.ReadAll(io.LimitReader(client, size)); return b })
		require.NoError(t, <-down)
		require.NoError(t, <-up)
		assert.True(t, bytes.Equal(text, <-atServer))
		assert.True(t, bytes.Equal(noise, <-atClient))

		rest := begin(func() error { _, err := io.Copy(io.Discard, client); return err })
		require.NoError(t, server.Close())
		require.NoError(t, <-rest, "the peer's Close is io.EOF")
		_, err := server.Read(make([]byte, 1))
		assert.ErrorIs(t, err, net.ErrClosed)
		_, err = client.Write([]byte("x"))
		assert.Error(t, err)
	})
}

// plain hides what else a reader can do: io.Copy would write all of it at once,
// as one message larger than Limits.Message.
type plain struct{ io.Reader }

// OP-05: a deadline that passes leaves a NetConn readable, and moves.
func TestOP05NetConnDeadlines(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		p := tr.connect(t, nil, nil)
		server, client := p.server.NetConn(websocket.MessageBinary), p.client.NetConn(websocket.MessageBinary)
		buf := make([]byte, 10)
		for _, d := range []time.Duration{-time.Hour, 20 * time.Millisecond} {
			require.NoError(t, client.SetReadDeadline(time.Now().Add(d)))
			_, err := client.Read(buf)
			var ne net.Error
			require.ErrorAs(t, err, &ne)
			assert.True(t, ne.Timeout())
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		blocked := begin(func() error {
			_, err := client.Read(buf)
			return err
		})
		require.NoError(t, client.SetReadDeadline(time.Time{}))
		_, err := server.Write([]byte("again"))
		require.NoError(t, err)
		if err := <-blocked; err != nil { // it began before the deadline was lifted
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			_, err = client.Read(buf)
			require.NoError(t, err)
		}
		assert.Equal(t, "again", string(buf[:5]))
		require.NoError(t, errors.Join(p.client.CloseNow(), p.server.CloseNow()))
	})
}

// Both ends know the addresses of the connection that carries them, the same ones
// from two sides.
func TestNetConnAddresses(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		p := tr.connect(t, nil, nil)
		server, client := p.server.NetConn(websocket.MessageBinary), p.client.NetConn(websocket.MessageBinary)
		networks := map[websocket.Bootstrap]string{websocket.HTTP1: "tcp", websocket.HTTP2: "tcp", websocket.HTTP3: "udp"}
		for nc, network := range map[net.Conn]string{server: networks[tr.served().bootstrap], client: networks[tr.bootstrap]} {
			for _, a := range []net.Addr{nc.LocalAddr(), nc.RemoteAddr()} {
				require.NotNil(t, a)
				assert.Equal(t, network, a.Network())
			}
		}
		if tr.hop != nil {
			assert.NotEqual(t, server.LocalAddr().String(), client.RemoteAddr().String(), "each end is the proxy's neighbour")
			return
		}
		assert.Equal(t, server.LocalAddr().String(), client.RemoteAddr().String())
		assert.Equal(t, port(t, client.LocalAddr()), port(t, server.RemoteAddr()))
	})
}

func port(t testing.TB, a net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(a.String())
	require.NoError(t, err)
	return port
}
