package h2connect

import (
	"os"
	"testing"

	"github.com/wsmux/websocket/internal/wstest"
)

func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }
