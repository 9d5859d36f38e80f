package plot

import (
	"math"
	"strings"
)

// Bars are horizontal bars, in groups, on one scale that begins at 0. A bar may
// be a stack of several parts.
type Bars struct {
	Head
	Unit   Unit
	Parts  []Part // of a stack, in order; empty: bars of one value
	Groups []BarGroup
}

// A Part is a kind of segment of stacked bars.
type Part struct {
	Name  string
	Color Color
}

// A BarGroup is a number of bars under a common label, which may be empty.
type BarGroup struct {
	Label string
	Bars  []Bar
}

// A Bar is one row.
type Bar struct {
	Label string
	// Values are not negative, one for each part, or one.
	Values []float64
	// Color is that of a bar of one value.
	Color Color
	// Low and High are drawn as a whisker, as the range of repetitions, if High
	// is not 0.
	Low, High float64
	// Missing says why there are no values, and is written in their place.
	Missing string
}

// SVG returns the drawing as a file.
func (b *Bars) SVG() []byte { return render(b.Head, b, true) }

// Inline returns the drawing for a page that contains Style.
func (b *Bars) Inline() []byte { return render(b.Head, b, false) }

func (r *Bar) total() float64 {
	sum := 0.0
	for _, v := range r.Values {
		sum += v
	}
	return sum
}

func (r *Bar) drawable() bool {
	return r.Missing == "" && len(r.Values) > 0 && finite(r.total(), r.Low, r.High)
}

func (b *Bars) draw(c *canvas) {
	if len(b.Parts) > 0 {
		var entries []entry
		for _, p := range b.Parts {
			entries = append(entries, entry{square, p.Color.fill(), p.Name})
		}
		c.legend(entries)
	}
	var labels []string
	widest, largest := 0.0, 0.0
	for _, g := range b.Groups {
		for _, r := range g.Bars {
			labels = append(labels, r.Label)
			if r.drawable() {
				widest = max(widest, labelStyle.widthOf(b.Unit.Format(r.total())))
				largest = max(largest, r.total(), r.High)
			}
		}
	}
	col := c.layout(labels, widest+gap)
	scale := 0.0
	if largest > 0 {
		scale = (col.right - col.left) / largest
	}
	for _, g := range b.Groups {
		c.group(g.Label)
		top := c.y
		for _, r := range g.Bars {
			b.row(c, col, scale, &r)
			c.y += col.height
		}
		if !col.narrow {
			c.line(col.left, top, col.left, c.y, 1, "axis")
		}
		c.y += gap
	}
}

// row draws one bar with its top at c.y.
func (b *Bars) row(c *canvas, col columns, scale float64, r *Bar) {
	c.label(col, c.y, r.Label)
	if !r.drawable() {
		c.missing(col, c.y, r.Missing)
		return
	}
	const thick = 16
	top := c.y + col.middle - thick/2
	x := col.left
	for i, v := range r.Values {
		color := r.Color
		if i < len(b.Parts) {
			color = b.Parts[i].Color
		}
		w := v * scale
		// The ground shows between the parts of a stack.
		drawn := w
		if i < len(r.Values)-1 && w > 3 {
			drawn = w - 1.5
		}
		if v > 0 {
			c.rect(x, top, max(drawn, .5), thick, color.fill())
		}
		inside := style{color.on(), smallSize, false}
		if s := b.Unit.Format(v); len(r.Values) > 1 && inside.widthOf(s)+2*gap < w {
			c.text(x+w/2, top+12, middle, s, inside)
		}
		x += w
	}
	if r.High > 0 {
		c.whisker(col.left+r.Low*scale, col.left+r.High*scale, c.y+col.middle)
	}
	total := b.Unit.Format(r.total())
	if col.narrow {
		c.text(col.right, c.y+13, end, total, labelStyle)
		return
	}
	c.text(max(x, col.left+r.High*scale)+gap, c.y+col.middle+4, start, total, labelStyle)
}

// whisker draws a range across a bar.
func (c *canvas) whisker(low, high, y float64) {
	c.line(low, y, high, y, 1.5, "axis")
	c.line(low, y-4, low, y+4, 1.5, "axis")
	c.line(high, y-4, high, y+4, 1.5, "axis")
}

func (b *Bars) words() string {
	return inWords(b.Groups,
		func(g BarGroup) (string, []Bar) { return g.Label, g.Bars },
		func(r *Bar) (string, string) { return r.Label, b.value(r) })
}

// value says a bar's value, and those of its parts.
func (b *Bars) value(r *Bar) string {
	if !r.drawable() {
		return "not measured"
	}
	s := b.Unit.Format(r.total())
	if len(b.Parts) == 0 || len(r.Values) < 2 {
		return s
	}
	var parts []string
	for i, v := range r.Values {
		if i < len(b.Parts) && math.Abs(v) > 0 {
			parts = append(parts, b.Parts[i].Name+" "+b.Unit.Format(v))
		}
	}
	return s + " (" + strings.Join(parts, ", ") + ")"
}
