package matrix

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// recorder holds what the suite of this process has found.
var recorder = struct {
	mu      sync.Mutex
	cells   Cells // rows without a suite
	missing map[string]string
}{cells: make(Cells), missing: make(map[string]string)}

// Record records a cell. A cell that was recorded before has to agree with the
// result, or the test fails; a failure stays.
func (r Row) Record(t testing.TB, f Feature, res Result) {
	t.Helper()
	if r.Peer == "" || r.Role == "" || r.Transport == "" || f == "" || res == "" {
		t.Errorf("matrix: an incomplete cell: %v, %q: %q", r, f, res)
		return
	}
	r.Suite = ""
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	was, ok := recorder.cells[r][f]
	switch {
	case was == Failed:
		return
	case ok && was != res && res != Failed:
		t.Errorf("matrix: %v, %s is %s and was %s", r, f, res, was)
	}
	recorder.cells.set(r, f, res)
}

// Run runs test as a subtest with the feature's name and records OK if it passes
// and Failed if it fails, its subtests and cleanups included. A test that has
// recorded the cell itself and passed keeps what it recorded. A skipped test records
// nothing.
func (r Row) Run(t *testing.T, f Feature, test func(t *testing.T)) bool {
	t.Helper()
	return t.Run(string(f), func(t *testing.T) {
		t.Cleanup(func() { // the last one, as it is the first
			switch {
			case t.Failed():
				r.Record(t, f, Failed)
			case !t.Skipped() && !r.recorded(f):
				r.Record(t, f, OK)
			}
		})
		test(t)
	})
}

// Count records, at the end of t, how many of a suite's n cases have passed: as
// many as passed was called with a test that did not fail. If fewer than n were
// run, because only some were asked for, nothing is recorded. passed may be called
// at the beginning of a test, and from parallel ones.
func (r Row) Count(t *testing.T, f Feature, n int) (passed func(t *testing.T)) {
	var mu sync.Mutex
	ran, good := 0, 0
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if ran == n || !partial() {
			r.Record(t, f, Result(fmt.Sprintf("%d of %d", good, n)))
		}
	})
	return func(t *testing.T) {
		t.Cleanup(func() {
			mu.Lock()
			defer mu.Unlock()
			ran++
			if !t.Failed() && !t.Skipped() {
				good++
			}
		})
	}
}

// recorded reports whether the cell has been recorded.
func (r Row) recorded(f Feature) bool {
	r.Suite = ""
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	_, ok := recorder.cells[r][f]
	return ok
}

// Missing ends the test because the peer cannot be had: as skipped, or, with
// INTEROP_REQUIRE=1, as failed. All expected cells of a missing peer are excused.
func Missing(t testing.TB, peer, why string) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRE") == "1" {
		t.Fatalf("%s is missing: %s", peer, why)
	}
	recorder.mu.Lock()
	recorder.missing[peer] = why
	recorder.mu.Unlock()
	t.Skipf("%s is missing: %s", peer, why)
}

// Program returns the path of the first of names that is in PATH. If there is
// none the peer is missing.
func Program(t testing.TB, peer string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, peer, "not in PATH: "+strings.Join(names, ", "))
	return ""
}

// Main is the TestMain of a suite: it calls run, which runs the tests and returns
// the code to exit with (the Run of a testing.M, or what wraps it), prints the
// suite's part of the matrix, compares it with expected.json, and returns the
// code to exit with.
//
// When only some tests were asked for (-run, -skip, -short) cells may be missing.
func Main(suite string, run func() int) int {
	code := run()
	if flag.Lookup("test.list").Value.String() != "" {
		return code
	}
	found := take(suite)
	if len(found.Cells) > 0 {
		fmt.Print(Table(found.Cells))
	}
	if err := found.leave(os.Getenv("INTEROP_RESULTS")); err != nil {
		fmt.Println("matrix:", err)
		code = max(code, 1)
	}
	path, err := find()
	if err != nil {
		fmt.Println("matrix:", err)
		return max(code, 1)
	}
	expected, err := Load(path)
	if err != nil {
		fmt.Println("matrix:", err)
		return max(code, 1)
	}
	if diff := found.Compare(expected); len(diff) > 0 {
		fmt.Println(strings.Join(diff, "\n"))
		fmt.Println("The matrix differs from expected.json; interop/NOTES.md says how to change that.")
		code = max(code, 1)
	}
	return code
}

// take returns what has been recorded, as of the suite.
func take(suite string) *Found {
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	f := &Found{Suite: suite, Partial: partial(), Missing: recorder.missing, Cells: make(Cells)}
	for r, cells := range recorder.cells {
		r.Suite = suite
		f.Cells[r] = cells
	}
	return f
}

// partial reports whether some of the tests were not asked for.
func partial() bool {
	for _, name := range []string{"test.run", "test.skip"} {
		if flag.Lookup(name).Value.String() != "" {
			return true
		}
	}
	return testing.Short()
}
