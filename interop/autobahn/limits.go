package autobahn

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/wsmux/websocket/internal/wstest"
)

// repeat returns n octets of pattern, over and over.
func repeat(pattern string, n int) []byte {
	return bytes.Repeat([]byte(pattern), n/len(pattern)+1)[:n]
}

// fills are the octets that large messages of each type are made of.
var fills = map[bool]string{false: "BAsd7&jh23", true: "\x00\xfe\x23\xfa\xf0"}

// echoed returns a case of traffic.
func echoed(id, title string, limit time.Duration, t traffic) *Case {
	return &Case{
		ID: id, Title: title, Expectation: fmt.Sprintf("The echo, octet by octet, within %v; clean close.", limit),
		traffic: &t, end: closedByFuzzer(),
		limit: limit, patient: true, heavy: true,
	}
}

func kindOf(binary bool) string {
	if binary {
		return "binary"
	}
	return "text"
}

// limitCases are 9.* and 10.*: large messages, many fragments, small pieces, and
// round trips.
func limitCases() []*Case {
	var cases []*Case
	for group := 1; group <= 8; group += 2 {
		for _, binary := range []bool{false, true} {
			number := group
			if binary {
				number++
			}
			switch group {
			case 1:
				cases = append(cases, largeCases(number, binary)...)
			case 3:
				cases = append(cases, manyFragmentsCases(number, binary)...)
			case 5:
				cases = append(cases, smallPiecesCases(number, binary)...)
			case 7:
				cases = append(cases, roundTripCases(number, binary)...)
			}
		}
	}
	return append(cases, autoFragmentCase())
}

func largeCases(group int, binary bool) []*Case {
	var cases []*Case
	for i, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
		limit := 10 * long
		if i < 2 || binary && i < 4 {
			limit = long
		}
		title := fmt.Sprintf("A %s message of %s octets in one frame.", kindOf(binary), size(n))
		cases = append(cases, echoed(id(9, group, i+1), title, limit, traffic{
			binary: binary, count: 1, size: n,
			message: func(int) []byte { return repeat(fills[binary], n) },
		}))
	}
	return cases
}

func manyFragmentsCases(group int, binary bool) []*Case {
	const n = 4 << 20
	fill := map[bool]string{false: "*", true: "\xfe"}[binary]
	var cases []*Case
	for i, octets := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
		title := fmt.Sprintf("A %s message of %s octets in fragments of %s.", kindOf(binary), size(n), size(octets))
		cases = append(cases, echoed(id(9, group, i+1), title, 10*long, traffic{
			binary: binary, count: 1, size: n, fragment: octets,
			message: func(int) []byte { return repeat(fill, n) },
		}))
	}
	return cases
}

func smallPiecesCases(group int, binary bool) []*Case {
	const n = 1 << 20
	var cases []*Case
	for i, octets := range []int{64, 128, 256, 512, 1024, 2048} {
		title := fmt.Sprintf("A %s message of %s octets in one frame, written %d octets at a time.", kindOf(binary), size(n), octets)
		cases = append(cases, echoed(id(9, group, i+1), title, 100*long, traffic{
			binary: binary, count: 1, size: n, chop: octets,
			message: func(int) []byte { return repeat(fills[binary], n) },
		}))
	}
	return cases
}

func roundTripCases(group int, binary bool) []*Case {
	fill := map[bool]string{false: "*", true: "\xfe"}[binary]
	limits := []time.Duration{6 * long, 6 * long, 6 * long, 12 * long, 24 * long, 48 * long}
	var cases []*Case
	for i, n := range []int{0, 16, 64, 256, 1024, 4096} {
		title := fmt.Sprintf("1000 %s messages of %d octets, one after the other.", kindOf(binary), n)
		cases = append(cases, echoed(id(9, group, i+1), title, limits[i], traffic{
			binary: binary, count: 1000, size: n,
			message: func(int) []byte { return repeat(fill, n) },
		}))
	}
	return cases
}

func autoFragmentCase() *Case {
	const n, fragment = 65536, 1300
	payload := strings.Repeat("*", n)
	var parts []string
	for rest := payload; len(rest) > 0; rest = rest[min(fragment, len(rest)):] {
		parts = append(parts, rest[:min(fragment, len(rest))])
	}
	c := echoes("10.1.1", fmt.Sprintf("A text message of %d octets in %d fragments of at most %d.", n, len(parts), fragment),
		together, textMessage(payload), fragments(parts...)...)
	c.limit, c.patient = long, false
	return c
}

// cut returns a message as frames with at most fragment octets of payload each;
// 0 means one frame. A message that comes out even has an empty last fragment.
func cut(first wstest.Frame, payload []byte, fragment int) []wstest.Frame {
	if fragment == 0 {
		first.Payload = payload
		return []wstest.Frame{first}
	}
	var frames []wstest.Frame
	for len(payload) >= fragment {
		f := wstest.Frame{Payload: payload[:fragment], More: true}
		frames, payload = append(frames, f), payload[fragment:]
	}
	frames = append(frames, wstest.Frame{Payload: payload})
	frames[0].Opcode, frames[0].RSV1 = first.Opcode, first.RSV1
	return frames
}
