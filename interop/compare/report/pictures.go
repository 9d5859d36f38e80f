package report

import (
	"fmt"
	"slices"

	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/plot"
)

// The widths of a picture's two forms.
const (
	wide   = 600
	narrow = 340
)

// pictures returns a scenario's plots: those of its figures that its question
// is about, where they were measured.
func pictures(v *view, s *scenario) []picture {
	var all []picture
	add := func(p picture, ok bool) {
		if ok {
			p.ID = fmt.Sprintf("scenario-%d-plot-%d", s.Number, len(all)+1)
			all = append(all, p)
		}
	}
	last := s.atMost(result.Sockets)
	switch s.Number {
	case 1:
		add(connectionBars(v, s))
		add(percentiles(v, "Time to the first answer", last, result.TimeToFirst))
		add(figureBars(v, "Server CPU per socket", last, result.CPUPerSocket))
		add(byteStacks(v, last))
	case 2, 3:
		add(percentiles(v, "Message latency", s.runs, result.MessageLatency))
		add(figureBars(v, "Server CPU per message", s.runs, result.CPUPerMessage))
		add(byteStacks(v, s.runs))
	case 4:
		add(figureBars(v, "Resident memory per idle socket, at the server", s.runs, result.RSSPerSocket))
		add(figureBars(v, "Bytes on the wire per heartbeat", s.runs, result.BytesPerHeartbeat))
	case 5:
		add(percentiles(v, "Message latency beside a download, and before it", s.runs, result.BaselineDelay, result.MessageLatency))
		add(figureBars(v, "The download", s.runs, result.BulkRate))
	case 6:
		add(percentiles(v, "Outage", s.runs, result.OutageTime))
		add(figureBars(v, "Time until every socket is back", s.runs, result.TimeToRecover))
		add(connectionBars(v, s))
	case 7:
		add(lossLines(v, s))
		add(percentiles(v, "Message latency", s.runs, result.MessageLatency))
		add(figureBars(v, "Round trips to the first answer", s.atLeast(result.Loss), result.FirstRoundTrips))
	}
	return all
}

// atMost and atLeast return the runs of the condition with the greatest or the
// least value of a parameter.
func (s *scenario) atMost(key string) []*run  { return extreme{key, true, nil}.pick(s, nil) }
func (s *scenario) atLeast(key string) []*run { return extreme{key, false, nil}.pick(s, nil) }

// note says what a picture's runs have in common, and where they were made.
func note(runs []*run, better string) string {
	if len(runs) == 0 {
		return better
	}
	if same := runs[0].scenario.same(); same != "" {
		return same + "; " + better
	}
	return better
}

// byCondition splits runs at changes of condition.
func byCondition(runs []*run) [][]*run {
	var groups [][]*run
	for _, r := range runs {
		if n := len(groups); n > 0 && groups[n-1][0].condition() == r.condition() {
			groups[n-1] = append(groups[n-1], r)
			continue
		}
		groups = append(groups, []*run{r})
	}
	return groups
}

// bad is what stands in the place of a run's marks whose figures do not count.
func (r *run) bad() string {
	if r.counts() {
		return ""
	}
	return "does not count: " + r.Problem
}

// A drawable makes one drawing with the head that it is given.
type drawable interface {
	Inline() []byte
	SVG() []byte
}

// as completes a picture with what makes its drawing.
func as(title, note string, drawing func(plot.Head) drawable) picture {
	return picture{
		Title: title, note: note,
		draw: func(h plot.Head) []byte { return drawing(h).Inline() },
		file: func(h plot.Head) []byte { return drawing(h).SVG() },
	}
}

func connectionBars(v *view, s *scenario) (picture, bool) {
	var groups []plot.BarGroup
	for _, runs := range byCondition(s.runs) {
		g := plot.BarGroup{Label: runs[0].condition()}
		for _, r := range runs {
			c := serverCount(r, "connections", r.Connections)
			g.Bars = append(g.Bars, plot.Bar{Label: v.short(r.Transport), Color: hues[r.Transport], Values: []float64{c.Value}, Missing: r.bad()})
		}
		groups = append(groups, g)
	}
	return as("Connections", note(s.runs, "TCP or QUIC connections that the server saw; fewer is better"), func(h plot.Head) drawable {
		return &plot.Bars{Head: h, Groups: groups}
	}), len(groups) > 0
}

// directions of better.
func better(key string) string {
	if key == result.BulkRate || key == result.MessageRate {
		return "longer is better"
	}
	return "shorter is better"
}

func figureBars(v *view, title string, runs []*run, key string) (picture, bool) {
	var groups []plot.BarGroup
	var u plot.Unit
	measured := 0
	for _, runs := range byCondition(runs) {
		g := plot.BarGroup{Label: runs[0].condition()}
		for _, r := range runs {
			bar := plot.Bar{Label: v.short(r.Transport), Color: hues[r.Transport], Missing: r.bad()}
			f, _ := r.figure(key)
			switch {
			case f == nil && bar.Missing == "":
				bar.Missing = "not measured"
			case f != nil:
				var factor float64
				u, factor = unit(f.Unit)
				bar.Values = []float64{f.Value * factor}
				if len(f.Each) > 1 {
					bar.Low, bar.High = slices.Min(f.Each)*factor, slices.Max(f.Each)*factor
				}
				measured++
			}
			g.Bars = append(g.Bars, bar)
		}
		groups = append(groups, g)
	}
	return as(title, note(runs, better(key)), func(h plot.Head) drawable {
		return &plot.Bars{Head: h, Unit: u, Groups: groups}
	}), measured > 0
}

func percentiles(v *view, title string, runs []*run, keys ...string) (picture, bool) {
	var groups []plot.PercentileGroup
	measured := 0
	for _, runs := range byCondition(runs) {
		for _, key := range keys {
			g := plot.PercentileGroup{Label: runs[0].condition()}
			switch {
			case key == result.BaselineDelay:
				g.Label = joined(g.Label, "before the download")
			case len(keys) > 1:
				g.Label = joined(g.Label, "beside it")
			}
			for _, r := range runs {
				row := plot.Distribution{Label: v.short(r.Transport), Color: hues[r.Transport], Missing: r.bad()}
				d, _ := r.distribution(key)
				switch {
				case d == nil && row.Missing == "":
					row.Missing = "not measured"
				case d != nil:
					_, factor := unit(d.Unit)
					row.P50, row.P90, row.P99, row.Max = d.P50*factor, d.P90*factor, d.P99*factor, d.Max*factor
					measured++
				}
				g.Rows = append(g.Rows, row)
			}
			groups = append(groups, g)
		}
	}
	return as(title, note(runs, "further left is better; the axis is logarithmic"), func(h plot.Head) drawable {
		return &plot.Percentiles{Head: h, Unit: plot.Seconds, Groups: groups}
	}), measured > 0
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// parts are the segments of stacked bytes.
var parts = []plot.Part{
	{Name: "payload", Color: plot.Teal},
	{Name: "message framing", Color: plot.Blue},
	{Name: "HTTP", Color: plot.Purple},
	{Name: "TLS or QUIC", Color: plot.Orange},
	{Name: "IP, TCP, UDP", Color: plot.Grey},
}

// byteStacks shows what both directions together consist of.
func byteStacks(v *view, runs []*run) (picture, bool) {
	var groups []plot.BarGroup
	measured := 0
	for _, runs := range byCondition(runs) {
		var g plot.BarGroup
		if len(byCondition(runs)) > 1 {
			g.Label = runs[0].condition()
		}
		for _, r := range runs {
			bar := plot.Bar{Label: v.short(r.Transport), Missing: r.bad()}
			switch b := r.Bytes; {
			case b == nil && bar.Missing == "":
				bar.Missing = "not measured"
			case b != nil:
				bar.Values = []float64{
					float64(b.Up.Payload + b.Down.Payload), float64(b.Up.Framing + b.Down.Framing), float64(b.Up.HTTP + b.Down.HTTP),
					float64(b.Up.Security + b.Down.Security), float64(b.Up.Network + b.Down.Network),
				}
				measured++
			}
			g.Bars = append(g.Bars, bar)
		}
		groups = append(groups, g)
	}
	where := ""
	if len(runs) > 0 && runs[0].condition() != "" {
		where = runs[0].condition() + "; "
	}
	return as("Bytes on the wire", note(runs, where+"IP packets of both directions"), func(h plot.Head) drawable {
		return &plot.Bars{Head: h, Unit: plot.Bytes, Parts: parts, Groups: groups}
	}), measured > 0
}

// lossLines shows a high percentile of latency as loss grows.
func lossLines(v *view, s *scenario) (picture, bool) {
	amounts, what := tailOf(result.MessageLatency).amounts(s.runs)
	var series []plot.Series
	for _, t := range v.Transports {
		line := plot.Series{Name: v.short(t.ID), Color: hues[t.ID]}
		for _, a := range amounts {
			if a.run.Transport == t.ID {
				_, factor := unit(a.unit)
				line.Points = append(line.Points, plot.Point{X: a.run.parameter(result.Loss), Y: a.value * factor})
			}
		}
		if len(line.Points) > 0 {
			series = append(series, line)
		}
	}
	return as("Message latency under loss", note(s.runs, what+"; lower is better"), func(h plot.Head) drawable {
		return &plot.Lines{Head: h, X: plot.Axis{Label: "packets lost, each way", Unit: plot.Percent}, Y: plot.Axis{Label: what, Unit: plot.Seconds}, Series: series}
	}), len(series) > 0
}
