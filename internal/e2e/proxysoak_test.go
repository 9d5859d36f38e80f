package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A ledger is what the backends have received, whichever of them it was.
type ledger struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (l *ledger) serve(w http.ResponseWriter, r *http.Request) {
	c, err := negotiate.Accept(w, r, &websocket.AcceptOptions{Limits: quick})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, p, err := c.Read(context.Background())
		if err != nil {
			return
		}
		l.mu.Lock()
		l.seen[string(p)] = true
		l.mu.Unlock()
		if c.Write(context.Background(), kind, p) != nil {
			return
		}
	}
}

func (l *ledger) has(p string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[p]
}

// Clients by all bootstraps talk through a proxy while the backends behind it,
// by all bootstraps too, come and go, in order and out of it. What was
// acknowledged had arrived; every socket is accounted for, and nothing is left.
func TestProxySurvivesRestartsOfItsBackends(t *testing.T) {
	wstest.NoLeaks(t)
	const talkers, messages, restarts = 9, 60, 6
	books := &ledger{seen: make(map[string]bool)}
	var current [3]atomic.Pointer[negotiatedServer]
	bootstraps := [3]websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3}
	for i := range current {
		current[i].Store(serveNegotiated(t, http.HandlerFunc(books.serve), true))
	}
	var opened, ended atomic.Int64
	var proxies [3]*negotiate.ReverseProxy
	for i, b := range bootstraps {
		proxies[i] = &negotiate.ReverseProxy{
			Rewrite: func(pr *httputil.ProxyRequest) {
				s := current[i].Load()
				host := s.tcp
				if b == websocket.HTTP3 {
					host = s.udp
				}
				pr.SetURL(&url.URL{Scheme: "https", Host: host})
			},
			Dialer: newDialer(t, b),
			Observer: func(e negotiate.ProxyEvent) {
				if e.Opened && !e.Ended {
					opened.Add(1)
				}
				if e.Opened && e.Ended {
					ended.Add(1)
				}
			},
		}
	}
	mux := http.NewServeMux()
	for i := range proxies {
		mux.Handle(fmt.Sprintf("/%d", i), proxies[i])
	}
	front := serveNegotiated(t, mux, true)

	var fresh [restarts]*negotiatedServer
	for i := range fresh {
		fresh[i] = serveNegotiated(t, http.HandlerFunc(books.serve), true)
	}
	ctx := soon(t)
	var all sync.WaitGroup
	var said atomic.Int64
	// A talker does not go past milestone(n) before restart n has begun, and that
	// begins before all have come so far: so there is talk around each of them.
	milestone := func(n int) int { return (n + 1) * messages / (restarts + 1) }
	begun := make(map[int]chan struct{})
	for n := range restarts {
		begun[milestone(n)] = make(chan struct{})
	}
	for n := range talkers {
		b := bootstraps[n%3]
		d := newDialer(t, b)
		at := front.url(b)
		at = at[:len(at)-len("/socket")] + fmt.Sprintf("/%d", n/3)
		all.Go(func() { persist(t, ctx, d, at, fmt.Sprint(n), messages, books, &said, begun) })
	}
	all.Go(func() {
		for n := range restarts {
			for said.Load() < int64(talkers*milestone(n)-talkers/2) && ctx.Err() == nil {
				<-time.After(time.Millisecond)
			}
			i := n % 3
			close(begun[milestone(n)])
			old := current[i].Swap(fresh[n])
			if n%2 == 0 {
				assert.NoError(t, old.Close())
			} else {
				_ = old.Shutdown(ctx) // sockets may be cut by their clients
			}
		}
	})
	all.Wait()
	assert.EqualValues(t, talkers*messages, said.Load())
	require.NoError(t, front.Shutdown(ctx))
	assert.Equal(t, opened.Load(), ended.Load(), "sockets")
	assert.Greater(t, opened.Load(), int64(talkers), "some had to be opened again")
}

// persist has each message acknowledged, over as many sockets as it takes. Before
// message n it waits for begun[n], if there is that.
func persist(t *testing.T, ctx context.Context, d *negotiate.Dialer, at, name string, messages int, books *ledger, said *atomic.Int64, begun map[int]chan struct{}) {
	var c *websocket.Conn
	for n := 0; n < messages && ctx.Err() == nil; {
		if begun := begun[n]; begun != nil {
			select {
			case <-begun:
			case <-ctx.Done():
			}
		}
		if c == nil {
			var err error
			if c, _, err = d.Dial(ctx, at, &websocket.DialOptions{Limits: quick}); err != nil {
				c = nil // a backend was just going: once more
				<-time.After(time.Millisecond)
				continue
			}
		}
		m := fmt.Sprintf("%s: %d", name, n)
		err := c.Write(ctx, websocket.MessageText, []byte(m))
		var p []byte
		if err == nil {
			_, p, err = c.Read(ctx)
		}
		if err != nil {
			_ = c.CloseNow()
			c = nil
			continue
		}
		assert.Equal(t, m, string(p))
		assert.True(t, books.has(m), "acknowledged and not received")
		said.Add(1)
		n++
	}
	if c != nil {
		_ = c.Close(ctx, websocket.StatusNormalClosure, "")
	}
	assert.NoError(t, ctx.Err(), name)
}
