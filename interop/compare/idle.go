package main

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/interop/compare/carry"
	"github.com/wsmux/websocket/interop/compare/result"
)

// heartbeat is the interval of heartbeats, far shorter than in earnest so that some
// come while it is measured: what one costs does not depend on it.
const heartbeat = 500 * time.Millisecond

// idle is scenario 4. Its messages are one for each socket, to see that it works.
func (s *session) idle(ctx context.Context) error {
	p := s.plan
	if err := s.warmUp(ctx); err != nil {
		return err
	}
	before, err := s.control.ask(askMemory)
	if err != nil {
		return err
	}
	var beats atomic.Int64
	channels, err := s.openAll(ctx, func(o *carry.Options) {
		o.Heartbeat, o.Beat = heartbeat, func() { beats.Add(1) }
	})
	if err != nil {
		return err
	}
	for _, ch := range channels {
		if err := ch.Send(ctx, s.ledger.message(time.Now())); err != nil {
			return err
		}
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	after, err := s.control.ask(askMemory)
	if err != nil {
		return err
	}
	wire, first := s.client.Meter().Now(), beats.Load()
	if err := beat(ctx, channels, p.Time, &beats); err != nil {
		return err
	}
	spent, n := s.client.Meter().Now().Since(wire), float64(beats.Load()-first)

	s.memory(before, after)
	if n > 0 {
		s.figure(result.BytesPerHeartbeat, "bytes per heartbeat", "B", float64(spent.Up.Wire()+spent.Down.Wire())/n,
			"Bytes on the wire both ways while there are heartbeats and nothing else, divided by heartbeats.")
	}
	return s.closeAll(ctx, channels)
}

// memory adds what the sockets take in the server, as far as the system tells.
func (s *session) memory(before, after usage) {
	count := float64(s.plan.Sockets)
	const how = " of the server's process with the sockets, each of which has had one message, less that before, by sockets; garbage collected."
	if after.RSS > 0 {
		s.figure(result.RSSPerSocket, "resident memory per socket", "B", float64(after.RSS-before.RSS)/count, "Resident memory (/proc/self/statm)"+how)
	}
	s.figure(result.HeapPerSocket, "heap per socket", "B", float64(after.Heap-before.Heap)/count, "Heap in use (runtime.MemStats)"+how)
	s.figure(result.GoroutinesPer, "goroutines per socket", "", float64(after.Goroutines-before.Goroutines)/count, "Goroutines"+strings.TrimSuffix(how, "; garbage collected.")+".")
}

// warmUp has the server allocate what it allocates once.
func (s *session) warmUp(ctx context.Context) error {
	ch, err := s.open(ctx, s.plan.Sockets, nil)
	if err != nil {
		return err
	}
	if err := ch.Send(ctx, s.ledger.message(time.Now())); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	err = s.closeAll(ctx, []carry.Channel{ch})
	s.closing.Store(false)
	return err
}

// beat has heartbeats for a while, and counts those that it makes itself.
func beat(ctx context.Context, channels []carry.Channel, span time.Duration, beats *atomic.Int64) error {
	end := time.NewTimer(span)
	defer end.Stop()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err := each(len(channels), len(channels), func(i int) error {
			ours, err := channels[i].Ping(ctx)
			if ours && err == nil {
				beats.Add(1)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}
