package plot

import (
	"fmt"
	"math"
)

// Percentiles show distributions, one in a row, by their median, 90th and 99th
// percentile and maximum on a logarithmic axis.
type Percentiles struct {
	Head
	Unit   Unit
	Groups []PercentileGroup
}

// A PercentileGroup is a number of distributions under a common label, which
// may be empty.
type PercentileGroup struct {
	Label string
	Rows  []Distribution
}

// A Distribution is one row. P90 may be 0: not known.
type Distribution struct {
	Label              string
	Color              Color
	P50, P90, P99, Max float64
	// Missing says why there are no values, and is written in their place.
	Missing string
}

// SVG returns the drawing as a file.
func (p *Percentiles) SVG() []byte { return render(p.Head, p, true) }

// Inline returns the drawing for a page that contains Style.
func (p *Percentiles) Inline() []byte { return render(p.Head, p, false) }

func (d *Distribution) drawable() bool {
	return d.Missing == "" && finite(d.P50, d.P90, d.P99, d.Max) && d.Max > 0
}

// extent returns the least and the greatest positive value.
func (p *Percentiles) extent() (low, high float64) {
	low, high = math.Inf(1), 0
	for _, g := range p.Groups {
		for _, d := range g.Rows {
			if !d.drawable() {
				continue
			}
			for _, v := range []float64{d.P50, d.P90, d.P99, d.Max} {
				if v > 0 {
					low = min(low, v)
				}
				high = max(high, v)
			}
		}
	}
	return low, high
}

func (p *Percentiles) draw(c *canvas) {
	c.legend([]entry{{circle, "ink", "p50"}, {square, "ink", "p90"}, {diamond, "ink", "p99"}, {bar, "ink", "max"}})

	var labels []string
	widest := labelStyle.widthOf("max")
	for _, g := range p.Groups {
		for _, d := range g.Rows {
			labels = append(labels, d.Label)
			if d.drawable() {
				for _, v := range []float64{d.P50, d.P99, d.Max} {
					widest = max(widest, labelStyle.widthOf(p.Unit.Format(v)))
				}
			}
		}
	}
	widest += 1.5 * gap
	col := c.layout(labels, 3*widest+gap)
	low, high := p.extent()
	t := logTicks(low, high)
	s := scale{log: true, low: t[0], top: t[len(t)-1], from: col.left + 8, to: col.right - 8}

	for i, name := range []string{"p50", "p99", "max"} {
		c.text(c.width-margin-float64(2-i)*widest, c.y+8, end, name, axisStyle)
	}
	c.y += 12
	for _, g := range p.Groups {
		c.group(g.Label)
		for _, d := range g.Rows {
			// In a narrow drawing the upper part of a row is its label's.
			for _, v := range t {
				c.line(s.at(v), c.y+col.middle-13, s.at(v), c.y+col.middle+13, 1, "rule")
			}
			p.row(c, col, s, widest, &d)
			c.y += col.height
		}
		c.y += gap / 2
	}
	c.ticks(s, t, p.Unit)
}

// ticks labels a horizontal axis, leaving out labels that would touch.
func (c *canvas) ticks(s scale, t []float64, u Unit) {
	until := math.Inf(-1)
	for _, v := range t {
		label := u.Format(v)
		half := axisStyle.widthOf(label) / 2
		x := min(max(s.at(v), margin+half), c.width-margin-half)
		if x-half < until+gap {
			continue
		}
		c.text(x, c.y+10, middle, label, axisStyle)
		until = x + half
	}
	c.y += 16
}

// row draws one distribution with its top at c.y.
func (p *Percentiles) row(c *canvas, col columns, s scale, column float64, d *Distribution) {
	c.label(col, c.y, d.Label)
	if !d.drawable() {
		c.missing(col, c.y, d.Missing)
		return
	}
	y := c.y + col.middle
	c.line(s.at(d.P50), y, s.at(d.Max), y, 2, d.Color.stroke())
	c.mark(bar, s.at(d.Max), y, 6, d.Color.fill())
	if d.P90 > 0 {
		c.mark(square, s.at(d.P90), y, 4, d.Color.fill())
	}
	c.mark(diamond, s.at(d.P99), y, 4.5, d.Color.fill())
	c.mark(circle, s.at(d.P50), y, 5.5, d.Color.fill())
	baseline := y + 4
	if col.narrow {
		baseline = c.y + 13
	}
	for i, v := range []float64{d.P50, d.P99, d.Max} {
		c.text(c.width-margin-float64(2-i)*column, baseline, end, p.Unit.Format(v), labelStyle)
	}
}

func (p *Percentiles) words() string {
	return inWords(p.Groups,
		func(g PercentileGroup) (string, []Distribution) { return g.Label, g.Rows },
		func(d *Distribution) (string, string) { return d.Label, p.value(d) })
}

// value says a row's values.
func (p *Percentiles) value(d *Distribution) string {
	if !d.drawable() {
		return "not measured"
	}
	return fmt.Sprintf("p50 %s, p99 %s, max %s", p.Unit.Format(d.P50), p.Unit.Format(d.P99), p.Unit.Format(d.Max))
}
