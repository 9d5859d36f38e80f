package frame

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The package stays pure: no net, context, time, sync, os, io, reflect or fmt,
// not even through something else.
func TestDependencies(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command")
	}
	out, err := exec.Command(goTool, "list", "-deps", ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	allowed := []string{"errors", "math", "math/bits", "runtime", "strconv", "unicode/utf8", "unsafe"}
	deps := strings.Fields(string(out))
	require.Contains(t, deps, "unicode/utf8", "not a list of packages")
	for _, dep := range deps {
		own := dep == "github.com/wsmux/websocket/frame"
		if own || strings.HasPrefix(dep, "internal/") || strings.HasPrefix(dep, "runtime/") {
			continue
		}
		require.True(t, slices.Contains(allowed, dep), "frame depends on %s", dep)
	}
}
