//go:build unix

package bridge

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/program"
)

// The demo's page, in Chromium, through examples/proxy: its sockets come over the
// HTTP/2 connection that the page came by, and go on over HTTP/1.1.
func TestChromiumShowsTheDemoThroughTheProxy(t *testing.T) {
	chromium := matrix.Program(t, "Chromium", "chromium", "chromium-browser", "google-chrome")
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "./examples/demo", "./examples/proxy")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	id := authority.New(t)
	demo, backend := program.Serve(t, func(addr string) []string {
		return []string{filepath.Join(dir, "demo"), "-addr", addr, "-sockets", "1", "-messages", "1", "-requests", "1"}
	})
	proxy, addr := program.Serve(t, func(addr string) []string {
		return []string{
			filepath.Join(dir, "proxy"), "-addr", addr, "-cert", id.CertificateFile(t), "-key", id.KeyFile(t),
			"-backend", "https://" + backend, "-http", "1", "-insecure",
		}
	})
	browser := program.Start(t, []string{
		chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + t.TempDir(), "--no-proxy-server",
		"--ignore-certificate-errors-spki-list=" + id.SPKI(),
		"--remote-debugging-port=0", // with which it stays
		"https://" + addr + "/",
	})
	opened := regexp.MustCompile(`msg="socket opened" path=/echo .*front=HTTP/2 .*back=HTTP/1\.1`)
	ended := regexp.MustCompile(`msg="socket (closed|lost)" path=/echo .*front=HTTP/2 .*down=[1-9]`)
	count := func(what *regexp.Regexp) int { return len(what.FindAllString(proxy.Output(), -1)) }
	if !assert.Eventually(t, func() bool { return count(opened) == 3 }, patience, 10*time.Millisecond) {
		t.Log(proxy.Tail(), browser.Tail(), demo.Tail())
	}
	browser.Kill()
	// What came over each of them is what the demo says at first.
	if !assert.Eventually(t, func() bool { return count(ended) == 3 }, patience, 10*time.Millisecond) {
		t.Log(proxy.Tail())
	}
}
