package plot

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Count, 0, "0"},
		{Count, 7, "7"},
		{Count, 12345, "12,345"},
		{Count, 999999, "999,999"},
		{Count, 1234567, "1.23 M"},
		{Count, 2.345, "2.35"},
		{Seconds, 0, "0 s"},
		{Seconds, 1.5e-9, "1.5 ns"},
		{Seconds, 71e-6, "71 µs"},
		{Seconds, 999.9e-6, "1 ms"},
		{Seconds, 2.1e-3, "2.1 ms"},
		{Seconds, 0.9996, "1 s"},
		{Seconds, 12.34, "12.3 s"},
		{Seconds, 90, "1.5 min"},
		{Seconds, 1e-12, "0.001 ns"},
		{Bytes, 1, "1 B"},
		{Bytes, 999, "999 B"},
		{Bytes, 31200, "31.2 kB"},
		{Bytes, 999999, "1 MB"},
		{Bytes, 2.5e9, "2.5 GB"},
		{Percent, 3, "3 %"},
		{Percent, 0, "0 %"},
		{"msg/s", 412345, "412 k msg/s"},
		{"msg/s", 48231, "48,200 msg/s"},
		{"msg/s", 2.6e6, "2.6 M msg/s"},
		{"µs/msg", .234, "0.234 µs/msg"},
		{Seconds, -.002, "-2 ms"},
		{Seconds, math.NaN(), "–"},
		{Bytes, math.Inf(1), "–"},
	} {
		assert.Equal(t, c.want, c.unit.Format(c.v), "%v of %q", c.v, string(c.unit))
	}
}

func TestTicksAreRoundAndCover(t *testing.T) {
	assert.Equal(t, []float64{0, 20, 40, 60, 80, 100}, ticks(100, 5))
	assert.Equal(t, []float64{0, 1, 2, 3}, ticks(3, 5))
	assert.Equal(t, []float64{0, 1}, ticks(0, 5))
	assert.Equal(t, []float64{0, 1}, ticks(math.NaN(), 5))
	assert.Equal(t, []float64{1e-4, 1e-3, 1e-2, 1e-1}, logTicks(1.5e-4, .1))
	assert.Equal(t, []float64{2, 5, 10, 20, 50, 100}, logTicks(3, 80))
	for _, top := range []float64{1e-9, .0173, .99, 1, 1.01, 7, 131, 98765, 3e12} {
		got := ticks(top, 5)
		assert.LessOrEqual(t, len(got), 6, "%v", top)
		assert.GreaterOrEqual(t, got[len(got)-1], top*(1-1e-9))
		got = logTicks(top/777, top)
		assert.LessOrEqual(t, got[0], top/777)
		assert.GreaterOrEqual(t, got[len(got)-1], top*(1-1e-9))
	}
}

func TestWrapKeepsWithinTheWidth(t *testing.T) {
	for _, line := range wrap("several words and Donaudampfschifffahrtsgesellschaftskapitän", 120, 12, false) {
		assert.LessOrEqual(t, TextWidth(line, 12, false), 120.0, line)
	}
	assert.Empty(t, wrap("  ", 10, 12, false))
}
