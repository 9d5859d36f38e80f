//go:build unix

// Package program runs the peers that are programs.
package program

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Program runs, with the processes that it has started.
type Program struct {
	pid     int
	watch   *exec.Cmd // see Watch
	killing sync.Once
	ended   chan struct{} // closed when it has ended
	err     error         // how, then
	mu      sync.Mutex
	said    bytes.Buffer
	more    chan struct{} // closed, and made anew, when it has said more
}

// Start starts a program in a process group of its own, which is killed at the
// end of the test, also of one that is interrupted or takes too long. Its HOME is a
// temporary directory; env, of the form KEY=value, is added to the test's own
// environment.
func Start(t testing.TB, args []string, env ...string) *Program {
	p := &Program{ended: make(chan struct{}), more: make(chan struct{})}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir()), env...)
	cmd.Stdout, cmd.Stderr = p, p
	require.NoError(t, cmd.Start())
	p.pid = cmd.Process.Pid
	watch, err := Watch(p.pid)
	if err != nil {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
	require.NoError(t, err)
	p.watch = watch
	go func() { // ends with the program, which Kill ends at the latest
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Watch puts a shell into a process group, whose first process nobody has waited for
// yet. It kills the group when this process has gone, in whatever way: a group of its
// own does not get the terminal's interrupt, and no cleanup runs after one, or after
// -timeout. Until the group is killed the shell keeps its number from being another's.
func Watch(group int) (*exec.Cmd, error) {
	watch := exec.Command("/bin/sh", "-c", "read line; kill -KILL 0")
	watch.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	if _, err := watch.StdinPipe(); err != nil { // nothing is written: it ends with this process
		return nil, err
	}
	return watch, watch.Start()
}

// Kill ends the program's process group and returns when it has ended.
func (p *Program) Kill() {
	p.killing.Do(func() {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		_ = p.watch.Wait()
	})
	<-p.ended
}

// Signal sends a signal to the program itself.
func (p *Program) Signal(s syscall.Signal) error { return syscall.Kill(p.pid, s) }

// Ended returns a channel that is closed when the program has ended.
func (p *Program) Ended() <-chan struct{} { return p.ended }

// Err returns how the program has ended.
func (p *Program) Err() error {
	<-p.ended
	return p.err
}

// Write takes the program's output.
func (p *Program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.more)
	p.more = make(chan struct{})
	return p.said.Write(b)
}

// Await waits until the program has printed want. The test fails if the program
// ends before, or takes too long.
func (p *Program) Await(t testing.TB, want string) {
	t.Helper()
	patience := time.NewTimer(patience)
	defer patience.Stop()
	for {
		p.mu.Lock()
		found, more := strings.Contains(p.said.String(), want), p.more
		p.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-p.ended:
			require.Contains(t, p.Output(), want, "all of the program's output")
			return
		case <-patience.C:
			require.Contains(t, p.Output(), want, "the program's output so far")
			return
		}
	}
}

// Output returns what the program has printed so far.
func (p *Program) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// Tail returns the end of that.
func (p *Program) Tail() string {
	s := p.Output()
	return s[max(0, len(s)-4000):]
}

const (
	patience = 30 * time.Second // for what ought to happen at once
	ports    = 5                // as many are tried
)

// Serve starts a server that takes its address on the command line, and returns
// when it accepts TCP connections there. command is given an address of the form
// 127.0.0.1:port with a port that nobody had a moment ago. If the server ends,
// because by then somebody has it, another is tried.
func Serve(t testing.TB, command func(addr string) []string, env ...string) (p *Program, addr string) {
	for range ports {
		addr = unused(t)
		p = Start(t, command(addr), env...)
		if p.answers(t, addr) {
			return p, addr
		}
	}
	require.FailNow(t, "a server does not start", "%v: %v\n%s", command(addr), p.Err(), p.Tail())
	return nil, ""
}

// unused returns an address that nobody listens on.
func unused(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// answers waits until the address accepts connections. It returns false if the
// program ends before.
func (p *Program) answers(t testing.TB, addr string) bool {
	patience := time.NewTimer(patience)
	defer patience.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		select {
		case <-p.ended:
			return false // it was somebody else's
		case <-patience.C:
			require.FailNow(t, "a server does not listen", "%s\n%s", addr, p.Tail())
		case <-time.After(20 * time.Millisecond):
		}
		if err == nil {
			return true
		}
	}
}

// Version returns what a program prints on its standard output for an argument
// such as --version: the first line with a digit.
func Version(t testing.TB, path, arg string) string {
	out, err := exec.Command(path, arg).Output()
	require.NoError(t, err)
	for l := range strings.Lines(string(out)) {
		if strings.ContainsAny(l, "0123456789") {
			return strings.TrimSpace(l)
		}
	}
	return strings.TrimSpace(string(out))
}
