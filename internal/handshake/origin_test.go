package handshake

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

func TestH1_09To11Origin(t *testing.T) {
	list := websocket.AcceptOptions{Origins: []string{"https://App.example.com", "https://other.example:8443"}}
	for _, tc := range []struct {
		name    string
		origins []string
		host    string // "": example.com
		secure  bool
		o       websocket.AcceptOptions
		status  int // 0: accepted
	}{
		{name: "H1-11 none"},
		{name: "H1-11 none, required", o: websocket.AcceptOptions{RequireOrigin: true}, status: 403},
		{name: "same", origins: []string{"http://example.com"}},
		{name: "same over TLS", origins: []string{"https://example.com"}, secure: true},
		{name: "same in other case", origins: []string{"HTTP://EXAMPLE.com"}},
		{name: "same with the default port", origins: []string{"http://example.com:80"}},
		{name: "same, the default port in Host", origins: []string{"https://example.com"}, host: "example.com:443", secure: true},
		{name: "same port", origins: []string{"http://example.com:8080"}, host: "example.com:8080"},
		{name: "same IPv6", origins: []string{"http://[::1]:8080"}, host: "[0:0::1]:8080"},
		{name: "same IPv4", origins: []string{"http://127.0.0.1"}, host: "127.0.0.1"},
		{name: "H1-09 other host", origins: []string{"http://example.org"}, status: 403},
		{name: "H1-09 suffix", origins: []string{"http://evil-example.com"}, status: 403},
		{name: "H1-09 subdomain", origins: []string{"http://a.example.com"}, status: 403},
		{name: "H1-09 other port", origins: []string{"http://example.com:81"}, status: 403},
		{name: "H1-09 the other default port", origins: []string{"http://example.com:443"}, secure: true, status: 403},
		{name: "H1-09 other scheme", origins: []string{"https://example.com"}, status: 403},
		{name: "H1-09 other scheme, TLS", origins: []string{"http://example.com"}, secure: true, status: 403},
		{name: "H1-09 ftp", origins: []string{"ftp://example.com"}, status: 403},
		{name: "H1-09 ws", origins: []string{"ws://example.com"}, status: 403},
		{name: "H1-09 null", origins: []string{"null"}, status: 403},
		{name: "H1-09 empty", origins: []string{""}, status: 403},
		{name: "H1-09 path", origins: []string{"http://example.com/"}, status: 403},
		{name: "H1-09 userinfo", origins: []string{"http://a@example.com"}, status: 403},
		{name: "H1-09 empty port", origins: []string{"http://example.com:"}, status: 403},
		{name: "H1-09 port out of range", origins: []string{"http://example.com:65616"}, status: 403},
		{name: "H1-09 signed port", origins: []string{"http://example.com:+80"}, status: 403},
		{name: "H1-09 list", origins: []string{"http://example.com http://a"}, status: 403},
		{name: "H1-09 no host", origins: []string{"http://"}, host: " ", status: 403},
		{name: "H1-09 opaque", origins: []string{"http:example.com"}, status: 403},
		{name: "H1-09 a host that makes no origin", origins: []string{"http://a b"}, host: "a b", status: 403},
		{name: "H1-10 two", origins: []string{"http://example.com", "http://example.com"}, status: 400},
		{name: "listed", origins: []string{"https://app.example.com"}, o: list},
		{name: "listed with port", origins: []string{"https://other.example:8443"}, o: list},
		{name: "same beside a list", origins: []string{"http://example.com"}, o: list},
		{name: "listed, other port", origins: []string{"https://app.example.com:8443"}, o: list, status: 403},
		{name: "listed, other scheme", origins: []string{"http://app.example.com"}, o: list, status: 403},
		{name: "null is never listed", origins: []string{"null"}, o: websocket.AcceptOptions{Origins: []string{"null"}}, status: 403},
		{name: "the list has no patterns", origins: []string{"https://a.example.com"}, o: websocket.AcceptOptions{Origins: []string{"*"}}, status: 500},
		{name: "public", origins: []string{"https://example.com"}, host: "10.0.0.1:80", o: websocket.AcceptOptions{PublicOrigin: "https://example.com"}},
		{name: "public instead of the request's", origins: []string{"http://10.0.0.1"}, host: "10.0.0.1", o: websocket.AcceptOptions{PublicOrigin: "https://example.com"}, status: 403},
		{name: "public is no origin", origins: []string{"http://a"}, o: websocket.AcceptOptions{PublicOrigin: "example.com"}, status: 500},
		{name: "not checked", origins: []string{"null"}, o: websocket.AcceptOptions{InsecureSkipOriginCheck: true}},
		{name: "not checked, but two", origins: []string{"http://a", "http://b"}, o: websocket.AcceptOptions{InsecureSkipOriginCheck: true}, status: 400},
		{name: "not checked, but required", o: websocket.AcceptOptions{InsecureSkipOriginCheck: true, RequireOrigin: true}, status: 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := upgrade(t, get)
			r.Header["Origin"] = tc.origins
			if tc.origins == nil {
				delete(r.Header, "Origin")
			}
			if tc.host != "" {
				r.Host = tc.host
			}
			_, e := Negotiate(r, tc.secure, &tc.o)
			if tc.status == 0 {
				require.Nil(t, e)
				return
			}
			require.NotNil(t, e)
			assert.Equal(t, tc.status, e.Status)
			if tc.status == 403 && len(tc.origins) == 1 {
				assert.NotContains(t, e.Reason, "example")
				assert.ErrorContains(t, e.Err, "origin \"", "the log says which")
			}
		})
	}
}

// FuzzOrigin: what is taken for an origin has one canonical form, is the same
// origin in either case, and is what net/url sees in it.
func FuzzOrigin(f *testing.F) {
	for _, s := range []string{
		"null", "http://example.com", "https://EXAMPLE.com:443", "http://[::1]:80", "http://[::ffff:1.2.3.4]",
		"http://a:b@c", "http://a/", "http://a:", "http://a:0080", "ftp://a", "http://[fe80::1%25a]", "://", "http://a]b[:1",
		"chrome-extension://abcdef", "http://xn--bcher-kva.example", "http://a%2fb",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parseOrigin(s)
		if err != nil {
			require.Equal(t, origin{}, o)
			return
		}
		canonical := o.scheme + "://" + o.host
		if o.port != "" {
			canonical += ":" + o.port
		}
		again, err := parseOrigin(canonical)
		require.NoError(t, err)
		require.Equal(t, o, again)
		for _, other := range []string{strings.ToUpper(s), strings.ToLower(s)} {
			folded, err := parseOrigin(other)
			require.NoError(t, err)
			require.Equal(t, o, folded)
		}
		u, err := url.Parse(s)
		if err != nil {
			return // a stray percent sign: net/url is stricter there
		}
		require.Equal(t, o.scheme, u.Scheme)
		require.Empty(t, u.Path+u.RawQuery+u.Fragment)
		require.Nil(t, u.User)
		if u.Port() != "" {
			n, err := strconv.Atoi(u.Port())
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(n), o.port)
		}
	})
}
