package autobahn

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// play runs cases against endpoints in memory, on a bubble's clock, so that
// waiting takes no time.
func play(t *testing.T, testee Role, d defects, cases []*Case) (rep *Report) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		rep = Run(t.Context(), Options{Testee: testee, Cases: cases, Volume: 1}, opener(&wg, testee, d))
		wg.Wait()
	})
	return rep
}

// quick are the cases that take no time, and compressed some of those that
// compress: each group, each with small messages and with larger ones.
var (
	quick      = []string{"1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "20.*"}
	compressed = sizesOf("12.1", "12.4", "13.1", "13.2", "13.3", "13.4", "13.5", "13.6", "13.7")
)

// sizesOf returns cases with messages of 64 octets, of 4k and of 16k, and of 8k
// in fragments, of each group.
func sizesOf(groups ...string) []string {
	var all []string
	for _, g := range groups {
		all = append(all, g+".2", g+".5", g+".7", g+".11")
	}
	return all
}

func TestCorrectEndpointPassesEveryCase(t *testing.T) {
	cases := Cases()
	if testing.Short() {
		cases = Select(cases, slices.Concat(quick, compressed)...)
	}
	for _, testee := range []Role{Server, Client} {
		t.Run(string(testee), func(t *testing.T) {
			rep := play(t, testee, defects{}, cases)
			for _, r := range rep.Failures() {
				t.Errorf("%s: %s (%s), %s (%s)", r.ID, r.Behavior, r.Explanation, r.BehaviorClose, r.ExplanationClose)
			}
			assert.Equal(t, map[Verdict]int{OK: len(cases) - 3, Informational: 3}, rep.Counts())
			assert.Equal(t, rep.Counts(), rep.CountsClose())
		})
	}
}

// A set says which cases belong to it.
type set func(c *Case) bool

func ids(patterns ...string) set {
	return func(c *Case) bool { return Matches(c.ID, patterns...) }
}

func (s set) but(patterns ...string) set {
	return func(c *Case) bool { return s(c) && !Matches(c.ID, patterns...) }
}

func (s set) and(t set) set   { return func(c *Case) bool { return s(c) && t(c) } }
func (s set) or(t set) set    { return func(c *Case) bool { return s(c) || t(c) } }
func every(c *Case) bool      { return true }
func judged(c *Case) bool     { return !c.informational }
func clean(c *Case) bool      { return c.end.clean && !c.informational }
func mustFail(c *Case) bool   { return !slices.Contains(c.end.codes, 1000) }
func byEndpoint(c *Case) bool { return !c.end.byFuzzer }

// notText are the cases whose text is invalid.
func invalidText(c *Case) bool { return c.end.codes[0] == 1007 && c.end.fatal }

// echoing are the cases in which a message comes back.
func echoing(c *Case) bool {
	return !c.informational && (c.traffic != nil ||
		slices.ContainsFunc(c.want, func(e Event) bool { return e.Kind == Message }))
}

// impatient are those that wait for it for no more than a second.
func impatient(c *Case) bool { return echoing(c) && c.limit <= soon }

// TestMutantsAreCaught shows that the judge works: each of these endpoints is
// wrong in one thing, and fails those cases that are about it, all of them and
// no others.
func TestMutantsAreCaught(t *testing.T) {
	ponged := ids("2.2", "2.3", "2.4", "2.6", "2.9", "2.10", "2.11", "5.6", "5.7", "5.8", "5.19", "5.20", "20.4.6")
	smallWindow := ids(sizesOf("13.3", "13.5", "13.7")...)
	for _, m := range []struct {
		name  string
		d     defects
		cases []string // nil: quick
		fails set
		roles []Role // nil: both
	}{
		{"sends masked frames as a server and unmasked ones as a client", defects{masksWrongly: true}, nil, every, nil},
		{"does not check the mask", defects{noMaskCheck: true}, nil, ids("20.1.1", "20.1.2", "20.1.3", "20.1.4"), nil},
		{"takes reserved bits", defects{anyRSV: true}, nil,
			// Of 3.7 the suite sees no more than a Close frame that is answered.
			ids("3.*", "20.4.7", "20.4.8").but("3.7"), nil},
		{"takes reserved opcodes", defects{anyOpcode: true}, nil, ids("4.*"), nil},
		{"takes any form of the length", defects{anyLength: true}, nil, ids("20.2.*"), nil},
		{"writes lengths in 64 bits", defects{longForm: true}, nil,
			ids("1.1.3", "1.1.4", "1.1.5", "1.1.6", "1.2.3", "1.2.4", "1.2.5", "1.2.6"), nil},
		{"takes long control frames", defects{longControl: true}, nil, ids("2.5", "7.3.6"), nil},
		{"takes fragments of control frames", defects{fragmentedControl: true}, nil, ids("5.1"), nil}, // and fails 5.2's second one
		{"takes a continuation of nothing", defects{strayContinuation: true}, nil, ids("5.9", "5.10", "5.11", "5.17"), nil},
		{"takes a message within a message", defects{nestsMessage: true}, nil, ids("5.18"), nil},
		{"does not answer Pings", defects{noPong: true}, nil, ponged.or(ids("2.1")), nil},
		{"answers Pings with another payload", defects{wrongPong: true}, nil, ponged, nil},
		{"answers Pings after the message", defects{latePong: true}, nil, ids("5.6", "5.7", "5.8", "5.19", "5.20", "20.4.6"), nil},
		{"answers Pongs", defects{answersPong: true}, nil, ids("2.7", "2.8", "2.9"), nil},

		{"does not check UTF-8", defects{noUTF8: true}, nil, set(invalidText).but("20.4.9", "20.4.10", "20.4.11"), nil},
		{"checks UTF-8 when the message is there", defects{utf8AtTheEnd: true}, nil, ids("6.4.*"), nil},
		{"checks UTF-8 frame by frame", defects{utf8PerFrame: true}, nil, ids("6.2.3", "6.2.4", "6.4.2"), nil},
		{"echoes text as binary", defects{otherType: true}, nil, echoing, nil},
		{"echoes 64 KiB at most", defects{cutsLong: true}, nil, ids("1.1.7", "1.1.8", "1.2.7", "1.2.8", "10.1.1"), nil},
		{"changes an octet behind 512 KiB", defects{flipsLate: true}, []string{"9.1.*", "9.2.*"},
			set(every).but("9.1.1", "9.1.2", "9.2.1", "9.2.2"), nil},
		{"echoes after two seconds", defects{slow: true}, nil, impatient, nil},

		{"answers a Close frame of one octet", defects{oneOctetClose: true}, nil, ids("7.3.2"), nil},
		{"does not check the reason", defects{noReasonUTF8: true}, nil, ids("7.5.1"), nil},
		{"takes any status code", defects{anyCloseCode: true}, nil, ids("7.9.*", "20.3.4"), nil},
		{"does not answer Close frames", defects{ignoresClose: true}, nil, clean, nil},
		{"answers Close frames after five seconds", defects{lateClose: true}, nil, clean, nil},
		{"drops the stream at a Close frame", defects{noClose: true}, nil, clean, nil},
		{"does not end the stream", defects{neverEnds: true}, nil, judged, []Role{Server}},
		{"goes on after the closing handshake", defects{talksAfterClose: true}, nil,
			ids("7.1.3", "7.1.4", "7.1.5", "7.1.6"), []Role{Client}},
		{"closes with 1000 whatever was wrong", defects{wrongFailure: true}, nil, mustFail, nil},
		{"does nothing when a rule is broken", defects{noFailure: true}, nil, mustFail, []Role{Server}},
		// As in the suite: with a Close frame that is wrong the fuzzing server
		// wants no answer.
		{"does nothing when a rule is broken", defects{noFailure: true}, nil, set(mustFail).and(byEndpoint), []Role{Client}},

		{"compresses without RSV1", defects{noRSV1: true}, compressed, every, nil},
		{"sets RSV1 on every fragment", defects{rsv1Everywhere: true}, compressed, set(every).but(smallMessages...), nil},
		{"leaves 00 00 ff ff at the end", defects{keepsTail: true}, compressed, every, nil},
		{"does not keep to the window", defects{anyWindow: true}, compressed,
			smallWindow.but("13.5.2", "13.7.2"), nil}, // 64 octets, and no context
		{"keeps the context it said to drop", defects{keepsContext: true, anyWindow: true}, compressed,
			smallWindow.or(ids("13.2.*", "13.6.*")), nil},
		{"drops the context it needs", defects{losesContext: true}, compressed, every, nil},
	} {
		for _, testee := range []Role{Server, Client} {
			if m.roles != nil && !slices.Contains(m.roles, testee) {
				continue
			}
			t.Run(string(testee)+" that "+m.name, func(t *testing.T) {
				cases := Select(Cases(), quick...)
				if m.cases != nil {
					cases = Select(Cases(), m.cases...)
				}
				var want, got []string
				for _, c := range cases {
					if m.fails(c) {
						want = append(want, c.ID)
					}
				}
				for _, r := range play(t, testee, m.d, cases).Failures() {
					got = append(got, r.ID)
				}
				assert.NotEmpty(t, want)
				assert.Equal(t, want, got)
			})
		}
	}
}

// smallMessages are those of compressed whose echoes fit into a frame of 1 KiB.
var smallMessages = []string{
	"12.1.2", "12.4.2", "13.1.2", "13.2.2", "13.3.2", "13.4.2", "13.5.2", "13.6.2", "13.7.2",
}

// TestLegalVariationsPass shows that the judge finds no fault with what is only
// unusual.
func TestLegalVariationsPass(t *testing.T) {
	for name, d := range map[string]defects{
		"never compresses":                        {neverCompresses: true},
		"answers with an empty Close frame":       {emptyAnswer: true},
		"fails connections without a Close frame": {dropsAtFault: true},
	} {
		for _, testee := range []Role{Server, Client} {
			t.Run(string(testee)+" that "+name, func(t *testing.T) {
				for _, r := range play(t, testee, d, Select(Cases(), slices.Concat(quick, compressed)...)).Failures() {
					t.Errorf("%s: %s (%s), %s (%s)", r.ID, r.Behavior, r.Explanation, r.BehaviorClose, r.ExplanationClose)
				}
			})
		}
	}
}

// TestDecliningCompressionIsUnimplemented: and that is how it is counted.
func TestDecliningCompressionIsUnimplemented(t *testing.T) {
	for _, testee := range []Role{Server, Client} {
		rep := play(t, testee, defects{declines: true}, Select(Cases(), slices.Concat(quick, compressed)...))
		for _, r := range rep.Results {
			compresses := Matches(r.ID, "12.*", "13.*", "20.4.*")
			assert.Equal(t, compresses, r.Behavior == Unimplemented, r.ID)
			assert.Equal(t, !compresses, r.Passed(), r.ID)
		}
	}
}
