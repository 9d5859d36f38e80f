//go:build unix

package foreign

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

// longReason is a reason of the greatest length that a Close frame has room for
// (RFC 6455 §5.5, §5.5.1).
var longReason = strings.Repeat("r", 123)

// A line is what a client program says of a feature.
type line struct {
	Feature matrix.Feature
	Result  matrix.Result
	Detail  string
}

// refusal is a feature beside the short matrix: a 403 that the client gets to see.
const refusal matrix.Feature = "refusal"

// clientFeatures is what each client program has to report.
func clientFeatures() []matrix.Feature {
	return append(matrix.Short()[1:], refusal)
}

func TestNodeClient(t *testing.T) {
	node := matrix.Program(t, "Node http2", "node", "nodejs")
	for _, transport := range []string{"h1", "h2"} {
		t.Run(transport, func(t *testing.T) {
			peer := matrix.Row{Peer: "Node http2", Role: matrix.Client, Transport: transport}
			if transport == "h1" {
				peer.Peer = "Node https"
			}
			testClient(t, peer, node, "node/client.js")
		})
	}
}

func TestPythonClient(t *testing.T) {
	python := pythonWith(t, "Python h2 + wsproto", "h2", "wsproto")
	for _, transport := range []string{"h1", "h2"} {
		t.Run(transport, func(t *testing.T) {
			peer := matrix.Row{Peer: "Python h2 + wsproto", Role: matrix.Client, Transport: transport}
			if transport == "h1" {
				peer.Peer = "Python wsproto"
			}
			testClient(t, peer, python, "python/client.py")
		})
	}
}

// testClient runs a client program against our server and compares what the two
// say.
func testClient(t *testing.T, row matrix.Row, program ...string) {
	s := newSite(t, true)
	args := append(program[1:], s.origin, file(t, "authority.pem", s.id.authority), row.Transport)
	said := make(map[matrix.Feature]line)
	for text := range strings.Lines(output(t, program[0], args...)) {
		var l line
		require.NoError(t, json.Unmarshal([]byte(text), &l), "%q", text)
		said[l.Feature] = l
	}
	row.Run(t, matrix.Bootstrap, func(t *testing.T) { checkBootstrap(t, s, row.Transport) })
	for _, feature := range clientFeatures() {
		row.Run(t, feature, func(t *testing.T) {
			l, ok := said[feature]
			require.True(t, ok, "the client says nothing of it")
			require.Equal(t, matrix.OK, l.Result, l.Detail)
			t.Log(l.Detail)
			if check, ok := checks[feature]; ok {
				check(t, s, s.of(t, string(feature)))
			}
		})
	}
}

// checkBootstrap checks how all sockets of a run were opened, by what the server
// saw.
func checkBootstrap(t *testing.T, s *site, transport string) {
	all := s.of(t, "")
	require.NotEmpty(t, all)
	connections := make(map[int]int)
	for _, entry := range all {
		connections[entry.connection]++
		assert.Equal(t, "13", entry.header.Get("Sec-WebSocket-Version"))
		if transport == "h1" {
			assert.Equal(t, websocket.HTTP1, entry.bootstrap)
			assert.Equal(t, "GET", entry.method)
			assert.NotEmpty(t, entry.header.Get("Sec-WebSocket-Key"))
			continue
		}
		assert.Equal(t, websocket.HTTP2, entry.bootstrap)
		assert.Equal(t, "CONNECT", entry.method)
		assert.Equal(t, "websocket", entry.protocol)
		for _, name := range []string{"Connection", "Upgrade", "Host", "Sec-WebSocket-Key"} {
			assert.Empty(t, entry.header.Get(name), "%s on HTTP/2", name)
		}
	}
	if transport == "h1" {
		assert.Len(t, connections, len(all), "a connection for each socket")
		return
	}
	assert.Len(t, connections, 1, "one connection for all sockets")
	for _, r := range s.got("/hello") {
		assert.Contains(t, connections, r.connection, "the requests come by the same connection")
	}
}

// checks are what the server must have seen of a feature's sockets.
var checks = map[matrix.Feature]func(t *testing.T, s *site, all []*socket){
	matrix.Echo: func(t *testing.T, _ *site, all []*socket) {
		require.Len(t, all, 1)
		assertClosed(t, all[0], 1000, "")
		assert.Equal(t, all[0].stats.MessagesRead, all[0].stats.MessagesWritten)
		assert.Greater(t, all[0].stats.BytesRead, int64(2<<20), "text and binary of 1 MiB")
	},
	matrix.Fragments: func(t *testing.T, _ *site, all []*socket) {
		require.Len(t, all, 1)
		assertClosed(t, all[0], 1000, "")
		stats := all[0].stats
		assert.GreaterOrEqual(t, stats.FramesRead, stats.MessagesRead+7, "fragments, Ping, Pongs and Close")
		assert.GreaterOrEqual(t, stats.FramesWritten, stats.MessagesWritten+5)
	},
	matrix.Ping: func(t *testing.T, _ *site, all []*socket) {
		require.Len(t, all, 1)
		assertClosed(t, all[0], 1000, "")
		assert.Zero(t, all[0].stats.PongsIgnored, "each Pong was that of a Ping")
	},
	matrix.Deflate: func(t *testing.T, _ *site, all []*socket) {
		require.Len(t, all, 1)
		assertClosed(t, all[0], 1000, "")
		assert.Contains(t, all[0].header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
		stats := all[0].stats
		assert.Greater(t, stats.InflatedRead, stats.CompressedRead)
		assert.Greater(t, stats.DeflatedWritten, stats.CompressedWritten)
		assert.Positive(t, stats.CompressedRead)
		assert.Positive(t, stats.CompressedWritten)
	},
	matrix.CloseClient: func(t *testing.T, s *site, all []*socket) {
		require.Len(t, all, 1)
		assertClosed(t, all[0], 4000, longReason)
		empty := s.of(t, "close by client without code")
		require.Len(t, empty, 1)
		assertClosed(t, empty[0], websocket.StatusNoStatusReceived, "")
	},
	matrix.CloseServer: func(t *testing.T, _ *site, all []*socket) {
		require.Len(t, all, 1)
		assert.NoError(t, all[0].end, "the closing handshake")
	},
	matrix.ResetClient: func(t *testing.T, s *site, all []*socket) {
		require.Len(t, all, 1)
		assertClosed(t, all[0], websocket.StatusAbnormalClosure, "")
		assertUnharmed(t, s)
	},
	matrix.ResetServer: func(t *testing.T, s *site, all []*socket) {
		require.Len(t, all, 1)
		assert.NoError(t, all[0].end)
		assertUnharmed(t, s)
	},
	matrix.Twenty: func(t *testing.T, s *site, all []*socket) {
		require.Len(t, all, 20)
		for _, entry := range all {
			assertClosed(t, entry, 1000, "")
		}
		assert.Equal(t, 20, s.atOnce(), "sockets at once")
		assert.NotEmpty(t, s.got("/hello"), "requests beside them")
	},
	refusal: func(t *testing.T, s *site, all []*socket) {
		assert.Empty(t, all)
		assert.Len(t, s.got("/forbidden"), 1)
	},
}

// assertClosed checks that the client ended the socket with code and reason.
func assertClosed(t *testing.T, entry *socket, code websocket.StatusCode, reason string) {
	t.Helper()
	ce, ok := errors.AsType[*websocket.CloseError](entry.end)
	if assert.True(t, ok, "%v", entry.end) {
		assert.Equal(t, code, ce.Code, "%v", ce)
		assert.Equal(t, reason, ce.Reason)
		assert.True(t, ce.Remote)
	}
}

// assertUnharmed checks the sockets that were opened after a reset.
func assertUnharmed(t *testing.T, s *site) {
	t.Helper()
	after := s.of(t, "after reset")
	require.Len(t, after, 2)
	for _, entry := range after {
		assertClosed(t, entry, 1000, "")
	}
}
