package report

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every form has the same advice, findings and cells.
func TestFormsAgree(t *testing.T) {
	r := sample(t)
	d := build(r)
	var text, markdown bytes.Buffer
	require.NoError(t, WriteText(&text, r))
	require.NoError(t, WriteMarkdown(&markdown, r))
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	page, _ := parsePage(t, r)
	for name, form := range map[string]string{"text": words(text.String()), "markdown": words(markdown.String()), "page": words(textOf(page))} {
		for _, a := range d.Advice {
			assert.Contains(t, form, words(a.Use), name)
			assert.Contains(t, form, words(a.Because), name)
		}
		for _, s := range d.Sections {
			for _, f := range s.Findings {
				assert.Contains(t, form, words(f), name)
			}
			for _, p := range s.Problems {
				assert.Contains(t, form, words(p), name)
			}
		}
		for _, p := range d.Problems {
			assert.Contains(t, form, words(p), name)
		}
	}
	for _, s := range d.Sections {
		for _, row := range s.Main.Rows {
			var cells []string
			for _, c := range row.Cells {
				cells = append(cells, c.Text)
			}
			mark := ""
			if row.Bad {
				mark = " (does not count)"
			}
			assert.Contains(t, markdown.String(), "| "+cells[0]+mark+" | "+strings.Join(cells[1:], " | ")+" |\n")
			for _, c := range cells {
				assert.Contains(t, text.String(), c)
			}
		}
	}
}

func TestTextTablesAreAligned(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteText(&b, sample(t)))
	in, width := false, 0
	tables := 0
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "transport"):
			in, width = true, utf8.RuneCountInString(line)
			tables++
			assert.LessOrEqual(t, width, tableWidth)
		case in && (strings.HasPrefix(line, "WebSocket h") || strings.HasPrefix(line, "SSE +") || strings.HasPrefix(line, "long polling")):
			assert.Equal(t, width, utf8.RuneCountInString(line), line)
		case line != "":
			in = false
		}
	}
	assert.GreaterOrEqual(t, tables, 7)
}

// A table that is too wide is written in parts that have all of it.
func TestWideTextTables(t *testing.T) {
	wide := table{Columns: []column{{Name: "transport"}}, Rows: []row{{Cells: []cell{{Text: "WebSocket h1"}}}}}
	for i := range 40 {
		wide.Columns = append(wide.Columns, column{fmt.Sprint("figure ", i/2), "value", true})
		wide.Rows[0].Cells = append(wide.Rows[0].Cells, cell{Text: fmt.Sprint(1000 + i)})
	}
	var out bytes.Buffer
	b := bufio.NewWriter(&out)
	textTable(b, wide)
	require.NoError(t, b.Flush())
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), tableWidth, line)
	}
	for i := range 40 {
		assert.Equal(t, 1, strings.Count(out.String(), fmt.Sprint(1000+i)))
	}
	assert.Greater(t, strings.Count(out.String(), "WebSocket h1"), 1)
}

func TestMarkdownKeepsItsTables(t *testing.T) {
	assert.Equal(t, `a \| b &lt;i> \*\_ c`, markdownText("a | b <i> *_\nc"))
}
