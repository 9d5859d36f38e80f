package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

const ms = millis(time.Millisecond)

var exampleReport = report{URL: "https://127.0.0.1:8443/", Rows: []row{
	{
		Bootstrap: "HTTP/1.1", OK: true, Sockets: 8, Connections: 12, Handshakes: 12, Requests: 64, Messages: 1384, Bytes: 27 << 20,
		Deflated: 9 << 20, OnTheWire: 400 << 10, OpenMedian: 5 * ms, RoundTripMedian: ms / 8, RoundTripP99: 150 * ms,
	},
	{
		Bootstrap: "HTTP/2", OK: true, Sockets: 8, Connections: 1, Handshakes: 1, Requests: 64, SharedRequests: 64, Messages: 1384, Bytes: 27 << 20,
		Deflated: 9 << 20, OnTheWire: 400 << 10, OpenMedian: 2 * ms, RoundTripMedian: ms / 4, RoundTripP99: 15 * ms,
	},
	{Bootstrap: "HTTP/3", Problem: "no packet came through"},
}}

func TestTableHasItsColumnsUnderEachOther(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, exampleReport.writeTable(&b))
	assert.Equal(t, strings.TrimPrefix(`
                     transport  TLS or QUIC   requests on  messages  time to open  round trip
          sockets  connections   handshakes  the same one  verified        median      median      p99
HTTP/1.1        8           12           12       0 of 64     1,384       5.00 ms     0.12 ms   150 ms  ok
HTTP/2          8            1            1      64 of 64     1,384       2.00 ms     0.25 ms  15.0 ms  ok
HTTP/3          0            0            0        0 of 0         0             –           –        –  FAILED

HTTP/3: no packet came through
HTTP/1.1: each socket on a connection of its own, and 4 more for the requests.
HTTP/2: all sockets and requests on one connection, by one handshake, as the server counted.
2,768 messages, 54 MiB, came back as they were sent, every byte. Round trips are those of messages
of up to 1 KiB, with ones of up to 1 MiB and the requests under way beside them.
Every second socket compressed: 18 MiB went as 800.0 KiB.
`, "\n"), strings.TrimPrefix(b.String(), "\n"))
}

func TestJSONSaysWhatTheReportSays(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, exampleReport.writeJSON(&b))
	assert.Contains(t, b.String(), `"open_median_ms": 5.000`)
	var back report
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	assert.Equal(t, exampleReport, back)
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	d := []time.Duration{5, 1, 4, 2, 3}
	assert.Equal(t, millis(3), quantile(d, 0.5))
	assert.Equal(t, millis(5), quantile(d, 0.99))
	assert.Equal(t, millis(1), quantile(d, 0))
	assert.Equal(t, millis(2), quantile(d[1:], 0.5), "of an even number the lower one")
	assert.Zero(t, quantile(nil, 0.5))
}

func TestVerdictDemandsTheSharingPromised(t *testing.T) {
	p := plan{sockets: 2, messages: 3, requests: 4}
	h1 := row{Bootstrap: "HTTP/1.1", Sockets: 2, Messages: 6, Requests: 4, Connections: 3, Handshakes: 3}
	h2 := row{Bootstrap: "HTTP/2", Sockets: 2, Messages: 6, Requests: 4, SharedRequests: 4, Connections: 1, Handshakes: 1}
	with := func(r row, change func(*row)) row {
		change(&r)
		return r
	}
	for _, tc := range []struct {
		name string
		row  row
		by   []string
		want string // "" for none
	}{
		{"HTTP/1.1 as promised", h1, []string{"tcp-1", "tcp-2"}, ""},
		{"HTTP/2 as promised", h2, []string{"tcp-1", "tcp-1"}, ""},
		{"two sockets on one HTTP/1.1 connection", h1, []string{"tcp-1", "tcp-1"}, "which HTTP/1.1 does not allow"},
		{"a request on a socket's HTTP/1.1 connection", with(h1, func(r *row) { r.SharedRequests = 1 }), []string{"tcp-1", "tcp-2"}, "which HTTP/1.1 does not allow"},
		{"two HTTP/2 connections", h2, []string{"tcp-1", "tcp-2"}, "they must share one"},
		{"an HTTP/2 connection that nothing used", with(h2, func(r *row) { r.Connections, r.Handshakes = 2, 2 }), []string{"tcp-1", "tcp-1"}, "2 connections in all"},
		{"a request elsewhere", with(h2, func(r *row) { r.SharedRequests = 3 }), []string{"tcp-1", "tcp-1"}, "3 of 4 requests beside them"},
		{"two handshakes", with(h2, func(r *row) { r.Handshakes = 2 }), []string{"tcp-1", "tcp-1"}, "2 handshakes on 1 connections"},
		{"a message missing", with(h2, func(r *row) { r.Messages = 5 }), []string{"tcp-1", "tcp-1"}, "5 of 6 messages"},
		{"a request missing", with(h2, func(r *row) { r.Requests = 3 }), []string{"tcp-1", "tcp-1"}, "3 of 4 requests"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.row.verdict(tc.by, p)
			if tc.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestPayloadsAreValidAndDifferent(t *testing.T) {
	seen := make(map[string]string)
	kinds := make(map[int]map[string]bool) // by size
	for s := range 4 {
		for i := range 2 * len(sizes) {
			kind, p := payload(s, i)
			if kinds[len(p)] == nil {
				kinds[len(p)] = make(map[string]bool)
			}
			kinds[len(p)][kind.String()] = true
			if kind == websocket.MessageText {
				assert.True(t, utf8.Valid(p))
			}
			if len(p) < 64 {
				continue // too short to be one of a kind
			}
			name := kind.String() + string(p)
			assert.Empty(t, seen[name], "message %d of socket %d", i, s)
			seen[name] = "seen"
		}
	}
	assert.Len(t, kinds, len(sizes), "every size")
	for size, kind := range kinds {
		assert.Len(t, kind, 2, "size %d as text and as binary", size)
	}
}

func TestProgressOnATerminalLeavesNoTrace(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, terminal: true}
	p.begin("HTTP/2", plan{sockets: 8, messages: 200, requests: 64})
	p.echoed.Add(1200)
	p.end()
	assert.Contains(t, b.String(), "checking HTTP/2: 0/8 sockets, ")
	assert.Contains(t, b.String(), "/1,600 messages, 0/64 requests")
	assert.NotContains(t, b.String(), "\n")
	assert.True(t, strings.HasSuffix(b.String(), "\r\x1b[K"))
}
