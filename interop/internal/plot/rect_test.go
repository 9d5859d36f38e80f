package plot_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// rectWidth returns the width of the one rectangle of a class.
func rectWidth(t *testing.T, svg []byte, class string) float64 {
	t.Helper()
	found := regexp.MustCompile(fmt.Sprintf(`<rect [^>]*width="([0-9.]+)"[^>]*class="%s"`, class)).FindAllSubmatch(svg, -1)
	require.Len(t, found, 1)
	w, err := strconv.ParseFloat(string(found[0][1]), 64)
	require.NoError(t, err)
	return w
}
