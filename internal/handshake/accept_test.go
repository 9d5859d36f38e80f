package handshake

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

func TestH1_05And06Version(t *testing.T) {
	upgradeTo := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"},
	}
	for _, tc := range []struct {
		name    string
		edits   []string
		lenient bool
		status  int
	}{
		{name: "13", edits: nil},
		{name: "8", edits: []string{"Sec-WebSocket-Version: 8"}, status: 426},
		{name: "missing", edits: []string{"-Sec-WebSocket-Version"}, status: 426},
		{name: "a list", edits: []string{"Sec-WebSocket-Version: 13, 8"}, status: 426},
		{name: "leading zero", edits: []string{"Sec-WebSocket-Version: 013"}, status: 426},
		{name: "empty", edits: []string{"Sec-WebSocket-Version: "}, status: 426},
		{name: "missing, allowed", edits: []string{"-Sec-WebSocket-Version"}, lenient: true},
		{name: "8, missing allowed", edits: []string{"Sec-WebSocket-Version: 8"}, lenient: true, status: 426},
		{name: "empty, missing allowed", edits: []string{"Sec-WebSocket-Version: "}, lenient: true, status: 426},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, e := negotiate(t, websocket.AcceptOptions{AllowMissingVersion: tc.lenient}, tc.edits...)
			if tc.status == 0 {
				require.Nil(t, e)
				return
			}
			require.NotNil(t, e)
			assert.Equal(t, tc.status, e.Status)
			assert.Equal(t, upgradeTo, e.Header)
		})
	}
}

// TestXC08Version: a 426 would need an Upgrade field, which HTTP/2 and HTTP/3
// forbid.
func TestXC08Version(t *testing.T) {
	for _, major := range []int{2, 3} {
		for name, values := range map[string][]string{"8": {"8"}, "missing": nil, "two": {"13", "13"}} {
			t.Run(name, func(t *testing.T) {
				r := upgrade(t, get)
				r.ProtoMajor = major
				r.Header["Sec-Websocket-Version"] = values
				_, e := Negotiate(r, true, &websocket.AcceptOptions{})
				require.NotNil(t, e)
				assert.Equal(t, 400, e.Status)
				if len(values) < 2 {
					assert.Equal(t, http.Header{"Sec-Websocket-Version": {"13"}}, e.Header)
				}
			})
		}
	}
}

func TestH1_13Subprotocol(t *testing.T) {
	for _, tc := range []struct {
		name    string
		ours    []string
		offered []string
		want    string
		status  int
	}{
		{name: "none on both sides"},
		{name: "none of ours", offered: []string{"chat"}},
		{name: "none offered", ours: []string{"chat"}},
		{name: "server's order", ours: []string{"b", "a"}, offered: []string{"a, b"}, want: "b"},
		{name: "repeated fields", ours: []string{"c"}, offered: []string{"a,b", "c"}, want: "c"},
		{name: "compared exactly", ours: []string{"Chat"}, offered: []string{"chat"}},
		{name: "ours is not a token", ours: []string{"a b", "c"}, offered: []string{"c"}, want: "c"},
		{name: "offered twice", ours: []string{"a"}, offered: []string{"a, a"}, want: "a"},
		{name: "not a token", ours: []string{"a"}, offered: []string{"a, b c"}, status: 400},
		{name: "separator", ours: []string{"a"}, offered: []string{"a, b/c"}, status: 400},
		{name: "quoted", offered: []string{`"a"`}, status: 400},
		{name: "empty element", ours: []string{"a"}, offered: []string{"a,,b"}, status: 400},
		{name: "empty field", offered: []string{""}, status: 400},
		{name: "CRLF", ours: []string{"a"}, offered: []string{"a\r\nSet-Cookie: b"}, status: 400},
		{name: "not ASCII", offered: []string{"é"}, status: 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := upgrade(t, get)
			r.Header["Sec-Websocket-Protocol"] = tc.offered
			a, e := Negotiate(r, false, &websocket.AcceptOptions{Subprotocols: tc.ours})
			if tc.status != 0 {
				require.NotNil(t, e)
				assert.Equal(t, tc.status, e.Status)
				return
			}
			require.Nil(t, e)
			assert.Equal(t, tc.want, a.Subprotocol)
		})
	}
}

func TestH1_18ResponseHeader(t *testing.T) {
	for name, h := range map[string]http.Header{
		"CRLF in value":     {"Set-Cookie": {"a=b\r\nX: y"}},
		"NUL in value":      {"X-A": {"a\x00b"}},
		"name with space":   {"X A": {"a"}},
		"empty name":        {"": {"a"}},
		"pseudo-header":     {":status": {"200"}},
		"Connection":        {"Connection": {"close"}},
		"Upgrade":           {"upgrade": {"h2c"}},
		"Content-Length":    {"Content-length": {"5"}},
		"Transfer-Encoding": {"Transfer-Encoding": {"chunked"}},
		"accept":            {"Sec-WebSocket-Accept": {"a"}},
		"extensions":        {"sec-websocket-extensions": {"permessage-deflate"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := negotiate(t, websocket.AcceptOptions{Header: h})
			require.NotNil(t, e)
			assert.Equal(t, 500, e.Status)
			assert.Equal(t, "invalid response header", e.Reason)
			assert.Error(t, e.Err)
		})
	}
	_, e := negotiate(t, websocket.AcceptOptions{Header: http.Header{"set-cookie": {"a=b", "c=d\te"}}})
	assert.Nil(t, e)
}

func TestCompressionOutOfRangeIsOurMistake(t *testing.T) {
	for _, c := range []websocket.Compression{
		{ServerMaxWindowBits: 7}, {ServerMaxWindowBits: 16}, {ClientMaxWindowBits: -1}, {Level: 10}, {Level: -1},
	} {
		_, e := negotiate(t, websocket.AcceptOptions{Compression: &c})
		require.NotNil(t, e)
		assert.Equal(t, 500, e.Status)
		_, err := Request(t.Context(), "ws://example.com", websocket.HTTP1, &websocket.DialOptions{Compression: &c})
		assert.Error(t, err)
	}
}

func TestAcceptHeader(t *testing.T) {
	a := Agreement{Subprotocol: "chat", Extensions: "permessage-deflate"}
	o := &websocket.AcceptOptions{Header: http.Header{"set-cookie": {"a=b", "c=d"}}}
	common := http.Header{
		"Set-Cookie":               {"x=y", "a=b", "c=d"},
		"Sec-Websocket-Protocol":   {"chat"},
		"Sec-Websocket-Extensions": {"permessage-deflate"},
	}
	with := func(more http.Header) http.Header {
		h := common.Clone()
		addFields(h, more)
		return h
	}
	for _, tc := range []struct {
		name  string
		major int
		keys  []string
		want  http.Header
	}{
		{"h1", 1, []string{sampleKey}, with(http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Accept": {sampleAccept},
		})},
		{"XC-09 no key", 2, nil, common},
		{"XC-09 key", 2, []string{sampleKey}, with(http.Header{"Sec-Websocket-Accept": {sampleAccept}})},
		{"XC-09 key on h3", 3, []string{sampleKey}, with(http.Header{"Sec-Websocket-Accept": {sampleAccept}})},
		{"XC-09 malformed key", 2, []string{"abc"}, common},
		{"XC-09 two keys", 3, []string{sampleKey, sampleKey}, common},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := upgrade(t, get)
			r.ProtoMajor = tc.major
			r.Header["Sec-Websocket-Key"] = tc.keys
			h := http.Header{"Set-Cookie": {"x=y"}}
			AcceptHeader(h, r, a, o)
			assert.Equal(t, tc.want, h)
		})
	}
}

func TestInherit(t *testing.T) {
	h := http.Header{
		"Set-Cookie": {"a=b", "c=d\r\nX: y", "e\x00f"}, "x-request-id": {"1"},
		"Content-Type": {"text/html"}, "Content-Length": {"5"}, "Connection": {"close"}, "Trailer:X": {"y"},
		"Sec-Websocket-Accept": {"z"}, "Transfer-Encoding": {"chunked"}, "X Y": {"z"}, "Date": nil,
	}
	assert.Equal(t, http.Header{"Set-Cookie": {"a=b", "c=d  X: y"}, "X-Request-Id": {"1"}}, Inherit(h))
}

func TestRefuse(t *testing.T) {
	e := upgradeRequired("no such luck")
	e.Err = errors.New("what the peer sent")
	e.Header["Sec-Websocket-Version"] = []string{"13"}

	t.Run("h1 closes the connection", func(t *testing.T) {
		w := httptest.NewRecorder()
		Refuse(w, upgrade(t, get), e)
		assert.Equal(t, 426, w.Code)
		// net/http looks at the first value only, and compares it whole.
		assert.Equal(t, []string{"close", "Upgrade"}, w.Header()["Connection"])
		spelling := "Sec-WebSocket-Version" // the RFC's, not http.Header's
		assert.Equal(t, []string{"13"}, w.Header()[spelling])
		assert.Equal(t, "426 Upgrade Required: no such luck\n", w.Body.String())
		assert.Equal(t, []string{"Upgrade"}, e.Header["Connection"], "the error is not changed")
	})
	t.Run("h2 has no Connection", func(t *testing.T) {
		w := httptest.NewRecorder()
		r := upgrade(t, get)
		r.ProtoMajor = 2
		Refuse(w, r, refusal(400, "why", nil))
		assert.Equal(t, 400, w.Code)
		assert.NotContains(t, w.Header(), "Connection")
	})
	t.Run("our mistakes are not the peer's to read", func(t *testing.T) {
		w := httptest.NewRecorder()
		Refuse(w, upgrade(t, get), badConfiguration("invalid response header", errors.New("secret")))
		assert.Equal(t, 500, w.Code)
		assert.Equal(t, "500 Internal Server Error\n", w.Body.String())
	})
	t.Run("HEAD gets no content", func(t *testing.T) {
		w := httptest.NewRecorder()
		Refuse(w, upgrade(t, "HEAD / HTTP/1.1"), e)
		assert.Zero(t, w.Body.Len())
	})
	t.Run("an error without status is ours", func(t *testing.T) {
		w := httptest.NewRecorder()
		Refuse(w, upgrade(t, get), &websocket.HandshakeError{Reason: "r"})
		assert.Equal(t, 500, w.Code)
	})
}

// TestRefusalsDoNotRepeatThePeer: whatever field the mark stands in, it is not
// in the refusal's content.
func TestRefusalsDoNotRepeatThePeer(t *testing.T) {
	const mark = "zzmarkzz"
	for _, name := range []string{
		"Origin", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
	} {
		r := upgrade(t, get)
		r.Header[name] = []string{"(" + mark}
		_, e := Negotiate(r, false, &websocket.AcceptOptions{})
		require.NotNil(t, e, name)
		w := httptest.NewRecorder()
		Refuse(w, r, e)
		assert.NotContains(t, w.Body.String(), mark, name)
		for _, values := range w.Header() {
			assert.NotContains(t, strings.Join(values, ","), mark, name)
		}
	}
}

func TestParams(t *testing.T) {
	d := &websocket.DeflateParams{ServerMaxWindowBits: 9}
	c := &websocket.Compression{Level: 3}
	l := websocket.Limits{Message: 5}
	assert.Equal(t,
		websocket.Params{Client: true, Subprotocol: "chat", Deflate: d, Compression: c, Limits: l},
		Agreement{Subprotocol: "chat", Deflate: d, Extensions: "x"}.Params(true, c, l))
}
