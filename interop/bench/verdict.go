package main

import (
	"fmt"
	"math"
	"slices"
)

// A verdict is what a goal came to in a case.
type verdict struct {
	goal
	in       string
	with     string  // the best of those it is compared with
	measured float64 // ratio of medians, or the median itself without a comparison
	low      float64 // the same in single rounds
	high     float64
	reached  bool

	// The same ratio of server CPU time per message, where the goal is about a rate;
	// 0 elsewhere.
	cpu float64
}

// verdict compares, and returns false if something was not measured: a figure of 0
// says so. The ratio that counts is that of the medians, as it is: nothing is rounded
// before.
func (r *report) verdict(in string, g goal) (verdict, bool) {
	v := verdict{goal: g, in: in}
	res := r.get(in, g.of)
	ours, ok := res.median(g.metric)
	if !ok || ours == 0 {
		return v, false
	}
	if g.to == nil {
		v.measured = ours
		v.low, v.high = res.span(g.metric)
	} else {
		var best float64
		for _, name := range g.to {
			if m, ok := r.get(in, name).median(g.metric); ok && m > 0 && (v.with == "" || (m < best) == g.metric.less) {
				best, v.with = m, name
			}
		}
		if v.with == "" {
			return v, false
		}
		other := r.get(in, v.with)
		v.measured = ours / best
		v.low, v.high = math.Inf(1), math.Inf(-1)
		for i := range min(len(res.Rounds), len(other.Rounds)) {
			ratio := g.metric.of(res.Rounds[i]) / g.metric.of(other.Rounds[i])
			v.low, v.high = min(v.low, ratio), max(v.high, ratio)
		}
		if !g.metric.less {
			mine, _ := res.median(serverCPU)
			if theirs, _ := other.median(serverCPU); theirs > 0 {
				v.cpu = mine / theirs
			}
		}
	}
	v.reached = v.reaches(v.measured)
	return v, true
}

func (v verdict) reaches(x float64) bool {
	if v.metric.less {
		return x <= v.ratio
	}
	return x >= v.ratio
}

// number writes a measured value, with as many digits as it takes that it does not
// read as if it had been reached when it was not, or the other way round.
func (v verdict) number(x float64) string {
	if v.to == nil && x >= 100 {
		if v.metric.less {
			return grouped(int64(math.Ceil(x)))
		}
		return grouped(int64(x))
	}
	digits := 2
	if math.Abs(x) >= 10 {
		digits = 1
	}
	for ; digits < 6; digits++ {
		var shown float64
		s := fmt.Sprintf("%.*f", digits, x)
		if fmt.Sscan(s, &shown); v.reaches(shown) == v.reaches(x) {
			return s
		}
	}
	return fmt.Sprint(x)
}

// limit writes what is to be reached.
func (v verdict) limit() string {
	sign := "≥"
	if v.metric.less {
		sign = "≤"
	}
	if v.to == nil && v.ratio >= 100 {
		return sign + " " + count(v.ratio)
	}
	return fmt.Sprintf("%s %.4g", sign, v.ratio)
}

// value writes what was measured.
func (v verdict) value() string {
	if v.to == nil {
		return v.number(v.measured)
	}
	return v.number(v.measured) + " × " + v.with
}

func (v verdict) state() string {
	if v.reached {
		return "reached"
	}
	return "NOT REACHED"
}

func (v verdict) String() string {
	return fmt.Sprintf("%s, %s: %s (%s) %s", v.of, v.metric.name, v.value(), v.limit(), v.state())
}

// A row is a target's verdicts.
type row struct {
	text     string
	verdicts []verdict
}

func (w row) reached() (n int) {
	for _, v := range w.verdicts {
		if v.reached {
			n++
		}
	}
	return n
}

// rows returns the verdicts of all targets, and of the goals that cases have of their
// own under the names of these, without what was not measured.
func (r *report) rows() []row {
	var list []row
	add := func(w row, in string, goals []goal) row {
		for _, g := range goals {
			if v, ok := r.verdict(in, g); ok {
				w.verdicts = append(w.verdicts, v)
			}
		}
		return w
	}
	for _, t := range targets {
		w := row{text: t.text}
		for _, in := range t.cases {
			if slices.ContainsFunc(r.cases, func(b benchmark) bool { return b.name == in }) {
				w = add(w, in, t.goals)
			}
		}
		list = append(list, w)
	}
	for _, b := range r.cases {
		own := b.goals[:len(b.goals)-len(goalsOf(b.name))]
		list = append(list, add(row{text: b.name}, b.name, own))
	}
	return slices.DeleteFunc(list, func(w row) bool { return len(w.verdicts) == 0 })
}
