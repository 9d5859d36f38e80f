package negotiate

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/tlsrecord"
	"github.com/wsmux/websocket/internal/wstest"
)

// TestBothEndsGatherRecords: what a Server accepts and what a Dialer opens has something
// beneath TLS that can do so, and has the TCP connection beneath that.
func TestBothEndsGatherRecords(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	config, client := wstest.Certificates()
	conns := make(chan net.Conn, 1)
	s := &Server{TLSConfig: config, Handler: http.NotFoundHandler(), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		conns <- c
		return ctx
	}}
	served := make(chan error)
	go func() { served <- s.ServeTLS(l, nil, "", "") }()
	d := &Dialer{TLSClientConfig: client}
	dialled, err := d.dialTLS(t.Context(), targetAt(l.Addr().String()), false, "h2")
	require.NoError(t, err)
	for _, c := range []net.Conn{dialled, <-conns} {
		b := tlsrecord.Under(c)
		require.NotNil(t, b)
		assert.IsType(t, (*net.TCPConn)(nil), b.NetConn())
	}
	require.NoError(t, dialled.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
}
