package negotiate_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

// acceptByHand answers the request for a socket that comes on nc, and waits for the
// client's end.
func acceptByHand(nc net.Conn) {
	defer nc.Close()
	in := bufio.NewReader(nc)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §4.2.2
	fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	io.Copy(io.Discard, in)
}

// A server whose SETTINGS never come does not use up the time of the handshake: a
// third of it is left to HTTP/1.1, which the next socket has at once.
func TestSettingsThatNeverComeLeaveTimeForHTTP1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		var served sync.WaitGroup
		d := &negotiate.Dialer{
			Policy: negotiate.Prefer(websocket.HTTP2),
			Proxy:  func(*http.Request) (*url.URL, error) { return nil, nil },
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				dials++
				if dials == 1 { // HTTP/2, by prior knowledge
					served.Go(func() { io.Copy(io.Discard, theirs) })
				} else {
					served.Go(func() { acceptByHand(theirs) })
				}
				return ours, nil
			},
		}
		for i, want := range []time.Duration{10 * time.Second * 2 / 3, 0} {
			begin := time.Now()
			c, resp, err := d.Dial(t.Context(), "ws://server.example/", nil)
			require.NoError(t, err)
			assert.Equal(t, want, time.Since(begin), "socket %d", i)
			attempts := negotiate.Attempts(resp)
			require.Len(t, attempts, 2, "socket %d", i)
			assert.Equal(t, websocket.HTTP2, attempts[0].Bootstrap)
			require.ErrorIs(t, attempts[0].Err, websocket.ErrNotSupported)
			assert.ErrorContains(t, attempts[0].Err, "too long")
			assert.Equal(t, websocket.HTTP1, c.Bootstrap())
			assert.Equal(t, i+2, dials)
			c.CloseNow()
		}
		require.NoError(t, d.Close())
		served.Wait()
	})
}
