package autobahn

import (
	"fmt"
	"strings"
	"time"
)

// messageSizes are those of each group of 12 and 13: the size of a message, the
// limit for all of them, and into how many octets of payload a message is cut.
var messageSizes = []struct {
	size     int
	limit    time.Duration
	fragment int
}{
	{16, 6 * long, 0},
	{64, 6 * long, 0},
	{256, 12 * long, 0},
	{1 << 10, 24 * long, 0},
	{4 << 10, 48 * long, 0},
	{8 << 10, 48 * long, 0},
	{16 << 10, 48 * long, 0},
	{32 << 10, 48 * long, 0},
	{64 << 10, 48 * long, 0},
	{128 << 10, 48 * long, 0},
	{8 << 10, 48 * long, 256},
	{16 << 10, 48 * long, 256},
	{32 << 10, 48 * long, 256},
	{64 << 10, 48 * long, 256},
	{128 << 10, 48 * long, 256},
	{128 << 10, 48 * long, 1 << 10},
	{128 << 10, 48 * long, 4 << 10},
	{128 << 10, 48 * long, 32 << 10},
}

// messages is how many messages each case of 12 and 13 has.
const messages = 1000

// parameters are the groups of 13: what the fuzzer asks for, best first.
var parameters = [][]terms{
	{{}},
	{{noTakeover: true}},
	{{bits: 9}},
	{{bits: 15}},
	{{noTakeover: true, bits: 9}},
	{{noTakeover: true, bits: 15}},
	{{noTakeover: true, bits: 9}, {noTakeover: true}, {}},
}

func compressionGroupName(key string) (string, bool) {
	var category, group int
	fmt.Sscanf(strings.ReplaceAll(key, ".", " "), "%d %d", &category, &group)
	switch {
	case group < 1:
		return "", false
	case category == 12 && group <= len(dataSets):
		return dataSets[group-1].String(), true
	case category == 13 && group <= len(parameters):
		return fmt.Sprintf("%v - asks for (requestNoContextTakeover, requestMaxWindowBits): %v",
			dataSets[0], parameters[group-1]), true
	}
	return "", false
}

// compressionCases are 12.* and 13.*: messages go out compressed, and come back
// in whatever way the endpoint chooses.
func compressionCases() []*Case {
	var cases []*Case
	for i := range dataSets {
		cases = append(cases, compressionGroup(id(12, i+1), dataSets[i], []terms{{}})...)
	}
	for i, all := range parameters {
		cases = append(cases, compressionGroup(id(13, i+1), dataSets[0], all)...)
	}
	return cases
}

func compressionGroup(group string, data *dataSet, all []terms) []*Case {
	var cases []*Case
	for i, m := range messageSizes {
		unit := "characters"
		if data.binary {
			unit = "octets"
		}
		title := fmt.Sprintf("Compressed messages of %s %s.", size(m.size), unit)
		if m.fragment != 0 {
			title = fmt.Sprintf("Compressed messages of %s %s in fragments of %s octets.", size(m.size), unit, size(m.fragment))
		}
		c := echoed(fmt.Sprintf("%s.%d", group, i+1), title, m.limit, traffic{
			binary: data.binary, count: messages, size: m.size, fragment: m.fragment,
			message: func(j int) []byte { return data.piece(j, m.size) },
		})
		c.terms = all
		cases = append(cases, c)
	}
	return cases
}
