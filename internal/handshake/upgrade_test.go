package handshake

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

// sampleKey and sampleAccept are those of RFC 6455 §1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// upgrade reads an HTTP/1.1 request whose first line and Host are given, and
// whose fields are a good handshake's but for those that edits change: "Name: v"
// replaces the field, "+Name: v" adds a second one, "-Name" removes it.
func upgrade(t *testing.T, line string, edits ...string) *http.Request {
	t.Helper()
	fields := []string{
		"Host: example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: " + sampleKey,
		"Sec-WebSocket-Version: 13",
	}
	remove := func(name string) {
		kept := fields[:0]
		for _, f := range fields {
			if n, _, _ := strings.Cut(f, ":"); n != name {
				kept = append(kept, f)
			}
		}
		fields = kept
	}
	for _, e := range edits {
		name, _, _ := strings.Cut(strings.TrimLeft(e, "+-"), ":")
		if e[0] != '+' {
			remove(name)
		}
		if e[0] != '-' {
			fields = append(fields, strings.TrimPrefix(e, "+"))
		}
	}
	raw := line + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	require.NoError(t, err)
	return r
}

const get = "GET /chat HTTP/1.1"

func TestAcceptKeyOfTheRFC(t *testing.T) {
	assert.Equal(t, sampleAccept, AcceptKey(sampleKey))
}

func TestCheckUpgradeAccepts(t *testing.T) {
	for name, edits := range map[string][]string{
		"RFC 6455 §1.3":                      nil,
		"H1-04 token in a list":              {"Connection: keep-alive, Upgrade"},
		"H1-04 token in a repeated field":    {"Connection: keep-alive", "+Connection: upgrade"},
		"upgrade to one of several":          {"Upgrade: h2c, WebSocket"},
		"content of length 0":                {"Content-Length: 0"},
		"missing version (Negotiate's case)": {"-Sec-WebSocket-Version"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Nil(t, CheckUpgrade(upgrade(t, get, edits...)))
		})
	}
}

func TestCheckUpgradeRefuses(t *testing.T) {
	many := make([]string, 253) // and the handshake's own four
	for i := range many {
		many[i] = "+X-" + strconv.Itoa(i) + ": v"
	}
	for _, tc := range []struct {
		name   string
		line   string
		edits  []string
		status int
		header http.Header
	}{
		{name: "H1-01 POST", line: "POST /chat HTTP/1.1", status: 405, header: http.Header{"Allow": {"GET"}}},
		{name: "H1-01 HEAD", line: "HEAD /chat HTTP/1.1", status: 405, header: http.Header{"Allow": {"GET"}}},
		{name: "H1-02 HTTP/1.0", line: "GET /chat HTTP/1.0", status: 505},
		{
			name: "H1-03 no Upgrade", edits: []string{"-Upgrade"}, status: 426,
			header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
		},
		{
			name: "H1-03 other Upgrade", edits: []string{"Upgrade: websocket2"}, status: 426,
			header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
		},
		{name: "H1-04 no Connection", edits: []string{"-Connection"}, status: 400},
		{name: "H1-04 no token", edits: []string{"Connection: keep-alive"}, status: 400},
		{name: "H1-04 part of a token", edits: []string{"Connection: upgrade-me"}, status: 400},
		{name: "H1-06 two versions", edits: []string{"+Sec-WebSocket-Version: 13"}, status: 400},
		{name: "H1-07 no key", edits: []string{"-Sec-WebSocket-Key"}, status: 400},
		{name: "H1-07 two keys", edits: []string{"+Sec-WebSocket-Key: " + sampleKey}, status: 400},
		{name: "H1-07 not base64", edits: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="}, status: 400},
		{name: "H1-07 15 bytes", edits: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"}, status: 400},
		{name: "H1-07 17 bytes", edits: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE="}, status: 400},
		{name: "H1-07 without padding", edits: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"}, status: 400},
		{name: "H1-08 content", edits: []string{"Content-Length: 5"}, status: 400},
		{name: "H1-08 chunked", edits: []string{"Transfer-Encoding: chunked"}, status: 400},
		{name: "H1-12 no Host", edits: []string{"Host: "}, status: 400},
		{name: "H1-15 too many fields", edits: many, status: 431},
		{name: "H1-15 too many bytes", edits: []string{"+Cookie: " + strings.Repeat("c", 16<<10)}, status: 431},
	} {
		t.Run(tc.name, func(t *testing.T) {
			line := tc.line
			if line == "" {
				line = get
			}
			e := CheckUpgrade(upgrade(t, line, tc.edits...))
			require.NotNil(t, e)
			assert.Equal(t, tc.status, e.Status)
			assert.Equal(t, tc.header, e.Header)
			assert.NotEmpty(t, e.Reason)
			assert.False(t, e.Remote)
		})
	}
}

func TestH1_15As256FieldsAreFine(t *testing.T) {
	edits := make([]string, 252)
	for i := range edits {
		edits[i] = "+X-" + strconv.Itoa(i) + ": v"
	}
	assert.Nil(t, CheckUpgrade(upgrade(t, get, edits...)))
}

func negotiate(t *testing.T, o websocket.AcceptOptions, edits ...string) (Agreement, *websocket.HandshakeError) {
	t.Helper()
	r := upgrade(t, get, edits...)
	require.Nil(t, CheckUpgrade(r))
	return Negotiate(r, false, &o)
}
