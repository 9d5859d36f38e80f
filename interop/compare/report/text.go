package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// lineWidth is that of prose in a terminal.
const lineWidth = 100

// writeText writes the document for a terminal.
func writeText(w io.Writer, d *document) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s\n%s; measured in %s (%s)\n", d.Title, d.When, d.Took, d.Mode)
	for _, f := range d.Machine {
		textParagraph(b, f.Name+": "+f.Text, "")
	}
	textIncomplete(b, d)
	if d.Target != nil {
		b.WriteByte('\n')
		textTable(b, d.Supports)
	}
	for _, s := range d.Sections {
		textSection(b, s)
	}
	textAdvice(b, d)
	return b.Flush()
}

func textIncomplete(b *bufio.Writer, d *document) {
	if d.Complete {
		return
	}
	b.WriteString("\nNOT COMPLETE\n")
	for _, p := range d.Problems {
		textParagraph(b, "- "+p, "  ")
	}
}

func textSection(b *bufio.Writer, s section) {
	title := fmt.Sprintf("%d  %s", s.Number, s.Name)
	fmt.Fprintf(b, "\n%s\n%s\n", title, strings.Repeat("─", utf8.RuneCountInString(title)))
	textParagraph(b, s.Asks+" "+s.How, "")
	if s.Same != "" {
		textParagraph(b, "All runs: "+s.Same+". Network: "+s.Network, "")
	} else {
		textParagraph(b, "Network: "+s.Network, "")
	}
	b.WriteByte('\n')
	textTable(b, s.Main)
	for _, p := range s.Problems {
		textParagraph(b, "! "+p, "  ")
	}
	for _, skip := range s.Skipped {
		textParagraph(b, "not measured: "+skip.What+": "+skip.Reason, "  ")
	}
	for _, f := range s.Findings {
		textParagraph(b, f, "")
	}
}

func textAdvice(b *bufio.Writer, d *document) {
	if len(d.Advice) == 0 {
		return
	}
	b.WriteString("\nIf you have … use …\n───────────────────\n")
	for _, a := range d.Advice {
		textParagraph(b, "· "+a.Have+" → "+a.Use, "    ")
		if a.Because != "" {
			textParagraph(b, "    "+a.Because, "    ")
		}
		textParagraph(b, fmt.Sprintf("    rule: %s (scenario %d)", a.Rule, a.Number), "    ")
	}
	b.WriteByte('\n')
	textParagraph(b, d.Noise, "")
}

// textParagraph writes wrapped prose; indent is for the lines after the first.
func textParagraph(b *bufio.Writer, s, indent string) {
	// What the paragraph begins with is kept.
	begin := s[:len(s)-len(strings.TrimLeft(s, " "))]
	line, empty := begin, true
	for _, word := range strings.Fields(s) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > lineWidth {
			fmt.Fprintln(b, line)
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	fmt.Fprintln(b, line)
}

// tableWidth is that of tables in a terminal.
const tableWidth = 120

// textTable writes a table in aligned columns. One that is too wide is written in
// parts, each with the columns that have no common heading, which say what a row
// is of.
func textTable(b *bufio.Writer, t table) {
	if len(t.Rows) == 0 {
		b.WriteString("nothing was measured\n")
		return
	}
	widths := t.widths()
	part, width, parts := t.without(), 0, 0
	lead := part.width(widths)
	for _, s := range t.spans() {
		if s.group == "" {
			continue
		}
		w := s.width(widths) + 2
		if width > 0 && lead+width+w > tableWidth {
			textPart(b, part, parts > 0)
			part, width, parts = t.without(), 0, parts+1
		}
		part.add(t, s)
		width += w
	}
	textPart(b, part, parts > 0)
}

// widths returns the columns' widths: those of their cells and headings, and the
// first of several under a common heading takes what that needs beyond.
func (t *table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = utf8.RuneCountInString(c.Name)
		for _, r := range t.Rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(textCell(r, i)))
		}
	}
	for _, s := range t.spans() {
		if more := utf8.RuneCountInString(s.group) - s.width(widths); more > 0 {
			widths[s.from] += more
		}
	}
	return widths
}

// width is that of a span's columns with the spaces between them.
func (s span) width(widths []int) int {
	w := 2 * (s.count - 1)
	for i := s.from; i < s.from+s.count; i++ {
		w += widths[i]
	}
	return w
}

// without returns the table without the columns that have a common heading.
func (t *table) without() table {
	p := table{Caption: t.Caption, Rows: make([]row, len(t.Rows))}
	for i, r := range t.Rows {
		p.Rows[i] = row{Bad: r.Bad, Apart: r.Apart}
	}
	for _, s := range t.spans() {
		if s.group == "" {
			p.add(*t, s)
		}
	}
	return p
}

// add appends a span's columns of another table with the same rows.
func (t *table) add(from table, s span) {
	t.Columns = append(t.Columns, from.Columns[s.from:s.from+s.count]...)
	for i := range t.Rows {
		t.Rows[i].Cells = append(t.Rows[i].Cells, from.Rows[i].Cells[s.from:s.from+s.count]...)
	}
}

// width is that of the table's first columns in another one's widths.
func (t *table) width(widths []int) int {
	w := 0
	for i := range t.Columns {
		w += widths[i] + 2
	}
	return w
}

// textPart writes a table that fits, after an empty line if it is not the first
// part, with a line of common headings where there are any.
func textPart(b *bufio.Writer, t table, later bool) {
	if later {
		fmt.Fprintln(b)
	}
	widths, spans := t.widths(), t.spans()
	if t.grouped() {
		var line strings.Builder
		for _, s := range spans {
			line.WriteString(pad(s.group, s.width(widths), t.Columns[s.from].Numeric) + "  ")
		}
		fmt.Fprintln(b, strings.TrimRight(line.String(), " "))
	}
	write := func(cell func(int) string) {
		var line strings.Builder
		for i, c := range t.Columns {
			line.WriteString(pad(cell(i), widths[i], c.Numeric) + "  ")
		}
		fmt.Fprintln(b, strings.TrimRight(line.String(), " "))
	}
	write(func(i int) string { return t.Columns[i].Name })
	for _, r := range t.Rows {
		if r.Apart {
			fmt.Fprintln(b)
		}
		write(func(i int) string { return textCell(r, i) })
	}
}

// textCell marks rows that do not count.
func textCell(r row, i int) string {
	if r.Bad && i == 0 {
		return r.Cells[0].Text + " !"
	}
	return r.Cells[i].Text
}

func pad(s string, width int, right bool) string {
	space := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
	if right {
		return space + s
	}
	return s + space
}

// A span is adjacent columns under one heading.
type span struct {
	group       string
	from, count int
}

func (t *table) spans() []span {
	var spans []span
	for i, c := range t.Columns {
		if n := len(spans); n > 0 && c.Group != "" && spans[n-1].group == c.Group {
			spans[n-1].count++
			continue
		}
		spans = append(spans, span{c.Group, i, 1})
	}
	return spans
}

// grouped reports whether any column has a common heading.
func (t *table) grouped() bool {
	for _, c := range t.Columns {
		if c.Group != "" {
			return true
		}
	}
	return false
}
