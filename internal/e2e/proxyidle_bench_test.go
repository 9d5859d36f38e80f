package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// outside is the environment's variable that makes a process the clients and the
// backend of BenchmarkProxyIdle.
const outside = "E2E_PROXY_IDLE_OUTSIDE"

// idleSockets is how many sockets BenchmarkProxyIdle opens.
const idleSockets = 1000

// BenchmarkProxyIdle is what a socket that has nothing to say costs a process that
// is a proxy and nothing else: clients and backend are another process. Each client
// has a connection of its own, or all share some, as the tabs of a browser do.
func BenchmarkProxyIdle(b *testing.B) {
	for _, p := range proxied(nil) {
		for _, shared := range []bool{false, true} {
			name := p.name
			if shared {
				if strings.HasPrefix(name, "h1") {
					continue // a socket has a connection of its own there
				}
				name += ", clients share connections"
			}
			b.Run(name, func(b *testing.B) {
				if os.Getenv(outside) != "" {
					beOutside(b, p.open(b), shared)
					return
				}
				tr := p.open(b)
				for range b.N {
					measureIdle(b, tr)
				}
			})
		}
	}
}

// measureIdle reports what idle sockets cost this process.
func measureIdle(b *testing.B, tr transport) {
	name := strings.ReplaceAll(strings.ReplaceAll(b.Name(), "+", `\+`), "/", "$/^")
	other := startProcess(b, "^"+name+"$", outside)
	back := tr.hop.back
	dialer := newDialer(b, back.bootstrap)
	dialer.TLSClientConfig.InsecureSkipVerify = true // each process has certificates of its own
	authority := tr.hop.front.listen(b, reverseProxy(dialer, back, other.after(b, "backend")))
	_, err := fmt.Fprintln(other.in, authority)
	require.NoError(b, err)
	other.after(b, "first") // and the connections to the backend
	var before, with runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	routines := runtime.NumGoroutine()
	_, err = fmt.Fprintln(other.in, "go on")
	require.NoError(b, err)
	other.after(b, "open")
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&with)
	b.ReportMetric(float64(with.HeapAlloc-before.HeapAlloc)/idleSockets, "heapB/socket")
	b.ReportMetric(float64(with.StackInuse-before.StackInuse)/idleSockets, "stackB/socket")
	b.ReportMetric(float64(runtime.NumGoroutine()-routines)/idleSockets, "goroutines/socket")
	other.end(b)
}

// beOutside serves the backend, says where, opens sockets to the authority that it
// is told, and stays until its input ends.
func beOutside(b *testing.B, tr transport, shared bool) {
	_, config := wstest.Certificates()
	config.InsecureSkipVerify = true
	dial := tr.dial
	options := &websocket.DialOptions{TLSClientConfig: config}
	if shared {
		d := newDialer(b, tr.bootstrap)
		d.TLSClientConfig.InsecureSkipVerify = true
		dial, options = d.Dial, new(websocket.DialOptions)
	}
	options.Limits.PingInterval = -1
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("backend", tr.hop.back.listen(b, tr.handler(b, &websocket.AcceptOptions{Limits: options.Limits}, func(c *websocket.Conn) {
		_, _, _ = c.Read(context.Background())
	})))
	in.Scan()
	authority := in.Text()
	var all []*websocket.Conn
	for i := range idleSockets + 1 {
		c, _, err := dial(soon(b), tr.url(authority), options)
		require.NoError(b, err)
		all = append(all, c)
		if i == 0 {
			fmt.Println("first socket")
			in.Scan()
		}
	}
	fmt.Println("open sockets")
	in.Scan()
	for _, c := range all {
		_ = c.CloseNow()
	}
}
