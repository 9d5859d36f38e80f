package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// writeMarkdown writes the document's summary, and its scenarios at a glance;
// with their plots if it is told in which folder these are.
func writeMarkdown(w io.Writer, d *document, plots string) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "Measured on %s in %s by `%s`:\n\n", d.When, d.Took, d.Command)
	for _, f := range d.Machine {
		fmt.Fprintf(b, "- %s: %s\n", f.Name, markdownText(f.Text))
	}
	if !d.Complete {
		b.WriteString("\n**Not complete:**\n\n")
		for _, p := range d.Problems {
			fmt.Fprintf(b, "- %s\n", markdownText(p))
		}
	}
	if d.Target != nil {
		fmt.Fprintf(b, "\n### %s\n\n", d.Supports.Caption)
		markdownTable(b, d.Supports)
	}
	if len(d.Advice) > 0 {
		b.WriteString("\n### If you have … use …\n\n")
		b.WriteString("| if you have | use | because | rule |\n|---|---|---|---|\n")
		for _, a := range d.Advice {
			use := "**" + markdownText(a.Use) + "**"
			if !a.Follows {
				use = markdownText(a.Use)
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s (scenario %d) |\n", markdownText(a.Have), use, markdownText(a.Because), markdownText(a.Rule), a.Number)
		}
		fmt.Fprintf(b, "\n%s\n", d.Noise)
	}
	for _, s := range d.Sections {
		markdownSection(b, s, plots)
	}
	if len(d.Methods) > 0 {
		b.WriteString("\n### Methods\n\n")
		for _, m := range d.Methods {
			fmt.Fprintf(b, "- **%s**: %s\n", markdownText(m.Name), markdownText(m.Text))
		}
	}
	if len(d.Obtained.Rows) > 0 {
		fmt.Fprintf(b, "\n### %s\n\n", d.Obtained.Caption)
		markdownTable(b, d.Obtained)
	}
	return b.Flush()
}

func markdownSection(b *bufio.Writer, s section, plots string) {
	fmt.Fprintf(b, "\n### %d. %s\n\n%s %s\n\n", s.Number, markdownText(s.Name), markdownText(s.Asks), markdownText(s.How))
	if s.Same != "" {
		fmt.Fprintf(b, "All runs: %s. ", markdownText(s.Same))
	}
	fmt.Fprintf(b, "Network: %s\n\n", markdownText(s.Network))
	markdownTable(b, s.Main)
	for _, p := range s.Problems {
		fmt.Fprintf(b, "\n**%s**\n", markdownText(p))
	}
	for _, skip := range s.Skipped {
		fmt.Fprintf(b, "\nNot measured: %s: %s\n", markdownText(skip.What), markdownText(skip.Reason))
	}
	for _, f := range s.Findings {
		fmt.Fprintf(b, "\n%s\n", markdownText(f))
	}
	if plots == "" {
		return
	}
	for _, p := range s.Plots {
		fmt.Fprintf(b, "\n![%s: %s](%s/%s.svg)\n", markdownText(p.Title), markdownText(p.note), plots, p.ID)
	}
}

func markdownTable(b *bufio.Writer, t table) {
	if len(t.Rows) == 0 {
		b.WriteString("Nothing was measured.\n")
		return
	}
	rule := ""
	for _, c := range t.Columns {
		name := c.Name
		if c.Group != "" {
			name = c.Group + ": " + c.Name
		}
		fmt.Fprintf(b, "| %s ", markdownText(name))
		if c.Numeric {
			rule += "|--:"
		} else {
			rule += "|---"
		}
	}
	fmt.Fprintf(b, "|\n%s|\n", rule)
	for _, r := range t.Rows {
		for i, c := range r.Cells {
			text := markdownText(c.Text)
			if r.Bad && i == 0 {
				text += " (does not count)"
			}
			fmt.Fprintf(b, "| %s ", text)
		}
		b.WriteString("|\n")
	}
}

// markdownText keeps what means something to Markdown from doing so.
func markdownText(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "\n", " ").Replace(s)
}
