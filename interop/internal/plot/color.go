package plot

import (
	"fmt"
	"strings"
)

// A Color is one of the palette's. It has a light and a dark form, which Style
// chooses between.
type Color int

// The palette. The names are those of the light forms.
const (
	Orange Color = iota
	Blue
	Teal
	Purple
	Brick
	Grey
	Navy
	colors
)

// A scheme holds a light or a dark form of everything that is painted. In each
// scheme every mark has a contrast of 3:1 or more to the ground and every text
// of 4.5:1, and any two marks stay apart in normal vision, protanopia,
// deuteranopia and tritanopia; tests hold that.
type scheme struct {
	ground, ink, soft, line string
	marks                   [colors]string
	onMarks                 [colors]string // text on a mark
}

var (
	light = scheme{
		ground: "#ffffff", ink: "#1a1d23", soft: "#5b6270", line: "#dde0e6",
		marks:   [colors]string{"#e3611e", "#118dff", "#03717e", "#7625d5", "#af352e", "#838d7d", "#094381"},
		onMarks: [colors]string{"#000000", "#000000", "#ffffff", "#ffffff", "#ffffff", "#000000", "#ffffff"},
	}
	dark = scheme{
		ground: "#1c1f25", ink: "#e8eaee", soft: "#a0a7b4", line: "#32363f",
		marks:   [colors]string{"#ffd028", "#6c6afb", "#3cbf7b", "#cf83dc", "#bacbff", "#907992", "#74ffc7"},
		onMarks: [colors]string{"#000000", "#000000", "#000000", "#000000", "#000000", "#000000", "#000000"},
	}
)

// Style is the style sheet of drawings made by Inline: a page contains it once.
// All of it applies to elements of class "plot" alone. Paper is light.
func Style() string {
	var b strings.Builder
	b.WriteString(".plot{" + light.variables() + "font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",\"DejaVu Sans\",sans-serif}\n")
	b.WriteString("@media screen and (prefers-color-scheme:dark){.plot{" + dark.variables() + "}}\n")
	b.WriteString(".plot .ground{fill:var(--ground)}.plot .ink{fill:var(--ink)}.plot .soft{fill:var(--soft)}.plot .rule{stroke:var(--line)}.plot .axis{stroke:var(--soft)}\n")
	for i := range colors {
		fmt.Fprintf(&b, ".plot .f%d{fill:var(--mark%d)}.plot .k%d{stroke:var(--mark%d)}.plot .o%d{fill:var(--on%d)}\n", i, i, i, i, i, i)
	}
	return b.String()
}

func (s *scheme) variables() string {
	var b strings.Builder
	fmt.Fprintf(&b, "--ground:%s;--ink:%s;--soft:%s;--line:%s;", s.ground, s.ink, s.soft, s.line)
	for i := range colors {
		fmt.Fprintf(&b, "--mark%d:%s;--on%d:%s;", i, s.marks[i], i, s.onMarks[i])
	}
	return b.String()
}

// fill, stroke and on are the classes of a mark's area, of its line, and of text
// on it.
func (c Color) fill() string   { return fmt.Sprintf("f%d", c.index()) }
func (c Color) stroke() string { return fmt.Sprintf("k%d", c.index()) }
func (c Color) on() string     { return fmt.Sprintf("o%d", c.index()) }

// index brings numbers beyond the palette into it.
func (c Color) index() int { return int((c%colors + colors) % colors) }
