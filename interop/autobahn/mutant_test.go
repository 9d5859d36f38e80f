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

// invalidText are the cases whose text is invalid.
func invalidText(c *Case) bool { return c.end.codes[0] == 1007 && c.end.fatal }

// echoing are the cases in which a message comes back.
func echoing(c *Case) bool {
	return !c.informational && (c.traffic != nil ||
		slices.ContainsFunc(c.want, func(e Event) bool { return e.Kind == Message }))
}

// impatient are those that wait for it for no more than a second.
func impatient(c *Case) bool { return echoing(c) && c.limit <= soon }

// A mutant is an endpoint that is wrong in one thing.
type mutant struct {
	name  string // "server that …"
	wrong defects
	cases []string // played; nil: quick
	fails set      // among them
	role  Role     // empty: both
}

// framingMutants are wrong in categories 1 to 5.
func framingMutants() []mutant {
	between := ids("5.6", "5.7", "5.8", "5.19", "5.20", "20.4.6")
	withPayload := ids("2.2", "2.3", "2.4", "2.6", "2.9", "2.10", "2.11").or(between)
	return []mutant{
		{name: "masks as the other side should", wrong: defects{masksWrongly: true}, fails: every},
		{name: "does not check the mask", wrong: defects{noMaskCheck: true}, fails: ids("20.1.*").but("20.1.5")},
		// Of 3.7 the suite sees no more than a Close frame that is answered.
		{name: "takes reserved bits", wrong: defects{anyRSV: true}, fails: ids("3.*", "20.4.7", "20.4.8").but("3.7")},
		{name: "takes reserved opcodes", wrong: defects{anyOpcode: true}, fails: ids("4.*")},
		{name: "takes any form of the length", wrong: defects{anyLength: true}, fails: ids("20.2.*")},
		{
			name: "writes lengths in 64 bits", wrong: defects{longForm: true},
			fails: ids("1.1.3", "1.1.4", "1.1.5", "1.1.6", "1.2.3", "1.2.4", "1.2.5", "1.2.6"),
		},
		{name: "takes long control frames", wrong: defects{longControl: true}, fails: ids("2.5", "7.3.6")},
		// Of 5.2 the second frame is wrong enough without the first.
		{name: "takes fragments of control frames", wrong: defects{fragmentedControl: true}, fails: ids("5.1")},
		{name: "takes a continuation of nothing", wrong: defects{strayContinuation: true}, fails: ids("5.9", "5.10", "5.11", "5.17")},
		{name: "takes a message within a message", wrong: defects{nestsMessage: true}, fails: ids("5.18")},
		{name: "does not answer Pings", wrong: defects{noPong: true}, fails: withPayload.or(ids("2.1"))},
		{name: "answers Pings with another payload", wrong: defects{wrongPong: true}, fails: withPayload},
		{name: "answers Pings after the message", wrong: defects{latePong: true}, fails: between},
		{name: "answers Pongs", wrong: defects{answersPong: true}, fails: ids("2.7", "2.8", "2.9")},
	}
}

// messageMutants are wrong in categories 6, 9 and 10.
func messageMutants() []mutant {
	return []mutant{
		{name: "does not check UTF-8", wrong: defects{noUTF8: true}, fails: set(invalidText).but("20.4.9", "20.4.10", "20.4.11")},
		{name: "checks UTF-8 when the message is there", wrong: defects{utf8AtTheEnd: true}, fails: ids("6.4.*")},
		{name: "checks UTF-8 frame by frame", wrong: defects{utf8PerFrame: true}, fails: ids("6.2.3", "6.2.4", "6.4.2")},
		{name: "echoes text as binary", wrong: defects{otherType: true}, fails: echoing},
		{name: "echoes 64 KiB at most", wrong: defects{cutsLong: true}, fails: ids("1.1.7", "1.1.8", "1.2.7", "1.2.8", "10.1.1")},
		{
			name: "changes an octet behind 512 KiB", wrong: defects{flipsLate: true},
			cases: []string{"9.1.*", "9.2.*"}, fails: set(every).but("9.1.1", "9.1.2", "9.2.1", "9.2.2"),
		},
		{name: "echoes after five seconds", wrong: defects{slow: true}, fails: impatient},
	}
}

// closingMutants are wrong in category 7, and in how they end the other cases.
func closingMutants() []mutant {
	return []mutant{
		{name: "answers a Close frame of one octet", wrong: defects{oneOctetClose: true}, fails: ids("7.3.2")},
		{name: "does not check the reason", wrong: defects{noReasonUTF8: true}, fails: ids("7.5.1")},
		{name: "takes any status code", wrong: defects{anyCloseCode: true}, fails: ids("7.9.*", "20.3.4")},
		{name: "does not answer Close frames", wrong: defects{ignoresClose: true}, fails: clean},
		{name: "answers Close frames after five seconds", wrong: defects{lateClose: true}, fails: clean},
		{name: "drops the stream at a Close frame", wrong: defects{noClose: true}, fails: clean},
		{name: "does not end the stream", wrong: defects{neverEnds: true}, fails: judged, role: Server},
		{
			name: "goes on after the closing handshake", wrong: defects{talksAfterClose: true},
			fails: ids("7.1.3", "7.1.4", "7.1.5", "7.1.6"), role: Client,
		},
		{name: "closes with 1000 whatever was wrong", wrong: defects{wrongFailure: true}, fails: mustFail},
		{name: "lets everything pass", wrong: defects{noFailure: true}, fails: mustFail, role: Server},
		// As in the suite: a fuzzing server that has sent a Close frame that is
		// wrong wants no answer to it.
		{name: "lets everything pass", wrong: defects{noFailure: true}, fails: set(mustFail).and(byEndpoint), role: Client},
	}
}

// compressionMutants are wrong in categories 12 and 13.
func compressionMutants() []mutant {
	// Echoes of these fit into a frame of 1 KiB.
	inOneFrame := []string{"12.1.2", "12.4.2", "13.1.2", "13.2.2", "13.3.2", "13.4.2", "13.5.2", "13.6.2", "13.7.2"}
	window := ids(sizesOf("13.3", "13.5", "13.7")...)
	all := []mutant{
		{name: "compresses without RSV1", wrong: defects{noRSV1: true}, fails: every},
		{name: "sets RSV1 on every fragment", wrong: defects{rsv1Everywhere: true}, fails: set(every).but(inOneFrame...)},
		{name: "leaves 00 00 ff ff at the end", wrong: defects{keepsTail: true}, fails: every},
		// 64 octets, without those before them, are less than a window.
		{name: "does not keep to the window", wrong: defects{anyWindow: true}, fails: window.but("13.5.2", "13.7.2")},
		{
			name: "keeps the context it said to drop", wrong: defects{keepsContext: true, anyWindow: true},
			fails: window.or(ids("13.2.*", "13.6.*")),
		},
		{name: "drops the context it needs", wrong: defects{losesContext: true}, fails: every},
	}
	for i := range all {
		all[i].cases = compressed
	}
	return all
}

// TestMutantsAreCaught shows that the judge works: each of the mutants fails
// those cases that are about what it does wrong, all of them and no others.
func TestMutantsAreCaught(t *testing.T) {
	for _, m := range slices.Concat(framingMutants(), messageMutants(), closingMutants(), compressionMutants()) {
		for _, testee := range []Role{Server, Client} {
			if m.role != "" && m.role != testee {
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
				for _, r := range play(t, testee, m.wrong, cases).Failures() {
					got = append(got, r.ID)
				}
				assert.NotEmpty(t, want)
				assert.Equal(t, want, got)
			})
		}
	}
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
