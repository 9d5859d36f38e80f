//go:build unix

package browser

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/proxy"
)

// services are the ways of serving that each browser is run on, with what the
// matrix calls the transport.
var services = []struct {
	name      string
	transport string
	service   service
}{
	{"cleartext HTTP1", "h1c", service{cleartext: true}},
	{"HTTP1", "h1", service{noExtendedConnect: true}},
	{"HTTP2", "h2", service{}},
	{"HTTP3", "h3", service{http3: true}},
}

// Chromium's sockets follow its pages: over HTTP/2 and, where it is told to, over
// HTTP/3, on the connection that the page came by. Where the server does not
// accept extended CONNECT each has a connection of its own.
func TestChromium(t *testing.T) {
	b := findChromium(t)
	for _, on := range services {
		t.Run(on.name, func(t *testing.T) {
			row := matrix.Row{Peer: "Chromium", Role: matrix.Client, Transport: on.transport}
			r := newRun(t, on.name, on.service, "127.0.0.1")
			r.browse(t, b, nil)
			w := wanted{
				offer:  "permessage-deflate; client_max_window_bits",
				unload: websocket.StatusGoingAway,
				window: true,
				socket: websocket.HTTP1,
			}
			switch {
			case on.service.cleartext:
				w.page = "http/1.1"
			case on.service.noExtendedConnect:
				w.page = "h2"
			case on.service.http3:
				w.page, w.socket = "h3", websocket.HTTP3
			default:
				// The RST_STREAM that follows the Close frame overtakes it in
				// Chromium's own queue.
				w.page, w.socket, w.unload = "h2", websocket.HTTP2, websocket.StatusAbnormalClosure
			}
			r.check(t, row, w)
			if w.socket != websocket.HTTP1 {
				r.checkSingleConnection(t)
			}
		})
	}
}

// Firefox's sockets go over HTTP/2 wherever the server accepts extended CONNECT,
// also from a page that came by HTTP/3: it has no sockets there.
func TestFirefox(t *testing.T) {
	b := findFirefox(t)
	for _, on := range services {
		t.Run(on.name, func(t *testing.T) {
			row := matrix.Row{Peer: "Firefox", Role: matrix.Client, Transport: on.transport}
			r := newRun(t, on.name, on.service, "localhost")
			r.browse(t, b, nil)
			w := wanted{
				offer:            "permessage-deflate",
				unload:           websocket.StatusGoingAway,
				lenientProtocols: true,
				socket:           websocket.HTTP1,
			}
			switch {
			case on.service.cleartext:
				w.page = "http/1.1"
			case on.service.noExtendedConnect:
				w.page = "h2"
			case on.service.http3:
				w.page, w.socket = "h3", websocket.HTTP2
				row.Transport = "h2, page h3"
			default:
				w.page, w.socket = "h2", websocket.HTTP2
			}
			r.check(t, row, w)
			if w.socket == websocket.HTTP2 {
				r.checkRetired(t)
			}
		})
	}
}

// The page comes, and its sockets too, through a proxy that speaks HTTP/2 in front
// and has to translate extended CONNECT or to pass it on.
func TestThroughProxies(t *testing.T) {
	for _, tt := range []struct {
		browser, proxy string
		back           websocket.Bootstrap
	}{
		{"Chromium", "HAProxy", websocket.HTTP1},
		{"Chromium", "nghttpx", websocket.HTTP2},
		{"Firefox", "HAProxy", websocket.HTTP2},
		{"Firefox", "nghttpx", websocket.HTTP1},
	} {
		way := proxy.Way{Front: websocket.HTTP2, Back: tt.back}
		name := fmt.Sprintf("%s, %s %v", tt.browser, tt.proxy, way)
		t.Run(name, func(t *testing.T) {
			w := wanted{page: "h2", socket: tt.back, unload: websocket.StatusGoingAway}
			w.opensAnything = tt.browser == "Chromium" && tt.back == websocket.HTTP1
			w.opensSome = tt.browser == "Firefox" && tt.back == websocket.HTTP1
			var b browser
			other := "localhost"
			switch tt.browser {
			case "Chromium":
				b, other = findChromium(t), "127.0.0.1"
				w.offer, w.window = "permessage-deflate; client_max_window_bits", true
				w.unload = websocket.StatusAbnormalClosure
			default:
				b = findFirefox(t)
				w.offer, w.lenientProtocols = "permessage-deflate", true
			}
			v := service{back: tt.back}
			switch tt.proxy {
			case "HAProxy":
				v.through = proxy.HAProxy(t)
			default:
				v.through = proxy.Nghttpx(t)
			}
			r := newRun(t, name, v, other)
			choice := url.Values{}
			if v.through.HoldsUp(way) {
				w.without = "stalled"
				choice.Set("without", w.without)
			}
			r.browse(t, b, choice)
			r.check(t, matrix.Row{Peer: tt.browser, Role: matrix.Client, Transport: tt.proxy + " " + way.String()}, w)
		})
	}
}

// RST_STREAM HTTP_1_1_REQUIRED sends Chromium to HTTP/1.1, at once and for the
// sockets that follow. Firefox asks nobody again.
func TestHTTP11Required(t *testing.T) {
	t.Run("Chromium", func(t *testing.T) {
		b := findChromium(t)
		row := matrix.Row{Peer: "Chromium", Role: matrix.Client, Transport: "h2"}
		row.Run(t, "HTTP_1_1_REQUIRED", func(t *testing.T) {
			r := newRun(t, "HTTP_1_1_REQUIRED", service{}, "127.0.0.1")
			r.browse(t, b, url.Values{"special": {"http1-required"}})
			r.checkCase(t, "http1-required")
			assert.Equal(t, "open, open, open", r.results[0].Seen)
			list := r.site.record.of("http1-required")
			require.Len(t, list, 4)
			assert.Equal(t, websocket.HTTP2, list[0].bootstrap)
			assert.ErrorIs(t, list[0].refused, errOnlyHTTP1)
			for _, s := range list[1:] {
				assert.Equal(t, websocket.HTTP1, s.bootstrap)
				assertClosed(t, s, websocket.StatusNormalClosure, "", true)
			}
			row.Record(t, "HTTP_1_1_REQUIRED", "h1")
		})
	})
	t.Run("Firefox", func(t *testing.T) {
		b := findFirefox(t)
		row := matrix.Row{Peer: "Firefox", Role: matrix.Client, Transport: "h2"}
		row.Run(t, "HTTP_1_1_REQUIRED", func(t *testing.T) {
			r := newRun(t, "HTTP_1_1_REQUIRED", service{}, "localhost")
			r.browse(t, b, url.Values{"special": {"http1-required"}})
			r.checkCase(t, "http1-required")
			assert.Equal(t, "1006, 1006, 1006", r.results[0].Seen)
			list := r.site.record.of("http1-required")
			require.Len(t, list, 3)
			for _, s := range list {
				assert.Equal(t, websocket.HTTP2, s.bootstrap)
				assert.ErrorIs(t, s.refused, errOnlyHTTP1)
			}
			row.Record(t, "HTTP_1_1_REQUIRED", "1006")
		})
	})
}

// checkSingleConnection wants everything of the page's site on one connection,
// and on the other site one before it shut down and one after. When a server is
// slow to answer Chromium opens a second connection, and puts nothing on it.
func (r *run) checkSingleConnection(t *testing.T) {
	used, _ := r.site.census.tallies()
	assert.Len(t, used, 1, "%v", used)
	used, _ = r.other.census.tallies()
	assert.Len(t, used, 2, "%v", used)
}

// checkRetired wants no more connections for sockets than Firefox needs: it puts
// no more sockets on a connection on which one was refused.
func (r *run) checkRetired(t *testing.T) {
	used, _ := r.site.census.tallies()
	carriers, refusals := 0, 0
	for _, c := range used {
		assert.LessOrEqual(t, c.attempts-c.sockets, 1, "%v", c)
		refusals += c.attempts - c.sockets
		if c.attempts > 0 {
			carriers++
		}
	}
	assert.Equal(t, 5, refusals)
	assert.Equal(t, 1+refusals, carriers, "%v", used)
}

// checkSharing wants the 50 sockets of the case "many" on one connection, beside
// the requests of the page if they go by the same protocol, or else each on a
// connection of its own.
func (r *run) checkSharing(t *testing.T, w wanted) {
	by := make(map[string]int)
	for _, s := range r.site.record.of("many") {
		by[s.connection]++
	}
	used, _ := r.site.census.tallies()
	requests := 0
	for _, c := range used {
		switch {
		case w.socket == websocket.HTTP1 && c.attempts > 0:
			assert.Equal(t, 1, c.attempts, "%v", c)
			assert.Empty(t, c.requests, "%v", c)
		case by[c.id] > 0:
			requests += c.paths["/bytes"]
		}
	}
	if w.socket == websocket.HTTP1 {
		assert.Len(t, by, 50)
		return
	}
	assert.Len(t, by, 1)
	if w.page == alpn[w.socket] {
		assert.GreaterOrEqual(t, requests, 200, "requests beside the sockets")
	} else {
		assert.Zero(t, requests, "requests beside the sockets")
	}
}

var alpn = map[websocket.Bootstrap]string{
	websocket.HTTP1: "http/1.1",
	websocket.HTTP2: "h2",
	websocket.HTTP3: "h3",
}

// checkPage wants every case passed, and all traffic of the page by its
// protocol.
func (r *run) checkPage(t *testing.T, w wanted) {
	require.NotEmpty(t, r.results)
	assert.Equal(t, "left", r.results[len(r.results)-1].Case, "the page's last case")
	for _, res := range r.results {
		assert.True(t, res.Passed, "%s: %s", res.Case, res.Seen)
	}
	assert.Equal(t, w.page, r.summary.Page)
	requests := slices.DeleteFunc(r.summary.Requests, func(s string) bool { return s == "" }) // of the other site
	assert.Equal(t, []string{w.page}, requests)
}
