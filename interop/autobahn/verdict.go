package autobahn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Verdict is the judgement on one aspect of a case.
type Verdict string

// The verdicts. The first five are given for what an endpoint did, and all but
// NonStrict and Unimplemented for how the socket ended.
const (
	OK            Verdict = "OK"
	NonStrict     Verdict = "NON-STRICT"    // conforms, but not in the best way
	Informational Verdict = "INFORMATIONAL" // the RFCs leave it open
	Unimplemented Verdict = "UNIMPLEMENTED" // the endpoint declined the extension
	Failed        Verdict = "FAILED"

	WrongCode      Verdict = "WRONG CODE"       // closed with another status code
	Unclean        Verdict = "UNCLEAN"          // no closing handshake, or none in time
	FailedByClient Verdict = "FAILED BY CLIENT" // the client had to end the stream
)

// Verdicts lists all verdicts, best first.
func Verdicts() []Verdict {
	return []Verdict{OK, Informational, NonStrict, Unimplemented, WrongCode, Unclean, FailedByClient, Failed}
}

// A Kind is the kind of an Event.
type Kind string

// The kinds of events.
const (
	Message   Kind = "message"
	Ping      Kind = "ping"
	Pong      Kind = "pong"
	Pause     Kind = "pause"     // the fuzzer waited and the socket stayed open; Data names the pause
	Violation Kind = "violation" // the endpoint sent what it must not send; Data says what
)

// An Event is what the fuzzer saw of the endpoint, Close frames aside.
type Event struct {
	Kind   Kind
	Binary bool // of a Message
	Data   string
}

// String describes the event in a line.
func (e Event) String() string {
	switch e.Kind {
	case Pause:
		return "open after pause " + e.Data
	case Violation:
		return "violation: " + e.Data
	case Message:
		if e.Binary {
			return "binary message " + quote(e.Data)
		}
		return "text message " + quote(e.Data)
	}
	return string(e.Kind) + " " + quote(e.Data)
}

// quote shows the beginning of s and its length.
func quote(s string) string {
	const shown = 48
	if len(s) > shown {
		return fmt.Sprintf("%q… (%d octets)", s[:shown], len(s))
	}
	return strconv.Quote(s)
}

func describe(events []Event) string {
	if len(events) == 0 {
		return "nothing"
	}
	var all []string
	for _, e := range events {
		all = append(all, e.String())
	}
	return strings.Join(all, ", ")
}

// An ending is how the socket should end.
type ending struct {
	byFuzzer bool  // the fuzzer sends its Close frame first
	codes    []int // what the endpoint's Close frame may carry, beside nothing
	clean    bool  // a closing handshake is demanded

	// fatal: an endpoint that lets the fuzzer close has not noticed what it was
	// sent, and fails the case.
	fatal bool
}

// judge gives the verdicts on a case that has been played.
func (s *session) judge() {
	r, c := s.result, s.test
	if s.declined() {
		r.Behavior, r.Explanation = Unimplemented, "the endpoint declined permessage-deflate"
		s.judgeEnding(closedByFuzzer())
		return
	}
	if c.traffic == nil {
		r.Behavior, r.Explanation = Failed, "received: "+describe(s.received)
		if slices.Equal(s.received, c.want) {
			r.Behavior, r.Explanation = OK, "as expected"
		} else if c.lenient && slices.Equal(s.received, c.nonStrict) {
			r.Behavior, r.Explanation = NonStrict, "received: "+describe(s.received)
		}
	}
	s.judgeEnding(c.end)
	if c.end.fatal && c.end.byFuzzer != s.closedByFuzzer {
		r.Behavior, r.Explanation = Failed, "the endpoint did not close the socket"
	}
	if r.BehaviorClose == WrongCode && c.wrongCodeFails {
		r.Behavior, r.Explanation = Failed, r.ExplanationClose
	}
	if c.informational {
		r.Behavior, r.BehaviorClose = Informational, Informational
	}
	for _, e := range s.received {
		if e.Kind == Violation {
			r.Behavior, r.Explanation = Failed, e.Data
		}
	}
}

// judgeEnding compares how the socket ended with how it should.
func (s *session) judgeEnding(want ending) {
	r, code := s.result, s.remoteCode
	switch {
	case want.byFuzzer != s.closedByFuzzer:
		r.BehaviorClose, r.ExplanationClose = Failed, "the wrong side closed the socket"
	case want.clean && !s.wasClean:
		r.BehaviorClose, r.ExplanationClose = Unclean, "no closing handshake: "+s.unclean
	case code != 0 && !slices.Contains(want.codes, code):
		r.BehaviorClose = WrongCode
		r.ExplanationClose = fmt.Sprintf("closed with status %d, not with one of %v or none", code, want.codes)
	case s.masks && s.droppedByFuzzer:
		r.BehaviorClose, r.ExplanationClose = FailedByClient, "the server left it to the client to end the stream"
	default:
		r.BehaviorClose, r.ExplanationClose = OK, "closed properly"
	}
}
