package e2e

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
)

// tcpCopy listens and copies bytes between each connection and one to the
// authority: what a proxy on TCP alone does, by the kernel's splice where there
// is one, or through buffers of the program's.
func tcpCopy(t testing.TB, authority string, splice bool) string {
	l := listener(t)
	var all sync.WaitGroup
	join := func(to, from net.Conn) {
		defer to.Close()
		if splice {
			_, _ = io.Copy(to, from)
			return
		}
		_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
	}
	all.Go(func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", authority)
			if err != nil {
				front.Close()
				continue
			}
			all.Go(func() { join(back, front) })
			all.Go(func() { join(front, back) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// BenchmarkProxy is messages of 64 KiB from client to server, straight, through a
// copy between two TCP connections, and through a ReverseProxy.
func BenchmarkProxy(b *testing.B) {
	h1 := transportNamed("h1")
	straight := func(t testing.TB, authority string) string { return authority }
	ways := []struct {
		name string
		tr   transport
		via  func(testing.TB, string) string
	}{
		{"direct", h1, straight},
		{"TCP copy by splice", h1, func(t testing.TB, a string) string { return tcpCopy(t, a, true) }},
		{"TCP copy by buffers", h1, func(t testing.TB, a string) string { return tcpCopy(t, a, false) }},
		{"h1 to h1", h1.through(b, h1, nil), straight},
		{"h1 to h2c", h1.through(b, transportNamed("h2c"), nil), straight},
		{"h2c to h1", transportNamed("h2c").through(b, h1, nil), straight},
		{"h2c to h2c", transportNamed("h2c").through(b, transportNamed("h2c"), nil), straight},
	}
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			const size = 64 << 10
			limits := websocket.Limits{PingInterval: -1}
			arrived := make(chan error, 1)
			authority := w.via(b, w.tr.listen(b, w.tr.handler(b, &websocket.AcceptOptions{Limits: limits}, func(c *websocket.Conn) {
				var p []byte
				var err error
				for range b.N {
					if _, p, err = c.ReadInto(context.Background(), p); err != nil {
						break
					}
				}
				arrived <- err
				_, _, _ = c.Read(context.Background())
			})))
			c := w.tr.mustDial(b, authority, &websocket.DialOptions{Limits: limits})
			m := random(1, size)
			b.SetBytes(size)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := c.Write(context.Background(), websocket.MessageBinary, m); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, <-arrived)
			b.StopTimer()
			require.NoError(b, c.CloseNow())
		})
	}
}
