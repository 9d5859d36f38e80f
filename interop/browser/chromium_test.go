//go:build unix

package browser

import (
	"fmt"
	"testing"

	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/program"
)

// chromium is Chromium, or Chrome.
type chromium struct{ path, says string }

func findChromium(t *testing.T) chromium {
	path := matrix.Program(t, "Chromium", "chromium", "chromium-browser", "google-chrome")
	return chromium{path, program.Version(t, path, "--version")}
}

func (c chromium) version() string { return c.says }

// command needs no driver either: Chromium's own headless mode takes a screenshot
// when the page has loaded, and ends.
func (c chromium) command(t *testing.T, site, other *site, url, screenshot string) []string {
	args := []string{
		c.path,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-breakpad", "--disable-default-apps", "--disable-extensions",
		"--user-data-dir=" + t.TempDir(),
		"--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--ignore-certificate-errors-spki-list=" + site.identity.SPKI(),
		"--screenshot=" + screenshot, "--window-size=1000,1100",
		fmt.Sprintf("--timeout=%d", patience.Milliseconds()),
	}
	if site.service.http3 {
		// Sockets go over HTTP/3 only on a connection that exists, and by
		// Alt-Svc alone Chromium does not take a private certificate for QUIC.
		args = append(args,
			"--enable-quic", "--enable-features=EnableWebsocketsOverHttp3",
			"--origin-to-force-quic-on="+site.host+","+other.host,
		)
	}
	return append(args, url)
}
