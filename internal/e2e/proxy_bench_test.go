package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

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

// A way is how messages of 64 KiB get from client to server.
type way struct {
	name string
	tr   transport
	via  func(t testing.TB, authority string) string // what stands between them, nil for nothing
	next string                                      // the protocol with whose copies this way is compared, "" for none
}

var copies = map[bool]string{true: " copy by splice", false: " copy by buffers"}

// proxyWays are straight ways, ways through a copy between two TCP connections whose
// endpoints speak the same protocol straight through it, and ways through a
// ReverseProxy. There is no copy where a ReverseProxy translates: it is compared
// with that of the dearer one of the two protocols. A copy does not see into TLS,
// which a ReverseProxy ends.
func proxyWays(b *testing.B) (ways []way) {
	protocols := []string{"h1", "h2c", "h1+TLS", "h2"}
	for _, name := range protocols {
		tr := transportNamed(name)
		ways = append(ways, way{name: name + " direct", tr: tr})
		for _, splice := range []bool{true, false} {
			via := func(t testing.TB, a string) string { return tcpCopy(t, a, splice) }
			ways = append(ways, way{name: name + copies[splice], tr: tr, via: via})
		}
	}
	for _, pair := range [][2]string{{"h1", "h1"}, {"h1", "h2c"}, {"h2c", "h1"}, {"h2c", "h2c"}, {"h1+TLS", "h1"}, {"h2", "h1"}, {"h2", "h2c"}} {
		front, back := pair[0], pair[1]
		dearer := protocols[max(slices.Index(protocols, front), slices.Index(protocols, back))]
		ways = append(ways, way{
			name: front + " to " + back, tr: transportNamed(front).through(b, transportNamed(back), nil),
			next: dearer,
		})
	}
	return ways
}

// A course is a way with a client and a server at its ends.
type course struct {
	client  *websocket.Conn
	message []byte
	todo    chan int // so many messages are to come
	arrived chan error
}

const courseMessage = 64 << 10

func (w way) open(b *testing.B) *course {
	limits := websocket.Limits{PingInterval: -1}
	c := &course{message: random(1, courseMessage), todo: make(chan int), arrived: make(chan error)}
	authority := w.tr.listen(b, w.tr.handler(b, &websocket.AcceptOptions{Limits: limits}, func(s *websocket.Conn) {
		var p []byte
		var err error
		for n := range c.todo {
			for range n {
				if err == nil {
					_, p, err = s.ReadInto(context.Background(), p)
				}
			}
			c.arrived <- err
		}
		_, _, _ = s.Read(context.Background())
	}))
	if w.via != nil {
		authority = w.via(b, authority)
	}
	c.client = w.tr.mustDial(b, authority, &websocket.DialOptions{Limits: limits})
	return c
}

// run sends n messages and waits until they have arrived.
func (c *course) run(b *testing.B, n int) {
	c.todo <- n
	for range n {
		if err := c.client.Write(context.Background(), websocket.MessageBinary, c.message); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, <-c.arrived)
}

func (c *course) close(b *testing.B) {
	close(c.todo)
	require.NoError(b, c.client.CloseNow())
}

// BenchmarkProxy is messages of 64 KiB from client to server, on each way alone.
func BenchmarkProxy(b *testing.B) {
	for _, w := range proxyWays(b) {
		b.Run(w.name, func(b *testing.B) {
			c := w.open(b)
			b.SetBytes(courseMessage)
			b.ReportAllocs()
			b.ResetTimer()
			c.run(b, b.N)
			b.StopTimer()
			c.close(b)
		})
	}
}

// BenchmarkProxyTurns is the same with the ways in turns, so that a machine that is
// now quick and now slow is so to all of them: an operation is so many messages on
// each. It prints medians, in µs for a message, and of a ReverseProxy the medians of its
// ratios to the copies that come next to it.
func BenchmarkProxyTurns(b *testing.B) {
	const messages = 1024
	ways := proxyWays(b)
	courses := make([]*course, len(ways))
	at := make(map[string]int)
	for i, w := range ways {
		at[w.name], courses[i] = i, w.open(b)
		courses[i].run(b, messages)
	}
	took := make([][]float64, len(ways))
	for b.Loop() {
		for i, c := range courses {
			begun := time.Now()
			c.run(b, messages)
			took[i] = append(took[i], float64(time.Since(begun).Microseconds())/messages)
		}
	}
	for _, c := range courses {
		c.close(b)
	}
	for i, w := range ways {
		line := fmt.Sprintf("%-22s %6.1f µs", w.name, median(took[i]))
		for _, splice := range []bool{true, false} {
			if w.next == "" {
				continue
			}
			next := w.next + copies[splice]
			ratios := make([]float64, len(took[i]))
			for n := range ratios {
				ratios[n] = took[i][n] / took[at[next]][n]
			}
			line += fmt.Sprintf("  %.2f × %s", median(ratios), next)
		}
		fmt.Println(line)
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
