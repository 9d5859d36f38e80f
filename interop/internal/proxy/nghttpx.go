//go:build unix

package proxy

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/program"
)

// nghttpx is the proxy of nghttp2: https://nghttp2.org.
type nghttpx struct{ path string }

var _ Proxy = nghttpx{}

// Nghttpx finds nghttpx, or ends the test as [matrix.Missing] does.
func Nghttpx(t testing.TB) Proxy {
	return nghttpx{matrix.Program(t, nghttpx{}.Name(), "nghttpx")}
}

func (nghttpx) Name() string { return "nghttpx" }

func (n nghttpx) Version(t testing.TB) string { return program.Version(t, n.path, "--version") }

// nghttpxWindow, in bytes, is the window of connections in front. By default it is
// as large as that of a stream, so that a socket which the server does not read
// holds up everything that comes by the same connection.
const nghttpxWindow = 16 << 20

func (n nghttpx) Serve(t testing.TB, w Way, id *authority.Identity, backend string) (*program.Program, string) {
	key, certificate, ca := id.KeyFile(t), id.CertificateFile(t), id.AuthorityFile(t)
	host, port, err := net.SplitHostPort(backend)
	require.NoError(t, err)
	back := host + "," + port + ";;proto="
	if w.Back == websocket.HTTP2 {
		back += "h2"
	} else {
		back += "http/1.1"
	}
	if !w.Clear {
		back += ";tls;sni=localhost"
	}
	return program.Serve(t, func(addr string) []string {
		host, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		return []string{
			n.path, "--conf=/dev/null", "--workers=1", "--single-process", "--no-ocsp",
			"--frontend=" + host + "," + port, "--backend=" + back, "--cacert=" + ca,
			fmt.Sprintf("--frontend-http2-connection-window-size=%d", nghttpxWindow),
			"--backend-read-timeout=10m", "--frontend-http2-read-timeout=10m", "--stream-read-timeout=10m",
			"--log-level=NOTICE", "--errorlog-file=/dev/stderr",
			"--accesslog-file=/dev/stdout", "--accesslog-format=$alpn $method $status $path",
			key, certificate,
		}
	})
}

// HoldsUp: not with the windows that it is given here.
func (nghttpx) HoldsUp(Way) bool { return false }

// Saw looks for the protocol and the method.
func (nghttpx) Saw(t testing.TB, w Way, p *program.Program) {
	if w.Front == websocket.HTTP2 {
		p.Await(t, "h2 CONNECT ")
	} else {
		p.Await(t, "http/1.1 GET ")
	}
}
