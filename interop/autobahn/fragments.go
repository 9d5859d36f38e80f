package autobahn

import (
	"strings"
	"time"

	"github.com/wsmux/websocket/internal/wstest"
)

// manners are the three ways in which many of the cases of 5 are written.
var manners = []struct {
	chop int
	how  string
}{
	{together, " In one write."},
	{framewise, " One frame per write."},
	{1, " Octet by octet."},
}

// fragmentCases are 5.*: what may be fragmented, how, and what may come between.
func fragmentCases() []*Case {
	const one, two = "fragment1", "fragment2"
	var (
		start   = wstest.Text(one).Fragment()
		end     = wstest.Continuation(two)
		whole   = wstest.Text(hello)
		stray   = wstest.Continuation("non-continuation payload")
		both    = textMessage(one + two)
		between = wstest.Ping("ping payload")
	)
	cases := []*Case{
		breaks("5.1", "A Ping in two fragments.", together, nil, wstest.Ping(one).Fragment(), end),
		breaks("5.2", "A Pong in two fragments.", together, nil, wstest.Pong(one).Fragment(), end),
	}
	for i, m := range manners {
		cases = append(cases, echoes(id(5, 3+i), "A text message in two fragments."+m.how, m.chop, both, start, end))
	}
	for i, m := range manners {
		c := echoes(id(5, 6+i), "A text message in two fragments with a Ping between them."+m.how, m.chop, both, start, between, end)
		c.want = []Event{pong("ping payload"), both}
		c.Expectation = "The Pong comes before the echo; clean close."
		cases = append(cases, c)
	}
	for i, m := range manners {
		cases = append(cases, breaks(id(5, 9+i), "A final continuation frame of nothing, then a text message."+m.how, m.chop, nil, stray, whole))
	}
	for i, m := range manners {
		cases = append(cases, breaks(id(5, 12+i), "A continuation frame of nothing that is not final, then a text message."+m.how, m.chop, nil, stray.Fragment(), whole))
	}
	three := wstest.Continuation("fragment3")
	return append(cases,
		breaks("5.15", "A text message in two fragments, a continuation frame of nothing, a text message.", together, []Event{both},
			start, end, three.Fragment(), wstest.Text("fragment4")),
		breaks("5.16", "Twice: a continuation frame of nothing that is not final, and a text message in two fragments.", together, nil,
			twice(wstest.Continuation(one).Fragment(), wstest.Text(two).Fragment(), three)...),
		breaks("5.17", "Twice: a final continuation frame of nothing, and a text message in two fragments.", together, nil,
			twice(wstest.Continuation(one), wstest.Text(two).Fragment(), three)...),
		breaks("5.18", "A text message in two fragments, the second of which is a text frame again.", together, nil, start, wstest.Text(two)),
		pausedFragments("5.19", together),
		pausedFragments("5.20", framewise),
	)
}

func twice(frames ...wstest.Frame) []wstest.Frame {
	return append(frames[:len(frames):len(frames)], frames...)
}

// pausedFragments sends a message in five fragments with two Pings between, and
// waits in the middle: the first Pong must not wait for the message's end.
func pausedFragments(id string, chop int) *Case {
	parts := []string{"fragment1", "fragment2", "fragment3", "fragment4", "fragment5"}
	pings := []string{"pongme 1!", "pongme 2!"}
	c := &Case{
		ID:          id,
		Title:       "Two fragments of a text message and a Ping, a pause of 1 s, two fragments, a Ping and the last fragment.",
		Expectation: "Each Ping is answered at once, then the message is echoed; clean close.",
		steps: []step{
			{chop: chop, send: []wstest.Frame{
				wstest.Text(parts[0]).Fragment(), wstest.Continuation(parts[1]).Fragment(), wstest.Ping(pings[0]),
			}},
			{pause: time.Second, chop: chop, send: []wstest.Frame{
				wstest.Continuation(parts[2]).Fragment(), wstest.Continuation(parts[3]).Fragment(),
				wstest.Ping(pings[1]), wstest.Continuation(parts[4]),
			}},
		},
		want: []Event{pong(pings[0]), pong(pings[1]), textMessage(strings.Join(parts, ""))},
		end:  closedByFuzzer(), limit: soon, patient: true,
	}
	if chop == framewise {
		c.Title += " One frame per write."
	}
	return c
}
