package autobahn

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Report is the outcome of a run.
type Report struct {
	Testee    Role          `json:"testee"`
	Transport string        `json:"transport"`
	Agent     string        `json:"agent"`
	Started   time.Time     `json:"started"`
	Duration  time.Duration `json:"duration"`
	Slack     float64       `json:"slack"`
	Volume    int64         `json:"volume,omitempty"`
	Results   []*Result     `json:"cases"`
}

// Counts returns how often each verdict was given for what the endpoint did.
func (r *Report) Counts() map[Verdict]int {
	counts := make(map[Verdict]int)
	for _, c := range r.Results {
		counts[c.Behavior]++
	}
	return counts
}

// CountsClose returns how often each verdict was given for how sockets ended.
func (r *Report) CountsClose() map[Verdict]int {
	counts := make(map[Verdict]int)
	for _, c := range r.Results {
		counts[c.BehaviorClose]++
	}
	return counts
}

// Failures returns the results that did not pass.
func (r *Report) Failures() []*Result {
	var failures []*Result
	for _, c := range r.Results {
		if !c.Passed() {
			failures = append(failures, c)
		}
	}
	return failures
}

// Tally returns the counts of the verdicts in words, as in "510 OK, 7
// INFORMATIONAL".
func (r *Report) Tally() string { return tally(r.Counts()) }

func tally(counts map[Verdict]int) string {
	var parts []string
	for _, v := range Verdicts() {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return strings.Join(parts, ", ")
}

// String returns the counts in a line.
func (r *Report) String() string {
	return fmt.Sprintf("%d cases against a %s over %s in %v: %s; at the close: %s", len(r.Results), r.Testee,
		r.Transport, r.Duration.Round(time.Millisecond), r.Tally(), tally(r.CountsClose()))
}

// Write writes the report into dir, as name.json and name.html, and returns the
// latter's path. The directory is made if need be.
func (r *Report) Write(dir, name string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), data, 0o644); err != nil {
		return "", err
	}
	var page strings.Builder
	if err := reportPage.Execute(&page, r.view()); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".html")
	return path, os.WriteFile(path, []byte(page.String()), 0o644)
}

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"class": func(v Verdict) string { return strings.ToLower(strings.ReplaceAll(string(v), " ", "-")) },
	"ms":    func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) },
	"bytes": octetCount,
	"ratio": func(wire, payload int64) string {
		return fmt.Sprintf("%.1f %%", 100*float64(wire)/float64(max(payload, 1)))
	},
	"verdicts": Verdicts,
}).Parse(reportHTML))

func octetCount(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// A groupView is a heading of the page and the rows below it.
type groupView struct {
	Category string // of the first group of a category
	Name     string
	Passed   int
	Results  []*Result
}

// view arranges the results for the page.
func (r *Report) view() any {
	var all []*groupView
	for _, c := range r.Results {
		name := GroupName(c.ID)
		if len(all) == 0 || all[len(all)-1].Name != name {
			g := &groupView{Name: name}
			category := Category(c.ID)
			if heading := fmt.Sprint(category, " ", CategoryName(category)); heading != name &&
				(len(all) == 0 || Category(all[len(all)-1].Results[0].ID) != category) {
				g.Category = heading
			}
			all = append(all, g)
		}
		g := all[len(all)-1]
		g.Results = append(g.Results, c)
		if c.Passed() {
			g.Passed++
		}
	}
	return map[string]any{
		"Report": r, "Groups": all, "Failures": r.Failures(),
		"Counts": r.Counts(), "CountsClose": r.CountsClose(),
		"Full": r.Volume == 0,
	}
}
