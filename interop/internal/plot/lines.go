package plot

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Lines show how values behave as something grows: points joined by lines, each
// series named at its last point.
type Lines struct {
	Head
	X, Y   Axis
	Series []Series
}

// An Axis is one of the two of Lines.
type Axis struct {
	Label string // what is laid off, without its unit
	Unit  Unit
	Log   bool // logarithmic; values must be positive
}

// A Series is one line.
type Series struct {
	Name   string
	Color  Color
	Points []Point // in the order of X
}

// A Point is one measured value.
type Point struct{ X, Y float64 }

// SVG returns the drawing as a file.
func (l *Lines) SVG() []byte { return render(l.Head, l, true) }

// Inline returns the drawing for a page that contains Style.
func (l *Lines) Inline() []byte { return render(l.Head, l, false) }

// drawable reports whether p has a place on the axes.
func (l *Lines) drawable(p Point) bool {
	return finite(p.X, p.Y) && (!l.X.Log || p.X > 0) && (!l.Y.Log || p.Y > 0)
}

// span returns the extent of one coordinate of all points.
func (l *Lines) span(of func(Point) float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range l.Series {
		for _, p := range s.Points {
			if l.drawable(p) {
				low, high = min(low, of(p)), max(high, of(p))
			}
		}
	}
	return low, high
}

// marks returns the axis's ticks: those of a linear axis begin at 0.
func (a Axis) marks(low, high float64) []float64 {
	if a.Log {
		return logTicks(low, high)
	}
	return ticks(high, 5)
}

// dashes tell lines apart without colour.
var dashes = []string{"", "7 3", "2 3", "9 3 2 3"}

func (l *Lines) draw(c *canvas) {
	const height = 260
	narrow := c.width < narrowBelow
	if narrow {
		var entries []entry
		for i, s := range l.Series {
			entries = append(entries, entry{shape(i) % shapes, s.Color.fill(), s.Name})
		}
		c.legend(entries)
	}
	lowX, highX := l.span(func(p Point) float64 { return p.X })
	lowY, highY := l.span(func(p Point) float64 { return p.Y })
	if highX < lowX {
		c.lines("no values", noteStyle)
		return
	}
	tx, ty := l.X.marks(lowX, highX), l.Y.marks(lowY, highY)

	left, right := 0.0, 0.0
	for _, v := range ty {
		left = max(left, axisStyle.widthOf(l.Y.Unit.Format(v)))
	}
	for _, s := range l.Series {
		right = max(right, labelStyle.widthOf(l.endLabel(&s, narrow)))
	}
	if l.Y.Label != "" {
		c.lines(l.Y.Label, axisStyle)
		c.y += gap
	}
	x := scale{log: l.X.Log, low: tx[0], top: tx[len(tx)-1], from: margin + left + gap + 6, to: c.width - margin - right - 2*gap - 4}
	y := scale{log: l.Y.Log, low: ty[0], top: ty[len(ty)-1], from: c.y + height, to: c.y + 6}
	if !l.X.Log {
		x.top = highX // lines end where the labels begin
		tx = slices.DeleteFunc(tx, func(v float64) bool { return v > highX*(1+1e-9) })
	}
	if x.top == x.low {
		x.top = x.low + 1
	}
	for _, v := range ty {
		c.line(x.from-6, y.at(v), x.to+4, y.at(v), 1, "rule")
		c.text(x.from-6-gap, y.at(v)+4, end, l.Y.Unit.Format(v), axisStyle)
	}
	c.line(x.from-6, y.from, x.to+4, y.from, 1, "axis")
	l.lines(c, x, y)
	l.names(c, x, y, narrow)
	c.y = y.from + gap
	c.ticks(x, tx, l.X.Unit)
	if l.X.Label != "" {
		c.text((x.from+x.to)/2, c.y+12, middle, cut(l.X.Label, c.width-2*margin, smallSize, false), axisStyle)
		c.y += 18
	}
}

func (l *Lines) lines(c *canvas, x, y scale) {
	for i, s := range l.Series {
		var points [][2]float64
		for _, p := range s.Points {
			if l.drawable(p) {
				points = append(points, [2]float64{x.at(p.X), y.at(p.Y)})
			}
		}
		if len(points) > 1 {
			c.path(points, dashes[i%len(dashes)], s.Color.stroke())
		}
		for _, p := range points {
			c.mark(shape(i)%shapes, p[0], p[1], 4, s.Color.fill())
		}
	}
}

// endLabel is what stands beside a series' last point.
func (l *Lines) endLabel(s *Series, narrow bool) string {
	last, ok := l.last(s)
	if !ok {
		return ""
	}
	value := l.Y.Unit.Format(last.Y)
	if narrow {
		return value // the name is in the legend
	}
	return s.Name + " " + value
}

// last returns the last point that can be drawn.
func (l *Lines) last(s *Series) (Point, bool) {
	for _, p := range slices.Backward(s.Points) {
		if l.drawable(p) {
			return p, true
		}
	}
	return Point{}, false
}

// names writes the series' names beside their last points, pushed apart where
// they would touch.
func (l *Lines) names(c *canvas, x, y scale, narrow bool) {
	type name struct {
		text    string
		x, y    float64 // the last point
		at      float64 // where the label goes
		ordinal int
	}
	var names []name
	for i, s := range l.Series {
		if p, ok := l.last(&s); ok {
			names = append(names, name{l.endLabel(&s, narrow), x.at(p.X), y.at(p.Y), y.at(p.Y), i})
		}
	}
	slices.SortFunc(names, func(a, b name) int {
		return cmp.Or(cmp.Compare(a.y, b.y), cmp.Compare(a.ordinal, b.ordinal))
	})
	const pitch = 15
	for i := 1; i < len(names); i++ {
		names[i].at = max(names[i].at, names[i-1].at+pitch)
	}
	// Pushed below the axis, they are pushed back up.
	bottom := y.from
	for i := len(names) - 1; i >= 0; i-- {
		names[i].at = min(names[i].at, bottom)
		bottom = names[i].at - pitch
	}
	labelAt := x.to + 2*gap
	for _, n := range names {
		if math.Abs(n.at-n.y) > 3 || n.x < x.to-1 {
			c.leader(n.x+6, n.y, labelAt-3, n.at)
		}
		c.text(labelAt, n.at+4, start, n.text, labelStyle)
	}
}

func (l *Lines) words() string {
	var w strings.Builder
	for _, s := range l.Series {
		w.WriteString(s.Name + ":")
		for i, p := range s.Points {
			if i > 0 {
				w.WriteString(",")
			}
			fmt.Fprintf(&w, " %s at %s", l.Y.Unit.Format(p.Y), l.X.Unit.Format(p.X))
		}
		w.WriteString(". ")
	}
	return strings.TrimSpace(w.String())
}
