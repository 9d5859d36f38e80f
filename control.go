package websocket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/frame"
)

var errControlFlood = errors.New("too many control frames")

// handleControl deals with a control frame. The caller holds the reading gate.
func (c *Conn) handleControl(ctx context.Context, ev frame.Event) error {
	if ev.Opcode == frame.Close {
		code, reason, err := frame.ParseClose(ev.Payload)
		if err != nil {
			return c.breach(err)
		}
		return c.peerClosed(ctx, code, reason)
	}
	if !c.in.control.take(c.clock) {
		return c.breach(controlFlood{frame.Error{Code: StatusPolicyViolation, Rule: errControlFlood.Error()}})
	}
	if ev.Opcode == frame.Pong {
		if !c.pings.answered(ev.Payload) {
			c.in.count.pongs++
		}
		return nil
	}
	c.pong.set(ev.Payload)
	if c.output.tryLock() {
		c.sendPong(ctx)
	}
	return nil
}

// sendPong gives the output gate back, and the pong goes out with that. The
// caller goes on when it has, so that Pings that come one after the other are all
// answered, or when its own ctx ends.
func (c *Conn) sendPong(ctx context.Context) {
	sent := make(chan struct{})
	go func() { // ends with the write, at the latest at Limits.WriteStall
		c.unlockOutput()
		close(sent)
	}()
	select {
	case <-sent:
	case <-ctx.Done():
	case <-c.over:
	}
}

// controlFlood is a *frame.Error that is errControlFlood too.
type controlFlood struct{ rule frame.Error }

func (e controlFlood) Error() string   { return e.rule.Error() }
func (e controlFlood) Unwrap() []error { return []error{&e.rule, errControlFlood} }

// A bucket limits a rate: it holds burst tokens at most and gains rate a second.
type bucket struct {
	tokens, burst, rate float64
	at                  time.Duration // when tokens was right
	off                 bool
}

func (b *bucket) init(burst, rate int) {
	b.off = burst < 0 || rate < 0
	b.burst, b.rate, b.tokens = float64(burst), float64(rate), float64(burst)
}

// take takes a token and reports whether there was one.
func (b *bucket) take(clock func() time.Duration) bool {
	if b.off {
		return true
	}
	now := clock()
	b.tokens = min(b.burst, b.tokens+b.rate*(now-b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// A pendingPong is the answer to the latest Ping that has not been sent yet.
// "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in
// response to previous Ping frame(s), the endpoint MAY elect to send a Pong
// frame for only the most recently processed Ping frame" (RFC 6455 §5.5.3).
//
// Whoever has held the output gate sends it before giving the gate back; so a
// Ping is answered at once when nothing is being written, and memory stays flat
// when the peer does not read.
type pendingPong struct {
	pending atomic.Bool // guarded by mu for writing
	mu      sync.Mutex
	n       int
	payload [frame.MaxControlPayload]byte
}

func (p *pendingPong) set(payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n = copy(p.payload[:], payload)
	p.pending.Store(true)
}

// take appends the payload to b and reports whether there was one.
func (p *pendingPong) take(b []byte) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pending.Swap(false) {
		return b, false
	}
	return append(b, p.payload[:p.n]...), true
}

// pingSize is the number of random bytes in a Ping of ours. A peer cannot answer
// a Ping that it has not received.
const pingSize = 8

// pings are those whose Pong is waited for.
type pings struct {
	mu      sync.Mutex
	waiting map[[pingSize]byte]chan struct{}
}

// add makes a new Ping's payload, and the channel that is closed by its Pong.
func (p *pings) add() ([pingSize]byte, chan struct{}) {
	var id [pingSize]byte
	rand.Read(id[:])
	ch := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = make(map[[pingSize]byte]chan struct{})
	}
	p.waiting[id] = ch
	return id, ch
}

// answered closes the channel that belongs to a Pong and reports whether there
// was one.
func (p *pings) answered(payload []byte) bool {
	if len(payload) != pingSize {
		return false
	}
	id := [pingSize]byte(payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	ch, ok := p.waiting[id]
	if ok {
		close(ch)
		delete(p.waiting, id)
	}
	return ok
}

func (p *pings) remove(id [pingSize]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// Ping sends a Ping and returns when its own Pong is back (RFC 6455 §5.5.2): the
// time it takes is a round trip. It needs no concurrent Read: if nobody reads,
// Ping does, and keeps up to 64 KiB of messages for later reads. If more than
// that lies before the Pong, Ping waits until the application has read.
//
// If ctx ends first, Ping returns ctx's error and the Conn stays usable.
func (c *Conn) Ping(ctx context.Context) error {
	id, pong := c.pings.add()
	defer c.pings.remove(id)
	if err := c.writeControl(ctx, frame.Ping, id[:]); err != nil {
		return err
	}
	return c.awaitPong(ctx, pong)
}

// awaitPong waits for pong to be closed. If nobody else reads it does, and it
// makes way for whoever wants to. Of several Pings one reads for all.
func (c *Conn) awaitPong(ctx context.Context, pong <-chan struct{}) error {
	if c.awaitingPong.lock(ctx, pong) {
		defer c.awaitingPong.unlock()
	}
	for {
		var err error
		full := false
		if c.reading.lock(ctx, pong) {
			err = c.readAhead(ctx, pong)
			full = c.in.aheadFull()
			c.unlockRead()
		}
		select {
		case <-pong:
			return nil
		default:
		}
		if ctx.Err() != nil {
			return fmt.Errorf("websocket: ping: %w", ctx.Err())
		}
		if err != nil {
			return err
		}
		if full {
			return c.awaitReader(ctx, pong)
		}
	}
}

// awaitReader waits for a Pong behind more data than may be read ahead.
func (c *Conn) awaitReader(ctx context.Context, pong <-chan struct{}) error {
	select {
	case <-pong:
		return nil
	case <-c.over:
		return c.err.Load()
	case <-ctx.Done():
		return fmt.Errorf("websocket: ping: %w", ctx.Err())
	}
}
