package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/child"
)

// A coordinator does runs, each with a server and a client process of its own.
type coordinator struct {
	cert, key []byte // DER
	imitate   string // why links are imitated, "" if they are not
	progress  func(format string, args ...any)
}

// serverIP is the server's address at its end of a link, clientIP the client's.
var (
	serverIP = net.IPv4(10, 77, 0, 2)
	clientIP = net.IPv4(10, 77, 0, 1)
)

// newCoordinator makes a certificate for one comparison. Its key is handed to the
// server processes and kept nowhere else.
func newCoordinator(progress func(format string, args ...any)) (*coordinator, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "compare"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), serverIP},
	}
	c := &coordinator{progress: progress}
	if c.cert, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key); err != nil {
		return nil, err
	}
	c.key, err = x509.MarshalECPrivateKey(key)
	return c, err
}

// compare does the scenarios' runs and fills in the report, until ctx ends.
func (c *coordinator) compare(ctx context.Context, list []scenario, r *result.Report) {
	for _, s := range list {
		out := result.Scenario{
			Number: s.number, Name: s.name, Asks: s.asks, How: s.how,
			Network: result.Network{Kind: result.Loopback, Detail: "127.0.0.1"},
			Runs:    []result.Run{},
		}
		width := 1
		if s.plans[0].Link.shaped() {
			c.probe(ctx)
			out.Network = c.describe(s.plans[0].Link)
			// These runs wait for the network most of the time, each for its own.
			width = shapedAtOnce
			out.How += fmt.Sprintf(" Up to %d runs go on at the same time, each with a network of its own.", width)
		}
		if s.rounds > 1 {
			out.How += fmt.Sprintf(" All of it is done %d times.", s.rounds)
		}
		t := newTally(s)
		_ = each(len(s.plans)*s.rounds, width, func(i int) error { // what failed is noted
			round, i := i/len(s.plans), i%len(s.plans)
			if ctx.Err() == nil {
				c.progress("scenario %d, %s: %s (%d of %d)", s.number, s.name, s.plans[i].Transport, round*len(s.plans)+i+1, len(s.plans)*s.rounds)
				run, err := c.measure(ctx, s.plans[i])
				if ctx.Err() == nil {
					t.enter(i, run, err)
				}
			}
			return nil
		})
		t.conclude(&out, r)
		r.Scenarios = append(r.Scenarios, out)
	}
	if ctx.Err() != nil {
		r.Problems = append(r.Problems, "the comparison was interrupted")
	}
	r.Complete = len(r.Problems) == 0
}

// shapedAtOnce is how many runs over shaped networks go on at the same time.
const shapedAtOnce = 4

// measure does one run.
func (c *coordinator) measure(ctx context.Context, p plan) (*result.Run, error) {
	serving := task{Role: "server", Cert: c.cert, Key: c.key, Listen: "127.0.0.1:0"}
	asking := task{Role: "client", Cert: c.cert, Plan: p}
	start := func(t task) (*child.Process, error) { return spawn(ctx, t) }
	front := func(addr string) (string, error) { return addr, nil }
	if p.Link.shaped() {
		w := lay(p.Link, c.imitate != "")
		defer w.cut()
		w.at(&serving, &asking)
		start, front = func(t task) (*child.Process, error) { return w.spawn(ctx, t) }, w.front
	}
	server, at, err := startServer(start, serving)
	if err != nil {
		return nil, err
	}
	defer func() { server.End() }()
	host, err := front(at)
	if err != nil {
		return nil, err
	}
	asking.Base = (&url.URL{Scheme: "https", Host: host}).String()
	client, err := start(asking)
	if err != nil {
		return nil, err
	}
	defer client.End()
	for {
		var e event
		if err := client.Next(&e); err != nil {
			return nil, err
		}
		switch {
		case e.Err != "":
			return nil, errors.New(e.Err)
		case e.Run != nil:
			return e.Run, nil
		case e.Ask != nil && e.Ask.Do == askRestart:
			if err := server.Say(e.Ask); err != nil {
				return nil, err
			}
			server.End()
			serving.Listen = at
			next, _, err := startServer(start, serving)
			if err != nil {
				return nil, err
			}
			server = next
			e.Ask.Do = askUsage
		}
		var u json.RawMessage
		if err := server.Say(e.Ask); err != nil {
			return nil, err
		}
		if err := server.Next(&u); err != nil {
			return nil, err
		}
		if err := client.Say(u); err != nil {
			return nil, err
		}
	}
}

// startServer starts a server process and returns where it listens.
func startServer(start func(task) (*child.Process, error), t task) (*child.Process, string, error) {
	server, err := start(t)
	if err != nil {
		return nil, "", err
	}
	var r ready
	if err := server.Next(&r); err != nil {
		server.End()
		return nil, "", err
	}
	return server, r.Addr, nil
}
