package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A report is a run's results, and its JSON.
type report struct {
	Begun    time.Time
	Took     time.Duration
	Machine  string
	Versions string
	Commit   string `json:",omitempty"`
	Rounds   int
	Each     time.Duration
	Results  []*result

	cases    []benchmark
	profiles string // the directory for profiles of servers; "": none
	apart    []*report
}

// A result is what was found for one contender, or a variant, in one case.
type result struct {
	Case, Contender string
	Rounds          []figures
	Failures        []string `json:",omitempty"`
}

func newReport(cases []benchmark, rounds int, each time.Duration) *report {
	r := &report{
		Begun: time.Now().UTC().Truncate(time.Second), Machine: machine(), Rounds: rounds, Each: each, cases: cases,
	}
	r.Versions, r.Commit = versions()
	for _, b := range cases {
		for _, name := range b.contenders {
			r.Results = append(r.Results, &result{Case: b.name, Contender: name})
		}
	}
	return r
}

// machine describes what the figures were measured on.
func machine() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	system := strings.TrimSpace(runtime.GOOS + " " + string(release))
	return fmt.Sprintf("%s, %d CPUs, %s, %s, %s", cpuModel(), runtime.NumCPU(), system, runtime.GOARCH, runtime.Version())
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

// versions names the modules that are measured, and the commit of this one.
func versions() (modules, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	var list []string
	for _, m := range info.Deps {
		for _, part := range []string{"gorilla/websocket", "coder/websocket", "gobwas/ws", "lxzan/gws", "x/net", "google.golang.org/grpc", "quic-go/quic-go"} {
			if strings.HasSuffix(m.Path, part) {
				list = append(list, m.Path+" "+m.Version)
			}
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value[:min(len(s.Value), 12)]
		}
	}
	return strings.Join(list, ", "), commit
}

// measure runs rounds until there are enough, time is up, or ctx ends. A round is
// every contender in every case; those of a case follow one another at once, and
// each round begins with another of them. save is called after each round.
func (r *report) measure(ctx context.Context, within time.Duration, save func() error) error {
	defer func() { r.Took = time.Since(r.Begun).Round(time.Second) }()
	failed, stopped := 0, false
	for round := range r.Rounds {
		for _, b := range r.cases {
			if b.most > 0 && round >= b.most {
				continue
			}
			if stopped = within > 0 && time.Since(r.Begun) > within; stopped {
				break
			}
			n, err := r.round(ctx, &b, round)
			if failed += n; err != nil {
				return err
			}
		}
		if err := save(); err != nil {
			return err
		}
		if stopped {
			break
		}
	}
	progress(false, "")
	switch {
	case failed > 0:
		return fmt.Errorf("%d measurements failed", failed)
	case stopped && slices.ContainsFunc(r.Results, func(res *result) bool { return len(res.Rounds) == 0 }):
		return fmt.Errorf("not everything was measured within %v", within)
	}
	return nil
}

// round measures a case once, and returns how many contenders failed.
func (r *report) round(ctx context.Context, b *benchmark, round int) (failed int, err error) {
	all := r.of(b)
	for i := range all {
		res := all[(i+round)%len(all)]
		progress(i == 0, "%v round %d of %d, %s: %s", time.Since(r.Begun).Round(time.Second), round+1, r.Rounds, b.name, res.Contender)
		v := b.entry(res.Contender)
		profile := ""
		if r.profiles != "" {
			profile = filepath.Join(r.profiles, strings.NewReplacer(" ", "_", "/", "").Replace(fmt.Sprintf("%s,%s,%d.pprof", b.name, res.Contender, round)))
		}
		f, err := measure(ctx, v.contender, v.load, profile)
		switch {
		case ctx.Err() != nil:
			return failed, ctx.Err()
		case err != nil:
			res.Failures = append(res.Failures, err.Error())
			failed++
		default:
			res.Rounds = append(res.Rounds, f)
		}
	}
	return failed, nil
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

// estimate returns roughly how long a number of rounds takes: what is measured, and
// what comes before it.
func estimate(cases []benchmark, rounds int) (total time.Duration) {
	for _, b := range cases {
		n := rounds
		if b.most > 0 {
			n = min(n, b.most)
		}
		for _, name := range b.contenders {
			total += time.Duration(n) * b.entry(name).takes()
		}
	}
	return total.Round(time.Second)
}

// takes returns roughly how long a measurement takes.
func (v variant) takes() time.Duration {
	const (
		processes  = 150 * time.Millisecond
		connection = 1200 * time.Microsecond // with its handshake
		stream     = 60 * time.Microsecond
	)
	sockets := time.Duration(v.load.Sockets + v.load.Idle)
	t := processes + v.load.Time
	if v.load.Kind != idling && v.load.Kind != opening {
		t += v.load.warming()
	}
	if v.load.alternates() {
		t += time.Duration(v.load.slices())*(slice+2*settling) + slice
	}
	if contenders[v.contender].shared {
		return t + sockets*stream + time.Duration(v.load.Conns)*connection
	}
	return t + sockets*connection
}

// of returns the results of a case.
func (r *report) of(b *benchmark) []*result {
	var list []*result
	for _, res := range r.Results {
		if res.Case == b.name {
			list = append(list, res)
		}
	}
	return list
}

// get returns a contender's result in a case, nil if it was not measured.
func (r *report) get(of, contender string) *result {
	for _, res := range r.Results {
		if res.Case == of && res.Contender == contender && len(res.Rounds) > 0 {
			return res
		}
	}
	return nil
}

// median returns the median of a figure over the rounds, and false without one: 0 is
// what was not measured.
func (res *result) median(m metric) (float64, bool) {
	if res == nil || len(res.Rounds) == 0 {
		return 0, false
	}
	v := make([]float64, len(res.Rounds))
	for i, f := range res.Rounds {
		v[i] = m.of(f)
	}
	middle := median(v)
	return middle, middle != 0
}

// median returns the median of v, which it sorts.
func median(v []float64) float64 {
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 0 {
		return (v[mid-1] + v[mid]) / 2
	}
	return v[mid]
}

// span returns the least and the most of a figure over the rounds.
func (res *result) span(m metric) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, f := range res.Rounds {
		low, high = min(low, m.of(f)), max(high, m.of(f))
	}
	return low, high
}

// encode returns the report as JSON, with a line for each result.
func (r *report) encode() ([]byte, error) {
	head := *r
	head.Results = nil
	b, err := json.MarshalIndent(head, "", "\t")
	if err != nil {
		return nil, err
	}
	const empty = "null\n}"
	if !bytes.HasSuffix(b, []byte(empty)) {
		return nil, fmt.Errorf("results are not last")
	}
	b = append(b[:len(b)-len(empty)], "[\n"...)
	for i, res := range r.Results {
		line, err := json.Marshal(res)
		if err != nil {
			return nil, err
		}
		if b = append(append(b, "\t\t"...), line...); i < len(r.Results)-1 {
			b = append(b, ',')
		}
		b = append(b, '\n')
	}
	return append(b, "\t]\n}\n"...), nil
}

// readReports reads one file or several, separated by commas, as one report: the
// first is it, and the others are runs of their own for further cases.
func readReports(files string, cases []benchmark) (*report, error) {
	first, rest, _ := strings.Cut(files, ",")
	r, err := readReport(first, slices.Clone(cases))
	if err != nil || rest == "" {
		return r, err
	}
	more, err := readReports(rest, cases)
	if err != nil {
		return nil, err
	}
	r.apart = append([]*report{more}, more.apart...)
	r.Results = append(r.Results, more.Results...)
	r.cases = slices.DeleteFunc(slices.Clone(cases), func(b benchmark) bool { return len(r.of(&b)) == 0 })
	return r, nil
}

// readReport reads what encode has written. Cases that are not in it are left out,
// and so is what is no longer compared.
func readReport(file string, cases []benchmark) (*report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	if len(r.Results) == 0 {
		return nil, fmt.Errorf("%s is not what -json wrote: it has no results", file)
	}
	r.Results = slices.DeleteFunc(r.Results, func(res *result) bool {
		return !slices.ContainsFunc(cases, func(b benchmark) bool {
			return b.name == res.Case && slices.Contains(b.contenders, res.Contender)
		})
	})
	r.cases = slices.DeleteFunc(cases, func(b benchmark) bool { return len(r.of(&b)) == 0 })
	return r, nil
}
