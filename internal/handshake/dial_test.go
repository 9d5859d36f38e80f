package handshake

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

func TestRequestOfEachBootstrap(t *testing.T) {
	o := &websocket.DialOptions{
		Subprotocols: []string{"chat", "superchat"},
		Header:       http.Header{"origin": {"https://example.com"}, "Cookie": {"a=b"}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	h1, err := Request(ctx, "wss://example.com:8443/chat?a=b", websocket.HTTP1, o)
	require.NoError(t, err)
	key := h1.Header.Get("Sec-WebSocket-Key")
	assert.Equal(t, ctx, h1.Context())
	assert.Equal(t, "GET", h1.Method)
	assert.Equal(t, "https://example.com:8443/chat?a=b", h1.URL.String())
	assert.Equal(t, "example.com:8443", h1.Host)
	assert.Equal(t, http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Key": {key}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Protocol": {"chat, superchat"},
		"Origin": {"https://example.com"}, "Cookie": {"a=b"},
	}, h1.Header)
	nonce, err := base64.StdEncoding.DecodeString(key)
	require.NoError(t, err)
	assert.Len(t, nonce, 16)

	for _, b := range []websocket.Bootstrap{websocket.HTTP2, websocket.HTTP3} {
		r, err := Request(ctx, "ws://example.com", b, o)
		require.NoError(t, err)
		assert.Equal(t, "CONNECT", r.Method)
		assert.Equal(t, int(b), r.ProtoMajor)
		assert.Equal(t, "http://example.com/", r.URL.String())
		assert.Equal(t, http.Header{
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Protocol": {"chat, superchat"},
			"Origin": {"https://example.com"}, "Cookie": {"a=b"},
		}, r.Header)
	}
	again, err := Request(ctx, "ws://example.com", websocket.HTTP1, nil)
	require.NoError(t, err)
	assert.NotEqual(t, key, again.Header.Get("Sec-WebSocket-Key"), "a key is used once")
	assert.Len(t, o.Header, 2, "the options are not changed")
}

func TestRequestURL(t *testing.T) {
	for _, tc := range []struct{ raw, target, host, authorization string }{
		{"ws://example.com", "/", "example.com", ""},
		{"WSS://Example.com?q", "/?q", "Example.com", ""},
		{"http://[::1]:80/a%2fb", "/a%2fb", "[::1]:80", ""},
		{"http://[fe80::1%25eth0]:80/", "/", "[fe80::1]:80", ""},
		{"https://bücher.example/ü?ü", "/%C3%BC?%C3%BC", "xn--bcher-kva.example", ""},
		{"ws://a/?q=a b", "/?q=a%20b", "a", ""},
		{"ws://user:p%40ss@a/", "/", "a", "Basic dXNlcjpwQHNz"},
		{"ws://user@a/", "/", "a", "Basic dXNlcjo="},
	} {
		r, err := Request(t.Context(), tc.raw, websocket.HTTP1, nil)
		require.NoError(t, err, tc.raw)
		assert.Equal(t, tc.target, r.URL.RequestURI())
		assert.Equal(t, tc.host, r.Host)
		assert.Equal(t, tc.authorization, r.Header.Get("Authorization"))
		assert.Nil(t, r.URL.User)
	}
}

func TestRequestHost(t *testing.T) {
	r, err := Request(t.Context(), "ws://127.0.0.1:1", websocket.HTTP2, &websocket.DialOptions{
		Header: http.Header{"host": {"example.com"}, "Authorization": {"Bearer x"}},
	})
	require.NoError(t, err)
	assert.Equal(t, "example.com", r.Host)
	assert.Equal(t, "127.0.0.1:1", r.URL.Host)
	assert.NotContains(t, r.Header, "Host")

	r, err = Request(t.Context(), "ws://u:p@a", websocket.HTTP1, &websocket.DialOptions{
		Header: http.Header{"Authorization": {"Bearer x"}},
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"Bearer x"}, r.Header["Authorization"], "the explicit field wins over the URL")
}

func TestH1_C4Request(t *testing.T) {
	header := func(name, value string) *websocket.DialOptions {
		return &websocket.DialOptions{Header: http.Header{name: {value}}}
	}
	for _, tc := range []struct {
		name string
		url  string
		o    *websocket.DialOptions
	}{
		{name: "CRLF in URL", url: "ws://a/\r\nX: y"},
		{name: "CRLF in host", url: "ws://a\r\nX: y/"},
		{name: "space in host", url: "ws://a b/"},
		{name: "escaped CRLF in host", url: "ws://a%0d%0ab/"},
		{name: "fragment", url: "ws://a/#b"},
		{name: "empty fragment", url: "ws://a/#"},
		{name: "scheme", url: "ftp://a/"},
		{name: "no scheme", url: "a/b"},
		{name: "no host", url: "ws:///a"},
		{name: "port without host", url: "ws://:80/a"},
		{name: "opaque", url: "ws:a"},
		{name: "port out of range", url: "ws://a:65536/"},
		{name: "user name with colon", url: "ws://a%3ab:c@d/"},
		{name: "CRLF in value", o: header("Cookie", "a\r\nX: y")},
		{name: "CRLF in name", o: header("X\r\nY", "a")},
		{name: "pseudo-header", o: header(":protocol", "a")},
		{name: "Connection", o: header("connection", "close")},
		{name: "Upgrade", o: header("Upgrade", "h2c")},
		{name: "Transfer-Encoding", o: header("Transfer-Encoding", "chunked")},
		{name: "Content-Length", o: header("Content-Length", "1")},
		{name: "key", o: header("sec-websocket-key", sampleKey)},
		{name: "bad Host", o: header("Host", "a b")},
		{name: "empty Host", o: header("Host", "")},
		{name: "two Hosts", o: &websocket.DialOptions{Header: http.Header{"Host": {"a", "b"}}}},
		{name: "Host in two cases", o: &websocket.DialOptions{Header: http.Header{"Host": {"a"}, "host": {"a"}}}},
		{name: "CRLF in subprotocol", o: &websocket.DialOptions{Subprotocols: []string{"a\r\nb"}}},
		{name: "comma in subprotocol", o: &websocket.DialOptions{Subprotocols: []string{"a,b"}}},
		{name: "empty subprotocol", o: &websocket.DialOptions{Subprotocols: []string{""}}},
		{name: "subprotocol twice", o: &websocket.DialOptions{Subprotocols: []string{"a", "a"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := tc.url
			if u == "" {
				u = "ws://example.com"
			}
			for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3} {
				_, err := Request(t.Context(), u, b, tc.o)
				require.Error(t, err)
			}
		})
	}
	_, err := Request(t.Context(), "ws://user:secret@a b/", websocket.HTTP1, nil)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	_, err = Request(t.Context(), "ws://a", websocket.HTTP1, header("Authorization", "secret\n"))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

func TestWithoutZone(t *testing.T) {
	for host, want := range map[string]string{
		"":                  "",
		"example.com:80":    "example.com:80",
		"a%b:80":            "a%b:80",
		"::1":               "::1",
		"fe80::1%eth0":      "fe80::1",
		"[fe80::1]:80":      "[fe80::1]:80",
		"[fe80::1%eth0]":    "[fe80::1]",
		"[fe80::1%eth0]:80": "[fe80::1]:80",
		"[fe80::1%a%b]:80":  "[fe80::1]:80",
		"[fe80::1%eth0":     "[fe80::1%eth0",
	} {
		assert.Equal(t, want, WithoutZone(host), host)
	}
}

func TestConnectErrorIsTheContextsIfItsDeadlineHasPassed(t *testing.T) {
	soon, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	timeout := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	assert.NoError(t, ConnectError(late, nil))
	assert.ErrorIs(t, ConnectError(late, timeout), context.DeadlineExceeded)
	assert.ErrorIs(t, ConnectError(late, timeout), timeout)
	assert.ErrorIs(t, ConnectError(late, &net.DNSError{IsTimeout: true}), context.DeadlineExceeded)
	for _, tt := range []struct {
		ctx context.Context
		err error
	}{
		{t.Context(), timeout},
		{soon, timeout}, // a limit of the program's own
		{late, io.EOF},
		{late, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}},
		{late, context.DeadlineExceeded},
	} {
		assert.Equal(t, tt.err, ConnectError(tt.ctx, tt.err))
	}
}
