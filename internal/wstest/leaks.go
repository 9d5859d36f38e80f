package wstest

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakPatience is how long goroutines that are on their way out may take. A UDP socket
// of quic-go's own outlives its last connection by three times what is made of the
// round-trip time (RFC 9000 §10.2), which is seconds on a busy machine.
const leakPatience = 30 * time.Second

// NoLeaks fails t at its end if goroutines that t started are still there,
// and prints their stacks. Call it first. A test that uses it must not run in
// parallel with others, whose goroutines it would take for its own; inside a
// synctest bubble it is not needed, as a bubble does not end before its
// goroutines do.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		t.Helper()
		if left := awaitGoroutines(before, leakPatience); len(left) > 0 {
			t.Errorf("%d goroutines left behind:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	})
}

// Main runs a package's tests and fails them if goroutines are left at the
// end. It returns the code to exit with:
//
//	func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }
func Main(m interface{ Run() int }) int {
	before := goroutines()
	code := m.Run()
	if code != 0 {
		return code
	}
	if left := awaitGoroutines(before, leakPatience); len(left) > 0 {
		os.Stderr.WriteString("goroutines left behind by the package's tests:\n\n" +
			strings.Join(left, "\n\n") + "\n")
		return 1
	}
	return 0
}

// awaitGoroutines waits until no goroutine is left but those of before and the
// testing package's own, and returns the stacks of those left at the end of
// patience.
func awaitGoroutines(before map[string]string, patience time.Duration) []string {
	end := time.NewTimer(patience)
	defer end.Stop()
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var left []string
		for id, stack := range goroutines() {
			if _, old := before[id]; !old {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-end.C:
			return left
		case <-time.After(pause):
		}
	}
}

// goroutines returns the stacks of all goroutines but the caller's and those
// that belong to the runtime and the testing package, by number.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := strings.Split(string(buf), "\n\n")
	all := make(map[string]string, len(stacks))
	for _, stack := range stacks[1:] { // the first is the caller's
		head, _, _ := strings.Cut(stack, " [")
		if !ofTheTestRun(stack) {
			all[head] = stack
		}
	}
	return all
}

func ofTheTestRun(stack string) bool {
	for _, mark := range []string{
		"testing.(*T).Run(",
		"testing.(*M).",
		"testing.runFuzzing(",
		"testing.runTests(",
		"testing.(*B).run",
		"testing.(*F).Fuzz(",
		"os/signal.signal_recv(",
		"os/signal.loop(",
		"runtime/trace.Start",
		"runtime/pprof.profileWriter(",
	} {
		if strings.Contains(stack, mark) {
			return true
		}
	}
	return false
}
