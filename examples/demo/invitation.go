package main

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
)

// writeInvitation says how to open the page.
func writeInvitation(w io.Writer, s *server, cert *certificate) error {
	url := "https://" + s.host() + "/"
	browser, profile := chromium()
	next := " \\\n    "
	if runtime.GOOS == "windows" {
		next = " "
	}
	command := func(flags ...string) string {
		args := append([]string{browser, "--user-data-dir=" + profile,
			"--ignore-certificate-errors-spki-list=" + cert.spki}, flags...)
		return "  " + strings.Join(append(args, url), next)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nOpen %s\n\n", url)
	b.WriteString("Any browser will warn: the certificate was made a moment ago, for this run. Go on past the\n" +
		"warning, or start Chromium (or Chrome, or Edge) with a fresh profile that trusts it:\n\n")
	b.WriteString(command() + "\n")
	if s.HTTP3 != nil {
		b.WriteString("\nThe same with the page and its sockets over HTTP/3, which Chromium does only when told to:\n\n")
		b.WriteString(command("--enable-features=EnableWebsocketsOverHttp3", "--origin-to-force-quic-on="+s.host()) + "\n")
	}
	b.WriteString("\nCtrl-C ends.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// chromium returns a browser's command and a fresh profile folder as this
// system's shell takes them.
func chromium() (browser, profile string) {
	switch runtime.GOOS {
	case "windows":
		return `start chrome`, `%TEMP%\websocket-demo-%RANDOM%`
	case "darwin":
		return `"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"`, `"$(mktemp -d)"`
	}
	browser = "chromium"
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge"} {
		if _, err := exec.LookPath(name); err == nil {
			browser = name
			break
		}
	}
	return browser, `"$(mktemp -d)"`
}
