package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// The page and the sockets of ten guests come by one HTTP/2 connection; guests
// over HTTP/1.1 are in the same room.
func TestChat(t *testing.T) {
	srv, err := newServer("")
	require.NoError(t, err)
	server, client := wstest.Certificates()
	if srv.TLSConfig == nil {
		srv.TLSConfig = server
	} else {
		srv.TLSConfig.Certificates = server.Certificates
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		assert.NoError(t, srv.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var connections atomic.Int32
	d := &negotiate.Dialer{
		TLSClientConfig: client,
		Policy:          negotiate.Only(websocket.HTTP2),
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			connections.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	defer d.CloseIdleConnections()
	origin := l.Addr().String()
	resp, err := (&http.Client{Transport: d}).Get("https://" + origin + "/")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Contains(t, string(body), "<title>Chat</title>")

	o := &websocket.DialOptions{
		Header:      http.Header{"Origin": {"https://" + origin}},
		Compression: &websocket.Compression{Threshold: -1},
	}
	var guests []*websocket.Conn
	for range 10 {
		c, _, err := d.Dial(ctx, "wss://"+origin+"/chat", o)
		require.NoError(t, err)
		guests = append(guests, c)
	}
	assert.EqualValues(t, 1, connections.Load())
	old := &negotiate.Dialer{TLSClientConfig: client, Policy: negotiate.Only(websocket.HTTP1)}
	c, _, err := old.Dial(ctx, "wss://"+origin+"/chat", o)
	require.NoError(t, err)
	guests = append(guests, c)

	// A guest is in the room when its own words come back.
	heard := make(map[*websocket.Conn]int)
	for _, c := range guests {
		require.NoError(t, c.Write(ctx, websocket.MessageText, []byte("hello")))
		for heard[c] == 0 {
			_, p, err := c.Read(ctx)
			require.NoError(t, err)
			assert.Equal(t, "hello", string(p))
			heard[c]++
		}
	}
	require.NoError(t, guests[0].Write(ctx, websocket.MessageText, []byte("to all")))
	for _, c := range guests {
		for {
			_, p, err := c.Read(ctx)
			require.NoError(t, err)
			if string(p) == "to all" {
				break
			}
		}
		require.NoError(t, c.Close(ctx, websocket.StatusNormalClosure, ""))
	}
}

// An argument that is no flag would end the flags, and those behind it be passed over.
func TestStrayArgument(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), program, "-addr", "nowhere", "false", "-cert", "x").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode())
	assert.Contains(t, string(out), `unexpected argument "false"`)
}
