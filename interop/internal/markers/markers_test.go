package markers_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/interop/internal/markers"
)

func TestReplaceChangesWhatIsBetweenTheMarkers(t *testing.T) {
	const head, tail = "Before.\n\n<!-- b: c -->\nother\n<!-- b ends -->\n<!-- a: made by a command -->", "<!-- a ends -->\n\nAfter.\n"
	const want = head + "\n\nnew\n\n" + tail
	for _, old := range []string{head + "\nold\n" + tail, want} {
		got, err := markers.Replace(old, "a", "\nnew\n\n")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

func TestReplaceWantsBothMarkers(t *testing.T) {
	for _, page := range []string{"", "<!-- a: x -->\n", "<!-- a: x", "<!-- a ends -->\n", "<!-- a ends -->\n<!-- a: x -->\n", "<!-- b: x -->\n<!-- b ends -->"} {
		_, err := markers.Replace(page, "a", "new")
		assert.Error(t, err, page)
	}
}
