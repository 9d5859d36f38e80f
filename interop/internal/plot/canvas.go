package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// A canvas collects the elements of a drawing from top to bottom. y is where the
// next thing begins.
type canvas struct {
	head  Head
	width float64
	y     float64
	body  bytes.Buffer
}

// A style is how text is set.
type style struct {
	class string
	size  float64
	bold  bool
}

var (
	titleStyle = style{"ink", titleSize, true}
	noteStyle  = style{"soft", textSize, false}
	groupStyle = style{"ink", textSize, true}
	labelStyle = style{"ink", textSize, false}
	axisStyle  = style{"soft", smallSize, false}
)

func (s style) widthOf(text string) float64 { return TextWidth(text, s.size, s.bold) }

// Where a text's x lies.
const (
	start  = "start"
	middle = "middle"
	end    = "end"
)

// num writes a coordinate to a tenth.
func num(v float64) string {
	s := strconv.FormatFloat(v, 'f', 1, 64)
	return strings.TrimSuffix(strings.Replace(s, "-0.0", "0.0", 1), ".0")
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a Buffer takes everything
	return b.String()
}

// text sets s with its baseline on y.
func (c *canvas) text(x, y float64, anchor, s string, st style) {
	bold := ""
	if st.bold {
		bold = ` font-weight="600"`
	}
	fmt.Fprintf(&c.body, `<text x="%s" y="%s" class="%s" font-size="%s"%s text-anchor="%s">%s</text>`+"\n",
		num(x), num(y), st.class, num(st.size), bold, anchor, escape(s))
}

func (c *canvas) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(&c.body, `<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`+"\n", num(x), num(y), num(w), num(h), class)
}

func (c *canvas) line(x1, y1, x2, y2, stroke float64, class string) {
	fmt.Fprintf(&c.body, `<line x1="%s" y1="%s" x2="%s" y2="%s" stroke-width="%s" class="%s"/>`+"\n",
		num(x1), num(y1), num(x2), num(y2), num(stroke), class)
}

// leader joins a mark and its label that stand apart.
func (c *canvas) leader(x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.body, `<line x1="%s" y1="%s" x2="%s" y2="%s" stroke-width="1" stroke-dasharray="1 3" class="axis"/>`+"\n",
		num(x1), num(y1), num(x2), num(y2))
}

// path draws an open line through points, in the dash pattern of its series.
func (c *canvas) path(points [][2]float64, dash, class string) {
	var d strings.Builder
	for i, p := range points {
		if i > 0 {
			d.WriteByte('L')
		} else {
			d.WriteByte('M')
		}
		d.WriteString(num(p[0]) + " " + num(p[1]))
	}
	if dash != "" {
		dash = ` stroke-dasharray="` + dash + `"`
	}
	fmt.Fprintf(&c.body, `<path d="%s" fill="none" stroke-width="2" stroke-linejoin="round"%s class="%s"/>`+"\n", d.String(), dash, class)
}

// A shape is a mark's form, which tells series apart without colour.
type shape int

const (
	circle shape = iota
	diamond
	square
	triangle
	bar
	shapes
)

// mark draws a shape around a point.
func (c *canvas) mark(s shape, x, y, r float64, class string) {
	switch s {
	case circle:
		fmt.Fprintf(&c.body, `<circle cx="%s" cy="%s" r="%s" class="%s"/>`+"\n", num(x), num(y), num(r), class)
	case diamond:
		fmt.Fprintf(&c.body, `<path d="M%s %sl%s %sl%s %sl%s %sz" class="%s"/>`+"\n",
			num(x-1.2*r), num(y), num(1.2*r), num(-1.2*r), num(1.2*r), num(1.2*r), num(-1.2*r), num(1.2*r), class)
	case square:
		c.rect(x-.9*r, y-.9*r, 1.8*r, 1.8*r, class)
	case triangle:
		fmt.Fprintf(&c.body, `<path d="M%s %sl%s %sl%s %sz" class="%s"/>`+"\n",
			num(x-1.1*r), num(y+r), num(1.1*r), num(-2*r), num(1.1*r), num(2*r), class)
	case bar:
		c.rect(x-1.25, y-1.4*r, 2.5, 2.8*r, class)
	}
}

// lines sets wrapped text and moves on below it.
func (c *canvas) lines(s string, st style) {
	for _, line := range wrap(s, c.width-2*margin, st.size, st.bold) {
		c.y += st.size * 1.25
		c.text(margin, c.y-st.size*.25, start, line, st)
	}
}

// An entry explains one mark of a legend.
type entry struct {
	shape shape
	class string
	label string
}

// legend draws entries in as many rows as they need.
func (c *canvas) legend(entries []entry) {
	c.y += gap / 2
	x := float64(margin)
	for _, e := range entries {
		w := 14 + noteStyle.widthOf(e.label)
		if x > margin && x+w > c.width-margin {
			x = margin
			c.y += 18
		}
		c.mark(e.shape, x+5, c.y+8, 5, e.class)
		c.text(x+14, c.y+12, start, e.label, noteStyle)
		x += w + 2*gap
	}
	c.y += 18 + gap/2
}

// A drawing knows how to draw itself below its title, and to say its values.
type drawing interface {
	draw(*canvas)
	words() string
}

// render writes a whole svg element, with the style sheet or for a page that
// has it.
func render(h Head, d drawing, styled bool) []byte {
	c := &canvas{head: h, width: h.width(), y: gap}
	c.lines(h.Title, titleStyle)
	if h.Note != "" {
		c.y += 2
		c.lines(h.Note, noteStyle)
	}
	c.y += gap
	d.draw(c)
	c.y += gap

	var b bytes.Buffer
	w, height := num(c.width), num(c.y)
	id := escape(h.ID)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-labelledby="%s-title" aria-describedby="%s-desc">`+"\n",
		w, height, w, height, id, id)
	fmt.Fprintf(&b, `<title id="%s-title">%s</title>`+"\n", id, escape(h.Title))
	fmt.Fprintf(&b, `<desc id="%s-desc">%s</desc>`+"\n", id, escape(strings.TrimSpace(h.Note+" "+d.words())))
	if styled {
		b.WriteString("<style>\n" + Style() + "</style>\n")
	}
	fmt.Fprintf(&b, `<rect width="%s" height="%s" rx="8" class="ground"/>`+"\n", w, height)
	b.Write(c.body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}
