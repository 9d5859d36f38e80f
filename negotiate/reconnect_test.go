package negotiate_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A memoryListener is a server's end of a network that exists in memory, so that
// a bubble's clock rules it.
type memoryListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

// A justConn has no methods but a net.Conn's: that of a pipe would be its own
// inner connection.
type justConn struct{ net.Conn }

// memoryServer serves h without TLS, and returns a Dialer that reaches it by HTTP/2
// first and HTTP/1.1 then. Inside a bubble both end with the test.
func memoryServer(t *testing.T, h http.HandlerFunc) *negotiate.Dialer {
	l := &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &negotiate.Server{Handler: h, UnencryptedHTTP2: true}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	d := &negotiate.Dialer{
		Policy: negotiate.Prefer(websocket.HTTP2),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ours, theirs := wstest.Pipe(wstest.PipeOptions{})
			select {
			case l.conns <- justConn{theirs.NetConn()}:
				return justConn{ours.NetConn()}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}
	t.Cleanup(func() {
		d.Close()
		srv.Close()
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return d
}

const memoryURL = "ws://server.example/ws"

// A log of what a Reconnector said.
type reconnections struct {
	begin    time.Time
	attempts []int
	errs     []error
	waits    []time.Duration
	at       []time.Duration
}

func (l *reconnections) after(attempt int, err error, wait time.Duration) {
	l.attempts = append(l.attempts, attempt)
	l.errs = append(l.errs, err)
	l.waits = append(l.waits, wait)
	l.at = append(l.at, time.Since(l.begin))
}

// A Reconnector's waits grow and are random, a hundred clients do not come back at
// once (SK-08), and a Retry-After is on top.
func TestSK08ReconnectorBacksOffWithFullJitter(t *testing.T) {
	for _, retryAfter := range []time.Duration{0, 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			d := memoryServer(t, func(w http.ResponseWriter, r *http.Request) {
				if retryAfter > 0 {
					w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			const attempts = 12
			sums := make(map[time.Duration]bool)
			for range 20 {
				log := &reconnections{begin: time.Now()}
				ctx, cancel := context.WithCancel(t.Context())
				r := &negotiate.Reconnector{URL: memoryURL, Dialer: d, MinDelay: time.Second, MaxDelay: time.Minute}
				r.After = func(n int, err error, wait time.Duration) {
					if log.after(n, err, wait); n == attempts {
						cancel()
					}
				}
				err := r.Run(ctx, func(context.Context, *websocket.Conn) error { t.Error("no socket"); return nil })
				require.ErrorIs(t, err, context.Canceled)
				bound, sum := time.Second, time.Duration(0)
				for i, wait := range log.waits {
					assert.Equal(t, i+1, log.attempts[i])
					assert.Equal(t, sum, log.at[i], "it waits for as long as it says")
					assert.GreaterOrEqual(t, wait, retryAfter)
					assert.Less(t, wait, retryAfter+bound, "wait %d", i)
					bound, sum = min(2*bound, time.Minute), sum+wait
					var refused *websocket.HandshakeError
					assert.ErrorAs(t, log.errs[i], &refused)
				}
				assert.Len(t, log.waits, attempts)
				sums[sum] = true
			}
			assert.Len(t, sums, 20, "no two clients have the same rhythm")
		})
	}
}

func TestReconnectorTriesAnotherBootstrapWhereSocketsDieYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memoryServer(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if !assert.NoError(t, err) {
				return
			}
			switch {
			case r.ProtoMajor == 2:
				c.CloseNow() // a proxy that lets the handshake pass and nothing more
			case r.Header.Get("Attempt") == "2":
				time.Sleep(time.Minute)
				c.CloseNow()
			default:
				c.Close(r.Context(), websocket.StatusServiceRestart, "")
			}
		})
		var by []websocket.Bootstrap
		log := &reconnections{begin: time.Now()}
		done := errors.New("done")
		r := &negotiate.Reconnector{
			URL: memoryURL, Dialer: d, After: log.after, MinDelay: time.Second,
			Before: func(_ context.Context, n int, o *websocket.DialOptions) error {
				if len(by) == 5 {
					return done
				}
				o.Header.Set("Attempt", strconv.Itoa(n))
				return nil
			},
		}
		err := r.Run(t.Context(), func(ctx context.Context, c *websocket.Conn) error {
			by = append(by, c.Bootstrap())
			_, _, err := c.Read(ctx)
			return err
		})
		require.ErrorIs(t, err, done)
		assert.Equal(t, []websocket.Bootstrap{
			websocket.HTTP2, // dies at once
			websocket.HTTP1, // attempt 2: lives for a minute, which ends the series
			websocket.HTTP2, // dies at once
			websocket.HTTP1, // attempt 2 again
			websocket.HTTP2,
		}, by)
		assert.Equal(t, []int{1, 1, 2, 0, 1, 1, 2, 0, 1, 1}, log.attempts, "an opening and an end each")
	})
}

func TestReconnectorKeepsItsBootstrapAfterAnOrderlyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memoryServer(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				c.Close(r.Context(), websocket.StatusServiceRestart, "")
			}
		})
		n := 0
		r := &negotiate.Reconnector{URL: memoryURL, Dialer: d}
		err := r.Run(t.Context(), func(ctx context.Context, c *websocket.Conn) error {
			assert.Equal(t, websocket.HTTP2, c.Bootstrap())
			if n++; n == 4 {
				return nil
			}
			_, _, err := c.Read(ctx)
			var end *websocket.CloseError
			require.ErrorAs(t, err, &end)
			assert.Equal(t, websocket.StatusServiceRestart, end.Code)
			return err
		})
		require.NoError(t, err, "serve returned nil")
		assert.Equal(t, 4, n)
	})
}

func TestReconnectorGivesUpWhereItIsOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusForbidden
		d := memoryServer(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			status = http.StatusForbidden
		})
		run := func(r *negotiate.Reconnector) (*reconnections, error) {
			log := &reconnections{begin: time.Now()}
			r.Dialer, r.After = d, log.after
			err := r.Run(t.Context(), func(context.Context, *websocket.Conn) error { t.Error("no socket"); return nil })
			return log, err
		}
		log, err := run(&negotiate.Reconnector{URL: memoryURL})
		var refused *websocket.HandshakeError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, []int{1}, log.attempts)
		assert.Equal(t, []time.Duration{0}, log.waits)

		for _, status = range []int{408, 421, 425, 429, 500, 503, 301} {
			log, err = run(&negotiate.Reconnector{URL: memoryURL})
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, http.StatusForbidden, refused.Status)
			assert.Equal(t, []int{1, 2}, log.attempts, "status %d", status)
		}

		tries := 0
		log, err = run(&negotiate.Reconnector{URL: memoryURL, Retry: func(err error) bool {
			tries++
			return tries < 3
		}})
		require.Error(t, err)
		assert.Equal(t, []int{1, 2, 3}, log.attempts)

		log, err = run(&negotiate.Reconnector{URL: "ftp://server.example"})
		require.Error(t, err)
		assert.Equal(t, []int{1}, log.attempts, "no attempt would help")

		no := errors.New("no token")
		log, err = run(&negotiate.Reconnector{URL: memoryURL, Before: func(context.Context, int, *websocket.DialOptions) error { return no }})
		require.Equal(t, no, err)
		assert.Empty(t, log.attempts)

		require.NoError(t, d.Close())
		_, err = run(&negotiate.Reconnector{URL: memoryURL})
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestReconnectorTellsOfTheLastEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memoryServer(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				c.Read(context.Background())
			}
		})
		for name, serve := range map[string]func(context.Context, *websocket.Conn) error{
			"serve has enough": func(context.Context, *websocket.Conn) error { return nil },
			"the context ends": func(ctx context.Context, c *websocket.Conn) error {
				_, _, err := c.Read(ctx)
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			log := &reconnections{begin: time.Now()}
			var end error
			err := (&negotiate.Reconnector{URL: memoryURL, Dialer: d, After: log.after}).Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
				end = serve(ctx, c)
				return end
			})
			assert.Equal(t, ctx.Err(), err, name)
			cancel()
			assert.Equal(t, []int{1, 1}, log.attempts, name)
			assert.Equal(t, []error{nil, end}, log.errs, name)
			assert.Equal(t, []time.Duration{0, 0}, log.waits, name)
		}
		// While it dials.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		silent := &negotiate.Dialer{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		log := &reconnections{begin: time.Now()}
		err := (&negotiate.Reconnector{URL: memoryURL, Dialer: silent, After: log.after}).Run(ctx, nil)
		require.Equal(t, context.DeadlineExceeded, err)
		assert.Equal(t, []int{1}, log.attempts)
		assert.ErrorIs(t, log.errs[0], context.DeadlineExceeded)
		assert.Equal(t, []time.Duration{0}, log.waits)
	})
}

func TestReconnectorEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memoryServer(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				c.Read(context.Background())
			}
		})
		why := errors.New("enough")
		// While a socket is open.
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		var last *websocket.Conn
		err := (&negotiate.Reconnector{URL: memoryURL, Dialer: d}).Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
			last = c
			_, _, err := c.Read(ctx)
			return err
		})
		require.Equal(t, why, err)
		_, _, err = last.Read(t.Context())
		require.ErrorIs(t, err, net.ErrClosed, "the socket does not outlive serve")
		// While it waits, and while it dials.
		for _, dial := range []func(ctx context.Context) error{
			func(context.Context) error { return errors.New("refused") },
			func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		} {
			d := &negotiate.Dialer{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, dial(ctx) }}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Minute, func() { cancel(why) })
			begin := time.Now()
			err := (&negotiate.Reconnector{URL: memoryURL, Dialer: d, MinDelay: time.Hour, MaxDelay: time.Hour}).Run(ctx, nil)
			require.Equal(t, why, err)
			assert.Equal(t, time.Minute, time.Since(begin))
		}
	})
}

// A deafConn is a connection whose peer can die without a word: what is written
// then goes nowhere, and nothing comes.
type deafConn struct {
	net.Conn
	dead atomic.Bool
}

func (c *deafConn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// A connection whose server has died without a word is not trusted with a socket.
func TestDialerPassesOverAConnectionThatDiedSilently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memoryServer(t, handler(t).ServeHTTP)
		d.HTTP2Limits = h2connect.Limits{Idle: time.Hour}
		var conns []*deafConn
		dial := d.DialContext
		d.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dial(ctx, network, addr)
			c := &deafConn{Conn: nc}
			conns = append(conns, c)
			return c, err
		}
		assert.Equal(t, "HTTP/2.0 ", get(t, d, "GET", "http://server.example/", ""))
		time.Sleep(time.Minute)
		conns[0].dead.Store(true)
		begin := time.Now()
		c, resp, err := d.Dial(t.Context(), memoryURL, nil)
		require.NoError(t, err)
		echo(t, c)
		assert.Len(t, negotiate.Attempts(resp), 1)
		assert.Equal(t, websocket.HTTP2, c.Bootstrap())
		assert.Equal(t, 2*time.Second, time.Since(begin))
		assert.Len(t, conns, 2)
		require.NoError(t, c.CloseNow())
	})
}
