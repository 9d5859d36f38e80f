package main

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wsmux/websocket/negotiate"
)

// forOpenTelemetry returns an Observer that records with a meter what
// forPrometheus keeps, under OpenTelemetry's kind of names: websocket.open and so
// on. The context of an event goes along, so that a measurement belongs to the
// trace of its request.
func forOpenTelemetry(m metric.Meter) (*negotiate.Observer, error) {
	var failed error
	counter := func(name, unit, help string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(help))
		failed = errors.Join(failed, err)
		return c
	}
	open, err := m.Int64UpDownCounter("websocket.open", metric.WithUnit("{socket}"), metric.WithDescription("Sockets that are open."))
	failed = errors.Join(failed, err)
	duration, err := m.Float64Histogram("websocket.duration", metric.WithUnit("s"), metric.WithDescription("How long sockets were open."))
	failed = errors.Join(failed, err)
	closed := counter("websocket.closed", "{socket}", "Sockets that have ended.")
	messages := counter("websocket.messages", "{message}", "Messages of sockets that have ended.")
	bytes := counter("websocket.io", "By", "Bytes of sockets that have ended.")
	refused := counter("websocket.refused", "{handshake}", "Opening handshakes refused.")
	fallbacks := counter("websocket.fallbacks", "{step}", "Steps from one bootstrap to the next.")
	limits := counter("websocket.limit_hits", "{hit}", "Limits met.")
	if failed != nil {
		return nil, failed
	}
	in, out := attribute.String("direction", "in"), attribute.String("direction", "out")
	return &negotiate.Observer{
		Opened: func(ctx context.Context, s negotiate.SocketInfo) {
			open.Add(ctx, 1, with(attributes(s)...))
		},
		Closed: func(ctx context.Context, s negotiate.SocketInfo, e negotiate.SocketEnd) {
			a := attributes(s)
			open.Add(ctx, -1, with(a...))
			duration.Record(ctx, e.Duration.Seconds(), with(a...))
			closed.Add(ctx, 1, with(append(a, attribute.String("code", code(e.Err.Code)),
				attribute.String("by", by(e)), attribute.Bool("clean", e.Clean))...))
			messages.Add(ctx, e.Stats.MessagesRead, with(append(a, in)...))
			messages.Add(ctx, e.Stats.MessagesWritten, with(append(a, out)...))
			bytes.Add(ctx, e.Stats.BytesRead, with(append(a, in)...))
			bytes.Add(ctx, e.Stats.BytesWritten, with(append(a, out)...))
		},
		Refused: func(ctx context.Context, r negotiate.Refusal) {
			refused.Add(ctx, 1, with(append(attributes(negotiate.SocketInfo{Bootstrap: r.Bootstrap, Client: r.Client}),
				attribute.Int("status", r.Err.Status))...))
		},
		FellBack: func(ctx context.Context, f negotiate.Fallback) {
			fallbacks.Add(ctx, 1, with(attribute.Stringer("from", f.From), attribute.Stringer("to", f.To)))
		},
		LimitHit: func(l negotiate.LimitHit) {
			limits.Add(context.Background(), 1, with(append(attributes(negotiate.SocketInfo{Bootstrap: l.Bootstrap, Client: l.Client}),
				attribute.String("limit", l.Limit))...))
		},
	}, nil
}

// attributes returns those that all metrics of a socket have. Appending to them
// copies.
func attributes(s negotiate.SocketInfo) []attribute.KeyValue {
	a := []attribute.KeyValue{attribute.Stringer("bootstrap", s.Bootstrap), attribute.String("side", side(s.Client))}
	return a[:len(a):len(a)]
}

func with(a ...attribute.KeyValue) metric.MeasurementOption { return metric.WithAttributes(a...) }
