package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/wsmux/websocket/interop/compare/result"
)

// A tally collects what the rounds of a scenario find.
type tally struct {
	scenario scenario
	mu       sync.Mutex
	runs     [][]*result.Run // of each plan
	errs     [][]error
}

func newTally(s scenario) *tally {
	return &tally{scenario: s, runs: make([][]*result.Run, len(s.plans)), errs: make([][]error, len(s.plans))}
}

// enter enters what plan number i has come to.
func (t *tally) enter(i int, run *result.Run, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errs[i] = append(t.errs[i], err)
		return
	}
	t.runs[i] = append(t.runs[i], run)
}

// conclude puts each plan's run into the scenario, or why there is none, and what
// went wrong into the report.
func (t *tally) conclude(out *result.Scenario, r *result.Report) {
	for i, p := range t.scenario.plans {
		for _, err := range t.errs[i] {
			r.Problems = append(r.Problems, fmt.Sprintf("%v: %v", p, err))
		}
		switch {
		case len(t.runs[i]) > 0:
			run := middle(t.runs[i])
			if run.Problem != "" {
				r.Problems = append(r.Problems, fmt.Sprintf("%v: %s", p, run.Problem))
			}
			out.Runs = append(out.Runs, *run)
		case len(t.errs[i]) > 0:
			out.Skipped = append(out.Skipped, result.Skip{What: p.String(), Reason: "it failed: " + t.errs[i][0].Error()})
		default:
			out.Skipped = append(out.Skipped, result.Skip{What: p.String(), Reason: "the comparison was interrupted before"})
		}
	}
}

// middle makes one run of several: the one in the middle, with figures that are
// medians. A problem of any is the result's.
func middle(runs []*result.Run) *result.Run {
	problem := ""
	for _, r := range runs {
		if problem == "" {
			problem = r.Problem
		}
	}
	slices.SortStableFunc(runs, func(a, b *result.Run) int { return cmp.Compare(rank(a), rank(b)) })
	m := *runs[(len(runs)-1)/2]
	m.Problem = problem
	m.Figures = slices.Clone(m.Figures)
	for i := range m.Figures {
		f := &m.Figures[i]
		var values []float64
		for _, r := range runs {
			for _, g := range r.Figures {
				if g.Key == f.Key {
					values = append(values, g.Value)
				}
			}
		}
		if len(values) > 1 {
			f.Each, f.Value = values, median(values)
		}
	}
	return &m
}

// rank orders runs: by what is in the middle of the first distribution, or the first
// figure.
func rank(r *result.Run) float64 {
	switch {
	case len(r.Distributions) > 0:
		return r.Distributions[0].P50
	case len(r.Figures) > 0:
		return r.Figures[0].Value
	}
	return 0
}
