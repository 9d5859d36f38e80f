package report

import (
	"slices"

	"github.com/wsmux/websocket/interop/compare/result"
)

// What counts as a difference.
const (
	apart         = 1.25 // one value by the other
	apartRepeated = 1.10 // the same for values measured repeatedly
	beyond        = 5    // values that have to lie beyond a percentile
)

const noiseRule = "Two values count as different if the greater is at least 1.25 times the lesser; " +
	"where both were measured repeatedly, 1.10 times is enough but the repetitions may not overlap; counts differ if they are not equal. " +
	"All else is within the noise. Of a distribution the highest of p99, p90 and p50 is used that has 5 values or more beyond it in every distribution compared. " +
	"Scenarios 5 and 7 are judged at the highest of these percentiles at which HTTP/2 was slower than HTTP/1.1, and where it was not, at the highest. " +
	"Runs in which something went wrong do not count."

// An amount is a value of one run, to be compared with those of other runs.
type amount struct {
	run   *run
	value float64
	unit  string
	each  []float64 // of repetitions
	exact bool      // a count
}

func (a amount) String() string { return say(a.value, a.unit) }

// compare returns -1 if a is less than b by more than the noise, 1 if it is
// more, and 0 if they count as equal.
func compare(a, b amount) int {
	if a.value > b.value {
		return -compare(b, a)
	}
	different := b.value >= a.value*apart
	switch {
	case a.exact && b.exact:
		different = true
	case len(a.each) > 1 && len(b.each) > 1:
		different = b.value >= a.value*apartRepeated && slices.Max(a.each) < slices.Min(b.each)
	}
	if different && a.value != b.value {
		return -1
	}
	return 0
}

// A quantity is something that runs can be compared by. amounts returns the
// values of those runs that have it, and what exactly they are.
type quantity struct {
	amounts func(runs []*run) (amounts []amount, what string)
}

// figureOf is a figure.
func figureOf(key string) quantity {
	return quantity{func(runs []*run) (amounts []amount, what string) {
		for _, r := range runs {
			if f, _ := r.figure(key); f != nil && r.counts() {
				amounts = append(amounts, amount{r, f.Value, f.Unit, f.Each, false})
				what = f.Name
			}
		}
		return amounts, what
	}}
}

// connectionsOf is the number of connections.
func connectionsOf() quantity {
	return quantity{func(runs []*run) (amounts []amount, what string) {
		for _, r := range runs {
			n := r.Connections.Server
			if n < 0 {
				n = r.Connections.Client
			}
			if r.counts() {
				amounts = append(amounts, amount{r, float64(n), "", nil, true})
			}
		}
		return amounts, "connections"
	}}
}

// tailOf is a high percentile of a distribution, the same for all runs: the
// highest that the one with the fewest values supports.
func tailOf(key string) quantity {
	return quantity{func(runs []*run) (amounts []amount, what string) {
		return percentileOf(key, runs, supported(key, runs)[0])
	}}
}

// A percentile is one of a distribution's.
type percentile struct {
	name string
	of   func(*result.Distribution) float64
}

// percentileOf returns a percentile of those runs that have the distribution.
func percentileOf(key string, runs []*run, p percentile) (amounts []amount, what string) {
	for _, r := range runs {
		if d, _ := r.distribution(key); d != nil && r.counts() {
			amounts = append(amounts, amount{r, p.of(d), d.Unit, nil, false})
			what = p.name + " of " + d.Name
		}
	}
	return amounts, what
}

// supported returns the percentiles that all of the runs' distributions support,
// the highest first.
func supported(key string, runs []*run) []percentile {
	fewest, first := 0, true
	for _, r := range runs {
		if d, _ := r.distribution(key); d != nil && r.counts() && (first || d.Count < fewest) {
			fewest, first = d.Count, false
		}
	}
	all := []percentile{
		{"p99", func(d *result.Distribution) float64 { return d.P99 }},
		{"p90", func(d *result.Distribution) float64 { return d.P90 }},
		{"p50", func(d *result.Distribution) float64 { return d.P50 }},
	}
	switch {
	case fewest >= beyond*100:
		return all
	case fewest >= beyond*10:
		return all[1:]
	}
	return all[2:]
}
