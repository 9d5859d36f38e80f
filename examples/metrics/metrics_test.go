package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

// sums returns OpenTelemetry's sums, by name and attributes.
func sums(t *testing.T, reader sdk.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &all))
	values := make(map[string]int64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok {
				continue
			}
			for _, p := range sum.DataPoints {
				values[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
			}
		}
	}
	return values
}

// Both systems are told of a conversation over HTTP/2 and of a refusal over
// HTTP/1.1.
func TestServerIsMeasured(t *testing.T) {
	reader := sdk.NewManualReader()
	srv, err := newServer(prometheus.NewRegistry(), sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test"))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	addr := l.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	d := &negotiate.Dialer{Policy: negotiate.Only(websocket.HTTP2)}
	c, _, err := d.Dial(ctx, "ws://"+addr+"/ws", nil)
	require.NoError(t, err)
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte("hello")))
	_, _, err = c.Read(ctx)
	require.NoError(t, err)
	assert.Contains(t, scrape(t, srv.Handler), `websocket_open{bootstrap="HTTP/2",side="server"} 1`)
	assert.EqualValues(t, 1, sums(t, reader)["websocket.open bootstrap=HTTP/2,side=server"])
	require.NoError(t, c.Close(ctx, 4000, ""))

	h1 := &negotiate.Dialer{Policy: negotiate.Only(websocket.HTTP1)}
	_, _, err = h1.Dial(ctx, "ws://"+addr+"/ws", &websocket.DialOptions{Header: http.Header{"Origin": {"http://elsewhere.example"}}})
	require.Error(t, err)

	// What has happened is reported before Shutdown returns, which waits for it.
	require.NoError(t, srv.Shutdown(ctx))
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	d.CloseIdleConnections()
	text := scrape(t, srv.Handler)
	assert.Contains(t, text, `websocket_open{bootstrap="HTTP/2",side="server"} 0`)
	for _, want := range []string{
		`websocket_closed_total{bootstrap="HTTP/2",by="peer",clean="true",code="application",side="server"} 1`,
		`websocket_messages_total{bootstrap="HTTP/2",direction="in",side="server"} 1`,
		`websocket_messages_total{bootstrap="HTTP/2",direction="out",side="server"} 1`,
		`websocket_refused_total{bootstrap="HTTP/1.1",side="server",status="403"} 1`,
		`websocket_duration_seconds_count{bootstrap="HTTP/2",side="server"} 1`,
	} {
		assert.Contains(t, text, want)
	}
	got := sums(t, reader)
	for want, n := range map[string]int64{
		"websocket.open bootstrap=HTTP/2,side=server":                                       0,
		"websocket.closed bootstrap=HTTP/2,by=peer,clean=true,code=application,side=server": 1,
		"websocket.messages bootstrap=HTTP/2,direction=in,side=server":                      1,
		"websocket.messages bootstrap=HTTP/2,direction=out,side=server":                     1,
		"websocket.refused bootstrap=HTTP/1.1,side=server,status=403":                       1,
	} {
		assert.Contains(t, got, want)
		assert.Equal(t, n, got[want], want)
	}
}

// scrape returns what Prometheus sees.
func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

// A Dialer's fallbacks and limits have their metrics too.
func TestFallbacksAndLimitsAreMeasured(t *testing.T) {
	registry := prometheus.NewRegistry()
	otel, err := forOpenTelemetry(noop.NewMeterProvider().Meter(""))
	require.NoError(t, err)
	o := both(forPrometheus(registry), otel)
	o.FellBack(t.Context(), negotiate.Fallback{From: websocket.HTTP3, To: websocket.HTTP2, Err: errors.New("blocked")})
	o.LimitHit(negotiate.LimitHit{Bootstrap: websocket.HTTP2, Limit: "ResetBurst"})
	families, err := registry.Gather()
	require.NoError(t, err)
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	assert.Equal(t, []string{"websocket_fallbacks_total", "websocket_limit_hits_total"}, names)
}

// Peers cannot make labels: a status code is their choice.
func TestCodesAreFewLabels(t *testing.T) {
	labels := make(map[string]bool)
	for c := websocket.StatusCode(1000); c < 5000; c++ {
		labels[code(c)] = true
	}
	assert.Less(t, len(labels), 25)
}

// The program ends in order when it is interrupted, and writes what it has measured.
func TestRunEndsInOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	done := make(chan error, 1)
	go func() { done <- run(ctx, "127.0.0.1:0", time.Hour, &out) }()
	cancel()
	require.NoError(t, <-done)
	assert.Contains(t, out.String(), "ScopeMetrics")
}

// What stops programs in order, on a machine that goes down for instance, is SIGTERM.
func TestProgramEndsInOrder(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program).CombinedOutput()
	require.NoError(t, err, "%s", out)

	out, err = exec.CommandContext(t.Context(), program, "-addr", "nowhere", "false", "-every", "1s").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode(), "an argument that is no flag, and what follows it, is not passed over")
	assert.Contains(t, string(out), `unexpected argument "false"`)

	if runtime.GOOS == "windows" {
		return // which has no signals to send
	}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), program, "-addr", "127.0.0.1:0")
		stderr, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		in := bufio.NewReader(stderr)
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		assert.Contains(t, line, "/metrics")
		require.NoError(t, cmd.Process.Signal(s))
		_, err = io.Copy(io.Discard, in)
		require.NoError(t, err)
		assert.NoError(t, cmd.Wait(), s)
	}
}
