package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

type requestKey struct{}

// A reporter is an Observer that writes down what it is told.
type reporter struct {
	events  chan string
	details chan negotiate.SocketEnd
}

func newReporter() *reporter {
	return &reporter{make(chan string, 100), make(chan negotiate.SocketEnd, 100)}
}

func (r *reporter) observer() *negotiate.Observer {
	side := func(client bool) string {
		if client {
			return "client"
		}
		return "server"
	}
	return &negotiate.Observer{
		Opened: func(ctx context.Context, s negotiate.SocketInfo) {
			r.events <- fmt.Sprintf("%s: %v opened, subprotocol %s, of %v", side(s.Client), s.Bootstrap, s.Subprotocol, ctx.Value(requestKey{}))
		},
		Closed: func(ctx context.Context, s negotiate.SocketInfo, e negotiate.SocketEnd) {
			r.events <- fmt.Sprintf("%s: %v closed with %d, remote %t, clean %t", side(s.Client), s.Bootstrap, e.Err.Code, e.Err.Remote, e.Clean)
			if e.Clean {
				r.details <- e
			}
		},
		Refused: func(ctx context.Context, f negotiate.Refusal) {
			r.events <- fmt.Sprintf("%s: %v refused with %d", side(f.Client), f.Bootstrap, f.Err.Status)
		},
		FellBack: func(ctx context.Context, f negotiate.Fallback) {
			r.events <- fmt.Sprintf("fell back from %v to %v: %t", f.From, f.To, f.Err != nil)
		},
		LimitHit: func(l negotiate.LimitHit) {
			r.events <- fmt.Sprintf("%s: %v hit %s", side(l.Client), l.Bootstrap, l.Limit)
		},
	}
}

// want wants the next event to be this one.
func (r *reporter) want(t testing.TB, event string) {
	t.Helper()
	select {
	case got := <-r.events:
		assert.Equal(t, event, got)
	case <-time.After(patience):
		require.Fail(t, "no event", event)
	}
}

// A server's Observer hears of every socket and every refusal on every transport,
// with the values of the request's context.
func TestObserverOfAServer(t *testing.T) {
	withAndWithoutTLS(t, func(t *testing.T, secure bool) {
		r := newReporter()
		mark := func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				h.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), requestKey{}, req.URL.Path)))
			})
		}
		s := serveNegotiated(t, mark(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			o := &websocket.AcceptOptions{Subprotocols: []string{"soap"}, Limits: websocket.Limits{Message: 1000}}
			o.RequireOrigin = req.URL.Query().Has("origin")
			if c, err := negotiate.Accept(w, req, o); err == nil {
				echo(c)
			}
		})), secure, func(s *negotiate.Server) { s.Observer = r.observer() })
		for _, b := range bootstraps(secure) {
			d := newDialer(t, b)
			o := &websocket.DialOptions{Subprotocols: []string{"soap"}, Limits: quick}
			c, _, err := d.Dial(soon(t), s.url(b), o)
			require.NoError(t, err)
			r.want(t, fmt.Sprintf("server: %v opened, subprotocol soap, of /socket", b))
			for _, m := range []string{"one", "two"} {
				require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte(m)))
				wantMessage(t, c, websocket.MessageText, []byte(m))
			}
			require.NoError(t, c.Close(soon(t), 4321, ""))
			r.want(t, fmt.Sprintf("server: %v closed with 4321, remote true, clean true", b))
			e := <-r.details
			assert.EqualValues(t, 2, e.Stats.MessagesRead)
			assert.EqualValues(t, 2, e.Stats.MessagesWritten)
			assert.Positive(t, e.Stats.BytesRead)
			assert.Positive(t, e.Duration)

			c, _, err = d.Dial(soon(t), s.url(b), o)
			require.NoError(t, err)
			r.want(t, fmt.Sprintf("server: %v opened, subprotocol soap, of /socket", b))
			go c.Write(context.Background(), websocket.MessageText, make([]byte, 2000))
			_, _, err = c.Read(soon(t))
			wantEnd(t, err, 1009, true)
			r.want(t, fmt.Sprintf("server: %v hit Message", b))
			r.want(t, fmt.Sprintf("server: %v closed with 1009, remote false, clean false", b))

			c, _, err = d.Dial(soon(t), s.url(b), o)
			require.NoError(t, err)
			r.want(t, fmt.Sprintf("server: %v opened, subprotocol soap, of /socket", b))
			require.NoError(t, c.CloseNow())
			r.want(t, fmt.Sprintf("server: %v closed with 1006, remote true, clean false", b))

			_, _, err = d.Dial(soon(t), s.url(b)+"?origin", o)
			var he *websocket.HandshakeError
			require.True(t, errors.As(err, &he), "%v", err)
			r.want(t, fmt.Sprintf("server: %v refused with 403", b))
		}
		assert.Empty(t, r.events)
	})
}

// The limits of HTTP/2 and HTTP/3 are reported by the names of their fields.
func TestObserverHearsOfLimits(t *testing.T) {
	wstest.NoLeaks(t)
	r := newReporter()
	s := serveNegotiated(t, http.NotFoundHandler(), true, func(s *negotiate.Server) { s.Observer = r.observer() })
	for _, b := range []websocket.Bootstrap{websocket.HTTP2, websocket.HTTP3} {
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, "https"+strings.TrimPrefix(s.url(b), "wss"), nil)
		require.NoError(t, err)
		for i := range 300 {
			req.Header.Set(fmt.Sprint("x-", i), "")
		}
		resp, err := newDialer(t, b).RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
		r.want(t, fmt.Sprintf("server: %v hit HeaderFields", b))
	}
}

// A Dialer's Observer hears of its own sockets only, also where a handler dials
// with the context of a request to a server that has one too.
func TestObserverOfADialer(t *testing.T) {
	wstest.NoLeaks(t)
	here, there := newReporter(), newReporter()
	backend := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/socket" {
			http.NotFound(w, req)
			return
		}
		if c, err := negotiate.Accept(w, req, nil); err == nil {
			echo(c)
		}
	}), true)
	for _, b := range bootstraps(true) {
		d := newDialer(t, b)
		d.Observer = here.observer()
		ctx := context.WithValue(soon(t), requestKey{}, "a dial")
		c, _, err := d.Dial(ctx, backend.url(b), nil)
		require.NoError(t, err)
		here.want(t, fmt.Sprintf("client: %v opened, subprotocol , of a dial", b))
		require.NoError(t, c.Close(soon(t), 1000, ""))
		here.want(t, fmt.Sprintf("client: %v closed with 1000, remote false, clean true", b))
		_, _, err = d.Dial(ctx, strings.TrimSuffix(backend.url(b), "socket")+"nothing", nil)
		require.Error(t, err)
		here.want(t, fmt.Sprintf("client: %v refused with 404", b))
	}

	inFront := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c, err := negotiate.Accept(w, req, nil)
		if !assert.NoError(t, err) {
			return
		}
		defer c.CloseNow()
		inner, _, err := newDialer(t, websocket.HTTP1).Dial(req.Context(), backend.url(websocket.HTTP1), nil)
		if assert.NoError(t, err) {
			assert.NoError(t, inner.Close(req.Context(), 1000, ""))
		}
		assert.NoError(t, c.Close(soon(t), 1000, ""))
	}), false, func(s *negotiate.Server) { s.Observer = there.observer() })
	c, _, err := newDialer(t, websocket.HTTP1).Dial(soon(t), inFront.url(websocket.HTTP1), nil)
	require.NoError(t, err)
	_, _, err = c.Read(soon(t))
	wantEnd(t, err, 1000, true)
	there.want(t, "server: HTTP/1.1 opened, subprotocol , of <nil>")
	there.want(t, "server: HTTP/1.1 closed with 1000, remote false, clean true")
	assert.Empty(t, there.events)
	assert.Empty(t, here.events)
}

// A fallback is reported with its reason.
func TestObserverHearsOfFallbacks(t *testing.T) {
	wstest.NoLeaks(t)
	r := newReporter()
	s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if c, err := negotiate.Accept(w, req, nil); assert.NoError(t, err) {
			echo(c)
		}
	}), true, func(s *negotiate.Server) { s.HTTP2 = &h2connect.Server{DisableExtendedConnect: true, Limits: hasty} })
	_, config := wstest.Certificates()
	d := &negotiate.Dialer{TLSClientConfig: config, HTTP2Limits: hasty, Observer: r.observer()}
	defer d.CloseIdleConnections()
	c, _, err := d.Dial(soon(t), s.url(websocket.HTTP2), nil)
	require.NoError(t, err)
	r.want(t, "client: HTTP/1.1 opened, subprotocol , of <nil>")
	r.want(t, "fell back from HTTP/2 to HTTP/1.1: true")
	require.NoError(t, c.Close(soon(t), 1000, ""))
	r.want(t, "client: HTTP/1.1 closed with 1000, remote false, clean true")
	assert.Empty(t, r.events)
}
