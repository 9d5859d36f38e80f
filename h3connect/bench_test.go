package h3connect

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
)

// BenchmarkEcho is one message there and back, over loopback.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"32B", 32}, {"1KiB", 1 << 10}, {"64KiB", 64 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			addr := serve(b, new(Server), http.HandlerFunc(echo))
			c := dial(b, newTransport(b), addr, nil)
			p := make([]byte, size.n)
			ctx := context.Background()
			b.SetBytes(int64(2 * size.n))
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, c.Write(ctx, websocket.MessageBinary, p))
				if _, _, err := c.Read(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen is a socket opened and closed in order on a connection that is
// there.
func BenchmarkOpen(b *testing.B) {
	addr := serve(b, new(Server), http.HandlerFunc(echo))
	tr := newTransport(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		c, _, err := tr.Dial(ctx, "wss://"+addr+"/", nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Close(ctx, websocket.StatusNormalClosure, ""); err != nil {
			b.Fatal(err)
		}
	}
}
