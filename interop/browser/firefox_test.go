//go:build unix

package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/program"
)

// firefox is Firefox. Its profiles are made with certutil.
type firefox struct{ path, certutil, says string }

func findFirefox(t *testing.T) firefox {
	path, certutil := matrix.Program(t, "Firefox", "firefox", "firefox-esr"), matrix.Program(t, "Firefox", "certutil")
	return firefox{path, certutil, program.Version(t, path, "--version")}
}

func (f firefox) version() string { return f.says }

func (f firefox) command(t *testing.T, site, _ *site, url, screenshot string) []string {
	return []string{
		f.path, "--headless", "--no-remote", "--new-instance",
		"--profile", f.profile(t, site.service.http3, site.host, site.identity.AuthorityFile(t), "C,,"),
		"--screenshot", screenshot, "--window-size=1000,1100", url,
	}
}

// profile makes a profile, user.js and a database of certificates, that trusts a
// certificate, as certutil's flags say, and looks for nothing outside this
// machine. With http3 it asks hostport over HTTP/3 at once.
func (f firefox) profile(t *testing.T, http3 bool, hostport, certificate, trust string) string {
	dir := t.TempDir()
	prefs := map[string]any{
		"app.normandy.enabled":                           false,
		"app.update.disabledForTesting":                  true,
		"browser.aboutConfig.showWarning":                false,
		"browser.region.network.url":                     "",
		"browser.safebrowsing.downloads.enabled":         false,
		"browser.safebrowsing.malware.enabled":           false,
		"browser.safebrowsing.phishing.enabled":          false,
		"browser.search.update":                          false,
		"browser.shell.checkDefaultBrowser":              false,
		"datareporting.policy.dataSubmissionEnabled":     false,
		"dom.push.connection.enabled":                    false,
		"extensions.update.enabled":                      false,
		"network.captive-portal-service.enabled":         false,
		"network.connectivity-service.enabled":           false,
		"network.dns.disableIPv6":                        true,
		"network.proxy.type":                             0,
		"services.settings.server":                       "data:,",
		"toolkit.telemetry.enabled":                      false,
		"toolkit.telemetry.unified":                      false,
		"network.http.http3.enable":                      http3,
		"network.http.http3.alt-svc-mapping-for-testing": "",
	}
	if http3 {
		host, port, _ := strings.Cut(hostport, ":")
		prefs["network.http.http3.alt-svc-mapping-for-testing"] = host + ";h3=:" + port
		prefs["network.http.http3.disable_when_third_party_roots_found"] = false
	}
	var js strings.Builder
	for name, value := range prefs {
		fmt.Fprintf(&js, "user_pref(%q, %#v);\n", name, value)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "user.js"), []byte(js.String()), 0o600))
	database := "sql:" + dir
	for _, args := range [][]string{
		{"-N", "-d", database, "--empty-password"},
		{"-A", "-d", database, "-n", "browser tests", "-t", trust, "-i", certificate},
	} {
		out, err := exec.Command(f.certutil, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return dir
}
