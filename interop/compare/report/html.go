package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"

	"github.com/wsmux/websocket/interop/internal/plot"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"spans":   func(t table) []span { return t.spans() },
	"grouped": func(t table) bool { return t.grouped() },
	"exact":   func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) },
	"id":      identifier,
	"numeric": func(t table, i int) bool { return t.Columns[i].Numeric },
	"part":    func(t table, id string) tableView { return tableView{t, id} },
	"wide":    func(p picture) template.HTML { return template.HTML(p.draw(p.head(wide, ""))) },
	"narrow":  func(p picture) template.HTML { return template.HTML(p.draw(p.head(narrow, "-narrow"))) },
	"single":  func(s span) bool { return s.group == "" },
	"group":   func(s span) string { return s.group },
	"count":   func(s span) int { return s.count },
	"column":  func(t table, s span) column { return t.Columns[s.from] },
	"under":   func(t table) []column { return t.under() },
}).Parse(pageHTML))

// A tableView is a table with the id that its caption gets.
type tableView struct {
	Table table
	ID    string
}

// under returns the columns whose heading stands in the second line.
func (t *table) under() []column {
	var columns []column
	for _, c := range t.Columns {
		if c.Group != "" {
			columns = append(columns, c)
		}
	}
	return columns
}

// identifier makes an element's id of parts.
func identifier(parts ...any) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(fmt.Sprint(p))
	}
	return b.String()
}

// writeHTML writes the page. The style sheets and the drawings are this
// module's own and not escaped; all else is.
func writeHTML(w io.Writer, d *document) error {
	return page.Execute(w, struct {
		*document
		Style template.CSS
	}{d, template.CSS(pageCSS + plot.Style())})
}
