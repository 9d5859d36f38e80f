package plot

import "math"

// ticks returns at most n+1 round values that cover 0 to top.
func ticks(top float64, n int) []float64 {
	if !(top > 0) || !finite(top) {
		return []float64{0, 1}
	}
	step := math.Pow(10, math.Floor(math.Log10(top/float64(n))))
	for _, factor := range []float64{1, 2, 5, 10} {
		if top/(step*factor) <= float64(n)+1e-9 {
			step *= factor
			break
		}
	}
	var t []float64
	for i := 0; ; i++ {
		t = append(t, float64(i)*step)
		if float64(i)*step >= top*(1-1e-9) {
			return t
		}
	}
}

// logTicks returns round values that cover low to high, both positive: the
// powers of ten, with 2 and 5 between them where those are few.
func logTicks(low, high float64) []float64 {
	if !(low > 0) || !(high > 0) || !finite(low, high) {
		low, high = 1, 10
	}
	var t []float64
	factors := []float64{1}
	if math.Log10(high/low) < 2.2 {
		factors = []float64{1, 2, 5}
	}
	for e := math.Floor(math.Log10(low)); ; e++ {
		for _, f := range factors {
			// Built by division where that is exact, so that ticks are round.
			v := f * math.Pow(10, e)
			if e < 0 {
				v = f / math.Pow(10, -e)
			}
			t = append(t, v)
			if v >= high*(1-1e-9) && len(t) > 1 {
				return from(t, low)
			}
		}
	}
}

// from drops ticks at the beginning that low does not need.
func from(t []float64, low float64) []float64 {
	for len(t) > 2 && t[1] <= low*(1+1e-9) {
		t = t[1:]
	}
	return t
}

// A scale maps values to coordinates.
type scale struct {
	log      bool
	low, top float64 // values
	from, to float64 // their coordinates
}

func (s scale) at(v float64) float64 {
	low, top := s.low, s.top
	if s.log {
		v, low, top = math.Log(max(v, s.low)), math.Log(s.low), math.Log(s.top)
	}
	if top == low {
		return s.from
	}
	return s.from + (v-low)/(top-low)*(s.to-s.from)
}
