package main

import (
	"context"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

func TestMain(m *testing.M) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(wstest.Main(m))
}

// backend greets over sockets, and by ordinary responses.
var backend = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/socket" {
		_, _ = io.WriteString(w, "ordinary by "+r.Header.Get("X-Forwarded-Proto"))
		return
	}
	c, err := negotiate.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	_ = c.Write(r.Context(), websocket.MessageText, []byte(c.Bootstrap().String()+" behind"))
	_ = c.Close(r.Context(), websocket.StatusNormalClosure, "")
})

// listen serves h with TLS, all three versions of HTTP, until the test ends.
func listen(t *testing.T, h http.Handler) (tcp, udp string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &negotiate.Server{Handler: h, HTTP3: new(h3connect.Server)}
	s.TLSConfig, _ = wstest.Certificates()
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(l, pc, "", "") }()
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return l.Addr().String(), pc.LocalAddr().String()
}

// Any version in front to any behind, as the flags choose.
func TestProxy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server, client := wstest.Certificates()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	chain := server.Certificates[0].Certificate
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1]})
	require.NoError(t, os.WriteFile(authority, block, 0o600))
	tcp, udp := listen(t, backend)
	for behind, at := range map[string]string{"1": tcp, "2": tcp, "3": udp} {
		proxy, err := newProxy(config{backend: "https://" + at, http: behind, authority: authority, keepHost: true}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		t.Cleanup(func() {
			proxy.Dialer.CloseIdleConnections()
			_ = proxy.Dialer.HTTP3.(*h3connect.Transport).Close()
		})
		frontTCP, frontUDP := listen(t, proxy)
		for _, front := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3} {
			h3 := &h3connect.Transport{TLSClientConfig: client}
			d := &negotiate.Dialer{TLSClientConfig: client, HTTP3: h3, Policy: negotiate.Only(front)}
			url := "wss://" + frontTCP + "/socket"
			if front == websocket.HTTP3 {
				url = "wss://" + frontUDP + "/socket"
			}
			c, _, err := d.Dial(ctx, url, nil)
			require.NoError(t, err)
			_, p, err := c.Read(ctx)
			require.NoError(t, err)
			want := map[string]websocket.Bootstrap{"1": websocket.HTTP1, "2": websocket.HTTP2, "3": websocket.HTTP3}[behind]
			assert.Equal(t, want.String()+" behind", string(p))
			_, _, err = c.Read(ctx)
			var ce *websocket.CloseError
			require.ErrorAs(t, err, &ce)
			assert.Equal(t, websocket.StatusNormalClosure, ce.Code)

			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https"+url[len("wss"):len(url)-len("/socket")]+"/", nil)
			require.NoError(t, err)
			resp, err := d.RoundTrip(req)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, "ordinary by https", string(body))
			d.CloseIdleConnections()
			require.NoError(t, h3.Close())
		}
	}
}

func TestFlagsThatCannotBeUsed(t *testing.T) {
	for _, c := range []config{
		{backend: "nowhere", http: "auto"},
		{backend: "ftp://127.0.0.1", http: "auto"},
		{backend: "http://127.0.0.1", http: "3"},
		{backend: "http://127.0.0.1", http: "4"},
		{backend: "http://127.0.0.1", http: "2", authority: "/no/such/file"},
	} {
		_, err := newProxy(c, slog.New(slog.DiscardHandler))
		assert.Error(t, err)
	}
}

// An argument that is no flag would end the flags, and those behind it be passed over.
func TestStrayArgument(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), program, "-addr", "nowhere", "-insecure", "false", "-http", "2").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode())
	assert.Contains(t, string(out), `unexpected argument "false"`)
}
