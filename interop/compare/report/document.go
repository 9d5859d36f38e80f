package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/plot"
)

// A document is a report in the form of a page.
type document struct {
	Title     string
	When      string // the day and the time
	Took      string
	Mode      string
	Command   string
	Complete  bool
	Problems  []string
	Target    *result.Target
	Supports  table
	Machine   []fact
	Advice    []advice
	Noise     string // what counts as a difference
	Sections  []section
	Methods   []result.Method
	Obtained  table // how each figure was obtained
	Transport table
}

// A fact is a name and what it is.
type fact struct{ Name, Text string }

// A section is a scenario.
type section struct {
	Number   int
	Name     string
	Asks     string
	How      string
	Network  string
	Same     string // the parameters that all runs have
	Problems []string
	Skipped  []result.Skip
	Findings []string // what follows from the figures, by rule
	Main     table
	Details  []table
	Plots    []picture
}

// A picture is a plot in two widths.
type picture struct {
	ID    string
	Title string
	draw  func(head plot.Head) []byte // inline
	file  func(head plot.Head) []byte
	note  string
}

func (p picture) head(width int, suffix string) plot.Head {
	return plot.Head{ID: p.ID + suffix, Title: p.Title, Note: p.note, Width: width}
}

// A table has columns, under common headings where Group is equal in adjacent
// ones, and rows whose first cells are headers.
type table struct {
	Caption string
	Columns []column
	Rows    []row
}

type column struct {
	Group   string // a heading over several columns, with their unit
	Name    string
	Numeric bool
}

type row struct {
	Cells []cell
	Bad   bool // the run's figures do not count
	Apart bool // the row begins another condition
}

// A cell is a text, or a value of the report: then Path is its JSON pointer.
type cell struct {
	Text   string
	Path   string
	Value  float64
	Spread string // of repetitions
}

// value returns the cell of a number of the report.
func value(path string, v float64) cell {
	return cell{Text: plot.Digits(v), Path: path, Value: v}
}

// none is the cell of a value that was not measured.
var none = cell{Text: "–"}

// build makes the document of a report.
func build(r *result.Report) *document {
	v := newView(r)
	d := &document{
		Title:    "What each transport costs",
		When:     r.Begun.UTC().Format("2 January 2006, 15:04 UTC"),
		Took:     (time.Duration(r.Seconds * float64(time.Second))).Round(time.Second).String(),
		Mode:     r.Mode,
		Command:  command(r),
		Complete: r.Complete,
		Problems: r.Problems,
		Target:   r.Target,
		Machine:  machine(r),
		Advice:   advise(v),
		Noise:    noiseRule,
		Methods:  r.Methods,
		Obtained: obtained(v),
	}
	d.Transport.Caption = "The transports"
	d.Transport.Columns = []column{{Name: "here"}, {Name: "transport"}, {Name: "what it is"}}
	for _, t := range r.Transports {
		d.Transport.Rows = append(d.Transport.Rows, row{Cells: []cell{{Text: v.short(t.ID)}, {Text: t.Name}, {Text: t.About}}})
	}
	if r.Target != nil {
		d.Supports = supports(v, r.Target)
	}
	for _, s := range v.scenarios {
		d.Sections = append(d.Sections, describe(v, s))
	}
	return d
}

// command is how to measure the same again.
func command(r *result.Report) string {
	c := "go -C interop run ./compare"
	if r.Mode == "quick" {
		c += " -quick"
	}
	if r.Target != nil {
		c += " -url " + r.Target.URL
	}
	return c
}

func machine(r *result.Report) []fact {
	m := r.Machine
	cpu := fmt.Sprintf("%s, %d logical CPUs", m.CPU, m.CPUs)
	if m.MemoryMiB > 0 {
		cpu += fmt.Sprintf(", %s MiB of memory", plot.Digits(float64(m.MemoryMiB)))
	}
	facts := []fact{{"processor", cpu}, {"system", m.OS + ", kernel " + m.Kernel}, {"Go", m.Go}}
	var libraries []string
	for _, l := range m.Libraries {
		libraries = append(libraries, l.Path+" "+l.Version)
	}
	if len(libraries) > 0 {
		facts = append(facts, fact{"libraries", strings.Join(libraries, ", ")})
	}
	if r.Tool != "" {
		facts = append(facts, fact{"tool", strings.TrimSpace(r.Tool + " " + r.Version)})
	}
	return facts
}

func supports(v *view, target *result.Target) table {
	t := table{Caption: "What " + target.URL + " supports", Columns: []column{{Name: "transport"}, {Name: "supported"}, {Name: "what was seen"}}}
	for _, s := range target.Supports {
		answer := "no"
		if s.Supported {
			answer = "yes"
		}
		t.Rows = append(t.Rows, row{Cells: []cell{{Text: v.short(s.Transport)}, {Text: answer}, {Text: s.Detail}}})
	}
	return t
}

// describe makes the section of a scenario.
func describe(v *view, s *scenario) section {
	sec := section{
		Number:   s.Number,
		Name:     s.Name,
		Asks:     s.Asks,
		How:      s.How,
		Network:  network(s.Network),
		Same:     s.same(),
		Main:     mainTable(v, s),
		Details:  []table{distributionTable(v, s), bytesTable(v, s)},
		Plots:    pictures(v, s),
		Findings: findings(v, s),
	}
	for _, skip := range s.Skipped {
		sec.Skipped = append(sec.Skipped, result.Skip{What: v.short(skip.What), Reason: skip.Reason})
	}
	for _, r := range s.runs {
		if r.Problem != "" {
			sec.Problems = append(sec.Problems, fmt.Sprintf("%s: %s; its figures do not count", r.name(), r.Problem))
		}
	}
	return sec
}

func network(n result.Network) string {
	kinds := map[result.NetworkKind]string{
		result.Loopback:   "loopback",
		result.Namespaces: "network namespaces",
		result.Shaped:     "shaped in a process, an imitation of a network",
		result.Foreign:    "the network between here and the target",
	}
	kind, ok := kinds[n.Kind]
	if !ok {
		kind = string(n.Kind)
	}
	if n.Detail == "" {
		return kind
	}
	return kind + ": " + n.Detail
}
