package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/interop/compare/report"
	"github.com/wsmux/websocket/interop/internal/plot/plottest"
)

const sample = "../result/testdata/sample.json"

func TestDocsHaveTheComparisonBetweenTheirMarkers(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "comparison.md")
	const head, tail = "# Title\n\nBefore.\n\n<!-- comparison: made by a command -->", "<!-- comparison ends -->\n\nAfter.\n"
	require.NoError(t, os.WriteFile(page, []byte(head+"\n\nwhat stood here\n\n"+tail), 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "comparison"), 0o755))
	stale := filepath.Join(dir, "comparison", "stale.svg")
	require.NoError(t, os.WriteFile(stale, nil, 0o644))

	require.NoError(t, run([]string{"-json", sample, "-docs", page}, nil))
	first, err := os.ReadFile(page)
	require.NoError(t, err)
	text := string(first)
	assert.True(t, strings.HasPrefix(text, head))
	assert.True(t, strings.HasSuffix(text, tail))
	assert.NotContains(t, text, "what stood here")
	assert.NoFileExists(t, stale)

	// Every plot is there, is sound, and is referred to; every reference has a
	// text.
	references := regexp.MustCompile(`!\[([^\]]+)\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1)
	files, err := filepath.Glob(filepath.Join(dir, "comparison", "*.svg"))
	require.NoError(t, err)
	assert.Len(t, references, len(files))
	assert.Greater(t, len(files), 14)
	for _, r := range references {
		svg, err := os.ReadFile(filepath.Join(dir, r[2]))
		require.NoError(t, err)
		assert.NoError(t, plottest.Check(svg), r[2])
	}

	require.NoError(t, run([]string{"-json", sample, "-docs", page}, nil))
	second, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, text, string(second), "once more changes nothing")
}

func TestDocsWithoutMarkersStayAsTheyAre(t *testing.T) {
	for _, text := range []string{"nothing\n", "<!-- comparison: x -->\n", "<!-- comparison: x", "<!-- comparison ends -->\n"} {
		page := filepath.Join(t.TempDir(), "page.md")
		require.NoError(t, os.WriteFile(page, []byte(text), 0o644))
		assert.Error(t, run([]string{"-json", sample, "-docs", page}, nil), text)
		b, err := os.ReadFile(page)
		require.NoError(t, err)
		assert.Equal(t, text, string(b))
	}
}

// JSON of something else is not taken for a comparison that has nothing: a page would
// lose what it says, and its plots.
func TestWhatIsNoComparisonIsNotRendered(t *testing.T) {
	dir := t.TempDir()
	page, plot := filepath.Join(dir, "comparison.md"), filepath.Join(dir, "comparison", "plot.svg")
	require.NoError(t, os.WriteFile(page, []byte("<!-- comparison: x -->\n\n<!-- comparison ends -->\n"), 0o644))
	require.NoError(t, os.Mkdir(filepath.Dir(plot), 0o755))
	require.NoError(t, os.WriteFile(plot, nil, 0o644))
	other := filepath.Join(dir, "other.json")
	require.NoError(t, os.WriteFile(other, []byte(`{"testee":"server","cases":[]}`), 0o644))
	assert.ErrorContains(t, run([]string{"-json", other, "-docs", page}, nil), "no scenarios")
	assert.FileExists(t, plot)
}

func TestRenderWritesTextAndHTML(t *testing.T) {
	var text, want bytes.Buffer
	require.NoError(t, run([]string{"-json", sample}, &text))
	r, err := read(sample)
	require.NoError(t, err)
	require.NoError(t, report.WriteText(&want, r))
	assert.Equal(t, want.String(), text.String())

	file := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, run([]string{"-json", sample, "-html", file}, nil))
	html, err := os.ReadFile(file)
	require.NoError(t, err)
	want.Reset()
	require.NoError(t, report.WriteHTML(&want, r))
	assert.Equal(t, want.String(), string(html))

	assert.Error(t, run([]string{"-json", "nothing.json"}, nil))
}

// What docs/comparison.md says is what its kept figures say.
func TestDocsAreUpToDate(t *testing.T) {
	const docs = "../../../docs"
	dir := t.TempDir()
	page := filepath.Join(dir, "comparison.md")
	kept, err := os.ReadFile(filepath.Join(docs, "comparison.md"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(page, kept, 0o644))
	require.NoError(t, run([]string{"-json", filepath.Join(docs, "comparison", "report.json"), "-docs", page}, nil))

	const again = "if it is meant to change: go -C interop run ./compare/render -json ../docs/comparison/report.json -docs ../docs/comparison.md"
	same := func(name string) {
		want, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(docs, name))
		require.NoError(t, err, again)
		assert.True(t, bytes.Equal(want, got), "%s is not what its figures say; %s", name, again)
	}
	same("comparison.md")
	plots, err := filepath.Glob(filepath.Join(dir, "comparison", "*.svg"))
	require.NoError(t, err)
	for _, plot := range plots {
		same(filepath.Join("comparison", filepath.Base(plot)))
	}
	have, err := filepath.Glob(filepath.Join(docs, "comparison", "*.svg"))
	require.NoError(t, err)
	assert.Len(t, have, len(plots))
}
