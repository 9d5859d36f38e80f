package main

import (
	"context"
	"errors"
	"sync/atomic"
)

// usedSize is the size in bytes of the message that each idle socket echoes
// before memory is looked at again.
const usedSize = 1 << 10

// sendsAtOnce bounds how many of them are on their way: what is to be seen is what
// remains, not the crush.
const sendsAtOnce = 64

// idle measures the memory of sockets that do nothing. What a process needs once,
// such as the pages of its program that a first socket touches, is there before it
// begins.
func (l load) idle(ctx context.Context, c client, mark func(string) error) (figures, error) {
	if _, err := c.open(ctx, 1, 1, func(int, []byte, bool) {}); err != nil {
		return figures{}, err
	}
	if err := mark(markEmpty); err != nil {
		return figures{}, err
	}
	var wrong atomic.Bool
	room := make(chan struct{}, sendsAtOnce)
	p := payload(load{Size: usedSize, Compress: l.Compress}, 0)
	answers := make([]answered, 1+l.Sockets) // the first one's too
	sockets, err := c.open(ctx, l.Sockets, l.Conns, func(i int, q []byte, last bool) {
		if !answers[i].take(p, q, last) {
			wrong.Store(true)
			last = true
		}
		if last {
			<-room
		}
	})
	if err != nil {
		return figures{}, err
	}
	if err := mark(markIdle); err != nil {
		return figures{}, err
	}
	enter := func() error {
		select {
		case room <- struct{}{}:
			return nil
		case <-ctx.Done():
			return errors.New("answers that did not come")
		}
	}
	for _, s := range sockets {
		if err := enter(); err != nil {
			return figures{}, err
		}
		if err := s.send(p); err != nil {
			return figures{}, err
		}
	}
	for range sendsAtOnce { // until the last answers are there
		if err := enter(); err != nil {
			return figures{}, err
		}
	}
	if wrong.Load() {
		return figures{}, errWrong
	}
	return figures{Count: float64(l.Sockets)}, mark(markUsed)
}
