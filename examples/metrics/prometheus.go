package main

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/wsmux/websocket/negotiate"
)

// forPrometheus returns an Observer that keeps metrics in a registry of
// Prometheus:
//
//	websocket_open                      sockets that are open now
//	websocket_closed_total              sockets that have ended, by code and by whom
//	websocket_duration_seconds          how long they were open
//	websocket_messages_total            messages of sockets that have ended
//	websocket_bytes_total               and bytes, frame headers included
//	websocket_refused_total             opening handshakes refused, by status
//	websocket_fallbacks_total           a Dialer's steps to another bootstrap
//	websocket_limit_hits_total          limits met, by name
func forPrometheus(reg prometheus.Registerer) *negotiate.Observer {
	auto := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	open := auto.NewGaugeVec(prometheus.GaugeOpts{Name: "websocket_open", Help: "Sockets that are open."},
		[]string{"bootstrap", "side"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "websocket_duration_seconds", Help: "How long sockets were open.",
		Buckets: prometheus.ExponentialBuckets(0.1, 6, 9), // to two days
	}, []string{"bootstrap", "side"})
	closed := counter("websocket_closed_total", "Sockets that have ended.", "bootstrap", "side", "code", "by", "clean")
	messages := counter("websocket_messages_total", "Messages of sockets that have ended.", "bootstrap", "side", "direction")
	bytes := counter("websocket_bytes_total", "Bytes of sockets that have ended.", "bootstrap", "side", "direction")
	refused := counter("websocket_refused_total", "Opening handshakes refused.", "bootstrap", "side", "status")
	fallbacks := counter("websocket_fallbacks_total", "Steps from one bootstrap to the next.", "from", "to")
	limits := counter("websocket_limit_hits_total", "Limits met.", "bootstrap", "side", "limit")
	return &negotiate.Observer{
		Opened: func(_ context.Context, s negotiate.SocketInfo) {
			open.WithLabelValues(s.Bootstrap.String(), side(s.Client)).Inc()
		},
		Closed: func(_ context.Context, s negotiate.SocketInfo, e negotiate.SocketEnd) {
			b, sd := s.Bootstrap.String(), side(s.Client)
			open.WithLabelValues(b, sd).Dec()
			closed.WithLabelValues(b, sd, code(e.Err.Code), by(e), strconv.FormatBool(e.Clean)).Inc()
			duration.WithLabelValues(b, sd).Observe(e.Duration.Seconds())
			messages.WithLabelValues(b, sd, "in").Add(float64(e.Stats.MessagesRead))
			messages.WithLabelValues(b, sd, "out").Add(float64(e.Stats.MessagesWritten))
			bytes.WithLabelValues(b, sd, "in").Add(float64(e.Stats.BytesRead))
			bytes.WithLabelValues(b, sd, "out").Add(float64(e.Stats.BytesWritten))
		},
		Refused: func(_ context.Context, r negotiate.Refusal) {
			refused.WithLabelValues(r.Bootstrap.String(), side(r.Client), strconv.Itoa(r.Err.Status)).Inc()
		},
		FellBack: func(_ context.Context, f negotiate.Fallback) {
			fallbacks.WithLabelValues(f.From.String(), f.To.String()).Inc()
		},
		LimitHit: func(l negotiate.LimitHit) {
			limits.WithLabelValues(l.Bootstrap.String(), side(l.Client), l.Limit).Inc()
		},
	}
}
