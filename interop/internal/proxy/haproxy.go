//go:build unix

package proxy

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

var _ Proxy = haproxy{}

// HAProxy finds HAProxy, or ends the test as [matrix.Missing] does.
func HAProxy(t testing.TB) Proxy {
	return haproxy{matrix.Program(t, haproxy{}.Name(), "haproxy", "/usr/sbin/haproxy")}
}

func (haproxy) Name() string { return "HAProxy" }

func (h haproxy) Version(t testing.TB) string { return program.Version(t, h.path, "-v") }

// haproxyConfig has one thread, so that one connection to the server is enough, and
// a log of one line a request with the HTTP version that it came by.
//
// Its buffers are of 256 KiB: with HAProxy 2.6.12's own, of 16 KiB, a message of a
// MiB that an HTTP/1.1 server echoes to a client of HTTP/2 stands still in about
// 5 of 100 runs on a busy machine. Its last 16 KB are then in HAProxy, which has windows
// enough to send them and does so when the client sends more. With 128 KiB that
// happened in 2 of 400 runs, with 256 in none of 1,000.
const haproxyConfig = `
global
	log stdout format raw local0
	nbthread 1
	tune.bufsize 262144
	%s
defaults
	mode http
	log global
	log-format "%%HV %%HM %%HU %%ST %%ts"
	timeout connect 30s
	timeout client 10m
	timeout server 10m
	timeout tunnel 10m
	http-reuse always
frontend front
	bind %s ssl crt "%s" alpn h2,http/1.1
	default_backend back
backend back
	server ours %s %s
`

func (h haproxy) Serve(t testing.TB, w Way, id *authority.Identity, backend string) (*program.Program, string) {
	bundle, server := id.BundleFile(t), `ssl verify required ca-file "`+id.AuthorityFile(t)+`" `
	switch {
	case w.Clear && w.Back == websocket.HTTP2:
		server = "proto h2 ws h2"
	case w.Clear:
		server = ""
	case w.Back == websocket.HTTP2:
		server += "alpn h2 ws h2"
	default:
		server += "alpn http/1.1 ws h1"
	}
	global := ""
	if w.Silent {
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

// HoldsUp: a stream whose buffers are full stops the reading of its connection.
func (haproxy) HoldsUp(w Way) bool { return w.Front == websocket.HTTP2 }

// Saw looks for the HTTP version. Extended CONNECT appears in the log in the form of
// an Upgrade.
func (haproxy) Saw(t testing.TB, w Way, p *program.Program) {
	if w.Front == websocket.HTTP2 {
		p.Await(t, "HTTP/2.0 GET ")
	} else {
		p.Await(t, "HTTP/1.1 GET ")
	}
}
