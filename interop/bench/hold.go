package main

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
)

// holdingCase is apart from the others: it takes minutes, and gigabytes.
const holdingCase = "1,000,000 idle sockets on 10,000 connections"

// holdingInterval is how long a server's sockets may be silent there before it pings
// them. A million every half minute, the default, is a load of its own: 33,000 Pings
// and Pongs a second.
const holdingInterval = 5 * time.Minute

// pingsAtOnce bounds how many of the client's Pings are on their way.
const pingsAtOnce = 1024

// A pinger is a socket that sends a Ping, and has pong called with the payloads of
// Pongs that arrive.
type pinger interface {
	ping(p []byte, pong func(p []byte)) error
}

// holding is not measured unless it is asked for by name.
func holding() benchmark {
	return benchmark{
		name:       holdingCase,
		load:       load{Kind: holdingOn, Sockets: 1_000_000, Conns: 10_000, Time: 4 * time.Minute},
		contenders: []string{"h2 handler"}, shows: []metric{memory, used},
		most: 1, apart: true,
	}
}

// hold measures the memory of a process that holds sockets which do nothing, all of
// it, and then has each answer a Ping.
func (l load) hold(ctx context.Context, c client, mark func(string) error) (figures, error) {
	var wrong atomic.Bool
	sockets, err := c.open(ctx, l.Sockets, l.Conns, func(int, []byte, bool) { wrong.Store(true) })
	if err != nil {
		return figures{}, err
	}
	if err := mark(markIdle); err != nil {
		return figures{}, err
	}
	room := make(chan struct{}, pingsAtOnce)
	enter := func() error {
		select {
		case room <- struct{}{}:
			return nil
		case <-ctx.Done():
			return errors.New("pongs that did not come")
		}
	}
	var answered atomic.Int64
	for i, s := range sockets {
		if err := enter(); err != nil {
			return figures{}, err
		}
		id := binary.BigEndian.AppendUint64(nil, uint64(i))
		first := true
		err := s.(pinger).ping(id, func(p []byte) {
			if !first || string(p) != string(id) {
				wrong.Store(true)
				return
			}
			first = false
			answered.Add(1)
			<-room
		})
		if err != nil {
			return figures{}, err
		}
	}
	for range pingsAtOnce { // until the last Pongs are there
		if err := enter(); err != nil {
			return figures{}, err
		}
	}
	if wrong.Load() || answered.Load() != int64(l.Sockets) {
		return figures{}, errWrong
	}
	return figures{Count: float64(l.Sockets)}, mark(markUsed)
}
