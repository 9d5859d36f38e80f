//go:build unix

package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/program"
)

// haproxy is HAProxy: https://www.haproxy.org.
type haproxy struct{ path string }

func TestHAProxy(t *testing.T) {
	path := matrix.Program(t, "HAProxy", "haproxy", "/usr/sbin/haproxy")
	t.Log(program.Version(t, path, "-v"))
	runMatrix(t, "HAProxy", haproxy{path})
	runFailures(t, "HAProxy", haproxy{path})
	t.Run("not announced", func(t *testing.T) { testNotAnnounced(t, "HAProxy", haproxy{path}) })
}

// haproxyConfig has one thread, so that one connection to the server is enough, and
// a log of one line a request with the HTTP version that it came by.
const haproxyConfig = `
global
	log stdout format raw local0
	nbthread 1
	%s
defaults
	mode http
	log global
	log-format "%%HV %%HM %%HU %%ST %%ts"
	timeout connect 30s
	timeout client 60s
	timeout server 60s
	timeout tunnel 60s
	http-reuse always
frontend front
	bind %s ssl crt "%s" alpn h2,http/1.1
	default_backend back
backend back
	server ours %s %s
`

func (h haproxy) serve(t *testing.T, w way, id *authority.Identity, backend string) (*program.Program, string) {
	bundle, server := id.BundleFile(t), `ssl verify required ca-file "`+id.AuthorityFile(t)+`" `
	switch {
	case w.clear:
		server = "proto h2 ws h2"
	case w.back == websocket.HTTP2:
		server += "alpn h2 ws h2"
	default:
		server += "alpn http/1.1 ws h1"
	}
	global := ""
	if w.refusing {
		global = "h2-workaround-bogus-websocket-clients"
	}
	dir := t.TempDir()
	return program.Serve(t, func(addr string) []string {
		config := filepath.Join(dir, "haproxy.cfg")
		text := fmt.Sprintf(haproxyConfig, global, addr, bundle, backend, server)
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
		return []string{h.path, "-db", "-f", config}
	})
}

// saw looks for the HTTP version in the log, which has a line when a socket has
// ended. Extended CONNECT appears there in the form of an Upgrade.
func (h haproxy) saw(t *testing.T, w way, p *program.Program) {
	want := "HTTP/1.1 GET "
	if w.front == websocket.HTTP2 {
		want = "HTTP/2.0 GET "
	}
	p.Await(t, want)
}
