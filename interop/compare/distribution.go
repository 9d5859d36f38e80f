package main

import (
	"math"
	"slices"

	"github.com/wsmux/websocket/interop/compare/result"
)

// points is how many points of a distribution function a report keeps.
const points = 100

// distribution describes values, in milliseconds, nil if there are none.
func distribution(key, name, how string, values []float64) []result.Distribution {
	if len(values) == 0 {
		return nil
	}
	v := slices.Sorted(slices.Values(values))
	d := result.Distribution{
		Key: key, Name: name, Unit: "ms", Count: len(v),
		P50: quantile(v, 0.5), P90: quantile(v, 0.9), P99: quantile(v, 0.99), Max: v[len(v)-1],
		How: how + " Every value was kept; quantiles are values that occurred (nearest rank).",
	}
	// Points are denser towards the end, which is where distributions differ.
	last := 0
	for i := 1; i <= points; i++ {
		x := float64(i) / points
		n := int(math.Ceil(float64(len(v)) * (1 - math.Pow(1-x, 2))))
		if n > last {
			d.Points = append(d.Points, result.Point{Value: v[n-1], Fraction: float64(n) / float64(len(v))})
			last = n
		}
	}
	return []result.Distribution{d}
}

// quantile returns the nearest rank in sorted values.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// median returns the middle of values.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 0 {
		return (v[mid-1] + v[mid]) / 2
	}
	return v[mid]
}
