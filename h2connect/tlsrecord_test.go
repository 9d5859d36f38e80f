package h2connect

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tlsrecord"
)

// A sizedWire notes how much is written to it at once.
type sizedWire struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

func (w *sizedWire) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.sizes = append(w.sizes, len(p))
	w.mu.Unlock()
	return w.Conn.Write(p)
}

// TestTheRecordsOfABatchLeaveTogether: what a connection writes at once is one system call
// where something beneath its TLS can see to that.
func TestTheRecordsOfABatchLeaveTogether(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	tr := testTransport(t)
	wire := new(sizedWire)
	tr.DialTLSContext = func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		wire.Conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		config := clientTLS(tr.TLSClientConfig, "localhost")
		config.DynamicRecordSizingDisabled = true
		return tls.Client(tlsrecord.New(wire), config), err
	}
	c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	wantEcho(t, c, strings.Repeat("x", 60_000)) // a batch, or part of it several
	wire.mu.Lock()
	assert.Greater(t, slices.Max(wire.sizes), tlsrecord.Size+1<<10, "more than a record")
	wire.mu.Unlock()
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
}

func TestWhatATransportOpensGathersRecords(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	tr := testTransport(t)
	_, err := tr.Connect(testContext(t), s.url("/"))
	require.NoError(t, err)
	tr.mu.Lock()
	cc := tr.live(keyOf(mustURL(s.url("/"))))
	tr.mu.Unlock()
	assert.NotNil(t, tlsrecord.Under(cc.c.nc))
}
