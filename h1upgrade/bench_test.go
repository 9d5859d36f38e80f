package h1upgrade

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tlsrecord"
	"github.com/wsmux/websocket/internal/wstest"
)

// BenchmarkEchoWithoutWire is what an echo costs over TLS besides TLS and the
// system: a connection that yields one message for each record and drops what is
// written takes the place of both.
func BenchmarkEchoWithoutWire(b *testing.B) {
	for _, size := range []int{32, 1 << 10, 64 << 10} {
		for _, handled := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/handler=%v", size, handled), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				benchEcho(b, size, handled)
			})
		}
	}
}

func benchEcho(b *testing.B, size int, handled bool) {
	r := &recordConn{message: wstest.NewClient(nil).Append(nil, wstest.Binary(make([]byte, size))), left: b.N}
	c := websocket.New(newStream(r, nil), websocket.Params{})
	defer c.CloseNow()
	if handled {
		ended := make(chan struct{})
		if err := c.Handle(echoes(ended)); err != nil {
			b.Fatal(err)
		}
		<-ended
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var buf []byte
	for {
		t, p, err := c.ReadInto(ctx, buf)
		if err != nil {
			return
		}
		if err := c.Write(ctx, t, p); err != nil {
			b.Fatal(err)
		}
		buf = p
	}
}

// echoes is a Handler that echoes, closed when the socket has ended.
type echoes chan struct{}

func (e echoes) OnMessage(c *websocket.Conn, t websocket.MessageType, p []byte) {
	c.Write(context.Background(), t, p)
}

func (e echoes) OnClose(*websocket.Conn, error) { close(e) }

// A recordConn takes the place of a TLS connection. It yields one message again
// and again, in records, each in as many pieces as it is asked for.
type recordConn struct {
	net.Conn
	message []byte
	rest    []byte // of the message
	left    int    // messages to begin yet
}

func (c *recordConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		c.left--
		c.rest = c.message
	}
	record := (len(c.rest)-1)%tlsrecord.Size + 1
	n := copy(p, c.rest[:record])
	c.rest = c.rest[n:]
	return n, nil
}

func (c *recordConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *recordConn) Close() error                     { return nil }
func (c *recordConn) CloseWrite() error                { return nil }
func (c *recordConn) SetReadDeadline(time.Time) error  { return nil }
func (c *recordConn) SetWriteDeadline(time.Time) error { return nil }

// NetConn returns what TLS would go over.
func (c *recordConn) NetConn() net.Conn { return new(net.TCPConn) }
