//go:build unix

package program

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test's own program play a server: with PROGRAM_SERVES it accepts
// connections at that address, until it is killed.
func TestMain(m *testing.M) {
	addr := os.Getenv("PROGRAM_SERVES")
	if addr == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		os.Exit(1)
	}
	for {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}
}

// The child holds the output open: Kill would not return before it has ended.
func TestKillEndsTheWholeGroup(t *testing.T) {
	p := Start(t, []string{"/bin/sh", "-c", "sleep 600 & echo child $!; wait"})
	p.Await(t, "child")
	p.Kill()
	var exit *exec.ExitError
	require.ErrorAs(t, p.Err(), &exit)
	assert.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
}

// TestStartsAndWaits is the test that TestNothingOutlivesATestThatIsInterrupted
// interrupts.
func TestStartsAndWaits(t *testing.T) {
	if os.Getenv("PROGRAM_STARTS") == "" {
		t.Skip("it is run by another test")
	}
	p := Start(t, []string{"/bin/sh", "-c", "sleep 600 & echo child $!; wait"})
	p.Await(t, "child")
	fmt.Print(p.Output())
	<-p.Ended()
}

func TestNothingOutlivesATestThatIsInterrupted(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for _, by := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		p := Start(t, []string{self, "-test.run=^TestStartsAndWaits$", "-test.v"}, "PROGRAM_STARTS=1")
		p.Await(t, "child ")
		p.Await(t, "\n")
		var pid int
		_, rest, _ := strings.Cut(p.Output(), "child ")
		_, err := fmt.Sscan(rest, &pid)
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, 0))
		require.NoError(t, p.Signal(by))
		<-p.Ended()
		assert.Eventually(t, func() bool { return !runs(pid) }, patience, time.Millisecond, "%v", by)
	}
}

// runs reports whether a process is there, and no zombie that nobody waits for.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return !strings.Contains(string(b), ") Z ")
}

func TestServeTriesAnotherPort(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	tries := 0
	p, addr := Serve(t, func(addr string) []string {
		if tries++; tries == 1 {
			return []string{"/bin/sh", "-c", "exit 1"} // as if somebody had the port
		}
		return []string{"/usr/bin/env", "PROGRAM_SERVES=" + addr, self}
	})
	assert.Equal(t, 2, tries)
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	assert.NoError(t, c.Close())
	p.Kill()
	_, err = net.Dial("tcp", addr)
	assert.True(t, errors.Is(err, syscall.ECONNREFUSED), "%v", err)
}
