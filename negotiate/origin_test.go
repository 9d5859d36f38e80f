package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

// A connection that was kept is used if it is still of use.
func TestKeptConnection(t *testing.T) {
	serverConfig, clientConfig := wstest.Certificates()
	serverConfig = serverConfig.Clone()
	serverConfig.NextProtos = []string{"http/1.1"}
	serverConfig.SessionTicketsDisabled = true // or a handshake over a pipe waits for a read
	for _, c := range []struct {
		name    string
		happens func(server net.Conn)
		dials   int
	}{
		{"at once", func(net.Conn) {}, 1},
		{"later", func(net.Conn) { time.Sleep(spareFor - 1) }, 1},
		{"too late", func(net.Conn) { time.Sleep(spareFor + 1) }, 2},
		{"closed by the server", func(server net.Conn) { server.Close() }, 2},
		{"bytes that nobody asked for", func(server net.Conn) { io.WriteString(server, "HTTP/1.1 408 Request Timeout\r\n\r\n") }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				servers := make(chan *tls.Conn, 2)
				dials := 0
				d := &Dialer{
					TLSClientConfig: clientConfig,
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						dials++
						ours, theirs := net.Pipe()
						server := tls.Server(theirs, serverConfig)
						go func() {
							assert.NoError(t, server.Handshake())
							servers <- server
						}()
						return ours, nil
					},
				}
				defer d.CloseIdleConnections()
				_, err := d.dialHTTP2(t.Context(), "tcp", "localhost:443")
				require.ErrorIs(t, err, errNoHTTP2)
				first := <-servers
				defer first.Close()
				c.happens(first)

				nc, err := d.dialHTTP1(t.Context(), targetAt("localhost:443"), true)
				require.NoError(t, err)
				defer nc.Close()
				assert.Equal(t, c.dials, dials)
				server := first
				if dials == 2 {
					go io.Copy(io.Discard, nc) // or the server could not close
					server = <-servers
					server.Close()
					return
				}
				go io.WriteString(nc, "hello")
				got := make([]byte, 5)
				_, err = io.ReadFull(server, got)
				require.NoError(t, err)
				assert.Equal(t, "hello", string(got))
				go server.Write(got)
				_, err = io.ReadFull(nc, got)
				require.NoError(t, err, "no deadline is left")
				go io.Copy(io.Discard, nc)
				server.Close()
			})
		})
	}
}

// A kept connection without deadlines is closed: nothing else ends the Read on it.
func TestKeptConnectionWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		o := new(origin)
		o.keep(noDeadlines{ours})
		require.Nil(t, o.take())
		_, err := theirs.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

// A noDeadlines is a connection as package ssh has them.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetReadDeadline(time.Time) error { return errors.New("deadline not supported") }
