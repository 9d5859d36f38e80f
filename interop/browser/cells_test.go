//go:build unix

package browser

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	if r.site.service.through != nil {
		delete(checks, matrix.Twenty) // connections are the proxy's
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
	res := r.result(t, name)
	assert.True(t, res.Passed, "%s: %s", name, res.Seen)
}

// seen returns what the page says of a case.
func (r *run) seen(t *testing.T, name string) string { return r.result(t, name).Seen }

func (r *run) result(t *testing.T, name string) result {
	i := slices.IndexFunc(r.results, func(res result) bool { return res.Case == name })
	require.NotEqual(t, -1, i, "the page has not run %s", name)
	return r.results[i]
}
