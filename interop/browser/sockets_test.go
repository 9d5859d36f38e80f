//go:build unix

package browser

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
)

// wanted is what a browser is known to do on a kind of site.
type wanted struct {
	page             string               // ALPN token of the page's protocol
	socket           websocket.Bootstrap  // of every socket
	offer            string               // Sec-WebSocket-Extensions
	window           bool                 // it lets the server bound its window
	unload           websocket.StatusCode // for a page, or a worker, that goes away
	lenientProtocols bool                 // it takes an answer without any of its subprotocols
	opensAnything    bool                 // any 200 opens a socket
	opensSome        bool                 // a 200 may open one: it depends on what has come when it is looked at
	without          string               // a case that the page leaves out
}

// checkHandshakes checks the request for every socket.
func (r *run) checkHandshakes(t *testing.T, w wanted) {
	for _, s := range r.site.record.of("") {
		r.checkHandshake(t, r.site, s, w)
	}
	for _, s := range r.other.record.of("") {
		r.checkHandshake(t, r.other, s, w)
	}
}

// checkHandshake wants the request for a socket as RFC 6455 §4.1 and RFC 8441 §5
// have it.
func (r *run) checkHandshake(t *testing.T, at *site, s *socket, w wanted) {
	require.Equal(t, w.socket, s.bootstrap, s.test)
	assert.Equal(t, at.host, s.host)
	assert.Equal(t, []string{r.site.origin}, s.header["Origin"], s.test)
	assert.Equal(t, []string{"13"}, s.header["Sec-Websocket-Version"], s.test)
	assert.Equal(t, []string{w.offer}, s.header["Sec-Websocket-Extensions"], s.test)
	switch s.test {
	case "subprotocol":
		assert.Equal(t, []string{"first, second, third"}, s.header["Sec-Websocket-Protocol"])
	case "no-subprotocol":
		assert.Equal(t, []string{"first, third"}, s.header["Sec-Websocket-Protocol"])
	default:
		assert.NotContains(t, s.header, "Sec-Websocket-Protocol", s.test)
	}
	if w.socket == websocket.HTTP1 {
		assert.Equal(t, http.MethodGet, s.method)
		assert.Equal(t, "websocket", strings.ToLower(s.header.Get("Upgrade")))
		key, err := base64.StdEncoding.DecodeString(s.header.Get("Sec-Websocket-Key"))
		assert.NoError(t, err)
		assert.Len(t, key, 16)
		return
	}
	assert.Equal(t, http.MethodConnect, s.method)
	assert.Equal(t, "websocket", s.protocol)
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Host", "Transfer-Encoding", "Content-Length"} {
		assert.NotContains(t, s.header, name, s.test)
	}
}

// checkRefusals wants every refused socket to have been asked for once: no
// browser tries another bootstrap.
func (r *run) checkRefusals(t *testing.T, w wanted) {
	var statuses []int
	for _, s := range r.site.record.of("refused") {
		statuses = append(statuses, s.status)
	}
	assert.Equal(t, []int{403, 401, 503}, statuses)
	switch seen := r.seen(t, "no-socket"); {
	case w.opensAnything:
		assert.Contains(t, seen, "opened: ")
		assert.NotContains(t, seen, "not opened: ")
	case w.opensSome:
		assert.Regexp(t, "^(not )?opened: 1006", seen)
	default:
		assert.Contains(t, seen, "not opened: 1006")
	}

	var refused *websocket.HandshakeError
	list := r.other.record.of("origin")
	require.Len(t, list, 2)
	require.ErrorAs(t, list[0].refused, &refused)
	assert.Equal(t, http.StatusForbidden, refused.Status)
	assert.NoError(t, list[1].refused)

	list = r.site.record.of("no-subprotocol")
	require.Len(t, list, 1)
	if w.lenientProtocols {
		assertClosed(t, list[0], websocket.StatusNormalClosure, "", true)
	} else {
		assertClosed(t, list[0], websocket.StatusAbnormalClosure, "", true)
	}
}

// checkEnds wants the ends of the sockets that the page closed, or left, or that
// the sites closed.
func (r *run) checkEnds(t *testing.T, w wanted) {
	left := 0
	if w.without == "stalled" {
		left = 1
	}
	for test, n := range map[string]int{
		"text": 1, "binary": 1, "blob": 1, "deflate": 1, "takeover": 1, "window": 1, "subprotocol": 1,
		"stalled-beside": 1 - left, "reconnect": 30, "fragments": 1,
	} {
		assertAllClosed(t, r.site.record.of(test), n, websocket.StatusNormalClosure, "", true)
	}
	assertAllClosed(t, r.site.record.of("many"), 50, websocket.StatusNormalClosure, "all done", true)
	assertAllClosed(t, r.other.record.of("after-drain"), 1, websocket.StatusNormalClosure, "", true)
	assertAllClosed(t, r.other.record.of("drain"), 10, websocket.StatusGoingAway, "", false)
	for _, test := range []string{"unload", "navigate", "worker"} {
		assertAllClosed(t, r.site.record.of(test), 1, w.unload, "", true)
	}
	list := r.site.record.of("left")
	require.Len(t, list, 1)
	assert.Contains(t, []websocket.StatusCode{websocket.StatusGoingAway, websocket.StatusAbnormalClosure}, list[0].code(),
		"%v", list[0].end)

	list = r.site.record.of("page-closes")
	require.Len(t, list, 5)
	assertClosed(t, list[0], websocket.StatusNoStatusReceived, "", true)
	assertClosed(t, list[1], websocket.StatusNormalClosure, "", true)
	assertClosed(t, list[2], websocket.StatusNormalClosure, "done", true)
	assertClosed(t, list[3], 3000, "a registered code", true)
	assertClosed(t, list[4], 4999, strings.Repeat("€", 41), true)

	list = r.site.record.of("too-big")
	require.Len(t, list, 1)
	assert.Equal(t, websocket.StatusMessageTooBig, list[0].code())
	assert.ErrorIs(t, list[0].end, websocket.ErrMessageTooBig)
}

// checkClosedBy wants the closing handshakes that the site began to have been
// completed: Close returned nil.
func (r *run) checkClosedBy(t *testing.T, w wanted) {
	for test, n := range map[string]int{
		"query": 1, "cookies": 1, "server-closes": 9, "both-close": 20, "handler-returns": 1,
		"reset": 1, "pings": 1, "order": 1, "stalled": 1,
	} {
		if test == w.without {
			n = 0
		}
		list := r.site.record.of(test)
		assert.Len(t, list, n, test)
		for _, s := range list {
			assert.NoError(t, s.refused, test)
			assert.NoError(t, s.end, test)
		}
	}
}

// checkCompression wants messages compressed both ways where that was agreed,
// and only there.
func (r *run) checkCompression(t *testing.T, w wanted) {
	stats := func(test string) websocket.Stats {
		list := r.site.record.of(test)
		require.Len(t, list, 1, test)
		return list[0].stats
	}
	text := stats("text")
	assert.EqualValues(t, 10, text.MessagesRead)
	assert.EqualValues(t, 10, text.MessagesWritten)
	assert.Zero(t, text.CompressedRead)
	assert.Zero(t, text.CompressedWritten)

	// Half of it is text that repeats. The other half does not compress, and
	// Firefox sends it as it is.
	deflate := stats("deflate")
	assert.EqualValues(t, 20, deflate.MessagesRead)
	assert.NotZero(t, deflate.CompressedRead)
	assert.NotZero(t, deflate.CompressedWritten)
	assert.Less(t, deflate.CompressedRead, deflate.InflatedRead*6/10)
	assert.Less(t, deflate.CompressedWritten, deflate.DeflatedWritten*6/10)

	// A message of 73 bytes refers to the one before.
	takeover := stats("takeover")
	assert.EqualValues(t, 100, takeover.MessagesRead)
	for _, wire := range []int64{takeover.CompressedRead, takeover.CompressedWritten} {
		assert.NotZero(t, wire)
		assert.Less(t, wire, takeover.InflatedRead/3)
	}

	// A client that does not offer client_max_window_bits cannot be told to use
	// a smaller window (RFC 7692 §7.1.2.2): there is no compression then.
	assert.Equal(t, w.window, stats("window").CompressedRead > 0)
}

func assertAllClosed(t *testing.T, list []*socket, n int, code websocket.StatusCode, reason string, remote bool) {
	t.Helper()
	assert.Len(t, list, n)
	for _, s := range list {
		assertClosed(t, s, code, reason, remote)
	}
}

func assertClosed(t *testing.T, s *socket, code websocket.StatusCode, reason string, remote bool) {
	t.Helper()
	var ce *websocket.CloseError
	if assert.ErrorAs(t, s.end, &ce, s.test) {
		assert.Equal(t, code, ce.Code, "%s: %v", s.test, ce)
		assert.Equal(t, reason, ce.Reason, "%s: %v", s.test, ce)
		assert.Equal(t, remote, ce.Remote, "%s: %v", s.test, ce)
	}
}
