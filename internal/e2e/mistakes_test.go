package e2e

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// The mistakes of a handler that a program makes once. None panics, and the error
// says what was wrong; the client is told something other than a socket.
func TestHandlersMistakesHaveAnError(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		if tr.hop != nil {
			return // it is about Accept, which the proxy does not call
		}
		wantRefusal := func(err error, what string) {
			var he *websocket.HandshakeError
			if assert.ErrorAs(t, err, &he) {
				assert.False(t, he.Remote)
				assert.ErrorContains(t, err, what)
			}
		}
		refused := make(chan error, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Query().Get("a") {
			case "b": // what url asks for
				c, err := tr.accept(w, r, nil)
				if !assert.NoError(t, err) {
					return
				}
				defer c.CloseNow()
				_, err = tr.accept(w, r, nil)
				refused <- err
				echo(c)
			default:
				io.WriteString(w, "a page")
				c, err := tr.accept(w, r, nil)
				if tr.bootstrap == websocket.HTTP1 { // net/http does not tell
					if c != nil {
						c.CloseNow()
					}
					return
				}
				refused <- err
			}
		}))
		c := tr.mustDial(t, authority, nil)
		defer c.CloseNow()
		wantRefusal(<-refused, "cannot be")
		require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("unharmed")))
		wantMessage(t, c, websocket.MessageText, []byte("unharmed"))

		_, config := wstest.Certificates()
		_, _, err := tr.dial(soon(t), strings.Replace(tr.url(authority), "a=b", "a=written", 1), &websocket.DialOptions{TLSClientConfig: config})
		if tr.bootstrap != websocket.HTTP1 {
			wantRefusal(<-refused, "cannot become a socket")
		}
		var he *websocket.HandshakeError
		require.ErrorAs(t, err, &he)
		assert.True(t, he.Remote)
		assert.Contains(t, []int{http.StatusOK, http.StatusNotImplemented}, he.Status)
		if he.Status == http.StatusOK {
			assert.ErrorContains(t, err, "200 OK: the server answered without opening a socket")
		}
	})
}

// Middleware may have put another Body into the request, or none: the socket does not
// come from there.
func TestTheRequestsBodyIsReplaced(t *testing.T) {
	on(t, slices.Concat(direct(), bridged()), func(t *testing.T, tr transport) {
		for name, replace := range map[string]func(http.ResponseWriter, *http.Request){
			"nil":    func(_ http.ResponseWriter, r *http.Request) { r.Body = nil },
			"NoBody": func(_ http.ResponseWriter, r *http.Request) { r.Body = http.NoBody },
			"limited": func(w http.ResponseWriter, r *http.Request) {
				r.Body = http.MaxBytesReader(w, r.Body, 1)
			},
			"panics": func(_ http.ResponseWriter, r *http.Request) { r.Body = struct{ io.ReadCloser }{} },
			"another request": func(_ http.ResponseWriter, r *http.Request) {
				*r = *r.WithContext(context.WithoutCancel(r.Context()))
				r.Body = http.NoBody
			},
		} {
			authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				own := *r
				replace(w, &own)
				c, err := tr.accept(w, &own, nil)
				if assert.NoError(t, err, name) {
					echo(c)
				}
			}))
			c := tr.mustDial(t, authority, nil)
			require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte(name)))
			wantMessage(t, c, websocket.MessageText, []byte(name))
			require.NoError(t, c.Close(soon(t), websocket.StatusNormalClosure, ""))
		}
	})
}
