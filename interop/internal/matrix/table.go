package matrix

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// grid returns the matrix as lines of fields, a row on a line: first the short
// matrix, then all other cells. The first line of each is the head.
func (c Cells) grid() (short, other [][]string) {
	short = [][]string{{"peer", "role", "transport"}}
	for _, f := range Short() {
		short[0] = append(short[0], string(f))
	}
	other = [][]string{{"peer", "role", "transport", "further cells"}}
	for _, r := range c.rows() {
		head := []string{r.Peer, string(r.Role), r.Transport}
		fields, some := slices.Clone(head), false
		for _, f := range Short() {
			res, ok := c[r][f]
			some = some || ok
			fields = append(fields, string(res))
		}
		if some {
			short = append(short, fields)
		}
		if s := c.further(r); s != "" {
			other = append(other, append(head, s))
		}
	}
	return short, other
}

// further returns the cells of a row that are not of the short matrix, in words:
// first those that are OK.
func (c Cells) further(r Row) string {
	var good, rest []string
	for _, f := range slices.Sorted(maps.Keys(c[r])) {
		switch res := c[r][f]; {
		case slices.Contains(Short(), f):
		case res == OK:
			good = append(good, string(f))
		default:
			rest = append(rest, string(f)+": "+string(res))
		}
	}
	if len(good) > 0 {
		rest = slices.Insert(rest, 0, strings.Join(good, ", ")+": "+string(OK))
	}
	return strings.Join(rest, "; ")
}

// Table returns the matrix aligned in columns.
func Table(c Cells) string {
	var s strings.Builder
	short, other := c.grid()
	for _, grid := range [][][]string{short, other} {
		if len(grid) == 1 {
			continue
		}
		width := make([]int, len(grid[0]))
		for _, fields := range grid {
			for i, field := range fields {
				width[i] = max(width[i], utf8.RuneCountInString(field))
			}
		}
		for _, fields := range grid {
			var l strings.Builder
			for i, field := range fields {
				l.WriteString(field + strings.Repeat(" ", width[i]+2-utf8.RuneCountInString(field)))
			}
			s.WriteString(strings.TrimRight(l.String(), " ") + "\n")
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// Markdown returns the matrix as tables in Markdown.
func Markdown(c Cells) string {
	var s strings.Builder
	short, other := c.grid()
	for _, grid := range [][][]string{short, other} {
		if len(grid) == 1 {
			continue
		}
		for i, fields := range grid {
			fmt.Fprintf(&s, "| %s |\n", strings.Join(fields, " | "))
			if i == 0 {
				s.WriteString(strings.Repeat("|---", len(fields)) + "|\n")
			}
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// The lines of a Markdown file between which the matrix stands.
const (
	begin = "<!-- matrix: go -C interop run ./matrix -update -->\n"
	end   = "<!-- matrix ends -->\n"
)

// Insert returns a Markdown file with the matrix in its place.
func Insert(file string, c Cells) (string, error) {
	before, rest, ok := strings.Cut(file, begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		return "", fmt.Errorf("the file has no lines %q and %q", begin, end)
	}
	return before + begin + "\n" + Markdown(c) + end + after, nil
}
