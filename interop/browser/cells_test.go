//go:build unix

package browser

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

// cells are the page's cases that each cell of the matrix needs. A script can
// neither send a Ping nor abort a socket.
var cells = map[matrix.Feature][]string{
	matrix.Echo:        {"text", "binary", "blob"},
	matrix.Fragments:   {"fragments"},
	matrix.Ping:        {"pings"},
	matrix.Deflate:     {"deflate", "takeover", "window"},
	matrix.CloseClient: {"page-closes", "both-close"},
	matrix.CloseServer: {"server-closes", "handler-returns", "handler-panics"},
	matrix.ResetServer: {"reset"},
	matrix.Twenty:      {"many"},
}

// check compares what the page and the sites saw with what is wanted, and records
// the row of the matrix.
func (r *run) check(t *testing.T, row matrix.Row, w wanted) {
	row.Run(t, matrix.Bootstrap, func(t *testing.T) {
		r.checkPage(t, w)
		r.checkHandshakes(t, w)
	})
	checks := map[matrix.Feature]func(*testing.T, wanted){
		matrix.Deflate:     r.checkCompression,
		matrix.CloseClient: r.checkEnds,
		matrix.CloseServer: r.checkClosedBy,
		matrix.Twenty:      r.checkSharing,
	}
	for _, f := range matrix.Short() {
		names, ok := cells[f]
		if !ok {
			continue
		}
		row.Run(t, f, func(t *testing.T) {
			for _, name := range names {
				r.checkCase(t, name)
			}
			if check := checks[f]; check != nil {
				check(t, w)
			}
		})
	}
	row.Record(t, matrix.ResetClient, matrix.None)
	row.Run(t, "refusal", func(t *testing.T) { r.checkRefusals(t, w) })
	row.Run(t, "drain", func(t *testing.T) {
		r.checkCase(t, "drain")
		r.checkCase(t, "after-drain")
	})
	passed := 0
	for _, res := range r.results {
		if res.Passed {
			passed++
		}
	}
	row.Record(t, "cases of the page", matrix.Result(fmt.Sprintf("%d of %d", passed, len(r.results))))
}

// checkCase wants a case of the page passed.
func (r *run) checkCase(t *testing.T, name string) {
	i := slices.IndexFunc(r.results, func(res result) bool { return res.Case == name })
	if assert.NotEqual(t, -1, i, "the page has not run %s", name) {
		assert.True(t, r.results[i].Passed, "%s: %s", name, r.results[i].Seen)
	}
}
