package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// patient are limits that a machine with much else to do does not pass: this
// test is about what arrives, not when.
var patient = websocket.Limits{CloseTimeout: drainTime, PingInterval: -1, WriteStall: drainTime, Handshake: drainTime}

// drainTime bounds each step of a drain.
const drainTime = 2 * time.Minute

// A guest is one socket of a drain test. Each end counts what it has read, and what
// a Write of its has accepted.
type guest struct {
	client           *websocket.Conn
	asked, heard     int          // by the client: written, read
	served, answered atomic.Int64 // by the server: read, written
	ended            error        // how the client's reading ended
}

// C14, and the drain test: many sockets on every bootstrap that are talking
// in both directions when the server is shut down. Every client sees 1001, no
// message that a Write on either side has accepted is lost, and nothing is left
// running.
func TestC14DrainOfManySocketsInMidTraffic(t *testing.T) {
	each := 1000
	if raceEnabled || testing.Short() {
		each = 100
		t.Logf("%d sockets for each bootstrap: the race detector takes ten times the memory and the time", each)
	}
	wstest.NoLeaks(t)
	var guests sync.Map // by name
	var handlers atomic.Int64
	s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Add(-1)
		found, ok := guests.Load(r.URL.Query().Get("guest"))
		c, err := negotiate.Accept(w, r, &websocket.AcceptOptions{Limits: patient})
		if !assert.NoError(t, err) || !assert.True(t, ok) {
			return
		}
		found.(*guest).serve(t, c)
	}), true, func(s *negotiate.Server) {
		s.HTTP2 = &h2connect.Server{Limits: patientHTTP2}
		s.HTTP3 = &h3connect.Server{QUICConfig: patientQUIC()}
	})
	all := s.invite(t, &guests, each)

	var talking sync.WaitGroup
	var spoken atomic.Int64
	enough := make(chan struct{})
	for _, g := range all {
		talking.Go(func() { g.talk(t, &spoken, int64(2*len(all)), enough) })
	}
	<-enough
	require.EqualValues(t, 3*each, handlers.Load())
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	start := time.Now()
	require.NoError(t, s.Shutdown(ctx))
	t.Logf("%d sockets were drained in %v, after %d messages", len(all), time.Since(start), spoken.Load())
	assert.Zero(t, handlers.Load(), "handlers that still run")
	talking.Wait()
	for _, g := range all {
		g.check(t)
	}
}

var patientHTTP2 = h2connect.Limits{
	Preface: drainTime, FirstSettings: drainTime, SettingsAck: drainTime, WriteStall: drainTime,
	DrainPing: drainTime, ReadIdle: -1, Linger: 50 * time.Millisecond,
}

func patientQUIC() *quic.Config {
	return &quic.Config{HandshakeIdleTimeout: drainTime, MaxIdleTimeout: drainTime}
}

// invite opens sockets over every bootstrap.
func (s *negotiatedServer) invite(t *testing.T, guests *sync.Map, each int) []*guest {
	t.Helper()
	var opening sync.WaitGroup
	slots := make(chan struct{}, 32) // handshakes at the same time
	var all []*guest
	for _, b := range bootstraps(true) {
		d := patientDialer(t, b)
		for i := range each {
			g, name := new(guest), fmt.Sprint(b, "-", i)
			guests.Store(name, g)
			all = append(all, g)
			slots <- struct{}{}
			opening.Go(func() {
				defer func() { <-slots }()
				c, _, err := d.Dial(context.Background(), s.url(b)+"?guest="+name, &websocket.DialOptions{Limits: patient})
				if assert.NoError(t, err) && assert.Equal(t, b, c.Bootstrap()) {
					g.client = c
				}
			})
		}
	}
	opening.Wait()
	require.False(t, t.Failed())
	return all
}

func patientDialer(t *testing.T, b websocket.Bootstrap) *negotiate.Dialer {
	_, config := wstest.Certificates()
	h3 := &h3connect.Transport{TLSClientConfig: config, QUICConfig: patientQUIC()}
	d := &negotiate.Dialer{TLSClientConfig: config, HTTP3: h3, Policy: negotiate.Only(b), HTTP2Limits: patientHTTP2}
	t.Cleanup(func() {
		d.CloseIdleConnections()
		assert.NoError(t, h3.Close())
	})
	return d
}

// serve answers messages with their numbers. When it may not write any more it goes
// on reading: that is how a handler loses nothing.
func (g *guest) serve(t *testing.T, c *websocket.Conn) {
	ctx := context.Background()
	for {
		_, p, err := c.Read(ctx)
		if err != nil {
			var ce *websocket.CloseError
			if assert.ErrorAs(t, err, &ce) {
				assert.Equal(t, websocket.StatusGoingAway, ce.Code, "%v", err)
			}
			return
		}
		if assert.Equal(t, strconv.FormatInt(g.served.Load(), 10), string(p), "in order") {
			g.served.Add(1)
		}
		if c.Write(ctx, websocket.MessageText, p) == nil {
			g.answered.Add(1)
		}
	}
}

// talk writes messages, a few ahead of their answers, until the socket ends. It
// counts answers in spoken and closes enough with the one that makes them many.
func (g *guest) talk(t *testing.T, spoken *atomic.Int64, many int64, enough chan<- struct{}) {
	ctx := context.Background()
	ahead := make(chan struct{}, 4)
	ended := make(chan struct{})
	go func() { // ends with the socket
		defer close(ended)
		for {
			_, p, err := g.client.Read(ctx)
			if err != nil {
				g.ended = err
				return
			}
			assert.Equal(t, strconv.Itoa(g.heard), string(p), "in order")
			g.heard++
			if spoken.Add(1) == many {
				close(enough)
			}
			<-ahead
		}
	}()
	defer func() { <-ended }()
	for {
		select {
		case ahead <- struct{}{}:
		case <-ended:
			return
		}
		if g.client.Write(ctx, websocket.MessageText, strconv.AppendInt(nil, int64(g.asked), 10)) != nil {
			return
		}
		g.asked++
	}
}

// check wants everything to have arrived, and a goodbye.
func (g *guest) check(t *testing.T) {
	b := g.client.Bootstrap()
	assert.EqualValues(t, g.asked, g.served.Load(), "%v: what the client wrote, the server has read", b)
	assert.EqualValues(t, g.heard, g.answered.Load(), "%v: what the server wrote, the client has read", b)
	var ce *websocket.CloseError
	if assert.ErrorAs(t, g.ended, &ce) {
		assert.Equal(t, websocket.StatusGoingAway, ce.Code, "%v: %v", b, g.ended)
		assert.True(t, ce.Remote)
	}
}
