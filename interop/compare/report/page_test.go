package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/plot"
	"github.com/wsmux/websocket/interop/internal/plot/plottest"
)

// sample returns the made-up report that the data's package has.
func sample(t *testing.T) *result.Report {
	t.Helper()
	b, err := os.ReadFile("../result/testdata/sample.json")
	require.NoError(t, err)
	r := new(result.Report)
	require.NoError(t, json.Unmarshal(b, r))
	return r
}

// parsePage returns the page of a report, and its text.
func parsePage(t *testing.T, r *result.Report) (*html.Node, string) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, WriteHTML(&b, r))
	text := b.String()
	n, err := html.Parse(&b)
	require.NoError(t, err)
	return n, text
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// elements returns all elements of these names, in order.
func elements(n *html.Node, names ...string) []*html.Node {
	var all []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && slices.Contains(names, d.Data) {
			all = append(all, d)
		}
	}
	return all
}

// numbers returns the numbers of a JSON value by their pointers.
func numbers(path string, v any, into map[string]float64) {
	switch v := v.(type) {
	case float64:
		into[path] = v
	case map[string]any:
		for k, e := range v {
			numbers(path+"/"+k, e, into)
		}
	case []any:
		for i, e := range v {
			numbers(fmt.Sprintf("%s/%d", path, i), e, into)
		}
	}
}

// What the page has of a scenario's numbers in other forms than cells: the
// parameters that runs have in common, the spread of repetitions, and the points
// of distribution functions, which are in the JSON only.
var inOtherForms = regexp.MustCompile(`/(number$|parameters/|each/|points/)`)

func TestThePagesNumbersEqualTheReports(t *testing.T) {
	r := sample(t)
	var b bytes.Buffer
	require.NoError(t, WriteJSON(&b, r))
	var v map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &v))
	want := make(map[string]float64)
	numbers("/scenarios", v["scenarios"], want)

	page, _ := parsePage(t, r)
	shown := make(map[string]bool)
	for _, td := range elements(page, "td") {
		path := attribute(td, "data-path")
		if path == "" {
			continue
		}
		require.Contains(t, want, path)
		got, err := strconv.ParseFloat(attribute(td, "data-value"), 64)
		require.NoError(t, err)
		assert.Equal(t, want[path], got, path)
		assert.Equal(t, plot.Digits(want[path]), td.FirstChild.Data, path)
		shown[path] = true
	}
	for path := range want {
		if !inOtherForms.MatchString(path) {
			assert.True(t, shown[path], "the page does not show %s", path)
		}
	}
	assert.Greater(t, len(shown), 500)
}

// The values of plots stand in their descriptions: those of the figures.
func TestThePlotsNumbersEqualTheReports(t *testing.T) {
	v := newView(sample(t))
	for _, number := range []int{1, 2, 4, 6} {
		s := v.scenario(number)
		runs := s.atMost(result.Sockets)
		for _, p := range pictures(v, s) {
			for _, m := range s.figures() {
				if p.Title != map[string]string{result.CPUPerMessage: "Server CPU per message", result.CPUPerSocket: "Server CPU per socket",
					result.RSSPerSocket: "Resident memory per idle socket, at the server", result.TimeToRecover: "Time until every socket is back"}[m.key] {
					continue
				}
				svg := string(p.draw(p.head(wide, "")))
				for _, r := range runs {
					f, _ := r.figure(m.key)
					assert.Contains(t, svg, v.short(r.Transport)+" "+say(f.Value, f.Unit), "scenario %d, %s", number, p.Title)
				}
			}
		}
	}
}

func TestEveryScenarioHasPlotsThatAreSound(t *testing.T) {
	v := newView(sample(t))
	require.Len(t, v.scenarios, 7)
	for _, s := range v.scenarios {
		all := pictures(v, s)
		assert.GreaterOrEqual(t, len(all), 2, "scenario %d", s.Number)
		for _, p := range all {
			assert.NoError(t, plottest.Check(p.draw(p.head(wide, ""))), "scenario %d, %s", s.Number, p.Title)
			assert.NoError(t, plottest.Check(p.draw(p.head(narrow, "-narrow"))), "scenario %d, %s, narrow", s.Number, p.Title)
			assert.NoError(t, plottest.Check(p.file(p.head(0, ""))), "scenario %d, %s, as a file", s.Number, p.Title)
		}
	}
}

func TestThePageLoadsNothing(t *testing.T) {
	page, text := parsePage(t, sample(t))
	assert.Empty(t, elements(page, "script", "img", "iframe", "object", "embed", "video", "base", "form"))
	for _, n := range elements(page, "link", "a", "use", "image") {
		href := attribute(n, "href")
		assert.True(t, strings.HasPrefix(href, "#") || href == "data:,", "%s %s", n.Data, href)
	}
	for d := range page.Descendants() {
		for _, a := range d.Attr {
			assert.False(t, strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "srcset", "%s %s", d.Data, a.Key)
		}
	}
	assert.NotContains(t, text, "url(")
	assert.NotContains(t, text, "@import")
}

// What a report says is text, whatever it contains.
func TestThePageEscapesWhatItIsGiven(t *testing.T) {
	const mean = `</title></style><script>x</script>"'&`
	r := sample(t)
	r.Problems = []string{mean}
	r.Machine.CPU = mean
	r.Transports[0].Name, r.Transports[0].ID = mean, mean
	r.Scenarios[0].Name, r.Scenarios[0].How = mean, mean
	r.Scenarios[0].Runs[0].Transport = mean
	r.Scenarios[0].Runs[1].Problem = mean
	r.Scenarios[6].Network.Detail = mean
	page, _ := parsePage(t, r)
	assert.Empty(t, elements(page, "script"))
	assert.Contains(t, textOf(page), mean)
}

// A report of nothing is a page too.
func TestAReportOfNothing(t *testing.T) {
	for name, r := range map[string]*result.Report{
		"empty":        {},
		"one scenario": {Scenarios: []result.Scenario{{Number: 1, Name: "page"}}},
		"bare runs": {Scenarios: []result.Scenario{
			{Number: 1, Runs: []result.Run{{Transport: "ws-h1"}}},
			{Number: 5, Runs: []result.Run{{Transport: "ws-h2"}, {Transport: "ws-h3", Problem: "all lost"}}},
			{Number: 7, Runs: []result.Run{{Transport: "new"}}},
			{Number: 9, Runs: []result.Run{{Transport: "ws-h2"}}},
		}},
		"foreign": {Target: &result.Target{URL: "wss://example.com/echo", Supports: []result.Support{{Transport: "ws-h3", Detail: "no QUIC"}}},
			Scenarios: []result.Scenario{{Number: 1, Runs: []result.Run{{Transport: "ws-h1", Connections: result.Count{Client: 2, Server: -1}}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			page, _ := parsePage(t, r)
			checkAccessible(t, page)
			var b bytes.Buffer
			require.NoError(t, WriteText(&b, r))
			require.NoError(t, WriteMarkdown(&b, r))
			assert.NotContains(t, b.String(), "NaN")
		})
	}
}

func TestJSONIsTheReport(t *testing.T) {
	r := sample(t)
	var b bytes.Buffer
	require.NoError(t, WriteJSON(&b, r))
	again := new(result.Report)
	require.NoError(t, json.Unmarshal(b.Bytes(), again))
	assert.Equal(t, r, again)
}
