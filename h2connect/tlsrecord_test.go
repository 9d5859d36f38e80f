package h2connect

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/tlsrecord"
	"github.com/wsmux/websocket/internal/wstest"
)

// A sizedWire notes how much is written to it at once.
type sizedWire struct {
	net.Conn
	sizes []int
}

func (w *sizedWire) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return w.Conn.Write(p)
}

// TestTheRecordsOfABatchLeaveTogether: what a connection writes at once is one system call
// where something beneath its TLS can see to that.
func TestTheRecordsOfABatchLeaveTogether(t *testing.T) {
	near, far := tcpPair(t)
	server, client := wstest.Certificates()
	server.DynamicRecordSizingDisabled = true
	client.ServerName = "localhost"
	wire := &sizedWire{Conn: near}
	ours, theirs := tls.Server(tlsrecord.New(wire), server), tls.Client(far, client)
	done := make(chan error)
	go func() { done <- theirs.HandshakeContext(testContext(t)) }() // ends with the handshake
	require.NoError(t, ours.HandshakeContext(testContext(t)))
	require.NoError(t, <-done)
	const batch = 60_000
	go io.CopyN(io.Discard, theirs, batch) // ends with the batch
	c := &conn{nc: ours, limits: Limits{WriteStall: -1}, out: make([]byte, batch)}
	wire.sizes = nil
	c.mu.Lock()
	require.NoError(t, c.waitBatch())
	c.mu.Unlock()
	require.Len(t, wire.sizes, 1)
	assert.Greater(t, wire.sizes[0], batch)
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
