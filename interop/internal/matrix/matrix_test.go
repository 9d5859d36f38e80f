package matrix

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	one = Row{Suite: "s", Peer: "one", Role: Client, Transport: "h2"}
	two = Row{Suite: "s", Peer: "two", Role: Proxy, Transport: Via("h2", "h1")}
	far = Row{Suite: "elsewhere", Peer: "one", Role: Client, Transport: "h2"}
)

func expected() Cells {
	return Cells{
		one: {Echo: OK, Ping: OK, "requests": "100 of 100"},
		two: {Echo: OK},
		far: {Echo: OK},
	}
}

func TestCompareFindsEveryKindOfDifference(t *testing.T) {
	for _, c := range []struct {
		name  string
		found Found
		want  []string
	}{
		{"the same", Found{Cells: Cells{one: {Echo: OK, Ping: OK, "requests": "100 of 100"}, two: {Echo: OK}}}, nil},
		{"another result", Found{Cells: Cells{one: {Echo: OK, Ping: "no pong", "requests": "100 of 100"}, two: {Echo: OK}}},
			[]string{`matrix: s: one (client) h2, ping: found "no pong", expected "ok"`}},
		{"a cell more", Found{Cells: Cells{one: {Echo: OK, Ping: OK, Deflate: OK, "requests": "100 of 100"}, two: {Echo: OK}}},
			[]string{`matrix: s: one (client) h2, deflate: found "ok", which is not in expected.json`}},
		{"a row less", Found{Cells: Cells{one: {Echo: OK, Ping: OK, "requests": "100 of 100"}}},
			[]string{`matrix: s: two (proxy) h2 → h1: found nothing, expected 1 cells`}},
		{"a cell less", Found{Cells: Cells{one: {Echo: OK, "requests": "100 of 100"}, two: {Echo: OK}}},
			[]string{`matrix: s: one (client) h2, ping: found nothing, expected "ok"`}},
		{"a row more", Found{Cells: Cells{one: {Echo: OK, Ping: OK, "requests": "100 of 100"}, two: {Echo: OK}, {Suite: "s", Peer: "x", Role: Server, Transport: "h1"}: {Echo: OK}}},
			[]string{`matrix: s: x (server) h1: found 1 cells, but the row is not in expected.json`}},
		{"a row less, not looked for", Found{Partial: true, Cells: Cells{one: {Echo: OK}}}, nil},
		{"another result, not all looked for", Found{Partial: true, Cells: Cells{one: {Echo: Failed}}},
			[]string{`matrix: s: one (client) h2, echo: found "failed", expected "ok"`}},
		{"a peer that is missing", Found{Missing: map[string]string{"one": "not in PATH"}, Cells: Cells{two: {Echo: OK}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.found.Suite = "s"
			assert.Equal(t, c.want, c.found.Compare(expected()))
		})
	}
}

func TestAbsentNamesTheSuitesThatWereNotRun(t *testing.T) {
	assert.Equal(t, []string{"elsewhere"}, Absent(expected(), []*Found{{Suite: "s"}}))
	assert.Empty(t, Absent(expected(), []*Found{{Suite: "s"}, {Suite: "elsewhere"}, {Suite: "new"}}))
}

func TestUpdateMakesTheDifferenceGo(t *testing.T) {
	all := expected()
	found := Found{Suite: "s", Cells: Cells{one: {Echo: "none"}}}
	require.NoError(t, found.Update(all))
	assert.Equal(t, Cells{one: {Echo: "none"}, far: {Echo: OK}}, all)
	assert.Empty(t, found.Compare(all))
}

func TestUpdateKeepsWhatWasNotLookedFor(t *testing.T) {
	for _, found := range []Found{
		{Suite: "s", Partial: true, Cells: Cells{two: {Echo: "none"}}},
		{Suite: "s", Missing: map[string]string{"one": "not in PATH"}, Cells: Cells{two: {Echo: "none"}}},
	} {
		all, want := expected(), expected()
		require.NoError(t, found.Update(all))
		want[two][Echo] = "none"
		assert.Equal(t, want, all)
	}
}

func TestUpdateRefusesFailures(t *testing.T) {
	all := expected()
	found := Found{Suite: "s", Cells: Cells{one: {Echo: Failed}}}
	assert.Error(t, found.Update(all))
	assert.Equal(t, expected(), all)
}

func TestExpectedSurvivesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "expected.json")
	require.NoError(t, expected().Save(path))
	back, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, expected(), back)
}

func TestARowTwiceIsAnError(t *testing.T) {
	p, err := json.Marshal([]line{{one, map[Feature]Result{Echo: OK}}, {one, map[Feature]Result{Ping: OK}}})
	require.NoError(t, err)
	assert.ErrorContains(t, json.Unmarshal(p, new(Cells)), "twice")
}

func TestFoundSurvivesItsFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	found := &Found{Suite: "s", Partial: true, Missing: map[string]string{"three": "not here"}, Cells: expected()}
	require.NoError(t, found.leave(dir))
	all, err := LoadFound(dir)
	require.NoError(t, err)
	assert.Equal(t, []*Found{found}, all)
	_, err = LoadFound(t.TempDir())
	assert.Error(t, err, "an empty directory is no result")
}

func TestRunRecordsWhatTheSubtestDid(t *testing.T) {
	r := Row{Peer: "subtests", Role: Client, Transport: "h1"}
	t.Cleanup(func() { delete(recorder.cells, r) })
	r.Run(t, Echo, func(*testing.T) {})
	r.Run(t, Ping, func(t *testing.T) { t.Skip("to see that nothing is recorded") })
	r.Run(t, Deflate, func(t *testing.T) { r.Record(t, Deflate, "declined") })
	assert.Equal(t, map[Feature]Result{Echo: OK, Deflate: "declined"}, recorder.cells[r])
}

// What parallel subtests and cleanups do counts too.
func TestRunRecordsWhenAllIsDone(t *testing.T) {
	r := Row{Peer: "late", Role: Client, Transport: "h1"}
	t.Cleanup(func() { delete(recorder.cells, r) })
	r.Run(t, Echo, func(t *testing.T) {
		t.Run("at last", func(t *testing.T) {
			t.Parallel()
			r.Record(t, Echo, "declined")
		})
	})
	r.Run(t, Ping, func(t *testing.T) {
		t.Cleanup(func() { r.Record(t, Ping, "no pong") })
	})
	assert.Equal(t, map[Feature]Result{Echo: "declined", Ping: "no pong"}, recorder.cells[r])
}

func TestAFailureStays(t *testing.T) {
	r := Row{Peer: "failed", Role: Client, Transport: "h1"}
	t.Cleanup(func() { delete(recorder.cells, r) })
	r.Record(t, Echo, Failed)
	r.Record(t, Echo, OK) // as by another test, or another -count
	assert.Equal(t, map[Feature]Result{Echo: Failed}, recorder.cells[r])
}

func TestCountTakesTheCasesThatPass(t *testing.T) {
	r := Row{Peer: "counted", Role: Suite, Transport: "h2"}
	t.Cleanup(func() { delete(recorder.cells, r) })
	t.Run("suite", func(t *testing.T) {
		passed := r.Count(t, "cases", 3)
		for i := range 3 {
			t.Run("case", func(t *testing.T) {
				t.Parallel()
				passed(t)
				if i == 1 {
					t.Skip("to see that it is not counted")
				}
			})
		}
	})
	assert.Equal(t, map[Feature]Result{"cases": "2 of 3"}, recorder.cells[r])
}

func TestTableIsAligned(t *testing.T) {
	table := Table(Cells{one: {Echo: OK, "requests": "100 of 100", "drain": OK, "uploads": OK}, two: {Bootstrap: OK, Twenty: None}})
	assert.Equal(t, ""+
		"peer  role    transport  bootstrap  echo  fragments  ping  deflate  close by client  close by server  reset by client  reset by server  20 sockets\n"+
		"one   client  h2                    ok\n"+
		"two   proxy   h2 → h1    ok                                                                                                             –\n"+
		"\n"+
		"peer  role    transport  further cells\n"+
		"one   client  h2         drain, uploads: ok; requests: 100 of 100\n"+
		"\n", table)
}

func TestInsertReplacesTheTable(t *testing.T) {
	first, err := Insert("before\n"+begin+"old\n"+end+"after\n", Cells{one: {Echo: OK}})
	require.NoError(t, err)
	assert.Contains(t, first, "before\n"+begin+"\n| peer | role |")
	assert.Contains(t, first, "\n\n"+end+"after\n")
	assert.NotContains(t, first, "old")
	second, err := Insert(first, Cells{one: {Echo: OK}})
	require.NoError(t, err)
	assert.Equal(t, first, second)
	_, err = Insert("no place", nil)
	assert.Error(t, err)
}

func TestTheExpectedMatrixHoldsNoFailure(t *testing.T) {
	path, err := find()
	require.NoError(t, err)
	cells, err := Load(path)
	require.NoError(t, err)
	for r, features := range cells {
		assert.NotContains(t, []string{r.Suite, r.Peer, string(r.Role), r.Transport}, "", "%v", r)
		for f, res := range features {
			assert.NotEqual(t, Failed, res, "%v, %s", r, f)
			assert.NotEmpty(t, res, "%v, %s", r, f)
		}
	}
}

func TestTheReadmeHoldsTheExpectedMatrix(t *testing.T) {
	path, err := find()
	require.NoError(t, err)
	cells, err := Load(path)
	require.NoError(t, err)
	readme, err := os.ReadFile(filepath.Join(filepath.Dir(path), "..", "README.md"))
	require.NoError(t, err)
	want, err := Insert(string(readme), cells)
	require.NoError(t, err)
	assert.Equal(t, want, string(readme), "go -C interop run ./matrix -update, with or without -results, writes it")
}
