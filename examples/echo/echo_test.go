package echo_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
func start(t *testing.T, server string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), server, "-addr", "127.0.0.1:0")
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

func TestServerAndClientTalk(t *testing.T) {
	server, client := build(t)
	addr := start(t, server)
	out, err := exec.CommandContext(t.Context(), client, "-url", "ws://"+addr, "one", "zwei").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "HTTP/1.1: one\nHTTP/1.1: zwei\n", string(out))
}

func TestProgramsSayWhatIsWrong(t *testing.T) {
	server, client := build(t)
	addr := start(t, server)

	out, err := exec.CommandContext(t.Context(), server, "-addr", addr).CombinedOutput()
	assert.Error(t, err, "a port in use ends the server")
	assert.Contains(t, string(out), addr)

	var exit *exec.ExitError
	out, err = exec.CommandContext(t.Context(), server, "127.0.0.1:0", "-addr", addr).CombinedOutput()
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode(), "an argument that is no flag, and what follows it, is not passed over")
	assert.Contains(t, string(out), `unexpected argument "127.0.0.1:0"`)

	out, err = exec.CommandContext(t.Context(), client, "-url", "wss://"+addr, "hello").CombinedOutput()
	assert.Error(t, err, "a server without TLS ends the client")
	assert.Contains(t, string(out), "tls:")
}
