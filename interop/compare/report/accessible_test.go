package report

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

func TestThePageIsAccessible(t *testing.T) {
	page, _ := parsePage(t, sample(t))
	checkAccessible(t, page)
}

// checkAccessible checks what a program can: language and title, landmarks,
// headings in order, names of drawings, headers of tables, ids, and that what
// scrolls can be reached by keyboard.
func checkAccessible(t *testing.T, page *html.Node) {
	t.Helper()
	assert.Equal(t, "en", attribute(elements(page, "html")[0], "lang"))
	assert.NotEmpty(t, textOf(elements(page, "title")[0]))
	for _, landmark := range []string{"header", "nav", "main", "footer"} {
		assert.Len(t, elements(page, landmark), 1, landmark)
	}
	assert.NotEmpty(t, attribute(elements(page, "nav")[0], "aria-label"))

	ids := make(map[string]*html.Node)
	for d := range page.Descendants() {
		if id := attribute(d, "id"); id != "" {
			assert.NotContains(t, ids, id, "an id stands twice")
			ids[id] = d
		}
	}
	for d := range page.Descendants() {
		for _, name := range []string{"aria-labelledby", "aria-describedby"} {
			if id := attribute(d, name); id != "" {
				require.Contains(t, ids, id, "%s of %s", name, d.Data)
				assert.NotEmpty(t, strings.TrimSpace(textOf(ids[id])), "%s %s", name, id)
			}
		}
	}
	for _, a := range elements(page, "a") {
		assert.Contains(t, ids, strings.TrimPrefix(attribute(a, "href"), "#"))
	}
	checkHeadings(t, page)
	for _, svg := range elements(page, "svg") {
		assert.Equal(t, "img", attribute(svg, "role"))
		assert.NotEmpty(t, attribute(svg, "aria-labelledby"))
	}
	for _, table := range elements(page, "table") {
		checkTable(t, table)
	}
}

func checkHeadings(t *testing.T, page *html.Node) {
	t.Helper()
	level := 0
	for _, h := range elements(page, "h1", "h2", "h3", "h4", "h5", "h6") {
		next := int(h.Data[1] - '0')
		assert.LessOrEqual(t, next, level+1, "%s %q comes after h%d", h.Data, textOf(h), level)
		level = next
	}
	assert.Len(t, elements(page, "h1"), 1)
}

func checkTable(t *testing.T, table *html.Node) {
	t.Helper()
	caption := elements(table, "caption")
	require.Len(t, caption, 1)
	assert.NotEmpty(t, textOf(caption[0]))
	for _, th := range elements(table, "th") {
		assert.Contains(t, []string{"col", "row", "colgroup"}, attribute(th, "scope"), textOf(th))
	}
	// Every row has as many cells as the head has columns, the first a header.
	columns := 0
	for _, th := range elements(elements(table, "tr")[0], "th") {
		n, err := strconv.Atoi(attribute(th, "colspan"))
		if err != nil {
			n = 1
		}
		columns += n
	}
	for _, body := range elements(table, "tbody") {
		for _, tr := range elements(body, "tr") {
			assert.Len(t, elements(tr, "th", "td"), columns, "%s: %s", textOf(caption[0]), textOf(tr))
			assert.Len(t, elements(tr, "th"), 1)
		}
	}
	assert.Equal(t, "0", attribute(table.Parent, "tabindex"), "what scrolls can be focused")
	assert.Equal(t, "region", attribute(table.Parent, "role"))
}

// colours returns the custom properties of a style sheet, those of paper and
// light first, those of dark over them second.
func colours(css string) (light, dark map[string]string) {
	property := regexp.MustCompile(`--([a-z0-9]+):\s*(#[0-9a-f]{6})`)
	media := regexp.MustCompile(`(?s)@media screen and \(prefers-color-scheme:\s*dark\)\s*\{.*?\}\s*\}`)
	light, dark = make(map[string]string), make(map[string]string)
	for _, m := range property.FindAllStringSubmatch(media.ReplaceAllString(strings.Split(css, "@media print")[0], ""), -1) {
		light[m[1]], dark[m[1]] = m[2], m[2]
	}
	for _, block := range media.FindAllString(css, -1) {
		for _, m := range property.FindAllStringSubmatch(block, -1) {
			dark[m[1]] = m[2]
		}
	}
	return light, dark
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	require.Len(t, hex, 7)
	l := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		v, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		require.NoError(t, err)
		c := float64(v) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}

func TestThePagesTextHasContrast(t *testing.T) {
	light, dark := colours(pageCSS)
	require.NotEqual(t, light["page"], dark["page"])
	for name, scheme := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, text := range []string{"text", "faint", "link", "alert"} {
			for _, ground := range []string{"page", "sheet", "shade"} {
				a, b := luminance(t, scheme[text]), luminance(t, scheme[ground])
				assert.GreaterOrEqual(t, (max(a, b)+.05)/(min(a, b)+.05), 4.5, "%s: %s on %s", name, text, ground)
			}
		}
	}
}
