package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/negotiate"
)

// A plan says how much the self-check does for each bootstrap.
type plan struct {
	sockets  int
	messages int // on each socket
	requests int
}

const (
	// requesters is how many requests are under way at a time: as many as an
	// http.Transport keeps HTTP/1.1 connections for, so that none is opened and
	// closed for a single request.
	requesters = http.DefaultMaxIdleConnsPerHost

	// dialPatience is how long opening a socket may take, and checkPatience the
	// check of one bootstrap.
	dialPatience  = 5 * time.Second
	checkPatience = time.Minute
)

// bootstraps are what is checked, in this order.
var bootstraps = [...]websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3}

// A checker checks a server by the library's own client.
type checker struct {
	server   *server
	cert     *certificate
	plan     plan
	progress *progress
}

// check checks the three bootstraps one after the other.
func (c *checker) check(ctx context.Context) *report {
	r := &report{URL: "https://" + c.server.host() + "/", OK: true}
	for _, b := range bootstraps {
		t := newTrial(c, b)
		// Not before the end: a socket's stream may take a little longer to end
		// than Close, and until then its connection is not idle.
		defer t.release()
		row := t.check(ctx)
		r.Rows = append(r.Rows, row)
		r.OK = r.OK && row.OK
	}
	return r
}

// A trial is the check of one bootstrap.
type trial struct {
	*checker
	bootstrap  websocket.Bootstrap
	serverName string // tells the server's census this trial's connections from others
	dialer     *negotiate.Dialer
	quic       *h3connect.Transport
	sockets    []*socket

	mu         sync.Mutex
	requestsBy []string // the connections that carried the requests
}

// A socket is one of a trial's sockets and what came of it. It belongs to one
// goroutine at a time.
type socket struct {
	number     int
	compress   bool
	conn       *websocket.Conn
	connection string // by the server's word
	opening    time.Duration
	roundTrips []time.Duration // of small messages
	messages   int
	bytes      int64
}

// newTrial makes a client of its own for the bootstrap, so that nothing is left
// of the one before. Its TLS server name is its own too: that is how the census
// knows its handshakes.
func newTrial(c *checker, b websocket.Bootstrap) *trial {
	t := &trial{checker: c, bootstrap: b, serverName: fmt.Sprintf("http%d.localhost", b)}
	config := &tls.Config{RootCAs: c.cert.roots, ServerName: t.serverName}
	t.quic = &h3connect.Transport{TLSClientConfig: config}
	t.dialer = &negotiate.Dialer{
		TLSClientConfig: config,
		HTTP3:           t.quic,
		Policy:          negotiate.Only(b),
	}
	for i := range c.plan.sockets {
		t.sockets = append(t.sockets, &socket{number: i, compress: i%2 == 1})
	}
	return t
}

// check runs the trial and sums it up.
func (t *trial) check(ctx context.Context) row {
	t.progress.begin(t.bootstrap.String(), t.plan)
	defer t.progress.end()
	if t.bootstrap == websocket.HTTP3 && t.server.noUDP != nil {
		return t.row(fmt.Errorf("not served, because there is no UDP port %d to be had (%w).\n"+
			"Choose another with -addr 127.0.0.1:0", t.server.addr.Port, t.server.noUDP))
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	return t.row(t.run(ctx))
}

// release closes the trial's connections.
func (t *trial) release() {
	for _, s := range t.sockets {
		if s.conn != nil {
			s.conn.CloseNow()
		}
	}
	t.dialer.CloseIdleConnections()
	_ = t.quic.Close()
}

// run opens all sockets at once, then sends messages on all of them while
// ordinary requests go through the same client, and closes them.
func (t *trial) run(ctx context.Context) error {
	if err := t.each(ctx, t.open); err != nil {
		return t.explain(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beside sync.WaitGroup
	beside.Go(func() {
		if err := t.request(ctx); err != nil {
			cancel(err)
		}
	})
	err := t.each(ctx, t.converse)
	if err != nil {
		cancel(err)
	}
	beside.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return t.each(ctx, func(ctx context.Context, s *socket) error {
		if err := s.conn.Close(ctx, websocket.StatusNormalClosure, "checked"); err != nil {
			return fmt.Errorf("close socket %d: %w", s.number, err)
		}
		return nil
	})
}

// each calls f for all sockets at the same time. The first error ends the
// others' context and is returned.
func (t *trial) each(ctx context.Context, f func(context.Context, *socket) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, s := range t.sockets {
		all.Go(func() {
			if err := f(ctx, s); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// open opens a socket and reads its first message, in which the server says by
// which connection it came.
func (t *trial) open(ctx context.Context, s *socket) error {
	o := &websocket.DialOptions{Limits: websocket.Limits{Handshake: dialPatience}}
	if s.compress {
		o.Compression = &websocket.Compression{}
	}
	start := time.Now()
	conn, resp, err := t.dialer.Dial(ctx, "wss://"+t.server.host()+"/echo", o)
	if err != nil {
		return fmt.Errorf("open socket %d: %w", s.number, err)
	}
	s.opening, s.conn = time.Since(start), conn
	if conn.Bootstrap() != t.bootstrap {
		return fmt.Errorf("socket %d came by %v", s.number, conn.Bootstrap())
	}
	if s.compress != (resp.Header.Get("Sec-WebSocket-Extensions") != "") {
		return fmt.Errorf("socket %d: compression offered: %t, agreed: %t", s.number, s.compress, !s.compress)
	}
	var at whereabouts
	if err := conn.ReadJSON(ctx, &at); err != nil {
		return fmt.Errorf("socket %d, first message: %w", s.number, err)
	}
	if at.Protocol != t.bootstrap.String() || at.Connection == "" {
		return fmt.Errorf("socket %d: the server saw %q on connection %q", s.number, at.Protocol, at.Connection)
	}
	s.connection = at.Connection
	t.progress.opened.Add(1)
	return nil
}

// converse sends messages and compares what comes back.
func (t *trial) converse(ctx context.Context, s *socket) error {
	var buf []byte
	for i := range t.plan.messages {
		kind, sent := payload(s.number, i)
		start := time.Now()
		if err := s.conn.Write(ctx, kind, sent); err != nil {
			return fmt.Errorf("socket %d, message %d: %w", s.number, i, err)
		}
		back, got, err := s.conn.ReadInto(ctx, buf)
		if err != nil {
			return fmt.Errorf("socket %d, message %d: %w", s.number, i, err)
		}
		took := time.Since(start)
		if back.String() != kind.String() || !bytes.Equal(got, sent) {
			return fmt.Errorf("socket %d, message %d: %d bytes of %v data came back as %d bytes of %v data, or changed",
				s.number, i, len(sent), kind, len(got), back)
		}
		if len(sent) <= smallMessage {
			s.roundTrips = append(s.roundTrips, took)
		}
		s.messages++
		s.bytes += int64(len(sent))
		t.progress.echoed.Add(1)
		buf = got
	}
	return nil
}

// request sends the ordinary requests, a few at a time.
func (t *trial) request(ctx context.Context) error {
	client := &http.Client{Transport: t.dialer, Timeout: checkPatience}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan int)
	var all sync.WaitGroup
	for range min(requesters, t.plan.requests) {
		all.Go(func() {
			for i := range work {
				if err := t.get(ctx, client, i); err != nil {
					cancel(fmt.Errorf("request %d: %w", i, err))
				}
			}
		})
	}
	for i := range t.plan.requests {
		work <- i
	}
	close(work)
	all.Wait()
	return context.Cause(ctx)
}

// get sends one request, for the page's script or for the connection's name in
// turn, and checks the answer.
func (t *trial) get(ctx context.Context, client *http.Client, i int) error {
	path := [...]string{"/page/page.js", "/whoami"}[i%2]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+t.server.host()+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	by := resp.Header.Get(connectionHeader)
	if resp.StatusCode != http.StatusOK || by == "" || resp.ProtoMajor != int(t.bootstrap) {
		return fmt.Errorf("%s over %s on connection %q", resp.Status, resp.Proto, by)
	}
	if err := t.checkBody(path, body, by); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requestsBy = append(t.requestsBy, by)
	t.progress.answered.Add(1)
	return nil
}

func (t *trial) checkBody(path string, body []byte, by string) error {
	if path == "/whoami" {
		var at whereabouts
		if err := json.Unmarshal(body, &at); err != nil {
			return err
		}
		if want := (whereabouts{Protocol: t.bootstrap.String(), Connection: by}); at != want {
			return fmt.Errorf("%s says %+v instead of %+v", path, at, want)
		}
		return nil
	}
	want, err := page.ReadFile(path[1:])
	if err != nil {
		return err
	}
	if !bytes.Equal(body, want) {
		return fmt.Errorf("%s came with %d bytes instead of %d, or changed", path, len(body), len(want))
	}
	return nil
}

// row sums up. failed is what ended the trial early, if anything did.
func (t *trial) row(failed error) row {
	r := row{Bootstrap: t.bootstrap.String(), Requests: len(t.requestsBy)}
	var opening, roundTrips []time.Duration
	var by []string // the sockets' connections
	for _, s := range t.sockets {
		if s.connection == "" {
			continue
		}
		r.Sockets++
		by = append(by, s.connection)
		opening = append(opening, s.opening)
		roundTrips = append(roundTrips, s.roundTrips...)
		r.Messages += s.messages
		r.Bytes += s.bytes
		stats := s.conn.Stats()
		r.Deflated += stats.DeflatedWritten
		r.OnTheWire += stats.CompressedWritten
	}
	for _, id := range t.requestsBy {
		if slices.Contains(by, id) {
			r.SharedRequests++
		}
	}
	r.Connections, r.Handshakes = t.server.census.tally(t.serverName)
	r.OpenMedian = quantile(opening, 0.5)
	r.RoundTripMedian = quantile(roundTrips, 0.5)
	r.RoundTripP99 = quantile(roundTrips, 0.99)
	if failed == nil {
		failed = r.verdict(by, t.plan)
	}
	if failed != nil {
		r.Problem = failed.Error()
	}
	r.OK = failed == nil
	return r
}

// verdict says what is missing, or not shared as it must be. by names each
// socket's connection.
func (r row) verdict(by []string, p plan) error {
	distinct := len(slices.Compact(slices.Sorted(slices.Values(by))))
	switch {
	case r.Sockets != p.sockets || r.Messages != p.sockets*p.messages || r.Requests != p.requests:
		return fmt.Errorf("%d of %d sockets, %d of %d messages, and %d of %d requests were verified",
			r.Sockets, p.sockets, r.Messages, p.sockets*p.messages, r.Requests, p.requests)
	case r.Handshakes != r.Connections:
		return fmt.Errorf("%d handshakes on %d connections", r.Handshakes, r.Connections)
	case r.Bootstrap == websocket.HTTP1.String():
		if distinct != r.Sockets || r.SharedRequests != 0 {
			return errors.New("a socket shared its connection, which HTTP/1.1 does not allow")
		}
		return nil
	case r.Connections != 1 || distinct != 1 || r.SharedRequests != r.Requests:
		return fmt.Errorf("%d sockets on %d connections, %d of %d requests beside them, %d connections in all: they must share one",
			r.Sockets, distinct, r.SharedRequests, r.Requests, r.Connections)
	}
	return nil
}

// explain adds to an error of opening what may be behind it.
func (t *trial) explain(err error) error {
	if t.bootstrap == websocket.HTTP3 {
		if _, handshakes := t.server.census.tally(t.serverName); handshakes == 0 {
			return fmt.Errorf("no packet came through: something blocks UDP to %s, perhaps a firewall (%w)", t.server.host(), err)
		}
	}
	return err
}
