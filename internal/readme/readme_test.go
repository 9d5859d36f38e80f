// Package readme holds the README to what compiles and runs.
package readme_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")
	shBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	link    = regexp.MustCompile(`\]\(([A-Za-z0-9_./-]+)\)`)
)

func readme(t *testing.T) string {
	t.Helper()
	p, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	return string(p)
}

// Every block of Go in the README stands, line by line, in a program or package
// below this folder, which the compiler sees.
func TestREADMECodeIsCompiled(t *testing.T) {
	files, err := filepath.Glob("*/*.go")
	require.NoError(t, err)
	var sources []string
	for _, f := range files {
		p, err := os.ReadFile(f)
		require.NoError(t, err)
		sources = append(sources, flat(string(p)))
	}
	blocks := goBlock.FindAllStringSubmatch(readme(t), -1)
	require.GreaterOrEqual(t, len(blocks), 6)
	for _, b := range blocks {
		found := false
		for _, s := range sources {
			found = found || strings.Contains(s, flat(b[1]))
		}
		assert.True(t, found, "not compiled:\n%s", b[1])
	}
}

// flat drops indentation.
func flat(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// What a newcomer is told to run exists, and so does every file linked to.
func TestREADMENamesWhatExists(t *testing.T) {
	text := readme(t)
	var commands []string
	for _, b := range shBlock.FindAllStringSubmatch(text, -1) {
		commands = append(commands, strings.TrimSpace(b[1]))
	}
	assert.Equal(t, []string{"go run ./examples/demo", "go test ./..."}, commands)
	assert.DirExists(t, "../../examples/demo")
	for _, l := range link.FindAllStringSubmatch(text, -1) {
		_, err := os.Stat(filepath.Join("../..", l[1]))
		assert.NoError(t, err)
	}
}
