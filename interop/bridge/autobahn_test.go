package bridge

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/autobahn"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

// categories are 1 to 10 of the Autobahn table; with -short without the one of
// large messages.
func categories() (patterns []string) {
	for i := 1; i <= 10; i++ {
		if i != 9 || !testing.Short() {
			patterns = append(patterns, fmt.Sprintf("%d.*", i))
		}
	}
	return patterns
}

// What a library does with each case is the same over HTTP/1.1 and through a
// Bridge.
func TestAutobahnIsTheSameThroughABridge(t *testing.T) {
	_, config := wstest.Certificates()
	for _, name := range []string{"gorilla", "coder"} {
		t.Run(name, func(t *testing.T) {
			s := serveAt(t, libraryNamed(name), "GET /", doEcho)
			h2, h3 := autobahn.OpenHTTP2(s.tcp, config), autobahn.OpenHTTP3(s.udp, config)
			defer h2.Close()
			defer h3.Close()
			verdicts := func(b websocket.Bootstrap, open autobahn.Opener) map[string][2]autobahn.Verdict {
				rep := autobahn.Run(t.Context(), autobahn.Options{
					Testee: autobahn.Server, Transport: b.String(), Agent: name, Slack: 4,
					Cases: autobahn.Select(autobahn.Cases(), categories()...),
				}, open)
				t.Logf("%v: %v", b, rep)
				all := make(map[string][2]autobahn.Verdict)
				for _, r := range rep.Results {
					all[r.ID] = [2]autobahn.Verdict{r.Behavior, r.BehaviorClose}
				}
				return all
			}
			want := verdicts(websocket.HTTP1, autobahn.OpenHTTP1(s.tcp, config))
			require.Greater(t, len(want), 200)
			for b, open := range map[websocket.Bootstrap]autobahn.Opener{websocket.HTTP2: h2.Open, websocket.HTTP3: h3.Open} {
				same := 0
				for id, got := range verdicts(b, open) {
					if assert.Equal(t, want[id], got, "case %s over %v", id, b) {
						same++
					}
				}
				if !testing.Short() {
					libraryNamed(name).row(b).Record(t, "Autobahn 1–10", matrix.Result(fmt.Sprintf("%d of %d as over h1", same, len(want))))
				}
			}
		})
	}
}
