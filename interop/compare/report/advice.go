package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wsmux/websocket/interop/compare/result"
)

// An advice is a line of the summary: if you have Have, use Use, because of
// Because, which Rule has led to. Nothing follows if Follows is false: Use then
// says why not.
type advice struct {
	Have    string
	Use     string
	Because string
	Rule    string
	Follows bool
	Number  int // the scenario
}

// A question is asked of one condition of a scenario: which transports have the
// least of a quantity?
type question struct {
	have     string
	scenario int
	at       extreme
	among    []string // transports' IDs, nil for all
	by       quantity
	beside   string // a figure's key: what the winners may have paid with
}

// An extreme picks a scenario's condition by the value of a parameter: the
// greatest, or the least. With no key it is the first condition. Where the value
// is not as it must be there is no such condition.
type extreme struct {
	key  string
	most bool
	must func(float64) bool // nil: anything
}

var (
	sockets      = []string{result.WebSocketH1, result.WebSocketH2, result.WebSocketH3}
	plainHTTP    = []string{result.EventsH1, result.EventsH2, result.PollingH1, result.PollingH2}
	mostSockets  = extreme{result.Sockets, true, nil}
	noLoss       = extreme{result.Loss, false, func(loss float64) bool { return loss == 0 }}
	mostLoss     = extreme{result.Loss, true, func(loss float64) bool { return loss > 0 }}
	anyCondition = extreme{}
)

// questions are those of the summary, in its order. The least of the quantity
// wins in each of them.
var questions = []question{
	{"many sockets on one page", 1, mostSockets, nil, figureOf(result.CPUPerSocket), ""},
	{"a limit on connections (a proxy, a firewall, a load balancer)", 1, mostSockets, nil, connectionsOf(), ""},
	{"one message for many receivers (chat, feeds)", 2, anyCondition, nil, figureOf(result.CPUPerMessage), ""},
	{"the same, and nothing but plain HTTP gets through", 2, anyCondition, plainHTTP, figureOf(result.CPUPerMessage), ""},
	{"small messages both ways, many in a second, that must arrive soon (games)", 3, anyCondition, nil, tailOf(result.MessageLatency), ""},
	{"small messages both ways, and a server to pay for", 3, anyCondition, nil, figureOf(result.CPUPerMessage), ""},
	{"small messages both ways, and bytes to pay for", 3, anyCondition, nil, figureOf(result.BytesPerMessage), ""},
	{"many sockets that are mostly idle", 4, anyCondition, nil, figureOf(result.RSSPerSocket), ""},
	{"downloads beside a socket, on a narrow line that loses nothing", 5, noLoss, sockets, tailOf(result.MessageLatency), result.BulkRate},
	{"downloads beside a socket, on a narrow line that loses packets", 5, mostLoss, sockets, tailOf(result.MessageLatency), result.BulkRate},
	{"servers that restart under many sockets", 6, mostSockets, nil, figureOf(result.TimeToRecover), ""},
	{"clients far away that want a first answer soon", 7, noLoss, nil, figureOf(result.FirstRoundTrips), ""},
	{"a network that loses packets", 7, mostLoss, nil, tailOf(result.MessageLatency), ""},
}

// pick returns the runs of the condition, of these transports.
func (e extreme) pick(s *scenario, among []string) []*run {
	groups := s.conditions()
	if len(groups) == 0 {
		return nil
	}
	best := groups[0]
	for _, g := range groups[1:] {
		a, b := g[0].parameter(e.key), best[0].parameter(e.key)
		if e.key != "" && (e.most && a > b || !e.most && a < b) {
			best = g
		}
	}
	if e.must != nil && !e.must(best[0].parameter(e.key)) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(best), func(r *run) bool {
		return among != nil && !slices.Contains(among, r.Transport)
	})
}

// condition names the condition of a run: by the parameter that picked it, or
// by those in which runs differ.
func (e extreme) condition(r *run) string {
	if c := r.condition(); c != "" {
		return c
	}
	return r.with(e.key)
}

// advise answers the questions of all scenarios that were measured.
func advise(v *view) []advice {
	var all []advice
	for _, q := range questions {
		if s := v.scenario(q.scenario); s != nil {
			all = append(all, choose(v, s, q))
		}
	}
	return all
}

// choose answers a question by its rule: the transport with the least amount is
// to be used, and those that count as equal to it.
func choose(v *view, s *scenario, q question) advice {
	a := advice{Have: q.have, Number: q.scenario, Rule: "needs two transports"}
	amounts, what := q.by.amounts(q.at.pick(s, q.among))
	slices.SortStableFunc(amounts, func(x, y amount) int { return cmp.Compare(x.value, y.value) })
	if len(amounts) > 0 {
		a.Rule = "least " + what
		if c := q.at.condition(amounts[0].run); c != "" {
			a.Rule += " at " + c
		}
	}
	if len(amounts) < 2 {
		a.Use = "no choice follows: fewer than two transports were measured so"
		return a
	}
	meanwhile := ""
	if beside, name := figureOf(q.beside).amounts(q.at.pick(s, q.among)); len(beside) > 0 {
		meanwhile = "; " + name + ": " + list(v, beside)
	}
	// One that is far from the next may count as equal to the least all the same, if
	// its repetitions differ as much.
	var winners, others []amount
	for _, x := range amounts {
		if compare(amounts[0], x) < 0 {
			others = append(others, x)
		} else {
			winners = append(winners, x)
		}
	}
	if len(others) == 0 {
		a.Use = "no choice follows: the differences are within the noise"
		a.Because = what + ": " + list(v, amounts) + meanwhile
		return a
	}
	a.Follows = true
	var names []string
	for _, w := range winners {
		names = append(names, v.short(w.run.Transport))
	}
	a.Use = enumerate(names, "or")
	a.Because = fmt.Sprintf("%s: %s; against %s", what, list(v, winners), list(v, others)) + meanwhile
	return a
}

// list says amounts and whose they are.
func list(v *view, amounts []amount) string {
	var parts []string
	for _, a := range amounts {
		parts = append(parts, v.short(a.run.Transport)+" "+a.String())
	}
	return strings.Join(parts, ", ")
}

// enumerate joins names with commas and a word before the last.
func enumerate(names []string, word string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + word + " " + names[len(names)-1]
}
