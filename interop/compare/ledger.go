package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/wsmux/websocket/interop/compare/result"
)

// A ledger accounts for every message: when it was due, and who has received it.
type ledger struct {
	size      int // bytes of a message, at least idLength
	receivers int // of each message

	mu        sync.Mutex
	due       []time.Time
	got       map[receipt]struct{}
	latencies []float64 // milliseconds
	received  int
	twice     int
	strange   int           // messages that nobody sent
	settled   chan struct{} // closed when all have arrived; nil: nobody waits
}

type receipt struct{ message, receiver int }

// idLength is the length of a message's number, in hexadecimal digits, with which
// it begins. Points fill it up to its size.
const idLength = 16

func newLedger(size, receivers int) *ledger {
	return &ledger{size: max(size, idLength), receivers: receivers, got: make(map[receipt]struct{})}
}

// message enters a message that is to be sent at the time due, and returns it.
func (l *ledger) message(due time.Time) []byte {
	l.mu.Lock()
	id := len(l.due)
	l.due = append(l.due, due)
	l.mu.Unlock()
	m := fmt.Appendf(make([]byte, 0, l.size), "%0*x", idLength, id)
	for len(m) < l.size {
		m = append(m, '.')
	}
	return m
}

// enter enters that a receiver has got a message.
func (l *ledger) enter(p []byte, receiver int) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(p) != l.size {
		l.strange++
		return
	}
	id, err := strconv.ParseInt(string(p[:idLength]), 16, 64)
	if err != nil || id < 0 || int(id) >= len(l.due) {
		l.strange++
		return
	}
	r := receipt{int(id), receiver}
	if _, again := l.got[r]; again {
		l.twice++
		return
	}
	l.got[r] = struct{}{}
	l.received++
	l.latencies = append(l.latencies, milliseconds(now.Sub(l.due[id])))
	if l.settled != nil && l.received == len(l.due)*l.receivers {
		close(l.settled)
		l.settled = nil
	}
}

// settle waits until every message has arrived. None is sent meanwhile.
func (l *ledger) settle(ctx context.Context) error {
	l.mu.Lock()
	if l.received == len(l.due)*l.receivers {
		l.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	l.settled = done
	l.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("not all messages have arrived in time")
	}
}

// messages returns the account.
func (l *ledger) messages() result.Messages {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := len(l.due) * l.receivers
	return result.Messages{Sent: sent, Received: l.received, Lost: sent - l.received, Duplicated: l.twice}
}

// problem says what is wrong with the account, "" if nothing is.
func (l *ledger) problem() string {
	m := l.messages()
	switch {
	case m.Lost > 0:
		return fmt.Sprintf("%d of %d messages did not arrive", m.Lost, m.Sent)
	case m.Duplicated > 0:
		return fmt.Sprintf("%d messages arrived twice", m.Duplicated)
	case l.strange > 0:
		return fmt.Sprintf("%d messages arrived that nobody had sent", l.strange)
	}
	return ""
}
