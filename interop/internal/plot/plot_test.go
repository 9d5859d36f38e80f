package plot_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/interop/internal/plot"
	"github.com/wsmux/websocket/interop/internal/plot/plottest"
)

var update = flag.Bool("update", false, "write the drawings to testdata instead of comparing")

// A drawing is one of the three kinds.
type drawing interface{ SVG() []byte }

// drawings are samples of each kind, of two widths each.
func drawings(width int) map[string]drawing {
	head := func(id, title, note string) plot.Head {
		return plot.Head{ID: id, Title: title, Note: note, Width: width}
	}
	return map[string]drawing{
		"bars": &plot.Bars{
			Head: head("connections", "Connections of a page", "TCP and QUIC connections as the server counted them; fewer is better"),
			Groups: []plot.BarGroup{
				{Label: "6 sockets, 24 requests", Bars: []plot.Bar{
					{Label: "WebSocket h1", Values: []float64{12}, Color: plot.Orange},
					{Label: "WebSocket h2", Values: []float64{1}, Color: plot.Blue},
					{Label: "WebSocket h3", Missing: "no UDP on this machine", Color: plot.Teal},
				}},
				{Label: "100 sockets, 24 requests", Bars: []plot.Bar{
					{Label: "WebSocket h1", Values: []float64{106}, Color: plot.Orange, Low: 104, High: 111},
					{Label: "WebSocket h2", Values: []float64{1}, Color: plot.Blue},
					{Label: "Long polling over HTTP/1.1, with a label that is far too long for its column", Values: []float64{0}, Color: plot.Navy},
				}},
			},
		},
		"stacks": &plot.Bars{
			Head: head("bytes", "Bytes on the wire for 1,000 chat messages of 120 bytes, both directions together & counted twice", "IP packets as the client saw them"),
			Unit: plot.Bytes,
			Parts: []plot.Part{
				{Name: "payload", Color: plot.Teal}, {Name: "WebSocket framing", Color: plot.Blue},
				{Name: "HTTP framing and headers", Color: plot.Purple}, {Name: "TLS or QUIC", Color: plot.Orange}, {Name: "IP, TCP and UDP", Color: plot.Grey},
			},
			Groups: []plot.BarGroup{{Bars: []plot.Bar{
				{Label: "WebSocket h1", Values: []float64{120e3, 6e3, 900, 22e3, 71e3}},
				{Label: "WebSocket h2", Values: []float64{120e3, 6e3, 9.9e3, 11e3, 31e3}},
				{Label: "SSE + POST h2", Values: []float64{120e3, 0, 88e3, 31e3, 68e3}},
			}}},
		},
		"percentiles": &plot.Percentiles{
			Head: head("latency", "Message latency", "from the intended time of sending to receipt; left is better"),
			Unit: plot.Seconds,
			Groups: []plot.PercentileGroup{
				{Label: "no loss", Rows: []plot.Distribution{
					{Label: "WebSocket h1", Color: plot.Orange, P50: 71e-6, P90: 120e-6, P99: 340e-6, Max: 2.1e-3},
					{Label: "WebSocket h2", Color: plot.Blue, P50: 65e-6, P90: 110e-6, P99: 300e-6, Max: 9e-3},
					{Label: "WebSocket h3", Color: plot.Teal, Missing: "no UDP on this machine"},
				}},
				{Label: "3 % loss", Rows: []plot.Distribution{
					{Label: "Long polling h1", Color: plot.Navy, P50: 25.3e-3, P99: 412e-3, Max: 2.05},
				}},
			},
		},
		"lines": &plot.Lines{
			Head: head("loss", "Behaviour under loss", "p99 of message latency; lower is better"),
			X:    plot.Axis{Label: "packet loss", Unit: plot.Percent},
			Y:    plot.Axis{Label: "p99 latency", Unit: plot.Seconds},
			Series: []plot.Series{
				{Name: "WebSocket h1", Color: plot.Orange, Points: []plot.Point{{X: 0, Y: .026}, {X: 1, Y: .210}, {X: 3, Y: .390}}},
				{Name: "WebSocket h2", Color: plot.Blue, Points: []plot.Point{{X: 0, Y: .026}, {X: 1, Y: .240}, {X: 3, Y: .395}}},
				{Name: "WebSocket h3", Color: plot.Teal, Points: []plot.Point{{X: 0, Y: .026}, {X: 1, Y: .090}, {X: 3, Y: .131}}},
				{Name: "SSE + POST h2", Color: plot.Purple, Points: []plot.Point{{X: 0, Y: .027}, {X: 1, Y: .238}, {X: 3, Y: math.NaN()}}},
			},
		},
		"lines-log": &plot.Lines{
			Head: head("loads", "Server CPU by the number of sockets", ""),
			X:    plot.Axis{Label: "sockets", Log: true},
			Y:    plot.Axis{Label: "CPU time for one message", Unit: plot.Seconds, Log: true},
			Series: []plot.Series{
				{Name: "ours", Color: plot.Blue, Points: []plot.Point{{X: 1, Y: 13e-6}, {X: 100, Y: .23e-6}, {X: 1000, Y: .17e-6}}},
				{Name: "x/net", Color: plot.Brick, Points: []plot.Point{{X: 1, Y: 25e-6}, {X: 100, Y: 6.4e-6}, {X: 1000, Y: 7.1e-6}}},
			},
		},
	}
}

func TestDrawingsAreAsCommitted(t *testing.T) {
	for _, width := range []int{0, 360} {
		for name, d := range drawings(width) {
			file := filepath.Join("testdata", name+".svg")
			if width != 0 {
				file = filepath.Join("testdata", fmt.Sprintf("%s-%d.svg", name, width))
			}
			if *update {
				require.NoError(t, os.WriteFile(file, d.SVG(), 0o644))
				continue
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(d.SVG()), "%s; if this is meant: go test ./internal/plot -update, and look at it", file)
		}
	}
}

func TestDrawingsAreSound(t *testing.T) {
	for _, width := range []int{0, 300, 360, 519, 520, 1000} {
		for name, d := range drawings(width) {
			assert.NoError(t, plottest.Check(d.SVG()), "%s, width %d", name, width)
		}
	}
}

// Drawings of nothing, and of values that are not numbers, are drawings too.
func TestDrawingsOfNothing(t *testing.T) {
	head := plot.Head{ID: "x", Title: "x < y", Note: "\x00 & \"quoted\""}
	for i, d := range []drawing{
		&plot.Bars{Head: head},
		&plot.Bars{Head: head, Groups: []plot.BarGroup{{Bars: []plot.Bar{{Label: "zero", Values: []float64{0}}, {Label: "none"}, {Label: "nan", Values: []float64{math.NaN()}}}}}},
		&plot.Percentiles{Head: head},
		&plot.Percentiles{Head: head, Groups: []plot.PercentileGroup{{Rows: []plot.Distribution{{Label: "zero"}, {Label: "inf", P50: 1, P99: 1, Max: math.Inf(1)}}}}},
		&plot.Percentiles{Head: head, Groups: []plot.PercentileGroup{{Rows: []plot.Distribution{{Label: "one", P50: 1, P99: 1, Max: 1}}}}},
		&plot.Lines{Head: head},
		&plot.Lines{Head: head, Series: []plot.Series{{Name: "one", Points: []plot.Point{{X: 0, Y: 0}}}}},
		&plot.Lines{Head: head, Y: plot.Axis{Log: true}, Series: []plot.Series{{Name: "one", Points: []plot.Point{{X: 1, Y: 0}, {X: 2, Y: 1}}}}},
	} {
		svg := d.SVG()
		assert.NoError(t, plottest.Check(svg), "drawing %d", i)
		assert.NotContains(t, string(svg), "NaN")
		assert.NotContains(t, string(svg), "Inf")
	}
}

// Many lines that end at one value are named one below the other.
func TestNamesOfLinesAreApart(t *testing.T) {
	l := &plot.Lines{Head: plot.Head{ID: "x", Title: "x"}, Y: plot.Axis{Unit: plot.Seconds}}
	for i := range 9 {
		l.Series = append(l.Series, plot.Series{Name: fmt.Sprint("series ", i), Color: plot.Color(i), Points: []plot.Point{{X: 0, Y: 1}, {X: 1, Y: float64(i) / 1e6}}})
	}
	assert.NoError(t, plottest.Check(l.SVG()))
}

// A drawing says its values in words, for those who do not see it.
func TestDescriptionHoldsTheValues(t *testing.T) {
	d := drawings(0)
	assert.Contains(t, string(d["bars"].SVG()), "100 sockets, 24 requests: WebSocket h1 106; WebSocket h2 1;")
	assert.Contains(t, string(d["stacks"].SVG()), "SSE + POST h2 307 kB (payload 120 kB, HTTP framing and headers 88 kB, TLS or QUIC 31 kB, IP, TCP and UDP 68 kB)")
	assert.Contains(t, string(d["percentiles"].SVG()), "no loss: WebSocket h1 p50 71 µs, p99 340 µs, max 2.1 ms;")
	assert.Contains(t, string(d["lines"].SVG()), "WebSocket h3: 26 ms at 0 %, 90 ms at 1 %, 131 ms at 3 %.")
}

// Bars are as long as their values say.
func TestBarsAreInProportion(t *testing.T) {
	b := &plot.Bars{Head: plot.Head{ID: "x", Title: "x"}, Groups: []plot.BarGroup{{Bars: []plot.Bar{
		{Label: "a", Values: []float64{50}}, {Label: "b", Values: []float64{100}, Color: plot.Teal},
	}}}}
	var widths [2]float64
	for i, class := range []string{"f0", "f2"} {
		widths[i] = rectWidth(t, b.SVG(), class)
	}
	assert.InDelta(t, 2, widths[1]/widths[0], .01)
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	const head = `<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 100 100" aria-labelledby="t" aria-describedby="d"><title id="t">t</title><desc id="d">d</desc>`
	text := func(x, y int, s string) string {
		return fmt.Sprintf(`<text x="%d" y="%d" font-size="10">%s</text>`, x, y, s)
	}
	require.NoError(t, plottest.Check([]byte(head+text(0, 20, "one")+text(0, 40, "two")+`</svg>`)))
	for name, svg := range map[string]string{
		"overlap":      head + text(0, 20, "one") + text(5, 22, "two") + `</svg>`,
		"outside":      head + text(90, 20, "far too long") + `</svg>`,
		"not closed":   head,
		"no name":      `<svg role="img" viewBox="0 0 1 1"/>`,
		"empty name":   `<svg role="img" viewBox="0 0 1 1" aria-labelledby="t" aria-describedby="t"><title id="t"> </title></svg>`,
		"no role":      `<svg viewBox="0 0 1 1"/>`,
		"not svg":      `<p/>`,
		"loads":        head + `<image href="x.png"/></svg>`,
		"loads styles": head + `<style>@import "x"</style></svg>`,
	} {
		assert.Error(t, plottest.Check([]byte(svg)), name)
	}
}
