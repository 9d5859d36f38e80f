package main

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// open measures how fast sockets open: on one connection where they share, each
// by a TLS handshake of its own where they do not.
func (l load) open(ctx context.Context, c client, mark func(string) error) (figures, error) {
	if _, err := c.open(ctx, 1, 1, func(int, []byte) {}); err != nil { // the connection
		return figures{}, err
	}
	if err := mark(markBegin); err != nil {
		return figures{}, err
	}
	begin, cpu := time.Now(), cpuTime()
	if _, err := c.open(ctx, l.Sockets, 1, func(int, []byte) {}); err != nil {
		return figures{}, err
	}
	n := float64(l.Sockets)
	f := figures{Messages: n / time.Since(begin).Seconds(), ClientCPU: per(cpuTime()-cpu, n), Count: n}
	return f, mark(markEnd)
}

// usedSize is the size in bytes of the message that each idle socket echoes
// before memory is looked at again.
const usedSize = 1 << 10

// idle measures the memory of sockets that do nothing.
func (l load) idle(ctx context.Context, c client, mark func(string) error) (figures, error) {
	if err := mark(markEmpty); err != nil {
		return figures{}, err
	}
	var answers atomic.Int64
	back := make(chan struct{}, 1)
	sockets, err := c.open(ctx, l.Sockets, l.Conns, func(_ int, p []byte) {
		if len(p) == usedSize {
			answers.Add(1)
		}
		select {
		case back <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return figures{}, err
	}
	if err := mark(markIdle); err != nil {
		return figures{}, err
	}
	p := make([]byte, usedSize)
	for i, s := range sockets {
		if err := s.send(p); err != nil {
			return figures{}, err
		}
		// A few at a time: what is to be seen is what remains, not the crush.
		for answers.Load() < int64(i-sendsAtOnce) {
			select {
			case <-back:
			case <-ctx.Done():
				return figures{}, errors.New("answers that did not come")
			}
		}
	}
	for answers.Load() < int64(len(sockets)) {
		select {
		case <-back:
		case <-ctx.Done():
			return figures{}, errors.New("answers that did not come")
		}
	}
	return figures{Count: float64(l.Sockets)}, mark(markUsed)
}

const sendsAtOnce = 64

// broadcast measures one socket's messages that the server sends to all.
func (l load) broadcast(ctx context.Context, c client, mark func(string) error) (figures, error) {
	p := payload(l, 0)
	var arrived atomic.Int64
	var wrong atomic.Bool
	all := make(chan struct{}, 1)
	sockets, err := c.open(ctx, l.Sockets, l.Conns, func(_ int, q []byte) {
		if !bytes.HasPrefix(p, q) || len(q) != len(p) && len(q) != joining {
			wrong.Store(true)
		}
		if arrived.Add(1)%int64(l.Sockets) == 0 {
			all <- struct{}{}
		}
	})
	if err != nil {
		return figures{}, err
	}
	for _, s := range sockets {
		if err := s.send(p[:joining]); err != nil {
			return figures{}, err
		}
	}
	select {
	case <-all:
	case <-ctx.Done():
		return figures{}, errors.New("not all sockets got their first answer")
	}
	var trips []time.Duration
	once := func() error {
		sent := time.Now()
		if err := sockets[0].send(p); err != nil {
			return err
		}
		select {
		case <-all:
		case <-ctx.Done():
			return errors.New("a broadcast did not reach all")
		}
		trips = append(trips, time.Since(sent))
		return nil
	}
	for begin := time.Now(); time.Since(begin) < warming; {
		if err := once(); err != nil {
			return figures{}, err
		}
	}
	if err := mark(markBegin); err != nil {
		return figures{}, err
	}
	trips = nil
	begin, cpu := time.Now(), cpuTime()
	for time.Since(begin) < l.Time {
		if err := once(); err != nil {
			return figures{}, err
		}
	}
	n := float64(len(trips) * l.Sockets)
	f := figures{
		Messages: n / time.Since(begin).Seconds(), ClientCPU: per(cpuTime()-cpu, n), Count: n,
		P50: quantile(trips, 0.50), P99: quantile(trips, 0.99),
	}
	if wrong.Load() {
		return f, errors.New("a broadcast is not what was sent")
	}
	return f, mark(markEnd)
}
