package autobahn

import (
	"flag"
	"os"
	"testing"

	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

var (
	reports = flag.String("reports", os.Getenv("AUTOBAHN_REPORTS"), "directory for the reports; empty: a temporary one, kept if a case fails")
	full    = flag.Bool("full", os.Getenv("AUTOBAHN_FULL") != "", "send all messages of categories 12 and 13")
)

func TestMain(m *testing.M) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(matrix.Main("autobahn", func() int { return wstest.Main(m) }))
}
