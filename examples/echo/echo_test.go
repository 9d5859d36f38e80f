package echo_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/internal/wstest"
)

// build builds both programs and returns where they are.
func build(t *testing.T) (server, client string) {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+string(filepath.Separator), "./server", "./client").CombinedOutput()
	require.NoError(t, err, "%s", out)
	suffix := ""
	if runtime.GOOS == "windows" {
		suffix = ".exe"
	}
	return filepath.Join(dir, "server"+suffix), filepath.Join(dir, "client"+suffix)
}

// start starts the server on a free port and returns its address.
func start(t *testing.T, server string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), server, append(args, "-addr", "127.0.0.1:0")...)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	_, addr, found := strings.Cut(strings.TrimSpace(line), "echoing on ")
	require.True(t, found, "%q", line)
	return addr
}

// writeCertificate writes a server's certificate and key, and what a client must
// trust, as PEM files.
func writeCertificate(t *testing.T) (cert, key, roots string) {
	t.Helper()
	dir := t.TempDir()
	config, _ := wstest.Certificates()
	leaf := config.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	require.NoError(t, err)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	cert = write("cert.pem", "CERTIFICATE", leaf.Certificate[0])
	key = write("key.pem", "PRIVATE KEY", der)
	_, err = tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	return cert, key, cert
}

func TestServerAndClientTalk(t *testing.T) {
	server, client := build(t)
	cert, key, roots := writeCertificate(t)
	for _, tc := range []struct {
		name, scheme string
		args         []string
		want         string
	}{
		{"in cleartext", "ws", nil, "HTTP/1.1: one\nHTTP/1.1: zwei\n"},
		{"over TLS", "wss", []string{"-cert", cert, "-key", key}, "HTTP/2: one\nHTTP/2: zwei\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.scheme == "wss" && runtime.GOOS != "linux" {
				t.Skip("SSL_CERT_FILE says what to trust on Linux alone")
			}
			addr := start(t, server, tc.args...)
			cmd := exec.CommandContext(t.Context(), client, "-url", tc.scheme+"://"+addr, "one", "zwei")
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			assert.Equal(t, tc.want, string(out))
		})
	}
}

func TestProgramsSayWhatIsWrong(t *testing.T) {
	server, client := build(t)
	addr := start(t, server)

	out, err := exec.CommandContext(t.Context(), server, "-addr", addr).CombinedOutput()
	assert.Error(t, err, "a port in use ends the server")
	assert.Contains(t, string(out), addr)

	out, err = exec.CommandContext(t.Context(), client, "-url", "wss://"+addr, "hello").CombinedOutput()
	assert.Error(t, err, "a server without TLS ends the client")
	assert.Contains(t, string(out), "tls:")
}
