package plot

import "strings"

// widths are the advance widths of characters in thousandths of the font's
// size, as in DejaVu Sans, which is wider than the fonts it stands in for.
var widths = map[rune]int{
	' ': 318, '.': 318, ',': 318, ':': 337, ';': 337, '·': 318, '/': 337, '-': 361, '–': 500, '|': 337, '\'': 275,
	'(': 390, ')': 390, '%': 950, '+': 838, '=': 838, '<': 838, '>': 838, '→': 838, '×': 838, '…': 1000,
	'i': 278, 'l': 278, 'j': 278, 't': 392, 'f': 352, 'r': 411, 's': 521, 'c': 550, 'k': 579, 'v': 592, 'x': 592,
	'y': 592, 'z': 525, 'w': 818, 'm': 974, 'I': 295, 'J': 295, 'L': 557, 'W': 989, 'M': 863, 'Q': 787, 'O': 787,
}

// TextWidth estimates how wide s is drawn in a font of this size, rather too
// wide than too narrow.
func TextWidth(s string, size float64, bold bool) float64 {
	sum := 0
	for _, r := range s {
		w, ok := widths[r]
		switch {
		case ok:
		case r >= 'A' && r <= 'Z':
			w = 770
		case r > 0x2000:
			w = 1000
		default:
			w = 636
		}
		sum += w
	}
	width := float64(sum) / 1000 * size
	if bold {
		width *= 1.13
	}
	return width
}

// wrap breaks s at spaces into lines of at most width. A word that is wider has
// its own line and is cut there.
func wrap(s string, width, size float64, bold bool) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && TextWidth(longer, size, bold) > width {
			lines = append(lines, line)
			longer = word
		}
		line = cut(longer, width, size, bold)
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// cut shortens s to width, with an ellipsis at its end.
func cut(s string, width, size float64, bold bool) string {
	if TextWidth(s, size, bold) <= width {
		return s
	}
	runes := []rune(s)
	for len(runes) > 0 && TextWidth(string(runes)+"…", size, bold) > width {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimSpace(string(runes)) + "…"
}
