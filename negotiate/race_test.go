package negotiate

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// after returns a leg that ends with err after d, or with its context.
func after(d time.Duration, err error, begun, cancelled *time.Duration) func(context.Context) error {
	zero := time.Now()
	return func(ctx context.Context) error {
		*begun = time.Since(zero)
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			*cancelled = time.Since(zero)
			return ctx.Err()
		}
	}
}

func TestRaceOfHTTP3AndTCP(t *testing.T) {
	const never, none = time.Hour, time.Duration(-1)
	failed := errors.New("failed")
	tests := []struct {
		name          string
		headStart     time.Duration
		first, second time.Duration
		errs          [2]error // of the legs
		winner        int
		took          time.Duration
		begun         time.Duration // when the second began; none: not at all
		want          [2]error
	}{
		{
			name: "HTTP/3 is connected within its head start", headStart: 300, first: 200, second: 10,
			winner: 0, took: 200, begun: none, want: [2]error{nil, errNotBegun},
		},
		{
			name: "HTTP/3 is later, and yet the first", headStart: 300, first: 400, second: 150,
			winner: 0, took: 400, begun: 300, want: [2]error{nil, context.Canceled},
		},
		{
			name: "TCP overtakes", headStart: 300, first: never, second: 150,
			winner: 1, took: 450, begun: 300, want: [2]error{context.Canceled, nil},
		},
		{
			name: "HTTP/3 fails at once: TCP does not wait", headStart: 300, first: 5, second: 150, errs: [2]error{failed, nil},
			winner: 1, took: 155, begun: 5, want: [2]error{failed, nil},
		},
		{
			name: "both fail", headStart: 300, first: 400, second: 50, errs: [2]error{failed, failed},
			winner: -1, took: 400, begun: 300, want: [2]error{failed, failed},
		},
		{
			name: "TCP fails, HTTP/3 is late", headStart: 300, first: 900, second: 50, errs: [2]error{nil, failed},
			winner: 0, took: 900, begun: 300, want: [2]error{nil, failed},
		},
		{
			name: "TCP is for the case that HTTP/3 fails", headStart: -1, first: 9000, second: 50, errs: [2]error{failed, nil},
			winner: 1, took: 9050, begun: 9000, want: [2]error{failed, nil},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var begun, over [2]time.Duration
				begun[1] = none
				zero := time.Now()
				winner, errs := race(t.Context(), ms(tt.headStart),
					after(ms(tt.first), tt.errs[0], &begun[0], &over[0]), after(ms(tt.second), tt.errs[1], &begun[1], &over[1]))
				assert.Equal(t, tt.winner, winner)
				assert.Equal(t, tt.want, errs)
				assert.Equal(t, ms(tt.took), time.Since(zero), "the loser is cancelled and waited for")
				if tt.begun != none {
					tt.begun = ms(tt.begun)
				}
				assert.Equal(t, tt.begun, begun[1])
			})
		})
	}
}

func ms(n time.Duration) time.Duration { return n * time.Millisecond }

func TestRaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var d [4]time.Duration
		winner, errs := race(ctx, time.Minute, after(time.Hour, nil, &d[0], &d[1]), after(0, nil, &d[2], &d[3]))
		assert.Equal(t, -1, winner)
		assert.Equal(t, [2]error{context.DeadlineExceeded, errNotBegun}, errs)
	})
}

func addrs(list ...string) []netip.Addr {
	var ips []netip.Addr
	for _, s := range list {
		ips = append(ips, netip.MustParseAddr(s))
	}
	return ips
}

func TestAddressFamiliesTakeTurns(t *testing.T) {
	assert.Equal(t, addrs("2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"),
		interleave(addrs("2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.3")))
	assert.Equal(t, addrs("192.0.2.1", "2001:db8::1", "2001:db8::2"),
		interleave(addrs("::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2")))
	assert.Empty(t, interleave(nil))
}

// A fakeConn is a connection of which only the end matters.
type fakeConn struct {
	net.Conn
	closed bool
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

func TestAddressesAreTriedOneAfterTheOther(t *testing.T) {
	failed := errors.New("refused")
	type plan struct {
		after time.Duration
		err   error
		deaf  bool // does not look at its context
	}
	tests := []struct {
		name  string
		plans []plan
		want  int // who is connected, -1: nobody
		took  time.Duration
		begun []time.Duration
	}{
		{"the first is quick", []plan{{after: 100}, {}}, 0, 100, []time.Duration{0}},
		{"the first does not answer", []plan{{after: 1e6}, {after: 10}}, 1, 260, []time.Duration{0, 250}},
		{"the first refuses", []plan{{after: 20, err: failed}, {after: 10}}, 1, 30, []time.Duration{0, 20}},
		{"the first is late", []plan{{after: 400}, {after: 1e6}, {}}, 0, 400, []time.Duration{0, 250}},
		{"all refuse", []plan{{after: 20, err: failed}, {after: 10, err: errors.New("other")}}, -1, 30, []time.Duration{0, 20}},
		{"a loser that comes too late", []plan{{after: 300, deaf: true}, {after: 10}}, 1, 260, []time.Duration{0, 250}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zero := time.Now()
				var mu sync.Mutex
				var begun []time.Duration
				conns := make([]*fakeConn, len(tt.plans))
				var to []netip.AddrPort
				for i := range tt.plans {
					conns[i] = new(fakeConn)
					to = append(to, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i)))
				}
				nc, err := firstOf(t.Context(), to, func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
					mu.Lock()
					begun = append(begun, time.Since(zero))
					mu.Unlock()
					p := tt.plans[addr.Port()]
					done := ctx.Done()
					if p.deaf {
						done = nil
					}
					select {
					case <-time.After(ms(p.after)):
						if p.err != nil {
							return nil, p.err
						}
						return conns[addr.Port()], nil
					case <-done:
						return nil, ctx.Err()
					}
				})
				assert.Equal(t, ms(tt.took), time.Since(zero))
				for i := range tt.begun {
					tt.begun[i] = ms(tt.begun[i])
				}
				mu.Lock()
				assert.Equal(t, tt.begun, begun)
				mu.Unlock()
				if tt.want < 0 {
					assert.Equal(t, failed, err, "what the preferred address says")
					return
				}
				require.NoError(t, err)
				assert.Same(t, conns[tt.want], nc)
				time.Sleep(time.Hour)
				synctest.Wait()
				for i, c := range conns {
					assert.Equal(t, tt.plans[i].deaf, c.closed, "connection %d", i)
				}
			})
		})
	}
}

func TestNoAddressIsAnError(t *testing.T) {
	_, err := firstOf(t.Context(), nil, nil)
	require.Error(t, err)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := firstOf(ctx, make([]netip.AddrPort, 1), func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestHostNamesAreResolved(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	nc, err := dialTCP(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	require.NoError(t, err)
	nc.Close()
	_, err = dialTCP(t.Context(), "tcp", "localhost")
	require.Error(t, err)
}
