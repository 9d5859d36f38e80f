package plot

import (
	"math"
	"strings"
)

// columns is where the rows of bars or percentiles put their parts: labels to
// the left of marks, or above them in a narrow drawing.
type columns struct {
	narrow      bool
	left, right float64 // of the area of marks
	labelWidth  float64
	height      float64 // of a row
	middle      float64 // of a row's marks, from its top
}

// layout divides the width. values is what is kept free to the right of the
// marks.
func (c *canvas) layout(labels []string, values float64) columns {
	if c.width < narrowBelow {
		return columns{narrow: true, left: margin, right: c.width - margin, labelWidth: c.width - 2*margin - gap - values, height: 40, middle: 27}
	}
	widest := 0.0
	for _, l := range labels {
		widest = max(widest, labelStyle.widthOf(l))
	}
	widest = min(widest, c.width*.4)
	return columns{left: margin + widest + gap, right: c.width - margin - values, labelWidth: widest, height: 26, middle: 13}
}

// label names a row whose top is y.
func (c *canvas) label(col columns, y float64, s string) {
	s = cut(s, col.labelWidth, labelStyle.size, false)
	if col.narrow {
		c.text(margin, y+13, start, s, labelStyle)
		return
	}
	c.text(col.left-gap, y+col.middle+4, end, s, labelStyle)
}

// group names the rows that follow.
func (c *canvas) group(s string) {
	if s == "" {
		return
	}
	c.y += 4
	c.lines(s, groupStyle)
	c.y += 2
}

// missing says why a row has no marks, "" for nothing that is known.
func (c *canvas) missing(col columns, y float64, why string) {
	if why == "" {
		why = "no value"
	}
	st := noteStyle
	room := c.width - margin - col.left - 4
	c.text(col.left+4, y+col.middle+4, start, cut(why, room, st.size, false), st)
}

// inWords describes groups of rows, each group by its label and its rows, each row by
// its label and value.
func inWords[G, R any](groups []G, parts func(G) (label string, rows []R), say func(*R) (label, value string)) string {
	var sentences []string
	for _, g := range groups {
		label, rows := parts(g)
		if label != "" {
			label += ": "
		}
		var words []string
		for i := range rows {
			row, value := say(&rows[i])
			words = append(words, row+" "+value)
		}
		sentences = append(sentences, label+strings.Join(words, "; ")+".")
	}
	return strings.Join(sentences, " ")
}

// finite reports whether every value is a number that can be drawn.
func finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
