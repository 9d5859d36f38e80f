//go:build unix

package peers

import (
	"os"
	"testing"

	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

func TestMain(m *testing.M) {
	os.Exit(matrix.Main("peers", func() int { return wstest.Main(m) }))
}
