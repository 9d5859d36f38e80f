package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Results that are asked for and not there are not what is expected.
func TestWithoutResultsNothingIsAsExpected(t *testing.T) {
	dir := t.TempDir()
	expected := filepath.Join(dir, "expected.json")
	require.NoError(t, os.WriteFile(expected, []byte(`[{"suite":"s","peer":"p","role":"client","transport":"h2","cells":{"echo":"ok"}}]`), 0o644))
	for _, args := range [][]string{
		{"-results", ""}, // as of a variable that is not set
		{"-results", "", "-update"},
		{"-complete"},
		{"-results", dir + "/nothing"},
		{"results"},
	} {
		assert.Error(t, run(append([]string{"-expected", expected}, args...), new(strings.Builder)), "%q", args)
	}
	var out strings.Builder
	require.NoError(t, run([]string{"-expected", expected}, &out))
	assert.Contains(t, out.String(), "p     client  h2")

	results := filepath.Join(dir, "results")
	require.NoError(t, os.Mkdir(results, 0o755))
	other := `{"Suite":"other","Cells":[]}`
	require.NoError(t, os.WriteFile(filepath.Join(results, "other.json"), []byte(other), 0o644))
	require.NoError(t, run([]string{"-expected", expected, "-results", results}, &out))
	assert.Error(t, run([]string{"-expected", expected, "-results", results, "-complete"}, &out))
}
