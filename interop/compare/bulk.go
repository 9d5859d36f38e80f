package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/interop/compare/result"
)

// ramp is how long a download runs before it is measured beside.
const ramp = 300 * time.Millisecond

// bulk is scenario 5.
func (s *session) bulk(ctx context.Context) error {
	p := s.plan
	channels, err := s.openAll(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.say(ctx, channels, p.Time/2); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.ledger.mu.Lock()
	alone := s.ledger.latencies
	s.ledger.latencies = nil
	s.ledger.mu.Unlock()

	var came atomic.Int64
	began := make(chan struct{})
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	// The goroutine downloads until it is stopped.
	go func() {
		loaded <- s.client.Bulk(loading, func(n int) {
			if came.Add(int64(n)) == int64(n) {
				close(began)
			}
		})
	}()
	select {
	case <-began:
	case err := <-loaded:
		return err
	}
	select {
	case <-time.After(ramp):
	case <-ctx.Done():
		return ctx.Err()
	}
	begin, first := time.Now(), came.Load()
	if err := s.say(ctx, channels, p.Time); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	rate := float64(came.Load()-first) / time.Since(begin).Seconds() / 1e6
	stop()
	if err := <-loaded; err != nil {
		return err
	}
	s.figure(result.BulkRate, "download beside the socket", "MB/s", rate, "Content received by the client's clock, while the socket's messages went on.")
	s.distribute(result.BaselineDelay, "latency before the download", latencyHow, alone)
	s.distribute(result.MessageLatency, "latency beside the download", latencyHow, s.ledger.latencies)
	return s.closeAll(ctx, channels)
}
