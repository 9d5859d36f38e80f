package main

import (
	"context"
	"time"

	"github.com/wsmux/websocket/interop/internal/child"
)

// warming is how long a load runs before it is measured, at most as long as that.
const warming = 300 * time.Millisecond

func (l load) warming() time.Duration { return min(warming, l.Time) }

// echo measures messages that come back.
func (l load) echo(ctx context.Context, c client, mark func(string) error) (figures, error) {
	crowd := l.newCrowd()
	downloaded, err := l.download(ctx, c)
	if err != nil {
		return figures{}, err
	}
	ready := make(chan struct{}) // no answer comes before the talkers have their sockets
	sockets, err := c.open(ctx, l.Sockets, l.Conns, func(i int, p []byte, last bool) { <-ready; crowd.got(i, p, last) })
	if err != nil {
		return figures{}, err
	}
	if l.Idle > 0 {
		if _, err := c.open(ctx, l.Idle, l.Conns, func(int, []byte, bool) {}); err != nil {
			return figures{}, err
		}
	}
	for i, t := range crowd.talkers {
		t.socket = sockets[i]
	}
	close(ready)
	for _, t := range crowd.talkers {
		if crowd.closed {
			crowd.begin(t)
		}
	}
	pacing, stop := context.WithCancel(ctx)
	defer stop()
	paced := make(chan struct{})
	go func() {
		defer close(paced)
		if !crowd.closed {
			crowd.pace(pacing, l.Rate)
		}
	}()
	if err := crowd.wait(ctx, l.warming()); err != nil {
		return figures{}, err
	}
	if err := mark(markBegin); err != nil {
		return figures{}, err
	}
	begin, cpu, bulk := time.Now(), child.CPUTime(), downloaded.Load()
	crowd.phase.Store(measured)
	if err := crowd.wait(ctx, l.Time); err != nil {
		return figures{}, err
	}
	for crowd.answers() == 0 { // a large message may take longer than that
		if err := crowd.wait(ctx, time.Millisecond); err != nil {
			return figures{}, err
		}
	}
	count := float64(crowd.answers())
	took := time.Since(begin).Seconds()
	f := figures{
		Messages: count / took, Bytes: count * float64(len(crowd.talkers[0].payload)) / took,
		ClientCPU: per(child.CPUTime()-cpu, count), Bulk: float64(downloaded.Load()-bulk) / took, Count: count,
	}
	if err := mark(markEnd); err != nil {
		return f, err
	}
	stop()
	<-paced
	patience, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := crowd.end(patience); err != nil {
		return f, err
	}
	f.latency(crowd.trips())
	f.Wire = wireBytes(sockets)
	return f, nil
}

// wait lets the load run for a while.
func (c *crowd) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-c.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pace sends rate messages per second, spread over the sockets, and wakes no more
// often than it has to: once for each, or every paceTick for all that are due by
// then. A socket whose answer is late is passed over.
func (c *crowd) pace(ctx context.Context, rate int) {
	every := max(time.Second/time.Duration(rate), paceTick)
	tick := time.NewTicker(every)
	defer tick.Stop()
	begin, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			// A tick is no more exact than timers are: half of one is not left for the next.
			for due := int((now.Sub(begin) + every/2).Seconds() * float64(rate)); sent < due; sent++ {
				if t := c.talkers[sent%len(c.talkers)]; !t.busy.Load() {
					c.begin(t)
				}
			}
		}
	}
}

// paceTick is how long messages are collected, at most, that are to be sent at a
// high rate.
const paceTick = time.Millisecond

func per(d time.Duration, n float64) time.Duration {
	if n == 0 {
		return 0
	}
	return time.Duration(float64(d) / n)
}
