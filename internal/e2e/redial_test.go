package e2e

import (
	"context"
	"net"
	"net/http"
	"sync"
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

// A share is one server's part of the connections to an address that several have
// in turn, as behind a load balancer.
type share struct {
	net.Listener // the address's
	conns        chan net.Conn
	closed       chan struct{}
	once         sync.Once
}

func (s *share) Accept() (net.Conn, error) {
	select {
	case nc := <-s.conns:
		return nc, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close ends this part; the next one's begins.
func (s *share) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// inTurn gives the connections of l to the first of n shares that is not closed.
func inTurn(t testing.TB, l net.Listener, n int) []*share {
	shares := make([]*share, n)
	for i := range shares {
		shares[i] = &share{Listener: l, conns: make(chan net.Conn), closed: make(chan struct{})}
	}
	left := shares
	done := begin(func() error {
		for {
			nc, err := l.Accept()
			if err != nil {
				return err
			}
			for taken := false; !taken; {
				if len(left) == 0 {
					nc.Close()
					break
				}
				select {
				case left[0].conns <- nc:
					taken = true
				case <-left[0].closed:
					left = left[1:]
				}
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		assert.ErrorIs(t, <-done, net.ErrClosed)
	})
	return shares
}

// serveShare serves h on a share, and on pc if that is not nil, until the test ends.
func serveShare(t testing.TB, l net.Listener, pc net.PacketConn, h http.Handler) *negotiate.Server {
	s := &negotiate.Server{Handler: h, HTTP2: &h2connect.Server{Limits: hasty}}
	s.TLSConfig, _ = wstest.Certificates()
	if pc != nil {
		s.HTTP3 = new(h3connect.Server)
	}
	served := begin(func() error { return s.ServeTLS(l, pc, "", "") })
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return s
}

// A client that is told to go comes back at once and finds the server's successor,
// whatever the old connection still takes: it is not told to wait on the connection
// on which it was just told to go.
func TestOP02ClientThatIsToldToGoComesBackAtOnce(t *testing.T) {
	for _, b := range bootstraps(true) {
		t.Run(b.String(), func(t *testing.T) {
			wstest.NoLeaks(t)
			l, pc := listenBoth(t)
			address := "wss://" + l.Addr().String()
			shares := inTurn(t, l, 2)
			stuck := make(chan struct{})
			old := serveShare(t, shares[0], pc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := negotiate.Accept(w, r, nil)
				if err != nil {
					return
				}
				defer c.CloseNow()
				if r.URL.Path == "/stuck" {
					close(stuck)
					c.Write(r.Context(), websocket.MessageBinary, make([]byte, 64<<20))
					return
				}
				c.Write(r.Context(), websocket.MessageText, []byte("old"))
				echo(c)
			}))
			serveShare(t, shares[1], nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := negotiate.Accept(w, r, nil)
				if assert.NoError(t, err) {
					c.Write(r.Context(), websocket.MessageText, []byte("new"))
					echo(c)
				}
			}))
			// A peer that takes no data holds GOAWAY up, for a second.
			c, _, err := newDialer(t, b).Dial(soon(t), address+"/stuck", nil)
			require.NoError(t, err)
			defer c.CloseNow()
			<-stuck

			d := newDialer(t, b)
			if b == websocket.HTTP3 { // the successor has TCP alone
				d.Policy = negotiate.Prefer(h3, h2)
			}
			var greetings []string
			patience, cut := context.WithCancel(soon(t))
			defer cut()
			var down <-chan error
			r := &negotiate.Reconnector{
				URL: address + "/socket", Dialer: d, MinDelay: time.Millisecond, MaxDelay: time.Millisecond,
				After: func(_ int, err error, wait time.Duration) {
					assert.Less(t, wait, time.Millisecond, "%v", err)
				},
			}
			require.NoError(t, r.Run(soon(t), func(ctx context.Context, c *websocket.Conn) error {
				_, p, err := c.Read(ctx)
				if err != nil {
					return err
				}
				greetings = append(greetings, string(p))
				if string(p) == "new" {
					return nil
				}
				down = begin(func() error { return old.Shutdown(patience) })
				_, _, err = c.Read(ctx)
				wantEnd(t, err, websocket.StatusGoingAway, true)
				return err
			}))
			assert.Equal(t, []string{"old", "new"}, greetings)
			cut()
			assert.ErrorIs(t, <-down, context.Canceled)
		})
	}
}
