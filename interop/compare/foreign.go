package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/wsmux/websocket/interop/compare/carry"
	"github.com/wsmux/websocket/interop/compare/result"
)

// foreignPatience is how long a foreign server may take to open a socket or to echo.
const foreignPatience = 10 * time.Second

// atURL reports whether a scenario is measured at a foreign server.
func (s scenario) atURL() bool { return s.number == 1 || s.number == 3 }

// foreign compares against a server that is not the tool's: which transports of
// WebSocket it has at the URL, and, if it echoes there, scenarios 1 and 3 as far as
// one end can see, with what list has of both. Its certificate is verified with the
// system's roots.
func foreign(ctx context.Context, at *url.URL, list []scenario, quick bool, r *result.Report) {
	r.Target = &result.Target{URL: at.String()}
	page := result.Scenario{
		Number: 1, Name: "a page with sockets", Asks: "What do sockets to this server open, and what does that cost?",
		How:     "All sockets begin at the same moment, on no connection; each sends one message, and the server is to echo it. What the server sees and spends is not known.",
		Network: result.Network{Kind: result.Foreign, Detail: "whatever leads to " + at.Host},
		Runs:    []result.Run{},
	}
	echoes := result.Scenario{
		Number: 3, Name: "small messages both ways", Asks: "How late are small messages that this server echoes?",
		How:     "Each of 10 sockets sends 20 messages a second by a schedule.",
		Network: page.Network, Runs: []result.Run{},
	}
	wanted := func(number int) bool {
		return slices.ContainsFunc(list, func(s scenario) bool { return s.number == number })
	}
	for _, t := range transports {
		if !slices.ContainsFunc(list[0].plans, func(p plan) bool { return p.Transport == t.ID }) {
			continue
		}
		if t.ID != result.WebSocketH1 && t.ID != result.WebSocketH2 && t.ID != result.WebSocketH3 {
			r.Target.Supports = append(r.Target.Supports, result.Support{Transport: t.ID, Detail: "not asked: event streams and polls have no common form that a foreign server could be asked for"})
			continue
		}
		progress("%s at %s", t.Name, at.Host)
		supported, echoing, detail := ask(ctx, t.ID, at)
		r.Target.Supports = append(r.Target.Supports, result.Support{Transport: t.ID, Supported: supported, Detail: detail})
		if ctx.Err() != nil {
			break
		}
		if !echoing {
			skip := result.Skip{What: t.ID, Reason: detail}
			page.Skipped, echoes.Skipped = append(page.Skipped, skip), append(echoes.Skipped, skip)
			continue
		}
		span := 2 * time.Second
		if !quick {
			span = 5 * time.Second
		}
		for _, run := range []struct {
			s    *result.Scenario
			plan plan
		}{
			{&page, plan{Scenario: 1, Transport: t.ID, Sockets: 6, Size: 64}},
			{&echoes, plan{Scenario: 3, Transport: t.ID, Sockets: 10, Rate: 20, Size: 64, Time: span}},
		} {
			if !wanted(run.plan.Scenario) {
				continue
			}
			found, err := measureForeign(ctx, run.plan, at)
			switch {
			case err != nil:
				r.Problems = append(r.Problems, fmt.Sprintf("%v: %v", run.plan, err))
				run.s.Skipped = append(run.s.Skipped, result.Skip{What: t.ID, Reason: err.Error()})
			default:
				if found.Problem != "" {
					r.Problems = append(r.Problems, fmt.Sprintf("%v: %s", run.plan, found.Problem))
				}
				run.s.Runs = append(run.s.Runs, *found)
			}
		}
	}
	for _, s := range []result.Scenario{page, echoes} {
		if wanted(s.Number) {
			r.Scenarios = append(r.Scenarios, s)
		}
	}
	if ctx.Err() != nil {
		r.Problems = append(r.Problems, "the comparison was interrupted")
	}
	r.Complete = len(r.Problems) == 0
}

// ask opens one socket and sends a message, to learn whether the server has the
// transport, and whether it echoes.
func ask(ctx context.Context, transport string, at *url.URL) (supported, echoes bool, detail string) {
	ctx, cancel := context.WithTimeout(ctx, foreignPatience)
	defer cancel()
	c, err := carry.NewClient(transport, at, nil)
	if err != nil {
		return false, false, err.Error()
	}
	defer c.Close()
	question := rand.Text()
	answers := make(chan string, 16)
	ch, err := c.Open(ctx, carry.Options{
		Received: func(p []byte) {
			select {
			case answers <- string(p):
			default:
			}
		},
		Ended: func(error) {},
	})
	if err != nil {
		return false, false, err.Error()
	}
	defer ch.Close(ctx)
	if err := ch.Send(ctx, []byte(question)); err != nil {
		return true, false, "a socket opens, but takes no message: " + err.Error()
	}
	for {
		select {
		case a := <-answers: // a server may greet before it echoes
			if a == question {
				return true, true, "a socket opens, and messages are echoed"
			}
		case <-ctx.Done():
			return true, false, "a socket opens, but a message was not echoed"
		}
	}
}

// measureForeign does one run, in this process, as there is no server's to be kept
// apart from.
func measureForeign(ctx context.Context, p plan, at *url.URL) (*result.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Time+patience)
	defer cancel()
	s := &session{plan: p, ledger: newLedger(p.Size, 1)}
	s.run = result.Run{Transport: p.Transport, Parameters: p.parameters(), Figures: []result.Figure{}, Distributions: []result.Distribution{}}
	var err error
	if s.client, err = carry.NewClient(p.Transport, at, nil); err != nil {
		return nil, err
	}
	if p.Scenario == 1 {
		err = s.foreignPage(ctx)
	} else {
		err = s.foreignEchoes(ctx)
	}
	s.closing.Store(true)
	s.client.Close()
	if err != nil {
		return nil, err
	}
	total := s.client.Meter().Now()
	up, down := s.client.Tallies()
	r := &s.run
	r.Bytes = &result.Bytes{Up: direction(total.Up, up), Down: direction(total.Down, down), How: bytesHow(p.Transport)}
	r.Messages, r.Problem, r.SocketsLost = s.ledger.messages(), s.ledger.problem(), int(s.lost.Load())
	r.Connections = result.Count{Client: total.Connections, Server: -1}
	r.Handshakes = result.Count{Client: total.Handshakes, Server: -1}
	return r, nil
}

// atURL opens a socket at the URL itself, and lets the server greet.
func (s *session) atURL(o *carry.Options) {
	o.Name = ""
	o.Received = func(p []byte) {
		if len(p) == s.ledger.size {
			s.ledger.enter(p, 0)
		}
	}
}

func (s *session) foreignPage(ctx context.Context) error {
	channels := make([]carry.Channel, s.plan.Sockets)
	opened := make([]float64, len(channels))
	begin := time.Now()
	err := each(len(channels), len(channels), func(i int) (err error) {
		if channels[i], err = s.open(ctx, i, s.atURL); err != nil {
			return err
		}
		opened[i] = milliseconds(time.Since(begin))
		return channels[i].Send(ctx, s.ledger.message(begin))
	})
	if err == nil {
		err = s.settle(ctx)
	}
	if err != nil {
		return err
	}
	s.figure(result.TimeToComplete, "time until all is done", "ms", milliseconds(time.Since(begin)),
		"The client's clock, from the beginning until every socket has its message back.")
	s.distribute(result.TimeToOpen, "time to open", "The client's clock, from the beginning until the server's acceptance was there, DNS included.", opened)
	s.distribute(result.TimeToFirst, "time to first answer", "The client's clock, from the beginning until the first message was back.", s.ledger.latencies)
	return s.closeAll(ctx, channels)
}

func (s *session) foreignEchoes(ctx context.Context) error {
	channels, err := s.openAll(ctx, s.atURL)
	if err != nil {
		return err
	}
	wire := s.client.Meter().Now()
	if err := s.say(ctx, channels, s.plan.Time); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.wireFigures(s.client.Meter().Now().Since(wire))
	s.distribute(result.MessageLatency, "message latency", latencyHow, s.ledger.latencies)
	return s.closeAll(ctx, channels)
}
