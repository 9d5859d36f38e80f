package plot

import (
	"math"
	"strconv"
	"strings"
)

// A Unit is what values are counted in. Seconds and Bytes are scaled (a value
// of 0.0021 in Seconds reads "2.1 ms"), Count and Percent are not, and any other
// text is written behind the number ("41,200 msg/s").
type Unit string

// The units with rules of their own.
const (
	Count   Unit = ""
	Seconds Unit = "s"
	Bytes   Unit = "B"
	Percent Unit = "%"
)

// A step is a scaled unit: it serves values from size up.
type step struct {
	size float64
	name string
}

var (
	secondSteps = []step{{60, "min"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}}
	byteSteps   = []step{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1, "B"}}
	otherSteps  = []step{{1e9, "G"}, {1e6, "M"}, {1e5, "k"}, {1, ""}}
)

// Format writes a value with its unit, to three significant digits; counts
// below a million are written in full. Thousands are separated by commas.
func (u Unit) Format(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case u == Count && v == math.Trunc(v) && math.Abs(v) < 1e6:
		return Digits(v)
	case v == 0:
		return strings.TrimSpace("0 " + string(u))
	case u == Percent:
		return digits(v) + " %"
	}
	steps, suffix := otherSteps, string(u)
	switch u {
	case Seconds:
		steps, suffix = secondSteps, ""
	case Bytes:
		steps, suffix = byteSteps, ""
	}
	// What rounds up to the next step is written in it: 1 ms, not 1,000 µs.
	rounded := significant(v)
	s := steps[len(steps)-1]
	for _, candidate := range steps {
		if math.Abs(rounded) >= candidate.size*(1-1e-9) {
			s = candidate
			break
		}
	}
	divisor := s.size
	switch s.name {
	case "k":
		divisor = 1e3 // 100 k, but 99,900
	case "":
		divisor = 1
	}
	return strings.Join(strings.Fields(digits(v/divisor)+" "+s.name+" "+suffix), " ")
}

// significant rounds to three significant digits.
func significant(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	return r
}

// Digits writes a number without a unit: to three significant digits, but whole
// numbers below a million in full; thousands are separated by commas.
func Digits(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e6 {
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return digits(v)
}

// digits writes a number to three significant digits, without zeros at the end
// of a fraction.
func digits(v float64) string {
	return thousands(strconv.FormatFloat(significant(v), 'f', -1, 64))
}

// thousands puts commas into a decimal number.
func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, fraction, found := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		whole += "." + fraction
	}
	return sign + whole
}
