//go:build unix

package peers

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/proxy"
	"github.com/wsmux/websocket/negotiate"
	"golang.org/x/net/http2"
)

// runFailures takes a proxy through what can go wrong with one.
func runFailures(t *testing.T, p proxy.Proxy) {
	for _, w := range ways {
		if w.Clear {
			continue
		}
		row := matrix.Row{Peer: p.Name(), Role: matrix.Proxy, Transport: w.String()}
		t.Run(w.String(), func(t *testing.T) {
			row.Run(t, "the proxy dies", func(t *testing.T) { newBridge(t, p, w, nil).testDeath(t) })
			if w.Back == websocket.HTTP1 {
				row.Run(t, "200 for no socket", func(t *testing.T) {
					row.Record(t, "200 for no socket", newBridge(t, p, w, nil).testOrdinary(t))
				})
			}
			if w.Back == websocket.HTTP2 {
				row.Run(t, "server without sockets", func(t *testing.T) {
					newBridge(t, p, w, &h2connect.Server{DisableExtendedConnect: true}).testUnsupported(t)
				})
			}
		})
	}
}

// When the proxy is killed both ends see a socket that was cut.
func (b *bridge) testDeath(t *testing.T) {
	c, _, id := b.open(t, "/echo", nil, nil)
	wantEcho(t, c, websocket.MessageText, []byte("alive"))
	b.proxy.Kill()
	_, _, err := c.Read(soon(t))
	wantCut(t, err)
	wantCut(t, b.site.visit(t, id).outcome())
}

// When the server does not announce extended CONNECT the proxy, which was told to
// use it, refuses the socket with an error status, or with its stream.
func (b *bridge) testUnsupported(t *testing.T) {
	c, res, err := b.dial(soon(t), "wss://"+b.addr+"/echo", new(websocket.DialOptions))
	require.Error(t, err)
	require.Nil(t, c)
	t.Log(err)
	if reset, ok := errors.AsType[*h2connect.StreamError](err); ok {
		assert.Equal(t, http2.ErrCodeRefusedStream, reset.Code)
		return
	}
	require.NotNil(t, res, "%v", err)
	assert.GreaterOrEqual(t, res.StatusCode, http.StatusBadRequest)
}

// A route that is none for sockets may answer the request for one with 200. On
// HTTP/1.1 that is a refusal (RFC 6455 §4.1), which a proxy must not make the
// acceptance that it is after extended CONNECT (RFC 8441 §5). The result is what the
// client made of what it got.
func (b *bridge) testOrdinary(t *testing.T) matrix.Result {
	c, res, err := b.dial(soon(t), "wss://"+b.addr+"/hello", new(websocket.DialOptions))
	if err == nil {
		defer c.CloseNow()
		_, _, err := c.Read(soon(t))
		require.Error(t, err)
		return "accepted"
	}
	require.NotNil(t, res, "%v", err)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	return "refused"
}

// A proxy that speaks HTTP/2 and does not announce extended CONNECT gets the socket
// by HTTP/1.1 from a Dialer, also when the Dialer has an HTTP/2 connection to it.
func testNotAnnounced(t *testing.T, p proxy.Proxy) {
	for _, back := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2} {
		w := proxy.Way{Front: websocket.HTTP2, Back: back, Silent: true}
		row := matrix.Row{Peer: p.Name(), Role: matrix.Proxy, Transport: w.String()}
		row.Run(t, "fallback to h1 in front", func(t *testing.T) {
			b := newBridge(t, p, w, nil)
			d := &negotiate.Dialer{TLSClientConfig: b.trust}
			t.Cleanup(d.CloseIdleConnections)
			req, err := http.NewRequestWithContext(soon(t), http.MethodGet, "https://"+b.addr+"/hello", nil)
			require.NoError(t, err)
			res, err := (&http.Client{Transport: d}).Do(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, 2, res.ProtoMajor)
			c, _, err := d.Dial(soon(t), "wss://"+b.addr+"/echo?id=fallback", nil)
			require.NoError(t, err)
			defer c.CloseNow()
			assert.Equal(t, websocket.HTTP1, c.Bootstrap())
			wantEcho(t, c, websocket.MessageText, []byte("through"))
			v := b.wantEnd(t, c, "fallback")
			assert.Equal(t, back, v.bootstrap)
		})
	}
}
