package handshake

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

var offering = &websocket.DialOptions{
	Subprotocols: []string{"chat", "superchat"},
	Compression:  &websocket.Compression{ServerContextTakeover: true},
}

func answer(status int, h http.Header, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func asked(t *testing.T, b websocket.Bootstrap) *http.Request {
	t.Helper()
	r, err := Request(t.Context(), "ws://example.com", b, offering)
	require.NoError(t, err)
	return r
}

func switching(r *http.Request) http.Header {
	return http.Header{
		"Upgrade": {"WebSocket"}, "Connection": {"keep-alive, upgrade"},
		"Sec-Websocket-Accept": {AcceptKey(r.Header.Get("Sec-Websocket-Key"))},
	}
}

func TestCheckResponseAccepts(t *testing.T) {
	r := asked(t, websocket.HTTP1)
	h := switching(r)
	h["Sec-Websocket-Protocol"] = []string{"superchat"}
	h["Sec-Websocket-Extensions"] = []string{"permessage-deflate; client_no_context_takeover"}
	a, err := CheckResponse(answer(101, h, ""), r, offering)
	require.NoError(t, err)
	assert.Equal(t, Agreement{
		Subprotocol: "superchat",
		Extensions:  "permessage-deflate; client_no_context_takeover",
		Deflate:     &websocket.DeflateParams{ClientNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15},
	}, a)

	a, err = CheckResponse(answer(101, switching(r), ""), r, nil)
	require.NoError(t, err)
	assert.Equal(t, Agreement{}, a)
}

func TestH1_C1Answers(t *testing.T) {
	for name, edit := range map[string]func(h http.Header){
		"no Accept":               func(h http.Header) { delete(h, "Sec-Websocket-Accept") },
		"wrong Accept":            func(h http.Header) { h["Sec-Websocket-Accept"] = []string{sampleAccept} },
		"Accept in another case":  func(h http.Header) { h["Sec-Websocket-Accept"][0] = strings.ToLower(h["Sec-Websocket-Accept"][0]) },
		"two Accepts":             func(h http.Header) { h.Add("Sec-Websocket-Accept", h.Get("Sec-Websocket-Accept")) },
		"no Upgrade":              func(h http.Header) { delete(h, "Upgrade") },
		"other Upgrade":           func(h http.Header) { h["Upgrade"] = []string{"h2c"} },
		"more Upgrades":           func(h http.Header) { h["Upgrade"] = []string{"websocket, h2c"} },
		"no Connection":           func(h http.Header) { delete(h, "Connection") },
		"other Connection":        func(h http.Header) { h["Connection"] = []string{"close"} },
		"unoffered subprotocol":   func(h http.Header) { h["Sec-Websocket-Protocol"] = []string{"other"} },
		"subprotocol's case":      func(h http.Header) { h["Sec-Websocket-Protocol"] = []string{"Chat"} },
		"empty subprotocol":       func(h http.Header) { h["Sec-Websocket-Protocol"] = []string{""} },
		"two subprotocols":        func(h http.Header) { h["Sec-Websocket-Protocol"] = []string{"chat", "chat"} },
		"a list of subprotocols":  func(h http.Header) { h["Sec-Websocket-Protocol"] = []string{"chat, superchat"} },
		"unoffered extension":     func(h http.Header) { h["Sec-Websocket-Extensions"] = []string{"foo"} },
		"invalid extension terms": func(h http.Header) { h["Sec-Websocket-Extensions"] = []string{"permessage-deflate; foo"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := asked(t, websocket.HTTP1)
			h := switching(r)
			edit(h)
			_, err := CheckResponse(answer(101, h, ""), r, offering)
			var e *websocket.HandshakeError
			require.ErrorAs(t, err, &e)
			assert.False(t, e.Remote, "it is the client that refuses")
			assert.Zero(t, e.Status)
			assert.NotEmpty(t, e.Reason)
			assert.Equal(t, h, e.Header)
		})
	}
}

func TestH1_C2Refusals(t *testing.T) {
	for _, status := range []int{200, 204, 302, 401, 426, 500} {
		r := asked(t, websocket.HTTP1)
		h := http.Header{"Location": {"/elsewhere"}}
		_, err := CheckResponse(answer(status, h, strings.Repeat("b", 2000)), r, offering)
		var e *websocket.HandshakeError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, status, e.Status)
		assert.True(t, e.Remote)
		assert.Equal(t, h, e.Header)
		assert.Len(t, e.Body, 1024)
	}
}

func TestXC18Answers(t *testing.T) {
	for _, b := range []websocket.Bootstrap{websocket.HTTP2, websocket.HTTP3} {
		for status, good := range map[int]bool{
			200: true, 201: true, 299: true, // P18
			101: false, 204: false, 205: false, 199: false, 302: false, 404: false, 501: false,
		} {
			// P14: no accept; P25: content-length means nothing in the answer to CONNECT.
			h := http.Header{"Content-Length": {"0"}, "Sec-Websocket-Protocol": {"chat"}}
			a, err := CheckResponse(answer(status, h, "body"), asked(t, b), offering)
			if good {
				require.NoError(t, err, status)
				assert.Equal(t, "chat", a.Subprotocol)
				continue
			}
			var e *websocket.HandshakeError
			require.ErrorAs(t, err, &e, status)
			assert.Equal(t, status, e.Status)
			assert.True(t, e.Remote)
		}
	}
}

func TestRefusalWithoutBody(t *testing.T) {
	_, err := CheckResponse(&http.Response{StatusCode: 404}, asked(t, websocket.HTTP2), offering)
	var e *websocket.HandshakeError
	require.ErrorAs(t, err, &e)
	assert.Empty(t, e.Body)
}
