package h2connect

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

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

// A deafWire is a connection whose peer takes nothing for as long as it may be waited.
type deafWire struct {
	net.Conn
	writing chan struct{} // gets something when a write begins
	closed  chan struct{}
}

func (w *deafWire) Write(p []byte) (int, error) {
	w.writing <- struct{}{}
	return w.Conn.Write(p)
}

func (w *deafWire) SetWriteDeadline(time.Time) error { return w.Conn.SetWriteDeadline(longAgo) }

func (w *deafWire) Close() error {
	close(w.closed)
	return w.Conn.Close()
}

// TestEndDoesNotWaitForWhatTLSAnswers: to a record that is none, for instance, with a lock
// that closing takes as well.
func TestEndDoesNotWaitForWhatTLSAnswers(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	config, client := wstest.Certificates()
	client.ServerName = "localhost"
	wire := &deafWire{Conn: near, writing: make(chan struct{}, 100), closed: make(chan struct{})}
	ours, theirs := tls.Server(wire, config), tls.Client(far, client)
	done := make(chan error)
	go func() { // ends with the connection
		done <- theirs.Handshake()
		_, err := far.Write([]byte{23, 3, 3, 0, 1, 0})
		done <- err
	}()
	require.NoError(t, ours.Handshake())
	require.NoError(t, <-done)
	for len(wire.writing) > 0 {
		<-wire.writing
	}
	go ours.Read(make([]byte, 1)) // ends with the connection
	require.NoError(t, <-done)
	<-wire.writing
	c := newServerConn(&server{srv: new(http.Server), limits: Limits{}.withDefaults()}, ours, nil).c
	c.mu.Lock()
	c.end(&ConnError{Err: net.ErrClosed})
	c.mu.Unlock()
	select {
	case <-wire.closed:
	case <-testContext(t).Done():
		near.Close()
		t.Fatal("it has not been closed")
	}
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
