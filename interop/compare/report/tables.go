package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/plot"
)

// headings are the figures' and distributions' names in the heads of tables.
var headings = map[string]string{
	result.FirstRoundTrips:   "to first answer",
	result.OpenRoundTrips:    "to open",
	result.CPUPerMessage:     "CPU/message",
	result.CPUPerSocket:      "CPU/socket",
	result.RSSPerSocket:      "RSS/socket",
	result.HeapPerSocket:     "heap/socket",
	result.GoroutinesPer:     "goroutines/socket",
	result.BytesPerMessage:   "wire/message",
	result.PacketsPerMessage: "packets/message",
	result.BytesPerHeartbeat: "wire/heartbeat",
	result.MessageRate:       "received",
	result.BulkRate:          "download",
	result.TimeToRecover:     "all back",
	result.TimeToComplete:    "all done",
	result.TimeToOpen:        "time to open",
	result.TimeToFirst:       "time to first answer",
	result.MessageLatency:    "message latency",
	result.RequestTime:       "requests",
	result.OutageTime:        "outage",
	result.BaselineDelay:     "latency before",
}

func heading(key, name string) string {
	if h, ok := headings[key]; ok {
		return h
	}
	return name
}

// leading returns the columns and cells that say which run a row is of.
func leading(v *view, s *scenario) ([]column, func(*run) []cell) {
	columns := []column{{Name: "transport"}}
	for _, key := range s.varying {
		columns = append(columns, column{Name: parameterHeading(s, key), Numeric: true})
	}
	return columns, func(r *run) []cell {
		cells := []cell{{Text: v.short(r.Transport)}}
		for _, key := range s.varying {
			i := slices.IndexFunc(r.Parameters, func(p result.Parameter) bool { return p.Key == key })
			if i < 0 {
				cells = append(cells, none)
				continue
			}
			cells = append(cells, value(fmt.Sprintf("%s/parameters/%d/value", r.path, i), r.Parameters[i].Value))
		}
		return cells
	}
}

func parameterHeading(s *scenario, key string) string {
	for _, r := range s.runs {
		for _, p := range r.Parameters {
			if p.Key == key && p.Unit != "" {
				return key + ", " + p.Unit
			}
		}
	}
	return key
}

// A measure is a figure or a distribution that some run of a scenario has.
type measure struct{ key, name, unit string }

// figures and distributions return what the scenario's runs have, in the order
// of the first to have it.
func (s *scenario) figures() []measure {
	var all []measure
	for _, r := range s.runs {
		for _, f := range r.Figures {
			all = enter(all, measure{f.Key, f.Name, f.Unit})
		}
	}
	return all
}

func (s *scenario) distributions() []measure {
	var all []measure
	for _, r := range s.runs {
		for _, d := range r.Distributions {
			all = enter(all, measure{d.Key, d.Name, d.Unit})
		}
	}
	return all
}

func enter(all []measure, m measure) []measure {
	if slices.ContainsFunc(all, func(o measure) bool { return o.key == m.key }) {
		return all
	}
	return append(all, m)
}

// mainTable is the scenario at a glance: a row for each run.
func mainTable(v *view, s *scenario) table {
	columns, lead := leading(v, s)
	t := table{Caption: fmt.Sprintf("Scenario %d: %s", s.Number, s.Name), Columns: columns}
	t.Columns = append(t.Columns, column{"server saw", "connections", true}, column{"server saw", "handshakes", true})
	figures, distributions := s.figures(), s.distributions()
	for _, m := range figures {
		t.Columns = append(t.Columns, column{Group: heading(m.key, m.name), Name: unitHeading(m.unit), Numeric: true})
	}
	for _, m := range distributions {
		for _, p := range []string{"p50", "p99", "max"} {
			t.Columns = append(t.Columns, column{heading(m.key, m.name) + ", " + m.unit, p, true})
		}
	}
	for i, r := range s.runs {
		cells := append(lead(r), serverCount(r, "connections", r.Connections), serverCount(r, "handshakes", r.Handshakes))
		for _, m := range figures {
			cells = append(cells, figureCell(r, m.key))
		}
		for _, m := range distributions {
			d, path := r.distribution(m.key)
			if d == nil {
				cells = append(cells, none, none, none)
				continue
			}
			cells = append(cells, value(path+"/p50", d.P50), value(path+"/p99", d.P99), value(path+"/max", d.Max))
		}
		t.Rows = append(t.Rows, row{cells, !r.counts(), i > 0 && r.condition() != s.runs[i-1].condition()})
	}
	return t
}

func unitHeading(u string) string {
	if u == "" {
		return "number"
	}
	return u
}

// serverCount is the cell of a count, by the server where it tells.
func serverCount(r *run, name string, c result.Count) cell {
	if c.Server < 0 {
		return value(r.path+"/"+name+"/client", float64(c.Client))
	}
	return value(r.path+"/"+name+"/server", float64(c.Server))
}

func figureCell(r *run, key string) cell {
	f, path := r.figure(key)
	if f == nil {
		return none
	}
	c := value(path+"/value", f.Value)
	if len(f.Each) > 1 {
		c.Spread = plot.Digits(slices.Min(f.Each)) + "–" + plot.Digits(slices.Max(f.Each))
	}
	return c
}

// distributionTable has all of the distributions' percentiles.
func distributionTable(v *view, s *scenario) table {
	t := table{Caption: "Distributions"}
	if len(s.distributions()) == 0 {
		return t
	}
	columns, lead := leading(v, s)
	t.Columns = append(columns, column{Name: "of"}, column{Name: "values", Numeric: true},
		column{"milliseconds", "p50", true}, column{"milliseconds", "p90", true}, column{"milliseconds", "p99", true}, column{"milliseconds", "max", true})
	for _, r := range s.runs {
		for _, m := range s.distributions() {
			d, path := r.distribution(m.key)
			if d == nil {
				continue
			}
			name := m.name
			if d.Unit != "ms" {
				name += ", in " + d.Unit
			}
			cells := append(lead(r), cell{Text: name}, value(path+"/count", float64(d.Count)),
				value(path+"/p50", d.P50), value(path+"/p90", d.P90), value(path+"/p99", d.P99), value(path+"/max", d.Max))
			t.Rows = append(t.Rows, row{Cells: cells, Bad: !r.counts()})
		}
	}
	return t
}

// bytesTable has what went over the wire, and what arrived.
func bytesTable(v *view, s *scenario) table {
	columns, lead := leading(v, s)
	t := table{Caption: "Messages, connections, and bytes of IP packets", Columns: append(columns,
		column{"messages", "sent", true}, column{"messages", "received", true}, column{"messages", "lost", true}, column{"messages", "twice", true},
		column{"sockets", "lost", true},
		column{"connections", "client", true}, column{"connections", "server", true},
		column{"handshakes", "client", true}, column{"handshakes", "server", true})}
	for _, way := range []string{"up", "down"} {
		for _, part := range []string{"payload", "framing", "HTTP", "TLS/QUIC", "IP/TCP/UDP", "total", "packets"} {
			t.Columns = append(t.Columns, column{way + ", bytes", part, true})
		}
	}
	for _, r := range s.runs {
		cells := lead(r)
		add := func(path string, n float64) { cells = append(cells, value(r.path+path, n)) }
		add("/messages/sent", float64(r.Messages.Sent))
		add("/messages/received", float64(r.Messages.Received))
		add("/messages/lost", float64(r.Messages.Lost))
		add("/messages/duplicated", float64(r.Messages.Duplicated))
		add("/socketsLost", float64(r.SocketsLost))
		for _, c := range []struct {
			name string
			result.Count
		}{{"/connections", r.Connections}, {"/handshakes", r.Handshakes}} {
			add(c.name+"/client", float64(c.Client))
			if c.Server < 0 {
				cells = append(cells, none)
			} else {
				add(c.name+"/server", float64(c.Server))
			}
		}
		cells = append(cells, directions(r)...)
		t.Rows = append(t.Rows, row{Cells: cells, Bad: !r.counts()})
	}
	return t
}

func directions(r *run) []cell {
	if r.Bytes == nil {
		return slices.Repeat([]cell{none}, 14)
	}
	var cells []cell
	for _, way := range []struct {
		name string
		result.Direction
	}{{"up", r.Bytes.Up}, {"down", r.Bytes.Down}} {
		for _, part := range []struct {
			name string
			n    int64
		}{
			{"payload", way.Payload}, {"framing", way.Framing}, {"http", way.HTTP}, {"security", way.Security},
			{"network", way.Network}, {"total", way.Total}, {"packets", way.Packets},
		} {
			cells = append(cells, value(fmt.Sprintf("%s/bytes/%s/%s", r.path, way.name, part.name), float64(part.n)))
		}
	}
	return cells
}

// obtained says of each figure how it was obtained, once for all runs that say
// the same.
func obtained(v *view) table {
	t := table{Caption: "How each figure was obtained", Columns: []column{{Name: "figure"}, {Name: "scenarios"}, {Name: "how"}}}
	type origin struct{ name, how string }
	var origins []origin
	scenarios := make(map[origin][]string)
	add := func(s *scenario, name, how string) {
		o := origin{name, how}
		if how == "" {
			return
		}
		n := fmt.Sprint(s.Number)
		if scenarios[o] == nil {
			origins = append(origins, o)
		}
		if !slices.Contains(scenarios[o], n) {
			scenarios[o] = append(scenarios[o], n)
		}
	}
	for _, s := range v.scenarios {
		for _, r := range s.runs {
			for _, f := range r.Figures {
				add(s, f.Name, f.How)
			}
			for _, d := range r.Distributions {
				add(s, d.Name, d.How)
			}
			if r.Bytes != nil {
				add(s, "bytes on the wire", r.Bytes.How)
			}
		}
	}
	slices.SortStableFunc(origins, func(a, b origin) int { return strings.Compare(a.name, b.name) })
	for _, o := range origins {
		t.Rows = append(t.Rows, row{Cells: []cell{{Text: o.name}, {Text: strings.Join(scenarios[o], ", ")}, {Text: o.how}}})
	}
	return t
}
