package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/interop/compare/carry"
	"github.com/wsmux/websocket/interop/compare/meter"
	"github.com/wsmux/websocket/interop/compare/network"
	"github.com/wsmux/websocket/interop/compare/result"
)

// A session is a run in progress, in the client's process.
type session struct {
	plan    plan
	control *control
	base    *url.URL
	linked  bool // this process is at an end of a link
	roots   *x509.CertPool
	client  *carry.Client
	ledger  *ledger
	closing atomic.Bool
	lost    atomic.Int64
	run     result.Run
}

// patience is how long what is not measured may take.
const patience = 30 * time.Second

// clientTask is a client process: it does a plan and says what it found.
func clientTask(t task, control *control) error {
	cert, err := x509.ParseCertificate(t.Cert)
	if err != nil {
		return err
	}
	base, err := url.Parse(t.Base)
	if err != nil {
		return err
	}
	s := &session{plan: t.Plan, control: control, base: base, linked: t.Link != nil, roots: x509.NewCertPool()}
	s.roots.AddCert(cert)
	ctx, cancel := context.WithTimeout(context.Background(), t.Plan.Time+2*patience)
	defer cancel()
	if err := s.measure(ctx); err != nil {
		return control.out.Encode(event{Err: err.Error()})
	}
	return control.out.Encode(event{Run: &s.run})
}

// measure does the plan.
func (s *session) measure(ctx context.Context) error {
	p := s.plan
	s.run = result.Run{Transport: p.Transport, Parameters: p.parameters(), Figures: []result.Figure{}, Distributions: []result.Distribution{}}
	receivers := 1
	if p.Scenario == 2 {
		receivers = p.Sockets
	}
	s.ledger = newLedger(p.Size, receivers)
	if p.Scenario == 7 {
		if err := s.roundTrips(ctx); err != nil {
			return err
		}
	}
	before, err := s.control.ask(askUsage)
	if err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	switch p.Scenario {
	case 1:
		err = s.page(ctx)
	case 2, 3, 7:
		err = s.talk(ctx)
	case 4:
		err = s.idle(ctx)
	case 5:
		err = s.bulk(ctx)
	case 6:
		before, err = s.storm(ctx)
	default:
		err = fmt.Errorf("no scenario has the number %d", p.Scenario)
	}
	s.closing.Store(true)
	s.client.Close()
	if err != nil {
		return err
	}
	after, err := s.control.ask(askUsage)
	if err != nil {
		return err
	}
	s.conclude(before, after)
	return nil
}

// connect gives the session a new client, without connections.
func (s *session) connect() (err error) {
	s.client, err = carry.NewClient(s.plan.Transport, s.base, s.roots)
	if err == nil && s.linked {
		s.client.Meter().Control = network.SetCongestion
	}
	return err
}

// conclude fills in what all runs have in common, when everything is closed.
func (s *session) conclude(before, after usage) {
	r := &s.run
	total := s.client.Meter().Now()
	up, down := s.client.Tallies()
	r.Bytes = &result.Bytes{Up: direction(total.Up, up), Down: direction(total.Down, down), How: bytesHow(s.plan.Transport)}
	r.Messages = s.ledger.messages()
	r.Problem = s.ledger.problem()
	r.SocketsLost = int(s.lost.Load())
	r.Connections.Client += total.Connections
	r.Handshakes.Client += total.Handshakes
	r.Connections.Server += after.Connections - before.Connections
	r.Handshakes.Server += after.Handshakes - before.Handshakes
	switch {
	case r.Problem != "":
	case r.SocketsLost > 0:
		r.Problem = fmt.Sprintf("%d sockets were lost", r.SocketsLost)
	case !s.agreed(r.Connections):
		r.Problem = fmt.Sprintf("the client opened %d connections, and the server accepted %d", r.Connections.Client, r.Connections.Server)
	case !s.agreed(r.Handshakes):
		r.Problem = fmt.Sprintf("the client made %d TLS handshakes, and the server %d", r.Handshakes.Client, r.Handshakes.Server)
	case total.HTTP2 && s.everythingRead() && (total.Up.Data != up.Payload+up.Framing || total.Down.Data != down.Payload+down.Framing):
		r.Problem = fmt.Sprintf("DATA frames held %d and %d bytes, and the channels know of %d and %d",
			total.Up.Data, total.Down.Data, up.Payload+up.Framing, down.Payload+down.Framing)
	}
}

// agreed reports whether both ends counted the same. A client that comes back as
// the old server goes may have opened what that server never took, or cut before
// it had the last of the handshake.
func (s *session) agreed(c result.Count) bool {
	return c.Client == c.Server || s.plan.Scenario == 6 && c.Client > c.Server
}

// everythingRead says that nothing may have been on its way when the run ended, as
// heartbeats, the rest of a download, or what a server that goes had to say.
func (s *session) everythingRead() bool {
	n := s.plan.Scenario
	return n != 4 && n != 5 && n != 6
}

// direction splits what went one way.
func direction(f meter.Flow, t carry.Tally) result.Direction {
	return result.Direction{
		Payload:  t.Payload,
		Framing:  t.Framing,
		HTTP:     f.Plain - t.Payload - t.Framing,
		Security: f.Sealed - f.Plain,
		Network:  f.Again + f.Headers,
		Total:    f.Wire(),
		Packets:  f.Packets,
	}
}

// open opens channel number i of the session's client, and notes its time.
func (s *session) open(ctx context.Context, i int, change func(o *carry.Options)) (carry.Channel, error) {
	o := carry.Options{
		Name:     fmt.Sprint("c", i),
		Received: func(p []byte) { s.ledger.enter(p, i) },
		Ended: func(error) {
			if !s.closing.Load() {
				s.lost.Add(1)
			}
		},
	}
	if s.ledger.receivers == 1 {
		o.Received = func(p []byte) { s.ledger.enter(p, 0) }
	}
	if change != nil {
		change(&o)
	}
	return s.client.Open(ctx, o)
}

// opening is how many channels are opened at the same time where that is not what
// is measured.
const opening = 32

// openAll opens the plan's channels.
func (s *session) openAll(ctx context.Context, change func(o *carry.Options)) ([]carry.Channel, error) {
	channels := make([]carry.Channel, s.plan.Sockets)
	err := each(len(channels), opening, func(i int) (err error) {
		channels[i], err = s.open(ctx, i, change)
		return err
	})
	return channels, err
}

// closeAll closes channels.
func (s *session) closeAll(ctx context.Context, channels []carry.Channel) error {
	s.closing.Store(true)
	return each(len(channels), opening, func(i int) error {
		if channels[i] == nil {
			return nil
		}
		return channels[i].Close(ctx)
	})
}

// each calls f with the numbers below n, at most width calls at a time, and returns
// their errors joined.
func each(n, width int, f func(i int) error) error {
	var (
		wg   sync.WaitGroup
		next atomic.Int64
		errs = make([]error, n)
	)
	for range min(n, width) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *session) figure(key, name, unit string, value float64, how string) {
	s.run.Figures = append(s.run.Figures, result.Figure{Key: key, Name: name, Unit: unit, Value: value, How: how})
}

// cpu adds the server's time, divided by n, as far as the system tells.
func (s *session) cpu(key, name string, before, after usage, n float64, how string) {
	if after.CPU > 0 {
		s.figure(key, name, "µs", microseconds(after.CPU-before.CPU)/n, how)
	}
}

func (s *session) distribute(key, name, how string, values []float64) {
	s.run.Distributions = append(s.run.Distributions, distribution(key, name, how, values)...)
}

// settle waits for the messages that are under way.
func (s *session) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.ledger.settle(ctx)
}
