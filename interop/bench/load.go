package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// A load is what a client does.
type load struct {
	Kind     kind
	Size     int           // payload bytes of a message
	Sockets  int           // that are active
	Idle     int           // sockets beside them that are not
	Conns    int           // connections to open, where they are shared; 0: one
	Rate     int           // messages per second over all sockets; 0: each sends when its answer is there
	Time     time.Duration // how long it is measured
	Deflate  bool          // permessage-deflate with context takeover, payload like JSON
	Compress bool          // permessage-deflate without context takeover
	Library  bool          // the client is this module's public API
	Bulk     int           // endless downloads beside the sockets
	Reading  reading       // how a neutral client reads; "": the client is another
	Apart    bool          // a neutral client's sockets have a connection of their own
	Together bool          // server and client share one processor, where the system can do that
	Separate bool          // server and client have one processor each, where it can
}

// A kind of load.
type kind string

const (
	echoing      kind = "echo"      // messages there and back
	opening      kind = "open"      // sockets opened one after the other
	idling       kind = "idle"      // sockets that do nothing
	broadcasting kind = "broadcast" // one message to all sockets
	holdingOn    kind = "hold"      // sockets that do nothing but answer a Ping
)

// figures are what one measurement found. Zero: it does not measure that.
type figures struct {
	Messages  float64       `json:",omitzero"` // that came back, per second; broadcast: that arrived; open: sockets
	Bytes     float64       `json:",omitzero"` // payload that came back, per second
	ServerCPU time.Duration `json:",omitzero"` // per message or socket
	ClientCPU time.Duration `json:",omitzero"` // likewise
	P50       time.Duration `json:",omitzero"` // round trip; broadcast: until the last socket has it
	P90       time.Duration `json:",omitzero"`
	P99       time.Duration `json:",omitzero"`
	Max       time.Duration `json:",omitzero"`
	Memory    float64       `json:",omitzero"` // server's resident bytes per idle socket
	Used      float64       `json:",omitzero"` // the same after each has echoed one message of 1 KiB
	Bulk      float64       `json:",omitzero"` // bytes per second of the downloads
	Alone     float64       `json:",omitzero"` // the same of slices in which there was no socket
	Kept      float64       `json:",omitzero"` // what a slice of Bulk is of the slices of Alone next to it, the median
	Allocs    float64       `json:",omitzero"` // the server's heap allocations per message or socket
	Wire      float64       `json:",omitzero"` // payload bytes of a compressed answer on the wire

	Processors int `json:",omitzero"` // that server and client shared, where they were to share one
	Own        int `json:",omitzero"` // processors that the server had, where it and the client were to have one each

	Count float64 // messages or sockets measured, by which CPU times are divided
}

// latency sets the quantiles of trips.
func (f *figures) latency(trips []time.Duration) {
	slices.Sort(trips)
	f.P50, f.P90, f.P99, f.Max = quantile(trips, 0.50), quantile(trips, 0.90), quantile(trips, 0.99), quantile(trips, 1)
}

// quantile returns the q-quantile of d, which is sorted.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

// complete adds what the server's usage tells.
func (f *figures) complete(l load, marks map[string]usage) figures {
	r := *f
	begin, end := marks[markBegin], marks[markEnd]
	switch {
	case l.Together:
		r.Processors = end.Processors
	case l.Separate:
		r.Own = end.Processors
	}
	if r.Count > 0 {
		r.ServerCPU = time.Duration(float64(end.CPU-begin.CPU) / r.Count)
		r.Allocs = float64(end.Allocs-begin.Allocs) / r.Count
	}
	if l.alternates() {
		r.ServerCPU, r.Allocs = 0, 0
	}
	if idle, ok := marks[markIdle]; ok && r.Count > 0 {
		empty := marks[markEmpty] // without it the whole process counts
		r.Memory = float64(idle.RSS-empty.RSS) / r.Count
		r.Used = float64(marks[markUsed].RSS-empty.RSS) / r.Count
		r.ServerCPU, r.Allocs = 0, 0
	}
	return r
}

// The marks.
const (
	markBegin = "begin"
	markEnd   = "end"
	markEmpty = memoryMark + " without sockets"
	markIdle  = memoryMark + " with idle sockets"
	markUsed  = memoryMark + " with sockets that were used"
)

// run puts the load on a server.
func (l load) run(ctx context.Context, c client, mark func(string) error) (figures, error) {
	l.Conns = max(l.Conns, 1)
	switch l.Kind {
	case echoing:
		if l.alternates() {
			return l.alternate(ctx, c, mark)
		}
		return l.echo(ctx, c, mark)
	case opening:
		return l.open(ctx, c, mark)
	case idling:
		return l.idle(ctx, c, mark)
	case broadcasting:
		return l.broadcast(ctx, c, mark)
	case holdingOn:
		return l.hold(ctx, c, mark)
	}
	return figures{}, fmt.Errorf("no such load: %q", l.Kind)
}

// A talker is one socket's part of a load.
type talker struct {
	socket  socket
	payload []byte   // what the next answer has to be
	varied  [][]byte // the messages to send in turn, if they are to differ
	answer  answered
	number  uint64 // in its first eight bytes
	sent    time.Time
	sample  uint64 // every so many round trips one is timed

	count atomic.Int64 // answers while measured
	busy  atomic.Bool  // an answer is awaited
	trips []time.Duration
}

// A crowd is the talkers of a load.
type crowd struct {
	talkers []*talker
	closed  bool // a talker sends when its answer is there
	phase   atomic.Int32
	waiting atomic.Int64  // talkers that await an answer
	quiet   chan struct{} // signalled when none does any more
	failed  chan error
}

// The phases of a crowd.
const (
	warmup int32 = iota
	measured
	ending
)

func (l load) newCrowd() *crowd {
	c := &crowd{talkers: make([]*talker, l.Sockets), closed: l.Rate == 0, quiet: make(chan struct{}, 1), failed: make(chan error, 1)}
	sample := uint64(1)
	if l.Sockets >= 100 && l.Size <= 1<<10 && l.Rate == 0 {
		sample = 16
	}
	for i := range c.talkers {
		c.talkers[i] = &talker{payload: payload(l, i), varied: varied(l, i), sample: sample}
	}
	return c
}

// payload makes a message for socket i, with room for its number in front.
func payload(l load, i int) []byte {
	if l.Deflate || l.Compress {
		return jsonLike(l.Size, i)
	}
	p := make([]byte, max(l.Size, 8))
	r := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	r.Read(p)
	return p
}

func (c *crowd) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// begin sends a message from a talker that awaits no answer.
func (c *crowd) begin(t *talker) {
	t.busy.Store(true)
	c.waiting.Add(1)
	c.send(t)
}

func (c *crowd) send(t *talker) {
	t.number++
	if len(t.varied) > 0 {
		t.payload = t.varied[t.number%uint64(len(t.varied))]
	}
	binary.LittleEndian.PutUint64(t.payload, t.number)
	if t.number%t.sample == 0 {
		t.sent = time.Now()
	}
	if err := t.socket.send(t.payload); err != nil {
		c.fail(fmt.Errorf("send: %w", err))
	}
}

// An answered is how much of a message has come.
type answered int

// take takes the next piece, and says whether it is what has to come.
func (a *answered) take(want, p []byte, last bool) bool {
	have := int(*a)
	if !bytes.HasPrefix(want[have:], p) || last && have+len(p) != len(want) {
		return false
	}
	if *a += answered(len(p)); last {
		*a = 0
	}
	return true
}

// errWrong ends a measurement.
var errWrong = errors.New("an answer is not what was sent")

// got takes a piece of an answer.
func (c *crowd) got(i int, p []byte, last bool) {
	if i >= len(c.talkers) {
		return // an idle socket's
	}
	t := c.talkers[i]
	if !t.answer.take(t.payload, p, last) {
		c.fail(errWrong)
		return
	}
	if !last {
		return
	}
	phase := c.phase.Load()
	if phase == measured {
		t.count.Add(1)
		if t.number%t.sample == 0 && len(t.trips) < mostTrips {
			t.trips = append(t.trips, time.Since(t.sent))
		}
	}
	if c.closed && phase != ending {
		c.send(t)
		return
	}
	t.busy.Store(false)
	if c.waiting.Add(-1) == 0 {
		select {
		case c.quiet <- struct{}{}:
		default:
		}
	}
}

// mostTrips bounds how many round trips of a socket are kept.
const mostTrips = 1 << 17

// end lets every answer arrive that is awaited, and has none sent any more.
func (c *crowd) end(ctx context.Context) error {
	c.phase.Store(ending)
	return c.settle(ctx)
}

// settle lets every answer arrive that is awaited.
func (c *crowd) settle(ctx context.Context) error {
	for c.waiting.Load() > 0 {
		select {
		case <-c.quiet:
		case err := <-c.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("answers that did not come: %w", ctx.Err())
		}
	}
	return nil
}

func (c *crowd) answers() (n int64) {
	for _, t := range c.talkers {
		n += t.count.Load()
	}
	return n
}

// trips returns how long all those round trips took that were timed.
func (c *crowd) trips() (all []time.Duration) {
	for _, t := range c.talkers {
		all = append(all, t.trips...)
	}
	return all
}
