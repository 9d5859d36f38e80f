package main

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/interop/internal/child"
)

// joining is the size in bytes of a message that a server of broadcasts echoes: the
// answer says that the socket gets broadcasts.
const joining = 8

// toAll says whether a server sends a message of size bytes to all sockets, and
// not just back.
func (l load) toAll(size int) bool { return l.Kind == broadcasting && size != joining }

// A listener is the sockets of a broadcast. One message at a time is under way.
type listeners struct {
	sockets []socket
	answers []answered
	want    []byte // what all sockets get now
	missing atomic.Int64
	all     chan error // signalled when they have
}

// broadcast measures one socket's messages that the server sends to all.
func (l load) broadcast(ctx context.Context, c client, mark func(string) error) (f figures, err error) {
	p := payload(l, 0)
	all := &listeners{answers: make([]answered, l.Sockets), all: make(chan error, 1)}
	if all.sockets, err = c.open(ctx, l.Sockets, l.Conns, all.got); err != nil {
		return f, err
	}
	if err := all.expect(ctx, p[:joining], all.sockets); err != nil {
		return f, err
	}
	var trips []time.Duration
	once := func() error {
		sent := time.Now()
		binary.LittleEndian.PutUint64(p, uint64(sent.UnixNano()))
		err := all.expect(ctx, p, all.sockets[:1])
		trips = append(trips, time.Since(sent))
		return err
	}
	for begin := time.Now(); time.Since(begin) < l.warming(); {
		if err := once(); err != nil {
			return f, err
		}
	}
	if err := mark(markBegin); err != nil {
		return f, err
	}
	trips = nil
	begin, cpu := time.Now(), child.CPUTime()
	for time.Since(begin) < l.Time {
		if err := once(); err != nil {
			return f, err
		}
	}
	n := float64(len(trips) * l.Sockets)
	f = figures{
		Messages: n / time.Since(begin).Seconds(), ClientCPU: per(child.CPUTime()-cpu, n), Count: n,
	}
	f.latency(trips)
	return f, mark(markEnd)
}

// expect has some sockets send a message, and waits until all have got it.
func (all *listeners) expect(ctx context.Context, p []byte, from []socket) error {
	all.want = p
	all.missing.Store(int64(len(all.sockets)))
	for _, s := range from {
		if err := s.send(p); err != nil {
			return err
		}
	}
	select {
	case err := <-all.all:
		return err
	case <-ctx.Done():
		return errors.New("a message did not reach all")
	}
}

// got takes a piece of what socket i gets.
func (all *listeners) got(i int, p []byte, last bool) {
	ok := all.answers[i].take(all.want, p, last)
	if ok && (!last || all.missing.Add(-1) > 0) {
		return
	}
	var err error
	if !ok {
		err = errWrong
	}
	select {
	case all.all <- err:
	default: // it has failed before
	}
}
