// Package plot draws what the comparisons show: bars, percentiles and lines, as
// SVG that stands by itself.
//
// A drawing is deterministic, loads nothing, and follows the reader's light or
// dark setting, also where it is embedded as a file. It paints its own ground,
// so that it can be read on any page. Marks stand out from the ground by at
// least 3:1 and text by 4.5:1, and colours stay apart for readers who do not see
// all of them; every mark is also named by a label beside it. The element title
// holds the drawing's title and desc all of its values in words.
//
// A drawing narrower than 520 units puts labels above marks instead of to their
// left, for narrow screens.
package plot

// A Head is what every drawing has.
type Head struct {
	// ID begins the ids of the drawing's elements: letters, digits and hyphens,
	// unique among the drawings of a page.
	ID string
	// Title says what is shown. It is drawn, and is the drawing's name.
	Title string
	// Note is drawn under the title: what was measured, which direction is
	// better. It may be empty.
	Note string
	// Width is the drawing's, in units of its own; its height follows. 0 means
	// 720. The least is 300.
	Width int
}

// The layout's measures, in the drawing's units.
const (
	defaultWidth = 720
	leastWidth   = 300
	narrowBelow  = 520
	margin       = 16
	gap          = 8

	titleSize = 15
	textSize  = 12
	smallSize = 11
)

func (h Head) width() float64 {
	if h.Width == 0 {
		return defaultWidth
	}
	return float64(max(h.Width, leastWidth))
}
