package autobahn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wsmux/websocket/internal/wstest"
)

// A Case is one entry of the table: what the fuzzer sends and what it expects.
type Case struct {
	ID          string // "6.4.1"
	Title       string // what is sent
	Expectation string // what should happen

	steps []step
	want  []Event // received in this order: OK

	// lenient: to receive nonStrict instead is NonStrict.
	lenient   bool
	nonStrict []Event

	end ending

	// limit bounds the wait for the endpoint after the last step. Then the
	// fuzzer closes the socket in order (patient) or fails it.
	limit   time.Duration
	patient bool

	// passive: receiving what was expected does not make the fuzzer close.
	passive bool

	wrongCodeFails bool // another status code is a failure, not only WrongCode
	informational  bool // whatever happens is worth knowing, not judging

	// traffic, if not nil, is sent after the steps: messages whose echoes are
	// compared. Then want is not used.
	traffic *traffic

	// terms, if not nil, are the ways in which the fuzzer asks for
	// permessage-deflate, best first.
	terms []terms

	heavy bool // takes long: few of these run at the same time
}

// A step is something that the fuzzer does.
type step struct {
	// pause waits this long. If the socket is open then, the pause is recorded
	// by its mark, if it has one, and the step goes on; otherwise this step and
	// the later ones are left out.
	pause time.Duration
	mark  string

	send []wstest.Frame
	raw  func(masked bool) []byte // sent behind the frames
	chop int

	closes bool // a Close frame is among it: the fuzzer begins to close
}

// What chop means, beside a number of octets per write.
const (
	together  = 0  // the step in one write
	framewise = -1 // each frame in a write of its own
)

// traffic is a sequence of messages, each sent when the echo of the one before
// has arrived.
type traffic struct {
	binary   bool
	count    int
	size     int // octets of a message, characters if text
	message  func(i int) []byte
	fragment int // octets of payload per frame, 0: all
	chop     int
}

// Cases returns the table in its order: the suite's 517, then category 20.
func Cases() []*Case {
	return slices.Concat(framingCases(), controlCases(), reservedCases(), opcodeCases(),
		fragmentCases(), textCases(), closingCases(), limitCases(), compressionCases(), extraCases())
}

// Select returns the cases whose ID matches one of the patterns: an ID, or the
// beginning of one with ".*" behind it.
func Select(cases []*Case, patterns ...string) []*Case {
	var selected []*Case
	for _, c := range cases {
		if Matches(c.ID, patterns...) {
			selected = append(selected, c)
		}
	}
	return selected
}

// Matches reports whether the ID matches one of the patterns of [Select].
func Matches(id string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if group, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(id, group)
		}
		return id == p
	})
}

// Category returns the first number of an ID.
func Category(id string) int {
	first, _, _ := strings.Cut(id, ".")
	n, _ := strconv.Atoi(first)
	return n
}

// Limits of the suite.
const (
	soon = time.Second
	long = 10 * time.Second
)

// The endings that most cases have.
func closedByFuzzer() ending { return ending{byFuzzer: true, codes: []int{1000}, clean: true} }

func failedByEndpoint(code int) ending { return ending{codes: []int{code}} }

// echoes returns a case in which frames are sent, as chop says, and one message
// comes back.
func echoes(id, title string, chop int, e Event, frames ...wstest.Frame) *Case {
	return &Case{
		ID: id, Title: title, Expectation: "The message is echoed; clean close.",
		steps: []step{{send: frames, chop: chop}},
		want:  []Event{e},
		end:   closedByFuzzer(),
		limit: soon, patient: true,
	}
}

// breaks returns a case in which frames are sent that break a rule: after what
// is wanted, if anything, the endpoint fails the connection.
func breaks(id, title string, chop int, want []Event, frames ...wstest.Frame) *Case {
	c := &Case{
		ID: id, Title: title, Expectation: "The connection is failed at once with status 1002.",
		steps:   []step{{send: frames, chop: chop}},
		want:    want,
		lenient: len(want) > 0, // not to echo what came just before is NonStrict
		end:     failedByEndpoint(1002),
		limit:   soon,
	}
	if c.lenient {
		c.Expectation = "The message is echoed, then the connection is failed with status 1002. " +
			"What follows is not answered."
	}
	return c
}

func textMessage(s string) Event   { return Event{Kind: Message, Data: s} }
func binaryMessage(s string) Event { return Event{Kind: Message, Binary: true, Data: s} }
func pong(s string) Event          { return Event{Kind: Pong, Data: s} }

// id returns numbers as an ID.
func id(numbers ...int) string {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}

// size writes a number of octets as the suite does: 64k, 4M.
func size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprint(n>>20, "M")
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprint(n>>10, "k")
	}
	return fmt.Sprint(n)
}
