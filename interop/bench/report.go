package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is a run's results, and its JSON.
type report struct {
	Begun   time.Time
	Machine string
	Rounds  int
	Each    time.Duration
	Results []*result

	cases []benchmark
}

// A result is what was found for one contender in one case.
type result struct {
	Case, Contender string
	Rounds          []figures
	Failures        []string
}

func newReport(cases []benchmark, rounds int, each time.Duration) *report {
	r := &report{Begun: time.Now().UTC().Truncate(time.Second), Machine: machine(), Rounds: rounds, Each: each, cases: cases}
	for _, b := range cases {
		for _, name := range b.contenders {
			r.Results = append(r.Results, &result{Case: b.name, Contender: name})
		}
	}
	return r
}

// machine describes what the figures were measured on.
func machine() string {
	return fmt.Sprintf("%s, %d CPUs, %s/%s, %s", cpuModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown processor"
}

// measure runs all rounds, and stops between two measurements when ctx ends.
func (r *report) measure(ctx context.Context) error {
	failed := 0
	for _, b := range r.cases {
		for round := range r.Rounds {
			for i, res := range r.of(b) {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				progress(i == 0, "%s, round %d of %d: %s", b.name, round+1, r.Rounds, res.Contender)
				f, err := measure(ctx, res.Contender, b.load)
				if err != nil {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					res.Failures = append(res.Failures, err.Error())
					failed++
					continue
				}
				res.Rounds = append(res.Rounds, f)
			}
		}
	}
	progress(false, "")
	if failed > 0 {
		return fmt.Errorf("%d measurements failed", failed)
	}
	return nil
}

// progress says on standard error what is being done: on a terminal in one line
// that changes, elsewhere in a line where it matters.
func progress(matters bool, format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	} else if matters {
		fmt.Fprintf(os.Stderr, format+" and others\n", args...)
	}
}

// of returns the results of a case.
func (r *report) of(b benchmark) []*result {
	var list []*result
	for _, res := range r.Results {
		if res.Case == b.name {
			list = append(list, res)
		}
	}
	return list
}

// median returns the median of a figure over the rounds, and false without one.
func (res *result) median(m metric) (float64, bool) {
	if len(res.Rounds) == 0 {
		return 0, false
	}
	v := make([]float64, len(res.Rounds))
	for i, f := range res.Rounds {
		v[i] = m.of(f)
	}
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 0 {
		return (v[mid-1] + v[mid]) / 2, true
	}
	return v[mid], true
}

// print writes aligned tables.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%d rounds of %v, medians\n", r.Machine, r.Rounds, r.Each)
	for _, b := range r.cases {
		fmt.Fprintf(w, "\n%s\n", b.name)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(t, "  \t")
		for _, m := range b.shows {
			fmt.Fprintf(t, "%s\t", m.name)
		}
		fmt.Fprintln(t)
		for _, res := range r.of(b) {
			fmt.Fprintf(t, "  %s\t", res.Contender)
			for _, cell := range res.cells(b) {
				fmt.Fprintf(t, "%s\t", cell)
			}
			fmt.Fprintln(t)
		}
		t.Flush()
		for _, g := range b.goals {
			if s := r.verdict(b, g); s != "" {
				fmt.Fprintf(w, "  %s\n", s)
			}
		}
		for _, res := range r.of(b) {
			for _, f := range res.Failures {
				fmt.Fprintf(w, "  FAILED %s: %s\n", res.Contender, f)
			}
		}
	}
}

func (res *result) cells(b benchmark) []string {
	var cells []string
	for _, m := range b.shows {
		v, ok := res.median(m)
		if ok {
			cells = append(cells, m.format(v))
		} else {
			cells = append(cells, "failed")
		}
	}
	return cells
}

// verdict says whether a goal is reached, "" if it was not measured.
func (r *report) verdict(b benchmark, g goal) string {
	var ours, best float64
	with := ""
	for _, res := range r.of(b) {
		v, ok := res.median(g.metric)
		switch {
		case !ok || v == 0:
		case res.Contender == g.of:
			ours = v
		case slices.Contains(g.to, res.Contender) && (best == 0 || (v < best) == g.metric.less):
			best, with = v, res.Contender
		}
	}
	if ours == 0 || best == 0 {
		return ""
	}
	ratio, word, reached := ours/best, "at least", ours/best >= g.ratio
	if g.metric.less {
		word, reached = "at most", ratio <= g.ratio
	}
	state := "reached"
	if !reached {
		state = "NOT REACHED"
	}
	return fmt.Sprintf("%s, %s: %.2f × %s's (to reach: %s %.4g) %s", g.of, g.metric.name, ratio, with, word, g.ratio, state)
}

// markdown returns the page.
func (r *report) markdown() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What a socket costs\n\nMade by `go -C interop run ./bench -md bench/README.md` on %s.\n", r.Begun.Format("2006-01-02"))
	fmt.Fprintf(&b, "Machine: %s. %d interleaved rounds of %v each; medians.\n", r.Machine, r.Rounds, r.Each)
	b.WriteString("Server and client are processes of their own on that machine; CPU times are those of the operating system, per message.\nEvery byte that came back was compared with what had been sent.\n\n")
	b.WriteString("| contender | what it is |\n|---|---|\n")
	for _, name := range order {
		fmt.Fprintf(&b, "| %s | %s |\n", name, contenders[name].about)
	}
	fmt.Fprintf(&b, "\nVersions: %s.\n", versions())
	for _, c := range r.cases {
		fmt.Fprintf(&b, "\n## %s\n\n| |", c.name)
		for _, m := range c.shows {
			fmt.Fprintf(&b, " %s |", m.name)
		}
		b.WriteString("\n|---|" + strings.Repeat("---:|", len(c.shows)) + "\n")
		for _, res := range r.of(c) {
			fmt.Fprintf(&b, "| %s | %s |\n", res.Contender, strings.Join(res.cells(c), " | "))
		}
		b.WriteByte('\n')
		for _, g := range c.goals {
			if s := r.verdict(c, g); s != "" {
				fmt.Fprintf(&b, "- %s\n", s)
			}
		}
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// versions names the modules that are measured.
func versions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	var list []string
	for _, m := range info.Deps {
		for _, part := range []string{"gorilla/websocket", "coder/websocket", "gobwas/ws", "lxzan/gws", "x/net", "google.golang.org/grpc", "quic-go/quic-go"} {
			if strings.HasSuffix(m.Path, part) {
				list = append(list, m.Path+" "+m.Version)
			}
		}
	}
	return strings.Join(list, ", ")
}

func printList(w io.Writer, cases []benchmark) {
	fmt.Fprintln(w, "contenders:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, name := range order {
		fmt.Fprintf(t, "  %s\t%s\n", name, contenders[name].about)
	}
	t.Flush()
	fmt.Fprintln(w, "cases:")
	for _, b := range cases {
		fmt.Fprintln(w, "  "+b.name)
	}
}
