package main

import (
	"context"
	"time"

	"github.com/wsmux/websocket/interop/compare/carry"
	"github.com/wsmux/websocket/interop/compare/meter"
	"github.com/wsmux/websocket/interop/compare/result"
)

// talk is scenarios 2, 3 and 7.
func (s *session) talk(ctx context.Context) error {
	p := s.plan
	channels, err := s.openAll(ctx, func(o *carry.Options) {
		if p.Scenario == 2 {
			o.Room = "room"
		}
	})
	if err != nil {
		return err
	}
	senders := channels
	if p.Senders > 0 {
		senders = channels[:p.Senders]
	}
	wire := s.client.Meter().Now()
	before, err := s.control.ask(askUsage)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := s.say(ctx, senders, p.Time); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := s.control.ask(askUsage)
	if err != nil {
		return err
	}
	spent := s.client.Meter().Now().Since(wire)
	n := float64(s.ledger.messages().Received)
	s.cpu(result.CPUPerMessage, "server CPU per message", before, after, n,
		"User and system time of the server's process (getrusage) between the first message and the last, divided by messages received.")
	s.wireFigures(spent)
	s.figure(result.MessageRate, "messages received", "/s", n/took.Seconds(), "Messages received by the client's clock.")
	s.distribute(result.MessageLatency, "message latency", latencyHow, s.ledger.latencies)
	return s.closeAll(ctx, channels)
}

// wireFigures adds what the messages took on the wire.
func (s *session) wireFigures(spent meter.Totals) {
	n := float64(s.ledger.messages().Received)
	s.figure(result.BytesPerMessage, "bytes per message", "B", float64(spent.Up.Wire()+spent.Down.Wire())/n,
		"Bytes on the wire both ways between the first message and the last, divided by messages received: without opening and closing.")
	s.figure(result.PacketsPerMessage, "packets per message", "", float64(spent.Up.Packets+spent.Down.Packets)/n,
		"Packets both ways between the first message and the last, acknowledgements too, divided by messages received.")
}

const latencyHow = "From when a message was due by the sender's schedule, not from when it could be sent, until it was received; both by the client's clock."

// say has each channel send messages at the plan's rate, the channels taking turns
// evenly.
func (s *session) say(ctx context.Context, channels []carry.Channel, span time.Duration) error {
	interval := time.Duration(float64(time.Second) / s.plan.Rate)
	n := max(1, int(span/interval))
	begin := time.Now().Add(interval)
	return each(len(channels), len(channels), func(i int) error {
		offset := interval * time.Duration(i) / time.Duration(len(channels))
		timer := time.NewTimer(0)
		defer timer.Stop()
		for k := range n {
			due := begin.Add(offset + time.Duration(k)*interval)
			timer.Reset(time.Until(due))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := channels[i].Send(ctx, s.ledger.message(due)); err != nil {
				return err
			}
		}
		return nil
	})
}

// trips is how often the round trips of an opening are measured.
const trips = 3

// roundTrips opens one channel on no connection, a few times.
func (s *session) roundTrips(ctx context.Context) error {
	var opened, answered []float64
	for range trips {
		if err := s.connect(); err != nil {
			return err
		}
		s.ledger = newLedger(s.plan.Size, 1)
		begin := time.Now()
		ch, err := s.open(ctx, 0, nil)
		if err != nil {
			return err
		}
		opened = append(opened, milliseconds(time.Since(begin)))
		if err := ch.Send(ctx, s.ledger.message(begin)); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		answered = append(answered, s.ledger.latencies...)
		if err := s.closeAll(ctx, []carry.Channel{ch}); err != nil {
			return err
		}
		s.client.Close()
		s.closing.Store(false)
	}
	s.ledger = newLedger(s.plan.Size, 1)
	rtt := milliseconds(s.plan.Link.RTT)
	if s.plan.Link.Loss == 0 {
		s.figures(result.OpenRoundTrips, "round trips to an open socket", "RTT", opened, rtt,
			"Time to open one socket on no connection, DNS apart, divided by the network's round trip time; median of three.")
		s.figures(result.FirstRoundTrips, "round trips to the first answer", "RTT", answered, rtt,
			"Time to the first message's answer on no connection, divided by the network's round trip time; median of three.")
	}
	s.distribute(result.TimeToOpen, "time to open", "The client's clock, one socket on no connection, three times.", opened)
	s.distribute(result.TimeToFirst, "time to first answer", "The client's clock, from wanting the socket until its first message was back, three times.", answered)
	return nil
}

// figures adds a figure that was obtained more than once: the values are divided by
// a unit.
func (s *session) figures(key, name, unit string, values []float64, by float64, how string) {
	var list []float64
	for _, v := range values {
		list = append(list, v/by)
	}
	s.run.Figures = append(s.run.Figures, result.Figure{Key: key, Name: name, Unit: unit, Value: median(list), How: how, Each: list})
}
