package e2e

import (
	"crypto/tls"
	"crypto/x509"
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

// A page and then a socket, and a socket and then a page, are one connection where
// the bootstrap allows it, counted at the server.
func TestDialerSharesConnectionsWithOrdinaryRequests(t *testing.T) {
	tests := []struct {
		bootstrap websocket.Bootstrap
		proto     string
		tcp, quic int32
	}{
		{h1, "HTTP/1.1", 2, 0}, // one for the page, kept alive, and one that is the socket
		{h2, "HTTP/2.0", 1, 0},
		{h3, "HTTP/3.0", 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.proto, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := serveOrigin(t, originPlan{})
			d := s.dialer(only(tt.bootstrap))
			for range 3 {
				require.Equal(t, tt.proto, s.get(d))
			}
			c, attempts := s.dial(d)
			assert.Equal(t, l(tt.bootstrap), tried(attempts))
			assert.Equal(t, tt.bootstrap, c.Bootstrap())
			require.Equal(t, tt.proto, s.get(d))
			assert.Equal(t, tt.tcp, s.tcp.Load(), "connections over TCP")
			assert.Equal(t, tt.quic, s.quic.Load(), "connections over QUIC")
		})
	}
}

// Sockets that are all dialled at once to one origin share as few connections as
// its limit of streams allows, none of them is lost, and none is left.
func TestTenThousandSocketsDialledAtOnce(t *testing.T) {
	sockets := 10_000
	if raceEnabled || testing.Short() {
		sockets = 1_500
		t.Logf("%d sockets: the race detector takes ten times the memory and the time", sockets)
	}
	const streams, forRequests = 250, 20
	const most = streams - forRequests
	wstest.NoLeaks(t)
	s := serveOrigin(t, originPlan{noUDP: true, engine: &h2connect.Server{Limits: h2connect.Limits{ConcurrentStreams: streams}}})
	d := s.dialer()
	begin := time.Now()
	conns := make([]*websocket.Conn, sockets)
	var all sync.WaitGroup
	o := &websocket.DialOptions{Limits: websocket.Limits{Handshake: 2 * time.Minute, CloseTimeout: time.Minute}}
	for i := range conns {
		all.Go(func() {
			c, resp, err := d.Dial(t.Context(), s.url("/socket"), o)
			if assert.NoError(t, err) {
				assert.Len(t, negotiate.Attempts(resp), 1)
				conns[i] = c
			}
		})
	}
	all.Wait()
	require.False(t, t.Failed())
	t.Logf("%d sockets open after %v", sockets, time.Since(begin).Round(time.Millisecond))
	assert.EqualValues(t, (sockets+most-1)/most, s.tcp.Load(), "connections")
	assert.EqualValues(t, sockets, s.asked.Load(), "each was asked for once")
	for i, c := range conns {
		all.Go(func() { converse(t, c, i, 1) })
	}
	all.Wait()
	require.Equal(t, "HTTP/2.0", s.get(d), "a stream is left for a page")
	assert.EqualValues(t, (sockets+most-1)/most, s.tcp.Load(), "connections")
	for _, c := range conns {
		all.Go(func() { assert.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, "")) })
	}
	all.Wait()
	assert.Less(t, time.Since(begin), 2*time.Minute)
	s.disconnect(d)
}

// A private root is given once: the Dialer's TLS configuration is HTTP3's too, for
// sockets and for requests, unless HTTP3 has one of its own.
func TestDialersTLSReachesHTTP3(t *testing.T) {
	s := serveOrigin(t, originPlan{})
	d := s.dialer(only(h3))
	assert.Equal(t, "HTTP/3.0", s.get(d))
	d = s.dialer(only(h3))
	c, _ := s.dial(d)
	assert.Equal(t, h3, c.Bootstrap())
	d = s.dialer(func(d *negotiate.Dialer) {
		d.Policy = negotiate.Only(h3)
		d.HTTP3 = &h3connect.Transport{TLSClientConfig: new(tls.Config)}
	})
	_, _, err := d.Dial(soon(t), s.url("/socket"), nil)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown, "the Transport's own configuration knows no root")
}
