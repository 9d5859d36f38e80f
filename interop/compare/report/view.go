package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/plot"
)

// A view makes a report's values easy to find, and knows where in the JSON each
// of them stands.
type view struct {
	*result.Report
	scenarios []*scenario
}

// A scenario has runs in the order of transports and parameters.
type scenario struct {
	*result.Scenario
	path    string
	runs    []*run
	varying []string // the parameters in which runs differ
}

// A run knows its path, and its place among the scenario's.
type run struct {
	*result.Run
	path     string
	scenario *scenario
	view     *view
}

func newView(r *result.Report) *view {
	v := &view{Report: r}
	for i := range r.Scenarios {
		s := &scenario{Scenario: &r.Scenarios[i], path: fmt.Sprintf("/scenarios/%d", i)}
		for j := range s.Runs {
			s.runs = append(s.runs, &run{&s.Runs[j], fmt.Sprintf("%s/runs/%d", s.path, j), s, v})
		}
		s.varying = varying(s.runs)
		slices.SortStableFunc(s.runs, func(a, b *run) int {
			for _, key := range s.varying {
				if d := cmp.Compare(a.parameter(key), b.parameter(key)); d != 0 {
					return d
				}
			}
			return cmp.Compare(v.order(a.Transport), v.order(b.Transport))
		})
		v.scenarios = append(v.scenarios, s)
	}
	return v
}

// order is a transport's place in the report's list.
func (v *view) order(id string) int {
	i := slices.IndexFunc(v.Transports, func(t result.Transport) bool { return t.ID == id })
	if i < 0 {
		return len(v.Transports)
	}
	return i
}

// shorts are the transports' names where there is little room.
var shorts = map[string]string{
	result.WebSocketH1: "WebSocket h1",
	result.WebSocketH2: "WebSocket h2",
	result.WebSocketH3: "WebSocket h3",
	result.EventsH1:    "SSE + POST h1",
	result.EventsH2:    "SSE + POST h2",
	result.PollingH1:   "long polling h1",
	result.PollingH2:   "long polling h2",
}

// hues are the transports' colours in all plots.
var hues = map[string]plot.Color{
	result.WebSocketH1: plot.Orange,
	result.WebSocketH2: plot.Blue,
	result.WebSocketH3: plot.Teal,
	result.EventsH1:    plot.Brick,
	result.EventsH2:    plot.Purple,
	result.PollingH1:   plot.Navy,
	result.PollingH2:   plot.Grey,
}

// short names a transport; a text that is no transport's ID stays as it is.
func (v *view) short(id string) string {
	if s, ok := shorts[id]; ok {
		return s
	}
	for _, t := range v.Transports {
		if t.ID == id && t.Name != "" {
			return t.Name
		}
	}
	return id
}

func (v *view) scenario(number int) *scenario {
	for _, s := range v.scenarios {
		if s.Number == number {
			return s
		}
	}
	return nil
}

// varying returns the parameters whose values are not the same in all runs.
func varying(runs []*run) []string {
	var keys []string
	for _, r := range runs {
		for _, p := range r.Parameters {
			if !slices.Contains(keys, p.Key) {
				keys = append(keys, p.Key)
			}
		}
	}
	return slices.DeleteFunc(keys, func(key string) bool {
		for _, r := range runs {
			if r.has(key) != runs[0].has(key) || r.parameter(key) != runs[0].parameter(key) {
				return false
			}
		}
		return true
	})
}

func (r *run) has(key string) bool {
	return slices.ContainsFunc(r.Parameters, func(p result.Parameter) bool { return p.Key == key })
}

// parameter returns a parameter's value, 0 if the run does not have it.
func (r *run) parameter(key string) float64 {
	for _, p := range r.Parameters {
		if p.Key == key {
			return p.Value
		}
	}
	return 0
}

// counts reports whether the run's figures do.
func (r *run) counts() bool { return r.Problem == "" }

// figure returns a figure and its path, nil if it was not measured.
func (r *run) figure(key string) (*result.Figure, string) {
	for i := range r.Figures {
		if r.Figures[i].Key == key {
			return &r.Figures[i], fmt.Sprintf("%s/figures/%d", r.path, i)
		}
	}
	return nil, ""
}

// distribution is likewise.
func (r *run) distribution(key string) (*result.Distribution, string) {
	for i := range r.Distributions {
		if d := &r.Distributions[i]; d.Key == key && d.Count > 0 {
			return d, fmt.Sprintf("%s/distributions/%d", r.path, i)
		}
	}
	return nil, ""
}

// name says which run this is.
func (r *run) name() string {
	if c := r.condition(); c != "" {
		return r.view.short(r.Transport) + ", " + c
	}
	return r.view.short(r.Transport)
}

// condition says the parameters in which runs of the scenario differ.
func (r *run) condition() string {
	var parts []string
	for _, key := range r.scenario.varying {
		for _, p := range r.Parameters {
			if p.Key == key {
				parts = append(parts, parameter(p))
			}
		}
	}
	return strings.Join(parts, ", ")
}

// with says one parameter, "" if the run does not have it.
func (r *run) with(key string) string {
	for _, p := range r.Parameters {
		if p.Key == key {
			return parameter(p)
		}
	}
	return ""
}

// same says the parameters that all runs of the scenario have.
func (s *scenario) same() string {
	if len(s.runs) == 0 {
		return ""
	}
	var parts []string
	for _, p := range s.runs[0].Parameters {
		if !slices.Contains(s.varying, p.Key) {
			parts = append(parts, parameter(p))
		}
	}
	return strings.Join(parts, ", ")
}

// conditions returns the scenario's runs by what differs beside the transport,
// in order.
func (s *scenario) conditions() [][]*run {
	var groups [][]*run
	for _, r := range s.runs {
		i := slices.IndexFunc(groups, func(g []*run) bool { return g[0].condition() == r.condition() })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

// parameter says a parameter in words.
func parameter(p result.Parameter) string {
	n := plot.Digits(p.Value)
	switch p.Key {
	case result.Sockets:
		return plural(p.Value, "socket")
	case result.Senders:
		return plural(p.Value, "sender")
	case result.Requests:
		return plural(p.Value, "request")
	case result.Rate:
		return n + " messages/s from each"
	case result.Size:
		return "messages of " + n + " B"
	case result.Loss:
		return n + " % loss"
	case result.RTT:
		return n + " ms round trip"
	case result.Bandwidth:
		return n + " Mbit/s"
	case result.BulkSize:
		return "a download of " + plot.Bytes.Format(p.Value)
	}
	return strings.TrimSpace(p.Key + " " + n + " " + p.Unit)
}

func plural(n float64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return plot.Digits(n) + " " + noun + "s"
}

// unit returns the plots' unit for one of the report's, and the factor that
// leads to it.
func unit(u string) (plot.Unit, float64) {
	switch u {
	case "s":
		return plot.Seconds, 1
	case "ms":
		return plot.Seconds, 1e-3
	case "µs":
		return plot.Seconds, 1e-6
	case "ns":
		return plot.Seconds, 1e-9
	case "B":
		return plot.Bytes, 1
	case "":
		return plot.Count, 1
	case "%":
		return plot.Percent, 1
	}
	return plot.Unit(u), 1
}

// say writes a value with its unit for a sentence.
func say(v float64, u string) string {
	p, factor := unit(u)
	return p.Format(v * factor)
}
