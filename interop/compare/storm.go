package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsmux/websocket/interop/compare/carry"
	"github.com/wsmux/websocket/interop/compare/result"
)

// retry is how long who was refused waits before the next attempt.
const retry = 10 * time.Millisecond

// storm is scenario 6. It returns the usage from which the new server's counts
// count.
func (s *session) storm(ctx context.Context) (usage, error) {
	channels := make([]carry.Channel, s.plan.Sockets)
	lost := make([]chan time.Time, s.plan.Sockets)
	err := each(len(channels), opening, func(i int) (err error) {
		lost[i] = make(chan time.Time, 1)
		channels[i], err = s.open(ctx, i, func(o *carry.Options) {
			o.Ended = func(error) { lost[i] <- time.Now() }
		})
		if err != nil {
			return err
		}
		return channels[i].Send(ctx, s.ledger.message(time.Now()))
	})
	if err == nil {
		err = s.settle(ctx)
	}
	if err != nil {
		return usage{}, err
	}
	first, err := s.control.ask(askUsage)
	if err != nil {
		return usage{}, err
	}
	// What the old server counted is the run's too.
	s.run.Connections.Server, s.run.Handshakes.Server = first.Connections, first.Handshakes

	returns := make([]time.Time, len(channels))
	outages := make([]float64, len(channels))
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for i := range channels {
		// Each goroutine brings one channel back, and ends when it is.
		wg.Go(func() {
			var at time.Time
			select {
			case at = <-lost[i]:
			case <-ctx.Done():
				return
			}
			_ = channels[i].Close(ctx) // what is left of it
			ch, err := s.comeBack(ctx, i)
			returns[i], outages[i], channels[i] = time.Now(), milliseconds(time.Since(at)), ch
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	began, err := s.control.ask(askRestart)
	ready := time.Now()
	if err != nil {
		return usage{}, err
	}
	wg.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return usage{}, err
	}
	last, err := s.control.ask(askUsage)
	if err != nil {
		return usage{}, err
	}
	recovered := ready
	for _, t := range returns {
		if t.After(recovered) {
			recovered = t
		}
	}
	s.figure(result.TimeToRecover, "time to recover", "ms", milliseconds(recovered.Sub(ready)),
		"The client's clock, from when the new server listens until the last socket's first message was back.")
	s.cpu(result.CPUPerSocket, "server CPU per socket", began, last, float64(len(channels)),
		"User and system time of the new server's process (getrusage) until all were back, divided by sockets.")
	s.distribute(result.OutageTime, "time without a connection", "The client's clock, from noticing the end of a socket until its successor's first message was back.", outages)
	return usage{}, s.closeAll(ctx, channels)
}

// comeBack opens channel i again, until a message has come back on it.
func (s *session) comeBack(ctx context.Context, i int) (carry.Channel, error) {
	for attempt := 0; ; attempt++ {
		ch, err := s.tryBack(ctx, i, attempt)
		if err == nil {
			return ch, nil
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return nil, fmt.Errorf("socket %d did not come back: %w", i, err)
		}
	}
}

// attemptTime bounds one attempt.
const attemptTime = 5 * time.Second

func (s *session) tryBack(ctx context.Context, i, attempt int) (carry.Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	back, ended := make(chan struct{}, 1), make(chan error, 1)
	greeting := fmt.Appendf(nil, "%s %d %d", "back", i, attempt)
	ch, err := s.open(ctx, i, func(o *carry.Options) {
		o.Name = fmt.Sprint("c", i, ".", attempt)
		o.Ended = func(err error) { ended <- err }
		o.Received = func(p []byte) {
			if string(p) == string(greeting) {
				back <- struct{}{}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if err = ch.Send(ctx, greeting); err == nil {
		select {
		case <-back:
			return ch, nil
		case err = <-ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	_ = ch.Close(ctx) // it has failed already
	return nil, err
}
