//go:build unix

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/program"
)

// patience is how long a run may take, and endPatience how long the server may
// take to see the end of the browser's sockets when that has gone.
const (
	patience    = 5 * time.Minute
	endPatience = 10 * time.Second
)

// A result is what the page says of a case.
type result struct {
	Case         string
	Passed       bool
	Seen         string
	Milliseconds int
}

// A summary is what the page says at its end.
type summary struct {
	Agent    string   // navigator.userAgent
	Page     string   // the ALPN token of the protocol that the page came by
	Requests []string // those of everything else
}

// A run is one browser on one kind of site. It has two sites: the page's, and
// another that is shut down while the page looks on.
type run struct {
	name        string
	site, other *site

	mu      sync.Mutex
	results []result
	summary summary
	done    chan struct{} // closed when the page has posted its summary
}

// A browser starts programs that open a URL, save a screenshot when it has
// loaded, and end.
type browser interface {
	// version returns what the program says of itself.
	version() string

	// command returns the program and its arguments. The page comes from site,
	// other is the origin that it uses too.
	command(t *testing.T, site, other *site, url, screenshot string) []string
}

// newRun starts the sites. otherName is what the page calls the other site.
func newRun(t *testing.T, name string, v service, otherName string) *run {
	r := &run{name: name, done: make(chan struct{})}
	id := authority.New(t)
	r.site = newSite(t, v, id, "127.0.0.1", "")
	r.other = newSite(t, v, id, otherName, r.site.origin)
	mux := r.site.mux
	mux.HandleFunc("POST /result", func(w http.ResponseWriter, req *http.Request) {
		var res result
		if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<16)).Decode(&res); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.results = append(r.results, res)
	})
	mux.HandleFunc("POST /done", func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<16)).Decode(&r.summary); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		close(r.done)
	})
	mux.HandleFunc("GET /hold", func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-r.done:
		case <-req.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /other/shutdown", func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, r.other.shutdown(req.Context()))
	})
	mux.HandleFunc("GET /other/start", func(w http.ResponseWriter, _ *http.Request) {
		if err := r.other.start(r.other.addr); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return r
}

// browse has the browser run the page's cases and waits until the server has seen
// the end of all sockets. choice adds to the page's parameters: "special" for a case
// that is run alone, "without" for one that is left out.
func (r *run) browse(t *testing.T, b browser, choice url.Values) {
	shot := filepath.Join(screenshots(t), strings.ReplaceAll(t.Name(), "/", "-")+".png")
	query := url.Values{"other": {r.other.origin}, "run": {r.name}}
	maps.Copy(query, choice)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := program.Start(t, b.command(t, r.site, r.other, r.site.origin+"/page/?"+query.Encode(), shot), "MOZ_CRASHREPORTER_DISABLE=1")
	select {
	case <-r.done:
	case <-p.Ended():
		require.FailNow(t, "the browser ended before the page was done", "%v\n%s", p.Err(), p.Tail())
	case <-ctx.Done():
		r.log(t, b)
		require.FailNow(t, "the page is not done", "%s", p.Tail())
	}
	select {
	case <-p.Ended():
		assert.FileExists(t, shot)
	case <-ctx.Done():
		assert.Fail(t, "the browser does not end", "%s", p.Tail())
	}
	p.Kill()
	ctx, cancel = context.WithTimeout(t.Context(), endPatience)
	defer cancel()
	for _, s := range []*site{r.site, r.other} {
		list, err := s.record.await(ctx, "")
		require.NoError(t, err, "sockets are open although the browser is gone: %d", len(list))
	}
	r.log(t, b)
	t.Log("screenshot: ", shot)
}

// screenshots returns the directory for screenshots.
func screenshots(t *testing.T) string {
	if dir := os.Getenv("INTEROP_BROWSER_DIR"); dir != "" {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		return dir
	}
	return t.TempDir()
}

// log prints what the page and the server saw.
func (r *run) log(t *testing.T, b browser) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s strings.Builder
	fmt.Fprintf(&s, "%s, %s: page %s, requests %s\n", b.version(), r.name, r.summary.Page, r.summary.Requests)
	for _, res := range r.results {
		verdict := "ok  "
		if !res.Passed {
			verdict = "FAIL"
		}
		fmt.Fprintf(&s, "  %s %-16s %6d ms  %s\n", verdict, res.Case, res.Milliseconds, res.Seen)
	}
	for _, test := range []string{"no-subprotocol", "unload", "navigate", "worker", "left"} {
		for _, entry := range r.site.record.of(test) {
			fmt.Fprintf(&s, "  the server saw %s: %v\n", test, entry.outcome())
		}
	}
	for i, site := range []*site{r.site, r.other} {
		used, unused := site.census.tallies()
		fmt.Fprintf(&s, "  site %d: %d connections used, %d not\n", i+1, len(used), unused)
		for j, tally := range used {
			if j == 6 {
				fmt.Fprintf(&s, "    …\n")
				break
			}
			fmt.Fprintf(&s, "    %v\n", tally)
		}
	}
	t.Log(s.String())
}
