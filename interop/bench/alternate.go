package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// This file measures what downloads lose to sockets beside them. A download's speed
// differs from one connection to the next by more than a socket costs, and on one
// connection from one second to the next. So both speeds are measured on the same
// connection, of the same downloads, in short slices that alternate: one without
// sockets, one with sockets that talk, and so on. Each with sockets is compared with
// the two next to it, and of all that the median counts: what changes slowly falls on
// all three alike, and what happens once is in one ratio of many.
//
// Faster than any slice, the speed depends on which processors the threads of both
// processes are on: so each process is to have one (load.Separate).
//
// Without sockets means that there are none: they are opened before their slice and
// reset after it. A socket that is silent would have a server hold back as much of
// the downloads as one that talks.

const (
	// slice is how long the downloads are measured without sockets, or with them,
	// before it is the others' turn.
	slice = 50 * time.Millisecond

	// settling is how long nothing is measured after sockets have come or gone. What
	// was sent before that is read by then.
	settling = 25 * time.Millisecond
)

// alternates reports whether that can be measured: where the client is neutral, and
// messages go out at a rate.
func (l load) alternates() bool { return l.Bulk > 0 && l.Reading != "" && l.Rate > 0 }

// slices returns how many slices with sockets there are.
func (l load) slices() int { return max(1, int(l.Time/slice)) }

// An ender is a socket that can be reset.
type ender interface{ end() error }

// An alternation is such a measurement.
type alternation struct {
	load
	client client
	crowd  *crowd
	loaded *atomic.Int64 // bytes of the downloads so far

	with, without speeds
}

// alternate measures sockets beside downloads, and the downloads without them. The
// server's usage, and the client's, is not said: most of it is the downloads'.
func (l load) alternate(ctx context.Context, c client, mark func(string) error) (figures, error) {
	loaded, err := l.download(ctx, c)
	if err != nil {
		return figures{}, err
	}
	a := alternation{load: l, client: c, crowd: l.newCrowd(), loaded: loaded}
	pause(ctx, l.warming())
	if err := mark(markBegin); err != nil {
		return figures{}, err
	}
	if err := a.run(ctx); err != nil {
		return figures{}, err
	}
	if err := mark(markEnd); err != nil {
		return figures{}, err
	}
	count := float64(a.crowd.answers())
	f := figures{
		Messages: count / a.with.took.Seconds(), Bytes: count * float64(len(a.crowd.talkers[0].payload)) / a.with.took.Seconds(),
		Bulk: a.with.overall(), Alone: a.without.overall(), Kept: keptOf(a.with.each, a.without.each), Count: count,
	}
	f.latency(a.crowd.trips())
	return f, nil
}

// run measures all slices. Those without sockets are the first and the last.
func (a *alternation) run(ctx context.Context) error {
	alone := func() error { return a.measure(ctx, &a.without, func() { pause(ctx, slice) }) }
	for range a.slices() {
		if err := alone(); err != nil {
			return err
		}
		if err := a.beside(ctx); err != nil {
			return err
		}
		pause(ctx, settling)
	}
	return alone()
}

// beside opens sockets, measures a slice with them, and resets them. No answer is
// awaited when the slice begins, and those that are when it ends count as well: the
// slowest must not be left out.
func (a *alternation) beside(ctx context.Context) error {
	n := len(a.crowd.talkers)
	sockets, err := a.client.open(ctx, n, a.Conns, func(i int, p []byte, last bool) { a.crowd.got(i%n, p, last) })
	if err != nil {
		return err
	}
	for i, t := range a.crowd.talkers {
		t.socket = sockets[i]
	}
	a.talk(ctx, settling)
	if err := a.crowd.settle(ctx); err != nil {
		return err
	}
	a.crowd.phase.Store(measured)
	if err := a.measure(ctx, &a.with, func() { a.talk(ctx, slice) }); err != nil {
		return err
	}
	if err := a.crowd.settle(ctx); err != nil {
		return err
	}
	a.crowd.phase.Store(warmup)
	for _, s := range sockets {
		if err := s.(ender).end(); err != nil {
			return err
		}
	}
	return nil
}

// talk sends messages for a while.
func (a *alternation) talk(ctx context.Context, d time.Duration) {
	pacing, stop := context.WithTimeout(ctx, d)
	defer stop()
	a.crowd.pace(pacing, a.Rate)
}

// errNoBytes ends a measurement: there would be no ratio.
var errNoBytes = errors.New("the downloads have come to a standstill")

// measure adds to s how fast the downloads are while slice lasts.
func (a *alternation) measure(ctx context.Context, s *speeds, slice func()) error {
	begin, before := time.Now(), a.loaded.Load()
	slice()
	bytes, took := a.loaded.Load()-before, time.Since(begin)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case bytes == 0:
		return errNoBytes
	}
	s.add(bytes, took)
	return nil
}

// speeds are those of slices, in bytes per second.
type speeds struct {
	each  []float64
	bytes int64
	took  time.Duration
}

func (s *speeds) add(bytes int64, took time.Duration) {
	s.each = append(s.each, float64(bytes)/took.Seconds())
	s.bytes += bytes
	s.took += took
}

// overall returns the speed of all slices together.
func (s *speeds) overall() float64 { return float64(s.bytes) / s.took.Seconds() }

// keptOf returns the median of what slices with sockets are of those without, the
// one before and the one after.
func keptOf(with, without []float64) float64 {
	ratios := make([]float64, len(with))
	for i, v := range with {
		ratios[i] = 2 * v / (without[i] + without[i+1])
	}
	return median(ratios)
}
