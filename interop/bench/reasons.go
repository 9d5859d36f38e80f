package main

import "strings"

// A reason says why cells were not reached in the results beside this file.
type reason struct {
	in, of, metric string // the beginning of what the cell's parts are called
	text           string
}

// reasons are searched in order.
var reasons = []reason{}

// unexplained stands where a reason is missing.
const unexplained = "Not explained yet."

func reasonFor(v verdict) string {
	for _, r := range reasons {
		if strings.HasPrefix(v.in, r.in) && strings.HasPrefix(v.of, r.of) && strings.HasPrefix(v.metric.name, r.metric) {
			return r.text
		}
	}
	return unexplained
}
