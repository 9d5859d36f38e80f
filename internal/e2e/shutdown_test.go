package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// bootstraps that a server has with TLS, and without.
func bootstraps(secure bool) []websocket.Bootstrap {
	all := []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3}
	if !secure {
		return all[:2]
	}
	return all
}

func withAndWithoutTLS(t *testing.T, test func(t *testing.T, secure bool)) {
	for _, secure := range []bool{true, false} {
		name := "without TLS"
		if secure {
			name = "with TLS"
		}
		t.Run(name, func(t *testing.T) {
			wstest.NoLeaks(t)
			test(t, secure)
		})
	}
}

// OP-01: Shutdown says 1001 to every socket on every transport at the same time,
// whatever it is doing, and waits for the answers and for ordinary requests.
func TestOP01ShutdownSaysGoingAwayOnEveryTransport(t *testing.T) {
	withAndWithoutTLS(t, func(t *testing.T, secure bool) {
		begun, goOn := make(chan struct{}, 3), make(chan struct{})
		s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ordinary" {
				begun <- struct{}{}
				<-goOn
				io.WriteString(w, "ordinary")
				return
			}
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				defer c.CloseNow()
				echo(c)
			}
		}), secure)
		var ends []<-chan error
		var answers []<-chan string
		for _, b := range bootstraps(secure) {
			d := newDialer(t, b)
			for _, activity := range activities {
				c, _, err := d.Dial(soon(t), s.url(b), nil)
				require.NoError(t, err)
				require.Equal(t, b, c.Bootstrap())
				ends = append(ends, activity(t, c))
			}
			url := "http" + strings.TrimPrefix(strings.TrimSuffix(s.url(b), "socket"), "ws") + "ordinary"
			answers = append(answers, begin(func() string { return get(t, d, url) }))
			<-begun
		}
		down := begin(func() error { return s.Shutdown(soon(t)) })
		for _, end := range ends {
			wantEnd(t, <-end, 1001, true)
		}
		select {
		case err := <-down:
			require.Fail(t, "Shutdown does not wait for ordinary requests", "%v", err)
		default:
		}
		close(goOn)
		for _, answer := range answers {
			assert.Equal(t, "ordinary", <-answer)
		}
		require.NoError(t, <-down)
		for _, b := range bootstraps(secure) {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			_, _, err := newDialer(t, b).Dial(ctx, s.url(b), nil)
			cancel()
			assert.Error(t, err, "the server is gone")
		}
	})
}

// activities are what sockets do while the server shuts down. Each returns what
// its reader ends with.
var activities = []func(testing.TB, *websocket.Conn) <-chan error{
	func(t testing.TB, c *websocket.Conn) <-chan error { // it waits
		return begin(func() error { _, _, err := c.Read(soon(t)); return err })
	},
	func(t testing.TB, c *websocket.Conn) <-chan error { // it is in the middle of a message
		w, err := c.Writer(soon(t), websocket.MessageText)
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 100_000))
		require.NoError(t, err)
		return begin(func() error { _, _, err := c.Read(soon(t)); return err })
	},
	func(t testing.TB, c *websocket.Conn) <-chan error { // it talks
		first := make(chan struct{})
		end := begin(func() error {
			for i := 0; ; i++ {
				if _, _, err := c.Read(soon(t)); err != nil {
					return err
				}
				if i == 0 {
					close(first)
				}
			}
		})
		go func() { // ends with the socket
			for c.Write(context.Background(), websocket.MessageText, []byte("on and on")) == nil {
			}
		}()
		<-first
		return end
	},
}

func get(t testing.TB, rt http.RoundTripper, url string) string {
	req, err := http.NewRequestWithContext(soon(t), http.MethodGet, url, nil)
	if !assert.NoError(t, err) {
		return ""
	}
	resp, err := rt.RoundTrip(req)
	if !assert.NoError(t, err) {
		return ""
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	assert.NoError(t, err)
	return string(p)
}

// OP-01: peers that do not answer are cut when the context ends, and Shutdown says
// so.
func TestOP01ShutdownCutsPeersThatDoNotAnswer(t *testing.T) {
	withAndWithoutTLS(t, func(t *testing.T, secure bool) {
		accepted := make(chan *websocket.Conn, 8)
		s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				accepted <- c
				c.Read(context.Background())
			}
		}), secure)
		raws := make(map[string]rawStream)
		for _, tr := range transports {
			if tr.tls != secure {
				continue
			}
			authority := s.tcp
			if tr.bootstrap == websocket.HTTP3 {
				authority = s.udp
			}
			raws[tr.name] = tr.rawDial(t, authority)
			<-accepted
		}
		// They read at once: QUIC forgets what it holds when the connection ends.
		type last struct {
			code websocket.StatusCode
			peer *wstest.Peer
		}
		heard := make(map[string]chan last)
		for name, raw := range raws {
			c := make(chan last, 1)
			heard[name] = c
			go func() {
				p := wstest.NewClient(raw)
				f, _ := p.TryNext()
				code, _, _ := f.CloseCode()
				c <- last{code, p}
			}()
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		down := begin(func() error { return s.Shutdown(ctx) })
		peers := make(map[string]*wstest.Peer)
		for name, c := range heard {
			l := <-c
			assert.Equal(t, websocket.StatusGoingAway, l.code, name+": every socket is told")
			peers[name] = l.peer
		}
		cancel()
		require.ErrorIs(t, <-down, context.Canceled)
		for name, p := range peers {
			p.WantReset(t, name+": and cut")
		}
	})
}

// C9: what ends a connection ends its sockets with 1006, and the transport's own
// error is found in theirs.
func TestC9CloseOfTheServerIsTheTransportsError(t *testing.T) {
	withAndWithoutTLS(t, func(t *testing.T, secure bool) {
		s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				c.Read(context.Background())
			}
		}), secure)
		var conns []*websocket.Conn
		for _, b := range bootstraps(secure) {
			c, _, err := newDialer(t, b).Dial(soon(t), s.url(b), nil)
			require.NoError(t, err)
			conns = append(conns, c)
		}
		require.NoError(t, s.Close())
		for _, c := range conns {
			_, _, err := c.Read(soon(t))
			wantEnd(t, err, 1006, true)
			switch c.Bootstrap() {
			case websocket.HTTP1:
				assert.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
			case websocket.HTTP2:
				var ce *h2connect.ConnError
				require.ErrorAs(t, err, &ce)
				assert.True(t, ce.Remote)
			case websocket.HTTP3:
				var ce *h3connect.ConnError
				require.ErrorAs(t, err, &ce)
				assert.True(t, ce.Remote)
			}
			assert.NotErrorIs(t, err, context.Canceled)
			_, _, again := c.Read(soon(t))
			assert.Equal(t, err, again, "the same for ever")
		}
	})
}

// C5, C11: an abort is the transport's reset at the other end, and nothing to the
// neighbours on the connection.
func TestC11AbortIsTheTransportsReset(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		tr = tr.negotiated(t) // sockets share connections
		accepted := make(chan *websocket.Conn, 1)
		authority := tr.listen(t, tr.handler(t, nil, func(c *websocket.Conn) {
			accepted <- c
			<-t.Context().Done()
			c.CloseNow()
		}))
		open := func() pair {
			c := tr.mustDial(t, authority, nil)
			t.Cleanup(func() { c.CloseNow() })
			return pair{<-accepted, c}
		}
		neighbour := open()
		for name := range neighbour.ends() {
			ends := open().ends()[name]
			require.NoError(t, ends[0].CloseNow())
			_, _, err := ends[1].Read(soon(t))
			wantEnd(t, err, 1006, true)
			wantReset(t, ends[1].Bootstrap(), err)
			assert.Error(t, ends[1].Write(soon(t), websocket.MessageText, nil))
		}
		for _, ends := range neighbour.ends() {
			sent := begin(func() error { return ends[0].Write(soon(t), websocket.MessageText, []byte("here still")) })
			wantMessage(t, ends[1], websocket.MessageText, []byte("here still"))
			require.NoError(t, <-sent)
		}
	})
}

// wantReset wants err to say that the peer has reset the stream.
func wantReset(t testing.TB, b websocket.Bootstrap, err error) {
	t.Helper()
	switch b {
	case websocket.HTTP1:
		assert.ErrorIs(t, err, syscall.ECONNRESET)
	case websocket.HTTP2:
		var se *h2connect.StreamError
		require.ErrorAs(t, err, &se)
		assert.True(t, se.Remote)
		assert.Equal(t, "CANCEL", se.Code.String())
	case websocket.HTTP3:
		var se *h3connect.StreamError
		require.ErrorAs(t, err, &se)
		assert.True(t, se.Remote)
		assert.EqualValues(t, 0x10c, se.Code, "H3_REQUEST_CANCELLED")
	}
}
