// Package markers brings up to date what commands have written into pages of the
// documentation, between two markers that say who did.
package markers

import (
	"fmt"
	"strings"
)

// Replace returns the page with text in place of what stood between the line that
// begins with "<!-- name: " and "<!-- name ends -->". What stands outside of the
// markers it does not change, nor the markers: the first one says by which command
// the text was made.
func Replace(page, name, text string) (string, error) {
	begins, ends := "<!-- "+name+": ", "<!-- "+name+" ends -->"
	head, after, found := strings.Cut(page, begins)
	if !found {
		return "", fmt.Errorf("no line begins with %q", begins)
	}
	marker, rest, found := strings.Cut(after, "\n")
	if !found {
		return "", fmt.Errorf("the line that begins with %q does not end", begins)
	}
	_, tail, found := strings.Cut(rest, ends)
	if !found {
		return "", fmt.Errorf("no line begins with %q", ends)
	}
	return head + begins + marker + "\n\n" + strings.TrimSpace(text) + "\n\n" + ends + tail, nil
}
