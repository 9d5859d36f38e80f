package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/interop/compare/result"
)

// asCommand has the test's program be the command, which starts itself again for
// its server and client processes.
const asCommand = "COMPARE_TEST_COMMAND"

// noRestart has servers fail that are to listen on a port of their choice, as the
// one after a restart.
const noRestart = "COMPARE_TEST_NO_RESTART"

func TestMain(m *testing.M) {
	if os.Getenv(noRestart) != "" && len(os.Args) == 3 && strings.Contains(os.Args[2], `"Role":"server"`) &&
		!strings.Contains(os.Args[2], `"Listen":"127.0.0.1:0"`) {
		fmt.Fprintln(os.Stderr, "somebody has the port")
		os.Exit(1)
	}
	if os.Getenv(asCommand) != "" || len(os.Args) == 3 && os.Args[1] == taskFlag {
		main()
		return
	}
	os.Exit(m.Run())
}

// command returns the command with arguments, and a directory for its files, which
// is where it runs.
func command(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Dir = t.TempDir()
	return cmd, cmd.Dir
}

// read reads the JSON that a command has written.
func read(t *testing.T, dir string) *result.Report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "r.json"))
	require.NoError(t, err)
	r := new(result.Report)
	require.NoError(t, json.Unmarshal(b, r))
	return r
}

// surroundings is what a comparison might leave behind: network devices and named
// namespaces.
func surroundings(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/net/dev")
	require.NoError(t, err)
	var list []string
	for line := range strings.Lines(string(b)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			list = append(list, strings.TrimSpace(name))
		}
	}
	named, _ := filepath.Glob("/run/netns/*")
	return append(list, named...)
}

// processes returns the server and client processes of comparisons of this test.
func processes(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var list []string
	for _, name := range lines {
		b, _ := os.ReadFile(name) // it may have ended
		if args := strings.Split(string(b), "\x00"); len(args) > 2 && args[0] == self && args[1] == taskFlag {
			list = append(list, args[2])
		}
	}
	return list
}

// A quick comparison measures everything: every transport in every scenario, every
// message accounted for, both ends agreeing on connections and handshakes; and
// leaves nothing behind.
func TestQuickComparisonIsComplete(t *testing.T) {
	before := surroundings(t)
	cmd, dir := command(t, "-quick", "-json", "r.json", "-html", "r.html", "-md", "r.md")
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	require.NoError(t, err, "%s", said.String())
	assert.Contains(t, string(text), "WebSocket")
	r := read(t, dir)
	assert.True(t, r.Complete)
	assert.Empty(t, r.Problems)
	assert.Equal(t, "quick", r.Mode)
	want := scenarios(true)
	require.Len(t, r.Scenarios, len(want))
	for i, s := range r.Scenarios {
		assert.Empty(t, s.Skipped, s.Name)
		require.Len(t, s.Runs, len(want[i].plans), s.Name)
		for _, run := range s.Runs {
			checkRun(t, s, run)
		}
	}
	html, err := os.ReadFile(filepath.Join(dir, "r.html"))
	require.NoError(t, err)
	assert.Contains(t, string(html), "</html>")
	assert.Empty(t, processes(t))
	assert.Equal(t, before, surroundings(t))
}

func checkRun(t *testing.T, s result.Scenario, run result.Run) {
	t.Helper()
	about := []any{"%s in scenario %d %v", run.Transport, s.Number, run.Parameters}
	assert.Empty(t, run.Problem, about...)
	assert.Positive(t, run.Messages.Sent, about...)
	assert.Equal(t, run.Messages.Sent, run.Messages.Received, about...)
	assert.Zero(t, run.SocketsLost, about...)
	if s.Number == 6 { // the old server had no time to see all
		assert.GreaterOrEqual(t, run.Connections.Client, run.Connections.Server, about...)
		assert.GreaterOrEqual(t, run.Handshakes.Client, run.Handshakes.Server, about...)
	} else {
		assert.Equal(t, run.Connections.Client, run.Connections.Server, about...)
		assert.Equal(t, run.Handshakes.Client, run.Handshakes.Server, about...)
	}
	for _, d := range []result.Direction{run.Bytes.Up, run.Bytes.Down} {
		assert.Equal(t, d.Total, d.Payload+d.Framing+d.HTTP+d.Security+d.Network, about...)
		for _, part := range []int64{d.Payload, d.HTTP, d.Security, d.Network, d.Packets} {
			assert.Positive(t, part, about...)
		}
	}
	sockets := int(run.Parameters[0].Value)
	switch {
	case s.Number == 6:
	case run.Transport == result.WebSocketH1 && s.Number != 4:
		assert.GreaterOrEqual(t, run.Connections.Client, sockets, about...)
	case strings.HasSuffix(run.Transport, "h2") && sockets <= 30:
		assert.Equal(t, 1, run.Connections.Client, about...)
	}
	figures := map[int][]string{
		1: {result.TimeToComplete, result.CPUPerSocket},
		2: {result.CPUPerMessage, result.BytesPerMessage, result.PacketsPerMessage, result.MessageRate},
		3: {result.CPUPerMessage, result.BytesPerMessage, result.PacketsPerMessage, result.MessageRate},
		4: {result.RSSPerSocket, result.HeapPerSocket, result.GoroutinesPer, result.BytesPerHeartbeat},
		5: {result.BulkRate},
		6: {result.TimeToRecover, result.CPUPerSocket},
		7: {result.CPUPerMessage, result.BytesPerMessage},
	}
	for _, key := range figures[s.Number] {
		i := slices.IndexFunc(run.Figures, func(f result.Figure) bool { return f.Key == key })
		if assert.GreaterOrEqual(t, i, 0, append([]any{key + ": " + about[0].(string)}, about[1:]...)...) {
			assert.NotEmpty(t, run.Figures[i].How)
		}
	}
	assert.Equal(t, s.Number == 4, len(run.Distributions) == 0, about...)
}

// interrupted starts a comparison and stops it when a scenario has begun.
func interrupted(t *testing.T, scenario string, stop os.Signal) (dir string, err error) {
	t.Helper()
	cmd, dir := command(t, "-quick", "-scenario", scenario, "-json", "r.json")
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(said)
	require.True(t, lines.Scan(), "it says what it does")
	require.Contains(t, lines.Text(), "scenario "+scenario)
	for len(processes(t)) == 0 { // until it has begun
		require.NoError(t, cmd.Process.Signal(syscall.Signal(0)))
	}
	require.NoError(t, cmd.Process.Signal(stop))
	for lines.Scan() {
	}
	return dir, cmd.Wait()
}

func TestInterruptEndsTheComparisonWithWhatThereIs(t *testing.T) {
	before := surroundings(t)
	dir, err := interrupted(t, "7", os.Interrupt)
	assert.Error(t, err, "its status says that it is not complete")
	r := read(t, dir)
	assert.False(t, r.Complete)
	assert.Contains(t, r.Problems, "the comparison was interrupted")
	require.Len(t, r.Scenarios, 1)
	assert.Len(t, r.Scenarios[0].Skipped, len(scenarios(true)[6].plans)-len(r.Scenarios[0].Runs))
	assert.Empty(t, processes(t))
	assert.Equal(t, before, surroundings(t))
}

// Processes and namespaces end with the comparison even if that is killed.
func TestNothingOutlivesAComparisonThatIsKilled(t *testing.T) {
	before := surroundings(t)
	_, err := interrupted(t, "7", os.Kill)
	assert.Error(t, err)
	assert.Eventually(t, func() bool { return len(processes(t)) == 0 }, 30*time.Second, 10*time.Millisecond)
	assert.Equal(t, before, surroundings(t))
}

// A restart whose second server does not start, as when an interrupt comes then, is
// one failed run.
func TestRestartThatFailsIsOneFailedRun(t *testing.T) {
	t.Setenv(noRestart, "1")
	c, err := newCoordinator(nil)
	require.NoError(t, err)
	run, err := c.measure(t.Context(), plan{Scenario: 6, Transport: result.WebSocketH2, Sockets: 1, Size: 64})
	assert.ErrorContains(t, err, "somebody has the port")
	assert.Nil(t, run)
	assert.Empty(t, processes(t))
}

func TestImitatedNetworkCarriesEverything(t *testing.T) {
	cmd, dir := command(t, "-quick", "-imitate", "-scenario", "7", "-transport", "ws-h2,ws-h3", "-json", "r.json")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	r := read(t, dir)
	require.Len(t, r.Scenarios, 1)
	assert.Equal(t, result.Shaped, r.Scenarios[0].Network.Kind)
	assert.Len(t, r.Scenarios[0].Runs, 4)
	for _, run := range r.Scenarios[0].Runs {
		checkRun(t, r.Scenarios[0], run)
	}
}
