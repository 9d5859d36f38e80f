package bridge

import (
	"os"
	"testing"

	"github.com/wsmux/websocket/interop/internal/matrix"
)

func TestMain(m *testing.M) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(matrix.Main("bridge", m.Run))
}
