package e2e

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestXC10OriginRefused(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		refused := make(chan error, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := tr.accept(w, r, &websocket.AcceptOptions{Origins: []string{"https://friend.example"}})
			refused <- err
			if err == nil {
				c.Close(r.Context(), 1000, "")
			}
		}))
		scheme := "http://"
		if tr.tls {
			scheme = "https://"
		}
		for origin, allowed := range map[string]bool{
			"":                       true,
			scheme + authority:       true,
			"https://friend.example": true,
			"https://evil.example":   false,
			"http://friend.example":  false,
			"null":                   false,
		} {
			h := http.Header{}
			if origin != "" {
				h.Set("Origin", origin)
			}
			c, resp, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{Header: h, Limits: quick})
			if allowed {
				require.NoError(t, err, origin)
				require.NoError(t, <-refused)
				_, _, err = c.Read(soon(t))
				wantEnd(t, err, 1000, true)
				continue
			}
			var he *websocket.HandshakeError
			require.ErrorAs(t, err, &he, origin)
			assert.Equal(t, http.StatusForbidden, he.Status)
			assert.True(t, he.Remote)
			if resp != nil {
				assert.Equal(t, http.StatusForbidden, resp.StatusCode)
			}
			require.ErrorAs(t, <-refused, &he)
			assert.Equal(t, http.StatusForbidden, he.Status)
			assert.False(t, he.Remote)
		}
	})
}

func TestSubprotocol(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		ao := &websocket.AcceptOptions{Subprotocols: []string{"v2", "v1"}, Limits: quick}
		for _, c := range []struct {
			offered []string
			want    string
		}{{nil, ""}, {[]string{"v1", "v2"}, "v2"}, {[]string{"v1"}, "v1"}, {[]string{"V1", "other"}, ""}} {
			p := tr.connect(t, ao, &websocket.DialOptions{Subprotocols: c.offered, Limits: quick})
			assert.Equal(t, c.want, p.client.Subprotocol())
			assert.Equal(t, c.want, p.server.Subprotocol())
			assert.NoError(t, errors.Join(p.client.CloseNow(), p.server.CloseNow()))
		}
	})
}

// What the handler sees and sets travels: path, query, fields both ways.
func TestRequestAndResponseFields(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		seen := make(chan *http.Request, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- r
			http.SetCookie(w, &http.Cookie{Name: "from", Value: "w"})
			c, err := tr.accept(w, r, &websocket.AcceptOptions{Header: http.Header{"X-Answer": {"42"}}, Limits: quick})
			if assert.NoError(t, err) {
				c.Close(r.Context(), 1000, "")
			}
		}))
		c, resp, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{Header: http.Header{"X-Question": {"what", "else"}, "Cookie": {"a=b; c=d"}}, Limits: quick})
		require.NoError(t, err)
		_, _, err = c.Read(soon(t))
		wantEnd(t, err, 1000, true)
		assert.Equal(t, "42", resp.Header.Get("X-Answer"))
		assert.Equal(t, []string{"from=w"}, resp.Header["Set-Cookie"])
		r := <-seen
		assert.Equal(t, "/socket", r.URL.Path)
		assert.Equal(t, "a=b", r.URL.RawQuery)
		assert.Equal(t, authority, r.Host)
		assert.Equal(t, []string{"what", "else"}, r.Header["X-Question"])
		assert.Len(t, r.Cookies(), 2)
		assert.Equal(t, tr.served().tls, r.TLS != nil)
	})
}

// A request that is no handshake is refused by every Accept, and its
// connection or its neighbours live on as the transport allows.
func TestOrdinaryRequestIsNoHandshake(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		refused := make(chan error, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := tr.accept(w, r, nil)
			assert.Nil(t, c)
			refused <- err
		}))
		status := ordinaryRequest(t, tr, authority)
		assert.GreaterOrEqual(t, status, 400)
		assert.Less(t, status, 502)
		var he *websocket.HandshakeError
		require.ErrorAs(t, <-refused, &he)
		assert.Equal(t, status, he.Status)
	})
}

// ordinaryRequest sends a GET and returns the status.
func ordinaryRequest(t testing.TB, tr transport, authority string) int {
	t.Helper()
	client := &http.Client{Transport: tr.roundTripper(t)}
	scheme := "http://"
	if tr.tls {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(soon(t), http.MethodGet, scheme+authority+"/", nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// roundTripper is a client for ordinary requests on the transport.
func (tr transport) roundTripper(t testing.TB) http.RoundTripper {
	_, client := wstest.Certificates()
	switch tr.bootstrap {
	case websocket.HTTP1:
		rt := &http.Transport{TLSClientConfig: client}
		t.Cleanup(rt.CloseIdleConnections)
		return rt
	case websocket.HTTP2:
		rt := &h2connect.Transport{TLSClientConfig: client, AllowHTTP: true}
		t.Cleanup(rt.CloseIdleConnections)
		return rt
	default:
		rt := &h3connect.Transport{TLSClientConfig: client}
		t.Cleanup(func() { rt.Close() })
		return rt
	}
}
