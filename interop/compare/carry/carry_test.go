package carry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/negotiate"
)

var transports = []string{
	result.WebSocketH1, result.WebSocketH2, result.WebSocketH3,
	result.EventsH1, result.EventsH2, result.PollingH1, result.PollingH2,
}

// serve serves on loopback until the test ends.
func serve(t *testing.T) (*url.URL, *x509.CertPool) {
	t.Helper()
	forServer, forClient := wstest.Certificates()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	pc, err := net.ListenPacket("udp", l.Addr().String())
	require.NoError(t, err)
	srv := &negotiate.Server{
		Handler:   NewServer().Handler(),
		TLSConfig: &tls.Config{Certificates: forServer.Certificates},
		HTTP3:     &h3connect.Server{},
	}
	done := make(chan struct{})
	go func() { // ends with srv
		defer close(done)
		_ = srv.ServeTLS(l, pc, "", "")
	}()
	t.Cleanup(func() { srv.Close(); <-done })
	return &url.URL{Scheme: "https", Host: l.Addr().String()}, forClient.RootCAs
}

// A probe is a channel's end in a test.
type probe struct {
	mu   sync.Mutex
	got  []string
	more chan struct{}
}

func (p *probe) received(m []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, string(m))
	p.more <- struct{}{}
}

func TestEveryTransportCarriesEveryMessageInOrder(t *testing.T) {
	base, roots := serve(t)
	for _, name := range transports {
		t.Run(name, func(t *testing.T) {
			c, err := NewClient(name, base, roots)
			require.NoError(t, err)
			const n = 200
			p := &probe{more: make(chan struct{}, n)}
			ch, err := c.Open(t.Context(), Options{
				Name: name, Received: p.received,
				Ended: func(err error) { t.Errorf("ended: %v", err) },
			})
			require.NoError(t, err)
			var want []string
			payload := int64(0)
			for i := range n {
				m := fmt.Sprintf("%d %s", i, strings.Repeat("x", i%70))
				want = append(want, m)
				payload += int64(len(m))
				require.NoError(t, ch.Send(t.Context(), []byte(m)))
			}
			for range n {
				<-p.more
			}
			assert.Equal(t, want, p.got)
			require.NoError(t, c.Get(t.Context(), 1000))
			require.NoError(t, ch.Close(t.Context()))
			c.Close()

			up, down := c.Tallies()
			total := c.Meter().Now()
			assert.Equal(t, payload, up.Payload)
			assert.Equal(t, payload+1000, down.Payload)
			for _, way := range []struct {
				name  string
				tally Tally
				plain, data, sealed,
				wire int64
			}{
				{"up", up, total.Up.Plain, total.Up.Data, total.Up.Sealed, total.Up.Wire()},
				{"down", down, total.Down.Plain, total.Down.Data, total.Down.Sealed, total.Down.Wire()},
			} {
				assert.Less(t, way.tally.Payload+way.tally.Framing, way.plain, way.name)
				assert.Less(t, way.plain, way.sealed, way.name)
				assert.Less(t, way.sealed, way.wire, way.name)
				if strings.HasSuffix(name, "h2") {
					assert.Equal(t, way.tally.Payload+way.tally.Framing, way.data, way.name)
				}
			}
			assert.Equal(t, total.Connections, total.Handshakes)
			t.Logf("up %+v %+v", up, total.Up)
			t.Logf("down %+v %+v", down, total.Down)
		})
	}
}

func TestRoomsReachEveryChannelOnce(t *testing.T) {
	base, roots := serve(t)
	for _, name := range transports {
		t.Run(name, func(t *testing.T) {
			c, err := NewClient(name, base, roots)
			require.NoError(t, err)
			defer c.Close()
			const channels, n = 5, 20
			var probes []*probe
			var open []Channel
			for i := range channels {
				p := &probe{more: make(chan struct{}, n)}
				ch, err := c.Open(t.Context(), Options{
					Name: fmt.Sprint(name, i), Room: name, Received: p.received,
					Ended: func(err error) { t.Errorf("ended: %v", err) },
				})
				require.NoError(t, err)
				probes, open = append(probes, p), append(open, ch)
			}
			var want []string
			for i := range n {
				want = append(want, fmt.Sprint(i))
				require.NoError(t, open[0].Send(t.Context(), []byte(want[i])))
			}
			for _, p := range probes {
				for range n {
					<-p.more
				}
				assert.Equal(t, want, p.got)
			}
			for _, ch := range open {
				require.NoError(t, ch.Close(t.Context()))
			}
		})
	}
}

func TestHeartbeatsComeByEveryTransport(t *testing.T) {
	base, roots := serve(t)
	for _, name := range transports {
		t.Run(name, func(t *testing.T) {
			c, err := NewClient(name, base, roots)
			require.NoError(t, err)
			defer c.Close()
			beats := make(chan struct{}, 1000)
			ch, err := c.Open(t.Context(), Options{
				Name: name, Heartbeat: 10 * time.Millisecond, Beat: func() { beats <- struct{}{} },
				Received: func([]byte) {}, Ended: func(err error) { t.Errorf("ended: %v", err) },
			})
			require.NoError(t, err)
			asked, err := ch.Ping(t.Context())
			require.NoError(t, err)
			assert.Equal(t, strings.HasPrefix(name, "ws-"), asked)
			if !asked {
				<-beats
				<-beats
			}
			require.NoError(t, ch.Close(t.Context()))
		})
	}
}
