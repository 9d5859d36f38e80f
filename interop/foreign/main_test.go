//go:build unix

package foreign

import (
	"os"
	"testing"

	"github.com/wsmux/websocket/interop/internal/matrix"
)

func TestMain(m *testing.M) { os.Exit(matrix.Main("foreign", m.Run)) }

// pythonWith returns the path of a Python that has the modules. Debian's packages
// belong to /usr/bin/python3, whatever else is in PATH.
func pythonWith(t *testing.T, peer string, modules ...string) string {
	for _, path := range []string{"/usr/bin/python3", "python3"} {
		ok := true
		for _, module := range modules {
			ok = ok && command(t, path, "-c", "import "+module).Run() == nil
		}
		if ok {
			return path
		}
	}
	matrix.Missing(t, peer, "no python3 with the modules")
	return ""
}
