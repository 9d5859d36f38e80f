package h2connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// A connection on which little happens holds a small read buffer: it gets the large
// one when a read has filled it, and gives it back when it has no use for it.
func TestReadBufferIsSmallWhileLittleHappens(t *testing.T) {
	for layered, large := range map[bool]int{true: readBuffer, false: plainBuffer} {
		testReadBuffer(t, layered, large)
	}
}

func testReadBuffer(t *testing.T, layered bool, large int) {
	var in input
	in.init(&conn{})
	in.layered = layered
	in.fit(idleBuffer - 1)
	assert.Len(t, in.buf, idleBuffer)
	in.fit(idleBuffer)
	assert.Len(t, in.buf, large)
	for range idleReads - 1 {
		in.fit(1)
	}
	assert.Len(t, in.buf, large, "it may have been a pause")
	in.fit(idleBuffer + 1)
	for range idleReads - 1 {
		in.fit(idleBuffer)
	}
	assert.Len(t, in.buf, large, "there was use for it in between")
	in.fit(idleBuffer)
	assert.Len(t, in.buf, idleBuffer)
}

// A gatherer keeps what is written to it until it is let go.
type gatherer struct {
	net.Conn
	keeps bool
	kept  []byte
}

func (g *gatherer) Write(p []byte) (int, error) {
	if !g.keeps {
		return g.Conn.Write(p)
	}
	g.kept = append(g.kept, p...)
	return len(p), nil
}

// Of records that came by one read of the network, those behind the first are at hand;
// one that has not come whole is not, and neither it nor the connection suffers.
func TestReadHereTakesTheRecordsThatHaveCome(t *testing.T) {
	near, far := wstest.Pipe(wstest.PipeOptions{})
	serverTLS, clientTLS := wstest.Certificates()
	clientTLS.ServerName = "localhost"
	wire := &gatherer{Conn: far.NetConn()}
	client := tls.Client(wire, clientTLS)
	done := make(chan error)
	go func() { done <- client.HandshakeContext(testContext(t)) }()
	c := &conn{nc: tls.Server(near.NetConn(), serverTLS)}
	require.NoError(t, c.nc.(*tls.Conn).HandshakeContext(testContext(t)))
	require.NoError(t, <-done)
	c.in.init(c)
	require.True(t, c.in.layered)

	wire.keeps = true
	for _, record := range []string{"one", "two", "three"} {
		_, err := client.Write([]byte(record))
		require.NoError(t, err)
	}
	cut := len(wire.kept) - 5
	_, err := wire.Conn.Write(wire.kept[:cut])
	require.NoError(t, err)
	n, err := c.nc.Read(c.in.buf)
	require.NoError(t, err)
	require.Equal(t, "one", string(c.in.buf[:n]))
	n, err, ok := c.in.readHere()
	require.True(t, ok)
	require.NoError(t, err)
	require.Equal(t, "two", string(c.in.buf[:n]))
	for range 2 {
		_, err, ok = c.in.readHere()
		require.False(t, ok, "the third is not all there: %v", err)
	}
	_, err = wire.Conn.Write(wire.kept[cut:])
	require.NoError(t, err)
	n, err = c.nc.Read(c.in.buf)
	require.NoError(t, err, "no deadline is left behind")
	require.Equal(t, "three", string(c.in.buf[:n]))

	wire.kept = nil
	_, err = client.Write([]byte("last"))
	require.NoError(t, err)
	require.NoError(t, client.CloseWrite())
	wire.SetWriteDeadline(time.Time{}) // which CloseWrite has left in the past
	_, err = wire.Conn.Write(wire.kept)
	require.NoError(t, err)
	n, err = c.nc.Read(c.in.buf)
	require.Equal(t, "last", string(c.in.buf[:n]))
	if err == nil {
		_, err, ok = c.in.readHere()
		require.True(t, ok)
	}
	require.ErrorIs(t, err, io.EOF)
}

// A timeless connection has no deadlines.
type timeless struct{ net.Conn }

func (timeless) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// Where what is below TLS has no deadlines nothing can be read without waiting.
func TestReadHereNeedsDeadlines(t *testing.T) {
	near, _ := wstest.Pipe(wstest.PipeOptions{})
	c := &conn{nc: tls.Client(timeless{near.NetConn()}, new(tls.Config))}
	c.in.init(c)
	_, err, ok := c.in.readHere() // must not wait
	require.NoError(t, err)
	require.False(t, ok)
	require.False(t, c.in.layered)
}

// A watchedWire counts how often it is looked for what is at hand.
type watchedWire struct {
	net.Conn
	looks atomic.Int32
}

func (w *watchedWire) SetReadDeadline(t time.Time) error {
	if t.Equal(longAgo) {
		w.looks.Add(1)
	}
	return w.Conn.SetReadDeadline(t)
}

// The records of a message that is not complete make no Handler write: nothing is
// looked for that could be answered together with it.
func TestRecordsOfAMessageAreReadWithoutLookingForMore(t *testing.T) {
	synctest.Test(t, recordsOfAMessage) // where no call of a Handler takes long
}

func recordsOfAMessage(t *testing.T) {
	got := make(chan int, 1)
	conf, text := &Server{}, &logBuffer{}
	s := newServer(&http.Server{ErrorLog: log.New(text, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		assert.NoError(t, c.Handle(messageFunc(func(_ *websocket.Conn, _ websocket.MessageType, m []byte) { got <- len(m) })))
	})}, conf)
	conf.attach(s)
	near, far := wstest.Pipe(wstest.PipeOptions{})
	serverTLS, clientTLS := wstest.Certificates()
	clientTLS.ServerName = "localhost"
	wire := &watchedWire{Conn: near.NetConn()}
	ours, theirs := tls.Server(wire, serverTLS), tls.Client(far.NetConn(), clientTLS)
	done := make(chan error)
	go func() { done <- theirs.HandshakeContext(testContext(t)) }() // ends with the handshake
	require.NoError(t, ours.HandshakeContext(testContext(t)))
	require.NoError(t, <-done)
	p := playClient(t, ours, theirs, s, conf, text)
	p.greet()
	for _, id := range []uint32{1, 3} {
		p.headers(id, false, with(connect(), ":scheme", "https")...)
		p.wantStatus(id, "200", false, "")
	}
	synctest.Wait() // until both have their Handlers
	p.wantAlive("nothing has gone wrong")
	synctest.Wait()
	before := wire.looks.Load()
	require.NotZero(t, before, "with a frame that asks for an answer there is something to look for")
	const size = 20_000 // in many records, and less than what credit is returned for
	h := frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Length: size}
	content := append(h.Append(nil), bytes.Repeat([]byte("x"), size)...)
	p.fr.WriteData(1, false, content[:maxFrame])
	p.fr.WriteData(1, false, content[maxFrame:])
	require.Equal(t, size, <-got)
	assert.Equal(t, before, wire.looks.Load())
	p.hangUp()
}

// silent options have nobody write who was not asked.
var silent = &websocket.AcceptOptions{Limits: websocket.Limits{PingInterval: -1}}

// A partTest is a client over TLS with two sockets, 1 and 3, of which what it sends last
// may be a part of a record.
type partTest struct {
	*peer
	client *tls.Conn
	wire   *gatherer // below the client
	rest   []byte    // of a record
}

func newPartTest(t *testing.T, h http.HandlerFunc) *partTest {
	s := startTLS(t, nil, h)
	far, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { far.Close() })
	_, config := wstest.Certificates()
	config.ServerName, config.NextProtos, config.DynamicRecordSizingDisabled = "localhost", []string{nextProto}, true
	p := &partTest{wire: &gatherer{Conn: far}}
	p.client = tls.Client(p.wire, config)
	require.NoError(t, p.client.HandshakeContext(testContext(t)))
	p.peer = newPeer(t, p.client)
	p.greet()
	fields := connect()
	fields[5] = "https"
	for _, id := range []uint32{1, 3} {
		p.headers(id, false, fields...)
		p.wantStatus(id, "200", false, "")
	}
	return p
}

// message returns DATA with a message.
func (p *partTest) message(id uint32, size int) []byte {
	m := make([]byte, 8+size)
	copy(m, []byte{0x82, 0xfe, byte(size >> 8), byte(size)})
	return raw(http2.FrameData, 0, id, m)
}

// send sends a record, and another one with a message on 3, but for its last byte: more
// than TLS reads beyond the record that it wants.
func (p *partTest) send(record []byte) {
	p.t.Helper()
	p.wire.keeps = true
	for _, content := range [][]byte{record, p.message(3, 16_000)} {
		_, err := p.client.Write(content)
		require.NoError(p.t, err)
	}
	p.wire.keeps = false
	all, cut := p.wire.kept, len(p.wire.kept)-1
	_, err := p.wire.Conn.Write(all[:cut])
	require.NoError(p.t, err)
	p.rest = all[cut:]
}

// What a Handler has answered does not wait for the rest of a record that has begun to
// come.
func TestAnswersGoOutBesideAPartOfARecord(t *testing.T) {
	p := newPartTest(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, silent)
		if assert.NoError(t, err) {
			assert.NoError(t, c.Handle(messageFunc(func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
				c.Write(context.Background(), kind, p)
			})))
		}
	})
	p.send(p.message(1, 200))
	d, ok := p.next("the answer").(*http2.DataFrame)
	require.True(t, ok)
	require.EqualValues(t, 1, d.StreamID)
	_, err := p.wire.Conn.Write(p.rest)
	require.NoError(t, err)
	d, ok = p.next("the other one's").(*http2.DataFrame)
	require.True(t, ok)
	require.EqualValues(t, 3, d.StreamID)
}

// Nor does what the reader itself has to say, while those read who have been woken.
func TestAcknowledgementsGoOutBesideAPartOfARecord(t *testing.T) {
	p := newPartTest(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, silent)
		for err == nil {
			_, _, err = c.Read(r.Context())
		}
	})
	p.send(append(p.message(1, 200), raw(http2.FramePing, 0, 0, make([]byte, 8))...))
	ping, ok := p.next("the acknowledgement").(*http2.PingFrame)
	require.True(t, ok)
	require.True(t, ping.IsAck())
}

// Nor is it known what is a part of a record where the TLS connection is inside another.
func TestAcknowledgementsGoOutBesideAPartOfAnEmbeddedConnsRecord(t *testing.T) {
	near, far := tcpPair(t)
	server, client := wstest.Certificates()
	client.ServerName, client.NextProtos = "localhost", []string{nextProto}
	server.NextProtos, server.DynamicRecordSizingDisabled = []string{nextProto}, true
	wire := &gatherer{Conn: far}
	ours, theirs := tls.Client(near, client), tls.Server(wire, server)
	done := make(chan error)
	go func() { done <- theirs.HandshakeContext(testContext(t)) }() // ends with the handshake
	require.NoError(t, ours.HandshakeContext(testContext(t)))
	require.NoError(t, <-done)
	cc, err := new(Transport).NewClientConn(struct{ *tls.Conn }{ours})
	require.NoError(t, err)
	defer cc.Close()
	p := newPeer(t, theirs)
	_, err = io.ReadFull(theirs, make([]byte, len(http2.ClientPreface)))
	require.NoError(t, err)
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	p.settle()
	for id := range uint32(2) {
		dialled := make(chan *websocket.Conn)
		go func() { // ends with the answer
			c, _, err := cc.Dial(testContext(t), "wss://localhost/", nil)
			assert.NoError(t, err)
			dialled <- c
		}()
		p.accept(2*id + 1)
		c := <-dialled
		require.NotNil(t, c)
		go func() { // ends with the connection
			for err := error(nil); err == nil; {
				_, _, err = c.Read(context.Background())
			}
		}()
	}
	message := func(id uint32, size int) []byte {
		m := make([]byte, 4+size)
		copy(m, []byte{0x82, 126, byte(size >> 8), byte(size)})
		return raw(http2.FrameData, 0, id, m)
	}
	wire.keeps = true
	_, err = theirs.Write(append(message(1, 200), raw(http2.FramePing, 0, 0, make([]byte, 8))...))
	require.NoError(t, err)
	_, err = theirs.Write(message(3, 16_000)) // more than TLS reads beyond the record that it wants
	require.NoError(t, err)
	_, err = far.Write(wire.kept[:len(wire.kept)-1])
	require.NoError(t, err)
	wire.keeps = false
	ping, ok := p.next("the acknowledgement").(*http2.PingFrame)
	require.True(t, ok)
	require.True(t, ping.IsAck())
}
