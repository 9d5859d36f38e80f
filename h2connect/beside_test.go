package h2connect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

// BenchmarkSocketBesideBulk measures what a small message waits for while
// responses without an end are downloaded at full speed on the same connection:
// the round trip of 64 bytes, with TLS over loopback. It is compared with the
// same on net/http's server, with an idle connection, and the download with one
// that has no socket beside it. The rounds of all are interleaved; what is
// reported are medians of the rounds, and p99-ratio and bulk-ratio those of the
// ratios within rounds.
//
// The client is the same for all. net/http does not offer sockets unless GODEBUG
// asks it to, so a request whose content is echoed as it comes stands in for one
// there.
func BenchmarkSocketBesideBulk(b *testing.B) {
	ours := startTLS(b, nil, http.HandlerFunc(endlessAndEchoes)).url("/")
	s := httptest.NewUnstartedServer(http.HandlerFunc(endlessAndEchoes))
	s.TLS, _ = wstest.Certificates()
	s.TLS = s.TLS.Clone()
	s.EnableHTTP2 = true
	s.StartTLS()
	b.Cleanup(s.Close)
	for _, downloads := range []int{1, 8} {
		b.Run(fmt.Sprint("downloads=", downloads), func(b *testing.B) {
			const rounds = 7
			n := max(b.N/rounds, 10)
			var all [4][]beside
			for range rounds {
				for i, v := range []beside{
					{url: ours, socket: true},
					{url: ours, socket: true, downloads: downloads},
					{url: s.URL + "/", downloads: downloads},
					{url: ours, alone: true, downloads: downloads},
				} {
					v.measure(b, n)
					all[i] = append(all[i], v)
				}
			}
			idle, busy, standard, alone := all[0], all[1], all[2], all[3]
			report := func(unit string, value func(i int) float64) {
				var values []float64
				for i := range rounds {
					values = append(values, value(i))
				}
				slices.Sort(values)
				b.ReportMetric(values[rounds/2], unit)
			}
			report("idle-p50-µs", func(i int) float64 { return idle[i].p50 })
			report("idle-p99-µs", func(i int) float64 { return idle[i].p99 })
			report("p50-µs", func(i int) float64 { return busy[i].p50 })
			report("p99-µs", func(i int) float64 { return busy[i].p99 })
			report("nethttp-p50-µs", func(i int) float64 { return standard[i].p50 })
			report("nethttp-p99-µs", func(i int) float64 { return standard[i].p99 })
			report("p99-ratio", func(i int) float64 { return busy[i].p99 / standard[i].p99 })
			report("bulk-MB/s", func(i int) float64 { return busy[i].speed })
			report("nethttp-bulk-MB/s", func(i int) float64 { return standard[i].speed })
			report("alone-MB/s", func(i int) float64 { return alone[i].speed })
			report("bulk-ratio", func(i int) float64 { return busy[i].speed / alone[i].speed })
		})
	}
}

// endlessAndEchoes is endlessAndEcho with a request that echoes its content.
func endlessAndEchoes(w http.ResponseWriter, r *http.Request) {
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
}

// A beside is one round on a connection of its own.
type beside struct {
	url       string
	socket    bool // else a request is echoed
	alone     bool // nothing is
	downloads int

	p50, p99 float64 // µs
	speed    float64 // of the downloads, MB/s
}

// measure sends n messages one after the other.
func (v *beside) measure(b *testing.B, n int) {
	tr := testTransport(b)
	tr.Limits.StreamWindow, tr.Limits.ConnWindow = 4<<20, 16<<20 // the download's speed is not the client's windows
	cc, err := tr.get(b.Context(), mustURL(v.url), nil)
	require.NoError(b, err)
	defer cc.Close()
	cc.release(false)
	var echo io.ReadWriteCloser
	switch {
	case v.socket:
		echo = rawStream(b, cc, v.url)
	case !v.alone:
		echo = echoRequest(b, cc, v.url+"echo")
	}
	ctx, stop := context.WithCancel(b.Context())
	m := meter{marks: make(chan struct{})}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for range v.downloads {
		req, err := http.NewRequestWithContext(ctx, "GET", v.url, nil)
		require.NoError(b, err)
		resp, err := cc.RoundTrip(req)
		require.NoError(b, err)
		wg.Go(func() { m.count(resp.Body) })
	}
	if v.downloads > 0 {
		<-m.marks // then it runs at full speed
	}
	before, begin := m.loaded.Load(), time.Now()
	if echo != nil {
		defer echo.Close()
		v.p50, v.p99 = roundTrips(b, echo, n)
	}
	if v.downloads > 0 {
		<-m.marks // so that the speed says something, however few they were
		<-m.marks
	}
	v.speed = float64(m.loaded.Load()-before) / time.Since(begin).Seconds() / 1e6
}

func roundTrips(b *testing.B, echo io.ReadWriter, n int) (p50, p99 float64) {
	message := make([]byte, 64)
	took := make([]float64, 0, n)
	for range n {
		begin := time.Now()
		if _, err := echo.Write(message); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(echo, message); err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(begin).Nanoseconds())/1e3)
	}
	slices.Sort(took)
	return took[n/2], took[n*99/100]
}

// A meter counts what is downloaded.
type meter struct {
	loaded atomic.Int64
	marks  chan struct{} // has one for who waits, at every markBytes
}

const markBytes = 16 << 20

// count reads content to its end.
func (m *meter) count(content io.ReadCloser) {
	defer content.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := content.Read(buf)
		if err != nil {
			return
		}
		if now := m.loaded.Add(int64(n)); now/markBytes > (now-int64(n))/markBytes {
			select {
			case m.marks <- struct{}{}:
			default: // nobody waits
			}
		}
	}
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
