package h2connect

import (
	"os"
	"testing"

	"github.com/wsmux/websocket/internal/wstest"
)

func TestMain(m *testing.M) {
	if foreignServerWanted() {
		os.Exit(m.Run())
	}
	os.Exit(wstest.Main(m))
}
