package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/quicvarint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/interop/internal/markers"
)

// The processes of a measurement are this test's program.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == taskFlag {
		if err := runTask(os.Args[2]); err != nil {
			io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func init() {
	add("liar", &contender{
		about: "answers with another byte now and then", transport: "raw",
		serve: func(load) (ready, error) {
			return serveRaw(func(c io.ReadWriter) {
				r := rawReader{in: c}
				for n := 0; ; n++ {
					m, err := r.next()
					if err != nil {
						return
					}
					if n%10 == 9 {
						m[len(m)-1]++
					}
					c.Write(m)
				}
			})
		},
		client: contenders["raw TLS"].client,
	})
}

// small makes of a case's load one that takes a moment.
func small(l load) load {
	l.Sockets = min(l.Sockets, 3)
	l.Idle, l.Conns, l.Rate, l.Time = min(l.Idle, 20), min(l.Conns, 2), min(l.Rate, 1000), 20*time.Millisecond
	if l.Reading != "" && l.Bulk > 0 {
		l.Bulk, l.Time = 1, 400*time.Millisecond // an answer may wait behind megabytes
	}
	return l
}

func TestEveryContenderCarriesEveryCase(t *testing.T) {
	type run struct {
		contender string
		load      load
	}
	done := make(map[run]bool)
	for _, b := range benchmarks(time.Second) {
		for _, name := range b.contenders {
			v := b.entry(name)
			r := run{v.contender, small(v.load)}
			if done[r] {
				continue // it has been measured for a case that differs in its number of sockets
			}
			done[r] = true
			f, err := measure(t.Context(), r.contender, r.load, "")
			require.NoError(t, err, "%s: %s", b.name, name)
			assert.Positive(t, f.Count, "%s: %s", b.name, name)
			for _, m := range b.shows {
				if m.name == serverCPU.name || m.name == allocs.name || m.name == memory.name || m.name == used.name || m.name == clientCPU.name {
					continue // there may be too little of it to be seen
				}
				assert.Positive(t, m.of(f), "%s: %s: %s", b.name, name, m.name)
			}
			assert.GreaterOrEqual(t, f.P99, f.P50, "%s: %s", b.name, name)
			assert.GreaterOrEqual(t, f.Max, f.P99, "%s: %s", b.name, name)
		}
	}
}

// Where the system does not say how much time has been used no message takes 0 µs.
func TestWhatIsNotMeasuredIsNoFigure(t *testing.T) {
	res := &result{Rounds: []figures{{Messages: 1}, {Messages: 3}, {Messages: 2}}}
	assert.Equal(t, []string{"2", "–"}, res.cells(&benchmark{shows: []metric{perSecond, serverCPU}}))
}

func TestWrongByteEndsTheMeasurement(t *testing.T) {
	_, err := measure(t.Context(), "liar", load{Kind: echoing, Size: 32, Sockets: 1, Time: time.Second}, "")
	require.ErrorContains(t, err, "not what was sent")
}

func TestServerAndClientShareOneProcessorIfTheyAreTo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are put on one processor on Linux only")
	}
	l := load{Kind: echoing, Size: 32, Sockets: 1, Time: 20 * time.Millisecond, Together: true}
	f, err := measure(t.Context(), "raw TLS", l, "")
	require.NoError(t, err)
	assert.Equal(t, 1, f.Processors)
	r := &report{Results: []*result{{Rounds: []figures{f}}}}
	assert.True(t, r.shared(), "the page says so")

	server, err := start(t.Context(), task{Role: "server", Contender: "raw TLS"})
	require.NoError(t, err)
	defer server.End()
	var at ready
	require.NoError(t, server.Next(&at))
	u, err := ask(server, markBegin)
	require.NoError(t, err)
	assert.Equal(t, runtime.NumCPU(), u.Processors, "and processes that are not to do not")
}

func TestInterruptedMeasurementLeavesNoProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(200*time.Millisecond, cancel).Stop()
	_, err := measure(ctx, "raw TLS", load{Kind: echoing, Size: 32, Sockets: 1, Time: time.Minute}, "")
	require.Error(t, err)
	require.ErrorIs(t, ctx.Err(), context.Canceled, "not for another reason")
}

func TestVerdictComparesWithTheBest(t *testing.T) {
	b := benchmark{name: "case", contenders: []string{"h1 loop", "gorilla", "gws"}}
	r := newReport([]benchmark{b}, 3, time.Second)
	for i, cpu := range [][]time.Duration{{9, 3, 2}, {5, 4, 5}, {8, 4, 4}} {
		for _, d := range cpu {
			r.Results[i].Rounds = append(r.Results[i].Rounds, figures{ServerCPU: d * 1000, Messages: float64(d), Allocs: 0.004})
		}
	}
	lower, ok := r.verdict("case", goal{"h1 loop", serverCPU, []string{"gorilla", "gws"}, 0.75})
	require.True(t, ok)
	assert.Equal(t, "h1 loop, server CPU µs: 0.75 × gws (≤ 0.75) reached", lower.String())
	assert.Equal(t, "0.50–1.12", lower.rounds(), "of single rounds")
	higher, ok := r.verdict("case", goal{"h1 loop", perSecond, []string{"gorilla", "gws"}, 1})
	require.True(t, ok)
	assert.Equal(t, "h1 loop, messages/s: 0.60 × gorilla (≥ 1) NOT REACHED", higher.String())
	assert.InDelta(t, 0.6, higher.cpu, 1e-9)
	absolute, ok := r.verdict("case", goal{"h1 loop", allocs, nil, 0.01})
	require.True(t, ok)
	assert.Equal(t, "h1 loop, server allocs: 0.00 (≤ 0.01) reached", absolute.String())
	_, ok = r.verdict("case", goal{"h2 loop", perSecond, []string{"gws"}, 1})
	assert.False(t, ok, "not measured")
	for _, to := range [][]string{nil, {"gorilla"}} {
		_, ok = r.verdict("case", goal{"h1 loop", memory, to, 1024})
		assert.False(t, ok, "0 B: the system did not tell")
	}
}

func TestNothingIsRoundedInFavour(t *testing.T) {
	least := verdict{goal: goal{metric: perSecond, to: []string{"gws"}, ratio: 1.5}}
	assert.Equal(t, "1.4996", least.number(1.4996), "1.50 would read as reached")
	assert.Equal(t, "1.50", least.number(1.5004))
	assert.Equal(t, "1.40", least.number(1.4))
	most := verdict{goal: goal{metric: serverCPU, to: []string{"gws"}, ratio: 1.08}}
	assert.Equal(t, "1.083", most.number(1.083), "1.08 would read as reached")
	bytes := verdict{goal: goal{metric: memory, ratio: 1024}}
	assert.False(t, bytes.reaches(1024.2))
	assert.Equal(t, "1,025", bytes.number(1024.2), "1,024 would read as reached")
}

func TestGoalsNameCasesAndWhoTheyCompare(t *testing.T) {
	cases := benchmarks(time.Second)
	for _, w := range targets {
		for _, in := range w.cases {
			i := slices.IndexFunc(cases, func(b benchmark) bool { return b.name == in })
			require.GreaterOrEqual(t, i, 0, "%s: no case %q", w.text, in)
			for _, g := range w.goals {
				for _, name := range append([]string{g.of}, g.to...) {
					assert.Contains(t, cases[i].contenders, name, "%s: %s", w.text, in)
				}
				assert.True(t, slices.ContainsFunc(cases[i].shows, func(m metric) bool { return m.name == g.metric.name }), "%s: shown beside its goal", in)
			}
		}
	}
	for _, b := range cases {
		for _, name := range b.contenders {
			assert.NotNil(t, contenders[b.entry(name).contender], "%s: %s", b.name, name)
		}
	}
}

func TestCaseNamesDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for _, b := range benchmarks(time.Second) {
		assert.False(t, seen[b.name], b.name)
		seen[b.name] = true
	}
}

func TestRoundsEndInTime(t *testing.T) {
	b := benchmark{name: "case", load: load{Kind: echoing, Size: 32, Sockets: 1, Time: time.Millisecond}, contenders: []string{"raw TLS"}}
	once := b
	once.name, once.most = "once", 1
	r := newReport([]benchmark{b, once}, 2, time.Second)
	saved := 0
	require.NoError(t, r.measure(t.Context(), 0, func() error { saved++; return nil }))
	assert.Len(t, r.Results[0].Rounds, 2)
	assert.Len(t, r.Results[1].Rounds, 1, "enough")
	assert.Equal(t, 2, saved)
	late := newReport([]benchmark{b}, 2, time.Second)
	require.ErrorContains(t, late.measure(t.Context(), time.Nanosecond, func() error { return nil }), "not everything")
	assert.Empty(t, late.Results[0].Rounds)
}

func TestResultsAreReadAsTheyWereWritten(t *testing.T) {
	cases := benchmarks(time.Second)[:2]
	r := newReport(cases, 2, time.Second)
	for i, res := range r.Results {
		res.Rounds = []figures{{Messages: float64(i), P50: time.Duration(i), Count: 1}, {Count: 2}}
	}
	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, r.save(file))
	back, err := readReport(file, benchmarks(time.Second))
	require.NoError(t, err)
	assert.Len(t, back.cases, 2, "without cases that were not measured")
	assert.Equal(t, r.Results, back.Results)
	assert.True(t, r.Begun.Equal(back.Begun))

	require.NoError(t, os.WriteFile(file, []byte(`{"testee":"server","cases":[]}`), 0o644))
	_, err = readReport(file, benchmarks(time.Second))
	assert.ErrorContains(t, err, "no results")
}

// A conn that has always more to read, and its reader the rate of a link.
type endless struct{ net.Conn }

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestGigabitIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := io.CopyN(io.Discard, &pacedConn{Conn: endless{}, rate: gigabitRate}, 1e9/8)
		require.NoError(t, err)
		assert.InDelta(t, 1, time.Since(begin).Seconds(), 0.005)
	})
}

// The page in this directory says what the results beside it say, and of every cell
// that was not reached why.
func TestPageIsWhatTheResultsSay(t *testing.T) {
	if _, err := os.Stat("results.json"); err != nil {
		t.Skip("no results yet: ", err)
	}
	r, err := readReports("results.json,million.json", benchmarks(time.Second))
	require.NoError(t, err)
	plots := r.draw()
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.Equal(t, string(r.markdown(plots)), string(page), "make it again with -from results.json,million.json -page .")
	assert.NotContains(t, string(page), unexplained)
	for _, d := range plots {
		svg, err := os.ReadFile(d.file)
		require.NoError(t, err)
		assert.Equal(t, string(d.svg), string(svg), d.file)
	}
}

// splits feeds a framing's bytes in all kinds of pieces.
func TestFramingsTakeBytesAsTheyCome(t *testing.T) {
	message := bytes.Repeat([]byte("0123456789"), 50)
	for name, framing := range map[string]func(piece) framing{
		"raw": func(got piece) framing { return &rawFraming{got: got} },
		"ws":  func(got piece) framing { return newWSFraming(got) },
		"h3":  func(got piece) framing { return &h3Framing{ws: newWSFraming(got)} },
	} {
		var wire []byte
		switch name {
		case "raw":
			wire = (&rawFraming{}).append((&rawFraming{}).append(nil, message), message)
		default:
			for range 2 {
				f, err := (&frame.Sender{Side: frame.Server}).Append(nil, frame.Header{Fin: true, Opcode: frame.Binary}, message)
				require.NoError(t, err)
				if name == "h3" {
					// A frame header in a DATA frame of its own, and one that is to be passed over.
					wire = append(wire, 0x21, 2, 'x', 'y', 0, 3)
					wire = append(wire, f[:3]...)
					wire = append(quicvarint.Append(append(wire, 0), uint64(len(f)-3)), f[3:]...)
				} else {
					wire = append(wire, f...)
				}
			}
		}
		for size := 1; size <= len(wire); size++ {
			var answer answered
			messages, wrong := 0, false
			f := framing(func(p []byte, last bool) {
				wrong = wrong || !answer.take(message, p, last)
				if last {
					messages++
				}
			})
			for c := range slices.Chunk(wire, size) {
				require.NoError(t, f.feed(slices.Clone(c)), "%s by %d", name, size)
			}
			require.False(t, wrong, "%s by %d", name, size)
			require.Equal(t, 2, messages, "%s by %d", name, size)
		}
	}
}

func TestAnswersAreComparedToTheLastByte(t *testing.T) {
	want := []byte("abc")
	for _, tc := range []struct {
		name   string
		pieces []string
		ok     bool
	}{
		{"whole", []string{"abc"}, true},
		{"pieces", []string{"", "a", "bc"}, true},
		{"short", []string{"ab"}, false},
		{"long", []string{"abcd"}, false},
		{"other", []string{"a", "bd"}, false},
	} {
		var a answered
		ok := true
		for i, p := range tc.pieces {
			ok = ok && a.take(want, []byte(p), i == len(tc.pieces)-1)
		}
		assert.Equal(t, tc.ok, ok, tc.name)
		assert.True(t, !ok || a == 0, "%s: ready for the next", tc.name)
	}
}

func TestReportShowsFailures(t *testing.T) {
	b := benchmark{name: "case", contenders: []string{"gws"}, shows: []metric{perSecond}}
	r := newReport([]benchmark{b}, 1, time.Second)
	r.Results[0].Failures = []string{"it broke"}
	var out strings.Builder
	r.print(&out)
	assert.Contains(t, out.String(), "FAILED gws: it broke")
	assert.Contains(t, out.String(), "failed")
}

func TestOrderNamesAllContenders(t *testing.T) {
	for name := range contenders {
		assert.True(t, name == "liar" || slices.Contains(order, name), name)
	}
	assert.Len(t, order, len(contenders)-1)
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		assert.Equal(t, want, grouped(n))
	}
}

// The documentation's table is made from the results that the page is made from.
func TestDocsHaveTheFiguresOfTheResults(t *testing.T) {
	r, err := readReports("results.json,million.json", benchmarks(time.Second))
	require.NoError(t, err)
	const file = "../../docs/comparison.md"
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	want, err := markers.Replace(string(page), "figures", r.docsTable())
	require.NoError(t, err)
	assert.Equal(t, want, string(page), "make it again with -from results.json,million.json -docs "+file)
	for _, c := range docsColumns {
		assert.Contains(t, order, c.contender)
	}
	names := make(map[string]bool)
	for _, b := range r.cases {
		names[b.name] = true
	}
	for _, row := range docsRows() {
		assert.True(t, names[row.in], "no case is called %q", row.in)
	}
}
