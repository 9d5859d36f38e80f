package main

import (
	"context"
	"time"

	"github.com/wsmux/websocket/interop/compare/carry"
	"github.com/wsmux/websocket/interop/compare/result"
)

// requestSize is the content of a response to an ordinary request, in bytes.
const requestSize = 2 << 10

// page is scenario 1.
func (s *session) page(ctx context.Context) error {
	p := s.plan
	first, err := s.control.ask(askUsage)
	if err != nil {
		return err
	}
	channels := make([]carry.Channel, p.Sockets)
	opened := make([]float64, p.Sockets)
	requests := make([]float64, p.Requests)
	begin := time.Now()
	err = each(p.Sockets+p.Requests, p.Sockets+p.Requests, func(i int) (err error) {
		if i >= p.Sockets {
			err = s.client.Get(ctx, requestSize)
			requests[i-p.Sockets] = milliseconds(time.Since(begin))
			return err
		}
		if channels[i], err = s.open(ctx, i, nil); err != nil {
			return err
		}
		opened[i] = milliseconds(time.Since(begin))
		return channels[i].Send(ctx, s.ledger.message(begin))
	})
	if err == nil {
		err = s.settle(ctx)
	}
	took := time.Since(begin)
	if err != nil {
		return err
	}
	last, err := s.control.ask(askUsage)
	if err != nil {
		return err
	}
	s.figure(result.TimeToComplete, "time until all is done", "ms", milliseconds(took),
		"The client's clock, from the beginning until every socket has its message back and every request its response.")
	s.cpu(result.CPUPerSocket, "server CPU per socket", first, last, float64(p.Sockets),
		"User and system time of the server's process (getrusage) for everything, requests too, divided by the sockets.")
	s.distribute(result.TimeToOpen, "time to open", "The client's clock, from the beginning until the server's acceptance was there.", opened)
	s.distribute(result.TimeToFirst, "time to first answer", "The client's clock, from the beginning until the first message was back.", s.ledger.latencies)
	s.distribute(result.RequestTime, "time of requests", "The client's clock, from the beginning until the response was complete.", requests)
	return s.closeAll(ctx, channels)
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
