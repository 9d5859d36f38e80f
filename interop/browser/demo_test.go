//go:build unix

package browser

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/interop/internal/program"
)

// A verdict is what the demo says of a comparison that its page has made.
type verdict struct {
	Number            int
	Protocol          string
	Sockets, Requests int
	Connections, New  int
	Received, Sent    int
	Page              struct{ Sockets, Requests, Failed int }
}

// A demo is a running examples/demo.
type demo struct {
	*program.Program
	addr string
	spki string // of its certificate, as Chromium wants it
}

// startDemo builds and starts examples/demo, after whose own check it serves.
func startDemo(t *testing.T) *demo {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "./examples/demo")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	p, addr := program.Serve(t, func(addr string) []string {
		return []string{filepath.Join(dir, "demo"), "-addr", addr, "-sockets", "1", "-messages", "1", "-requests", "1"}
	})
	p.Await(t, "Ctrl-C ends.")
	match := regexp.MustCompile(`--ignore-certificate-errors-spki-list=(\S+)`).FindStringSubmatch(p.Output())
	require.NotNil(t, match, "%s", p.Tail())
	return &demo{p, addr, match[1]}
}

// insecure is for the demo's own certificate.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// certificate writes the demo's certificate to a file.
func (d *demo) certificate(t *testing.T) string {
	conn, err := tls.Dial("tcp", d.addr, insecure())
	require.NoError(t, err)
	defer conn.Close()
	file := filepath.Join(t.TempDir(), "demo.pem")
	der := conn.ConnectionState().PeerCertificates[0].Raw
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return file
}

// await waits until the page has made its two comparisons, and returns them.
func (d *demo) await(t *testing.T, browser *program.Program) []verdict {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure()}}
	defer client.CloseIdleConnections()
	var verdicts []verdict
	done := assert.Eventually(t, func() bool {
		resp, err := client.Get("https://" + d.addr + "/comparisons")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		verdicts = nil
		return json.NewDecoder(resp.Body).Decode(&verdicts) == nil && len(verdicts) == 2
	}, patience, 50*time.Millisecond)
	require.True(t, done, "%+v\n%s\n%s", verdicts, browser.Tail(), d.Tail())
	return verdicts
}

const (
	demoSockets  = 12
	demoRequests = 10
)

// check wants all sockets and requests done: to the page's origin by protocol,
// sharing a connection, and to the other origin with a connection for each
// socket. shared is how many connections the former may take.
func check(t *testing.T, verdicts []verdict, protocol string, shared int) {
	for _, v := range verdicts {
		assert.Equal(t, demoSockets, v.Sockets, "%+v", v)
		assert.Equal(t, demoSockets, v.Page.Sockets, "%+v", v)
		assert.Equal(t, demoRequests, v.Requests, "%+v", v)
		assert.Equal(t, demoRequests, v.Page.Requests, "%+v", v)
		assert.Zero(t, v.Page.Failed, "%+v", v)
	}
	assert.Equal(t, protocol, verdicts[0].Protocol)
	assert.LessOrEqual(t, verdicts[0].Connections, shared, "%+v", verdicts[0])
	assert.Equal(t, "HTTP/1.1", verdicts[1].Protocol)
	assert.Greater(t, verdicts[1].Connections, demoSockets, "and one or more for requests")
	assert.Equal(t, verdicts[1].Connections, verdicts[1].New)
	assert.Greater(t, verdicts[1].Sent, verdicts[0].Sent, "each connection has a handshake with a certificate")
}

// The demo's "compare" tab, in Chromium, whose page and sockets come by HTTP/2 or
// HTTP/3: the table says what the server counted.
func TestChromiumComparesInTheDemo(t *testing.T) {
	c := findChromium(t)
	for _, on := range []struct {
		name, protocol string
		flags          func(*demo) []string
	}{
		{"HTTP2", "HTTP/2", func(*demo) []string { return nil }},
		{"HTTP3", "HTTP/3", func(d *demo) []string {
			return []string{"--enable-quic", "--enable-features=EnableWebsocketsOverHttp3", "--origin-to-force-quic-on=" + d.addr}
		}},
	} {
		t.Run(on.name, func(t *testing.T) {
			d := startDemo(t)
			args := []string{
				c.path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
				"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
				"--user-data-dir=" + t.TempDir(), "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
				"--ignore-certificate-errors-spki-list=" + d.spki, "--remote-debugging-port=0", "--window-size=1100,900",
			}
			args = append(args, on.flags(d)...)
			browser := program.Start(t, append(args, fmt.Sprintf("https://%s/#compare=%d,%d", d.addr, demoSockets, demoRequests)))
			verdicts := d.await(t, browser)
			check(t, verdicts, on.protocol, 1)

			page := debug(t, browser)
			var state string
			require.Eventually(t, func() bool {
				page.evaluate(`document.getElementById("run-state").textContent`, &state)
				return state == "done"
			}, patience, 10*time.Millisecond)
			var rows [][]string
			page.evaluate(`[...document.querySelectorAll("#verdicts tr")].map((row) => [...row.cells].map((cell) => cell.textContent))`, &rows)
			require.Len(t, rows, 2)
			for i, row := range rows { // newest first
				v := verdicts[len(verdicts)-1-i]
				require.Len(t, row, 12)
				assert.Equal(t, []string{fmt.Sprint(v.Number), v.Protocol, fmt.Sprint(v.Page.Sockets), fmt.Sprint(v.Page.Requests), fmt.Sprint(v.Connections), fmt.Sprint(v.New)},
					[]string{row[0], row[2], row[3], row[4], row[5], row[6]})
			}
			var outcome string
			page.evaluate(`document.getElementById("outcome").textContent`, &outcome)
			assert.Contains(t, outcome, fmt.Sprintf("%d sockets and %d requests took 1 connection with sockets over %s", demoSockets, demoRequests, on.protocol))
			page.screenshot("demo-compare-"+on.name, "light")
			page.screenshot("demo-compare-"+on.name, "dark")
		})
	}
}

// The same in Firefox, which has another connection for sockets than the page's
// where that came with requests first.
func TestFirefoxComparesInTheDemo(t *testing.T) {
	f := findFirefox(t)
	d := startDemo(t)
	profile := f.profile(t, false, d.addr, d.certificate(t), "CP,,")
	browser := program.Start(t, []string{
		f.path, "--headless", "--no-remote", "--new-instance", "--profile", profile,
		fmt.Sprintf("https://%s/#compare=%d,%d", d.addr, demoSockets, demoRequests),
	}, "MOZ_CRASHREPORTER_DISABLE=1")
	check(t, d.await(t, browser), "HTTP/2", 2)
}
