// Metrics is an echo server whose sockets are counted, for Prometheus at /metrics
// and for OpenTelemetry on the standard error output, where a program would have
// its exporter.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/wsmux/websocket/negotiate"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on, without TLS")
	every := flag.Duration("every", time.Minute, "`interval` at which OpenTelemetry's metrics are written")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *every, os.Stderr); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, and then lets sockets finish for ten seconds.
func run(ctx context.Context, addr string, every time.Duration, w io.Writer) error {
	exporter, err := stdoutmetric.New(stdoutmetric.WithWriter(w))
	if err != nil {
		return err
	}
	provider := sdk.NewMeterProvider(sdk.WithReader(sdk.NewPeriodicReader(exporter, sdk.WithInterval(every))))
	registry := prometheus.NewRegistry()
	srv, err := newServer(registry, provider.Meter("github.com/wsmux/websocket/examples/metrics"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	log.Printf("ws://%v/ws, metrics at http://%[1]v/metrics", l.Addr())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }() // ends with Shutdown
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = srv.Shutdown(patience)
	return errors.Join(err, provider.Shutdown(patience))
}

// newServer returns a server that reports to both.
func newServer(registry *prometheus.Registry, meter metric.Meter) (*negotiate.Server, error) {
	otel, err := forOpenTelemetry(meter)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", echo)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &negotiate.Server{
		Handler:          mux,
		Observer:         both(forPrometheus(registry), otel),
		UnencryptedHTTP2: true,
	}, nil
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := negotiate.Accept(w, r, nil)
	if err != nil {
		return // refused, and answered with the reason
	}
	defer conn.CloseNow()
	for {
		t, p, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), t, p) != nil {
			return // closed, by either side
		}
	}
}
