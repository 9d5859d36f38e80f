package websocket_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// BenchmarkConnEcho measures a Conn and nothing else: a server that reads a
// masked message into a buffer it uses again, and writes it back, over a stream
// in memory that serves the same bytes for ever and drops what is written.
func BenchmarkConnEcho(b *testing.B) {
	for _, size := range []int{125, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			c := websocket.New(newLoop(size), websocket.Params{Limits: websocket.Limits{Message: 2 << 20}})
			ctx := context.Background()
			buf := make([]byte, 0, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				kind, p, err := c.ReadInto(ctx, buf)
				if err != nil || len(p) != size {
					b.Fatal(len(p), err)
				}
				if err := c.Write(ctx, kind, p); err != nil {
					b.Fatal(err)
				}
			}
			c.CloseNow()
		})
	}
}

// BenchmarkConnEchoCancellable is the same with a context that can end, as a
// handler's usually can.
func BenchmarkConnEchoCancellable(b *testing.B) {
	const size = 125
	c := websocket.New(newLoop(size), websocket.Params{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	buf := make([]byte, 0, size)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		kind, p, err := c.ReadInto(ctx, buf)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Write(ctx, kind, p); err != nil {
			b.Fatal(err)
		}
	}
	c.CloseNow()
}

// BenchmarkBroadcast measures what a socket costs a broadcast before its transport:
// one that shares its connection with others, and one that does not and whose frames
// a goroutine writes.
func BenchmarkBroadcast(b *testing.B) {
	const sockets = 100
	for name, open := range map[string]func() websocket.Stream{
		"shared": func() websocket.Stream { return sharing{newLoop(100)} },
		"alone":  func() websocket.Stream { return newLoop(100) },
	} {
		b.Run(name, func(b *testing.B) {
			var to []*websocket.Conn
			for range sockets {
				to = append(to, websocket.New(open(), websocket.Params{}))
			}
			m, err := websocket.NewPreparedMessage(websocket.MessageBinary, make([]byte, 100))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if written, _ := websocket.Broadcast(context.Background(), m, slices.Values(to), websocket.SlowWaits); written != sockets {
					b.Fatal(written)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sockets, "ns/socket")
			for _, c := range to {
				c.CloseNow()
			}
		})
	}
}

// A sharing stream takes what is to be sent with others, all on one connection.
type sharing struct{ *loop }

func (sharing) WriteLater(p []byte) (interface{ Flush() }, bool) { return connection{}, true }

type connection struct{}

func (connection) Flush() {}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

// A loop is a stream that serves one masked binary frame over and over.
type loop struct {
	wire []byte // many frames, so that reads are as full as a busy socket's
	next int
}

func newLoop(size int) *loop {
	f := wstest.NewClient(nil).Append(nil, wstest.Binary(make([]byte, size)))
	l := new(loop)
	for len(l.wire) < 256<<10 {
		l.wire = append(l.wire, f...)
	}
	return l
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.wire[l.next:])
	if l.next += n; l.next == len(l.wire) {
		l.next = 0
	}
	return n, nil
}

func (l *loop) Write(p []byte) (int, error) { return len(p), nil }

func (l *loop) WriteBuffers(header, payload []byte) (int64, error) {
	return int64(len(header) + len(payload)), nil
}

func (l *loop) CloseWrite() error                { return nil }
func (l *loop) Close() error                     { return nil }
func (l *loop) Abort() error                     { return nil }
func (l *loop) SetReadDeadline(time.Time) error  { return nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }
func (l *loop) Bootstrap() websocket.Bootstrap   { return websocket.HTTP1 }
func (l *loop) LocalAddr() net.Addr              { return nil }
func (l *loop) RemoteAddr() net.Addr             { return nil }
func (l *loop) TLS() *tls.ConnectionState        { return nil }

var (
	_ websocket.Stream = (*loop)(nil)
)
