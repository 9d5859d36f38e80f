//go:build unix

package browser

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program is a browser that runs, with the processes that it has started.
type program struct {
	pid   int
	ended chan struct{} // closed when it has ended
	err   error         // how, then
	mu    sync.Mutex
	said  bytes.Buffer
}

// startProgram starts a program in a process group of its own, which is killed
// at the end of the test.
func startProgram(t *testing.T, args []string) *program {
	p := &program{ended: make(chan struct{})}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "MOZ_CRASHREPORTER_DISABLE=1")
	cmd.Stdout, cmd.Stderr = p, p
	require.NoError(t, cmd.Start())
	p.pid = cmd.Process.Pid
	go func() { // ends with the program, which kill ends at the latest
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the program's process group.
func (p *program) kill() {
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // there may be none any more
	<-p.ended
}

// Write takes the program's output.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

// output returns the end of what the program has printed.
func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.said.String()
	return s[max(0, len(s)-4000):]
}

// look returns the path of the first of the names that is in PATH. If there is
// none the test is skipped, or fails with INTEROP_REQUIRE=1.
func look(t *testing.T, names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing := "not in PATH: " + strings.Join(names, ", ")
	if os.Getenv("INTEROP_REQUIRE") == "1" {
		require.FailNow(t, missing)
	}
	t.Skip(missing)
	return ""
}

// versionOf returns what a program says to --version.
func versionOf(t *testing.T, path string) string {
	out, err := exec.Command(path, "--version").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
