package h2connect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

// BenchmarkSocketBesideBulk measures what a small message waits for while a
// response without an end is downloaded at full speed on the same connection:
// the round trip of 64 bytes, with TLS over loopback, its median and its 99th
// percentile, and the speed of the download meanwhile.
//
// The client is the same for both servers. net/http does not offer sockets
// unless GODEBUG asks it to, so a request whose content is echoed as it comes
// stands in for one there, and for comparison here as well.
func BenchmarkSocketBesideBulk(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/echo" {
			endlessAndEcho(w, r)
			return
		}
		rc := http.NewResponseController(w)
		rc.Flush()
		buf := make([]byte, 64)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				w.Write(buf[:n])
				rc.Flush()
			}
			if err != nil {
				return
			}
		}
	})
	ours := func(b *testing.B) string { return startTLS(b, nil, handler).url("/") }
	standard := func(b *testing.B) string {
		s := httptest.NewUnstartedServer(handler)
		s.TLS, _ = wstest.Certificates()
		s.TLS = s.TLS.Clone()
		s.EnableHTTP2 = true
		s.StartTLS()
		b.Cleanup(s.Close)
		return s.URL + "/"
	}
	for _, tt := range []struct {
		name   string
		server func(*testing.B) string
		socket bool
	}{
		{"server=ours/stream=socket", ours, true},
		{"server=ours/stream=request", ours, false},
		{"server=nethttp/stream=request", standard, false},
	} {
		for _, downloads := range []int{0, 1, 8} {
			b.Run(fmt.Sprintf("%s/downloads=%d", tt.name, downloads), func(b *testing.B) {
				besideBulk(b, tt.server(b), tt.socket, downloads)
			})
		}
	}
}

func besideBulk(b *testing.B, url string, socket bool, downloads int) {
	tr := testTransport(b)
	tr.Limits.StreamWindow, tr.Limits.ConnWindow = 4<<20, 16<<20 // the download's speed is not the client's windows
	cc, err := tr.get(b.Context(), mustURL(url), nil)
	require.NoError(b, err)
	cc.release(false)
	var echo io.ReadWriteCloser
	if socket {
		echo = rawStream(b, cc, url)
	} else {
		echo = echoRequest(b, cc, url+"echo")
	}
	ctx, stop := context.WithCancel(b.Context())
	var loaded atomic.Int64
	var wg sync.WaitGroup
	for range downloads {
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		require.NoError(b, err)
		resp, err := cc.RoundTrip(req)
		require.NoError(b, err)
		wg.Go(func() {
			defer resp.Body.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := resp.Body.Read(buf)
				loaded.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	for downloads > 0 && loaded.Load() < 8<<20 {
		runtime.Gosched() // until it runs at full speed
	}
	message := make([]byte, 64)
	took := make([]time.Duration, 0, b.N)
	loaded.Store(0)
	b.ResetTimer()
	for range b.N {
		begin := time.Now()
		if _, err := echo.Write(message); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(echo, message); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	b.StopTimer()
	speed := float64(loaded.Load()) / b.Elapsed().Seconds() / 1e6
	stop()
	echo.Close()
	wg.Wait()
	cc.Close()
	slices.Sort(took)
	micros := func(p float64) float64 { return float64(took[int(p*float64(len(took)-1))].Nanoseconds()) / 1e3 }
	b.ReportMetric(micros(0.5), "p50-µs")
	b.ReportMetric(micros(0.99), "p99-µs")
	b.ReportMetric(speed, "bulk-MB/s")
}

// echoRequest is a request whose content comes back as its response's.
func echoRequest(b *testing.B, cc *ClientConn, url string) io.ReadWriteCloser {
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(b.Context(), "POST", url, r)
	require.NoError(b, err)
	resp, err := cc.RoundTrip(req)
	require.NoError(b, err)
	return struct {
		io.Reader
		io.WriteCloser
	}{resp.Body, w}
}
