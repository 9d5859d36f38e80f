package handshake

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

func connect(edit func(c *Connect)) *Connect {
	c := &Connect{
		Method: "CONNECT", Protocol: "websocket", Scheme: "https", Authority: "example.com", Path: "/chat?a=b",
		Header: http.Header{"Sec-Websocket-Version": {"13"}, "Origin": {"https://example.com"}},
		TLS:    true,
	}
	if edit != nil {
		edit(c)
	}
	return c
}

func with(name string, values ...string) func(c *Connect) {
	return func(c *Connect) { c.Header[name] = values }
}

func TestCheckConnectAccepts(t *testing.T) {
	for name, edit := range map[string]func(c *Connect){
		"RFC 8441 §5.1":           nil,
		"XC-06 in another case":   func(c *Connect) { c.Protocol = "WebSocket" },
		"cleartext":               func(c *Connect) { c.TLS, c.Scheme = false, "http" },
		"XC-03 https without TLS": func(c *Connect) { c.TLS = false }, // from a proxy that ends TLS
		"host equal to authority": with("Host", "EXAMPLE.com:443"),
		"te: trailers":            with("Te", "trailers"),
		"IPv6":                    func(c *Connect) { c.Authority = "[::1]:8443" },
		"XC-09 key":               with("Sec-Websocket-Key", sampleKey),
		"XC-09 malformed key":     with("Sec-Websocket-Key", "a", "b"),
	} {
		t.Run(name, func(t *testing.T) { assert.NoError(t, CheckConnect(connect(edit))) })
	}
}

func TestCheckConnectMalformed(t *testing.T) {
	for name, edit := range map[string]func(c *Connect){
		"XC-01 GET with :protocol":   func(c *Connect) { c.Method = "GET" },
		"XC-02 no scheme":            func(c *Connect) { c.Scheme = "" },
		"XC-02 no path":              func(c *Connect) { c.Path = "" },
		"XC-02 no authority":         func(c *Connect) { c.Authority = "" },
		"XC-03 asterisk":             func(c *Connect) { c.Path = "*" },
		"XC-03 relative path":        func(c *Connect) { c.Path = "chat" },
		"XC-03 space in path":        func(c *Connect) { c.Path = "/ HTTP/1.1" },
		"XC-03 control in path":      func(c *Connect) { c.Path = "/\r\nx" },
		"XC-03 DEL in path":          func(c *Connect) { c.Path = "/\x7f" },
		"XC-03 fragment":             func(c *Connect) { c.Path = "/a#b" },
		"XC-04 method with a space":  func(c *Connect) { c.Method = "GET /smug HTTP/1.1" },
		"XC-04 no method":            func(c *Connect) { c.Method = "" },
		"XC-05 host differs":         with("Host", "example.org"),
		"XC-05 host with other port": with("Host", "example.com:8443"),
		"XC-05 host empty":           with("Host", ""),
		"XC-05 two hosts":            with("Host", "example.com", "example.com"),
		"XC-07 content-length":       with("Content-Length", "0"),
		"XC-07 transfer-encoding":    with("Transfer-Encoding", "chunked"),
		"XC-07 expect":               with("Expect", "100-continue"),
		"XC-07 trailer":              with("Trailer", "a"),
		"H2-29 connection":           with("Connection", "Upgrade"),
		"H2-29 upgrade":              with("Upgrade", "websocket"),
		"H2-29 keep-alive":           with("Keep-Alive", "1"),
		"H2-29 proxy-connection":     with("Proxy-Connection", "close"),
		"H2-29 te":                   with("Te", "gzip"),
		"P6 empty protocol":          func(c *Connect) { c.Protocol, c.HasProtocol = "", true },
		"P6 protocol is not a token": func(c *Connect) { c.Protocol = "websocket,x" },
		"authority with userinfo":    func(c *Connect) { c.Authority = "a@example.com" },
		"authority with path":        func(c *Connect) { c.Authority = "example.com/x" },
		"XC-19 CONNECT with a path":  func(c *Connect) { c.Protocol = "" },
		"XC-19 CONNECT without :authority": func(c *Connect) {
			c.Protocol, c.Scheme, c.Path, c.Authority = "", "", "", ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckConnect(connect(edit))
			var m *Malformed
			require.ErrorAs(t, err, &m)
			assert.NotEmpty(t, m.Reason)
			assert.ErrorContains(t, err, m.Reason)
		})
	}
}

func TestCheckConnectRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(c *Connect)
		status int
		header http.Header
	}{
		{name: "XC-03 ftp", edit: func(c *Connect) { c.Scheme = "ftp" }, status: 400},
		{name: "XC-03 wss", edit: func(c *Connect) { c.Scheme = "wss" }, status: 400},
		{name: "XC-03 http over TLS", edit: func(c *Connect) { c.Scheme = "http" }, status: 400},
		{name: "XC-03 ftp without TLS", edit: func(c *Connect) { c.TLS, c.Scheme = false, "ftp" }, status: 400},
		{name: "XC-06 connect-udp", edit: func(c *Connect) { c.Protocol = "connect-udp" }, status: 501},
		{name: "XC-06 webtransport", edit: func(c *Connect) { c.Protocol = "webtransport" }, status: 501},
		{name: "XC-11 END_STREAM", edit: func(c *Connect) { c.EndStream = true }, status: 400},
		{name: "XC-19 plain CONNECT", edit: func(c *Connect) {
			c.Protocol, c.Scheme, c.Path, c.Authority = "", "", "", "example.org:443"
		}, status: 501},
		{
			name: "GET", edit: func(c *Connect) { c.Method, c.Protocol = "GET", "" }, status: 405,
			header: http.Header{"Allow": {"CONNECT"}},
		},
		{
			name: "POST with content",
			edit: func(c *Connect) {
				c.Method, c.Protocol = "POST", ""
				c.Header.Set("Content-Length", "1")
				c.Header.Set("Expect", "100-continue")
			},
			status: 405, header: http.Header{"Allow": {"CONNECT"}},
		},
		{name: "too many fields", edit: func(c *Connect) { c.Header["X"] = make([]string, 300) }, status: 431},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := CheckConnect(connect(tc.edit))
			var e *websocket.HandshakeError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tc.status, e.Status)
			assert.Equal(t, tc.header, e.Header)
		})
	}
}
