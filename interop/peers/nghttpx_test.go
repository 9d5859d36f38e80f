//go:build unix

package peers

import (
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

func TestNghttpx(t *testing.T) {
	path := matrix.Program(t, "nghttpx", "nghttpx")
	t.Log(program.Version(t, path, "--version"))
	runMatrix(t, "nghttpx", nghttpx{path})
	runFailures(t, "nghttpx", nghttpx{path})
}

func (n nghttpx) serve(t *testing.T, w way, id *authority.Identity, backend string) (*program.Program, string) {
	key, certificate, ca := id.KeyFile(t), id.CertificateFile(t), id.AuthorityFile(t)
	host, port, err := net.SplitHostPort(backend)
	require.NoError(t, err)
	back := host + "," + port + ";;proto="
	if w.back == websocket.HTTP2 {
		back += "h2"
	} else {
		back += "http/1.1"
	}
	if !w.clear {
		back += ";tls;sni=localhost"
	}
	return program.Serve(t, func(addr string) []string {
		host, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		return []string{
			n.path, "--conf=/dev/null", "--workers=1", "--single-process", "--no-ocsp",
			"--frontend=" + host + "," + port, "--backend=" + back, "--cacert=" + ca,
			"--log-level=NOTICE", "--errorlog-file=/dev/stderr",
			"--accesslog-file=/dev/stdout", "--accesslog-format=$alpn $method $status $path",
			key, certificate,
		}
	})
}

// saw looks for the protocol and the method in the log, which has a line when a
// socket has ended.
func (n nghttpx) saw(t *testing.T, w way, p *program.Program) {
	want := "http/1.1 GET "
	if w.front == websocket.HTTP2 {
		want = "h2 CONNECT "
	}
	p.Await(t, want)
}
