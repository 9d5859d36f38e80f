package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wsmux/websocket/interop/compare/result"
)

// findings says of scenarios 5 and 7 when HTTP/2's one TCP connection hurts and
// when HTTP/3 helps. For each condition that was measured it judges the three
// kinds of WebSocket by their message latency.
func findings(v *view, s *scenario) []string {
	if s.Number != 5 && s.Number != 7 {
		return nil
	}
	var sentences []string
	var hurt, harmless, faster, slower []string
	for _, runs := range s.conditions() {
		j := judge(runs, s.Number == 5)
		sentences = append(sentences, j.sentences())
		if j.complete() {
			hurt, harmless = assign(j.tcp(), j.condition, hurt, harmless)
			faster, slower = assign(j.help < 0, j.condition, faster, slower)
		}
	}
	if len(hurt)+len(harmless) == 0 {
		return append(sentences, "When HTTP/2's one TCP connection hurts, and when HTTP/3 helps, does not follow from these runs.")
	}
	return append(sentences, "In these runs the one TCP connection of HTTP/2 hurt messages "+when(hurt, harmless)+
		", and HTTP/3 was faster than HTTP/2 "+when(faster, slower)+".")
}

// assign appends the condition to the first list or to the second one.
func assign(first bool, condition string, a, b []string) ([]string, []string) {
	if first {
		return append(a, condition), b
	}
	return a, append(b, condition)
}

// when says at which conditions something held, and at which it did not.
func when(held, not []string) string {
	switch {
	case len(held) == 0:
		return "at none of these conditions"
	case len(not) == 0 && len(held) > 1:
		return "at all of these conditions"
	case len(not) == 0:
		return "at " + held[0]
	}
	return "at " + enumerate(held, "and") + ", not at " + enumerate(not, "or")
}

// A judgement is what one condition says of WebSockets over HTTP/1.1, HTTP/2 and
// HTTP/3.
type judgement struct {
	condition  string
	percentile string
	above      []string   // higher percentiles, at which HTTP/2 was not slower
	h1, h2, h3 *amount    // nil if not measured
	before     [3]*amount // before the download, likewise
	lossy      bool
	bulk       bool // beside a download
	hurt       int  // h2 compared with h1: 1 if it was slower
	help       int  // h3 compared with h2: -1 if it was faster
}

// judge compares at the highest percentile at which HTTP/2 was slower than
// HTTP/1.1: a lost segment delays more of the messages that share a connection,
// which shows before the slowest of them do. Where HTTP/2 was not slower it
// compares at the highest of all.
func judge(runs []*run, bulk bool) judgement {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r *run) bool { return !slices.Contains(sockets, r.Transport) })
	all := supported(result.MessageLatency, runs)
	var above []string
	for _, p := range all {
		j := judgeAt(runs, p, bulk)
		if j.hurt > 0 {
			j.above = above
			return j
		}
		above = append(above, p.name)
	}
	return judgeAt(runs, all[0], bulk)
}

func judgeAt(runs []*run, p percentile, bulk bool) judgement {
	j := judgement{bulk: bulk, condition: "these parameters", percentile: p.name}
	if len(runs) > 0 {
		if c := mostLoss.condition(runs[0]); c != "" {
			j.condition = c
		}
		j.lossy = runs[0].parameter(result.Loss) > 0
	}
	before, _ := percentileOf(result.BaselineDelay, runs, p)
	for i := range before {
		j.before[slices.Index(sockets, before[i].run.Transport)] = &before[i]
	}
	amounts, _ := percentileOf(result.MessageLatency, runs, p)
	for i := range amounts {
		a := &amounts[i]
		switch a.run.Transport {
		case result.WebSocketH1:
			j.h1 = a
		case result.WebSocketH2:
			j.h2 = a
		case result.WebSocketH3:
			j.h3 = a
		}
	}
	if j.complete() {
		j.hurt, j.help = compare(*j.h2, *j.h1), compare(*j.h3, *j.h2)
	}
	return j
}

func (j *judgement) complete() bool { return j.h1 != nil && j.h2 != nil && j.h3 != nil }

// tcp reports whether HTTP/2 was slower than HTTP/1.1 where its TCP connection
// had something to hold it up: lost segments, or a download. Elsewhere the
// reason is another one.
func (j *judgement) tcp() bool { return j.hurt > 0 && (j.lossy || j.bulk) }

// sentences says the figures of a condition and what they show.
func (j *judgement) sentences() string {
	at := "At " + j.condition
	if !j.complete() {
		return at + " nothing follows: WebSockets were not measured over all three of HTTP/1.1, HTTP/2 and HTTP/3."
	}
	figures := fmt.Sprintf("%s the %s was %s over HTTP/2, %s over HTTP/1.1 and %s over HTTP/3.", at, j.percentile+" of message latency", j.h2, j.h1, j.h3)
	if j.bulk {
		figures = fmt.Sprintf("%s the %s was %s over HTTP/2%s, %s over HTTP/1.1%s, where the download has a TCP connection of its own, and %s over HTTP/3%s.",
			at, j.percentile+" of message latency beside the download", j.h2, j.rose(1, j.h2), j.h1, j.rose(0, j.h1), j.h3, j.rose(2, j.h3)) + j.rates()
	}
	return strings.Join([]string{figures, j.ofTCP() + j.notAbove(), j.ofQUIC()}, " ")
}

// rose compares with what was measured before the download.
func (j *judgement) rose(i int, beside *amount) string {
	before := j.before[i]
	if before == nil || before.value <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%s before it)", before)
}

// rates says how fast the downloads were, with which low latency may have been
// paid for.
func (j *judgement) rates() string {
	rates, _ := figureOf(result.BulkRate).amounts([]*run{j.h1.run, j.h2.run, j.h3.run})
	if len(rates) < 3 {
		return ""
	}
	return fmt.Sprintf(" Meanwhile the download ran at %s over HTTP/2, %s over HTTP/1.1 and %s over HTTP/3.", rates[1], rates[0], rates[2])
}

// ofTCP says what sharing a TCP connection did.
func (j *judgement) ofTCP() string {
	times := ratio(j.h2.value, j.h1.value)
	switch {
	case j.hurt > 0 && j.lossy:
		return "The one TCP connection hurt: HTTP/2 took " + times + " times as long as HTTP/1.1. Behind a lost segment TCP holds back everything that follows, whichever stream it belongs to."
	case j.hurt > 0 && j.bulk:
		return "The one TCP connection hurt although nothing was lost: HTTP/2 took " + times + " times as long as HTTP/1.1, because the messages stood behind bytes of the download."
	case j.hurt > 0:
		return "HTTP/2 took " + times + " times as long as HTTP/1.1, but nothing was lost that TCP could have held it up for."
	case j.hurt < 0:
		return "The one TCP connection did not hurt: HTTP/2 took " + times + " times as long as HTTP/1.1, which is less."
	}
	return "The one TCP connection did not hurt: between HTTP/2 and HTTP/1.1 the difference is within the noise."
}

// notAbove says at which higher percentiles HTTP/2 was not slower.
func (j *judgement) notAbove() string {
	if len(j.above) == 0 {
		return ""
	}
	return " At " + enumerate(j.above, "and") + " it was not slower."
}

// ofQUIC says what HTTP/3 did about it.
func (j *judgement) ofQUIC() string {
	times := ratio(j.h3.value, j.h2.value)
	switch {
	case j.help < 0 && j.lossy:
		return "HTTP/3 helped: it took " + times + " times as long as HTTP/2. On QUIC a lost packet holds back only the streams whose bytes it carried."
	case j.help < 0:
		return "HTTP/3 took " + times + " times as long as HTTP/2, which is less."
	case j.help > 0:
		return "HTTP/3 did not help: it took " + times + " times as long as HTTP/2."
	}
	return "HTTP/3 made no difference to HTTP/2 beyond the noise."
}

func ratio(a, b float64) string {
	if b == 0 {
		return "infinitely many"
	}
	return strconv.FormatFloat(a/b, 'g', 2, 64)
}
