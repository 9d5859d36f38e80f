package websocket

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
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
	if l := &c.set.limits; !c.in.control.take(l.ControlBurst, l.ControlRate) {
		return c.breach(controlFlood{frame.Error{Code: StatusPolicyViolation, Rule: errControlFlood.Error()}})
	}
	if ev.Opcode == frame.Pong {
		if !c.outbound().pings.answered(ev.Payload) {
			c.counts().pongs.add(1)
		}
		return nil
	}
	c.outbound().setPong(ev.Payload)
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
	c.beginPonging(sent)
	go func() { // ends with the write, at the latest at Limits.WriteStall
		c.unlockOutput()
		c.endPonging(sent)
	}()
	select {
	case <-sent:
	case <-ctx.Done():
	}
}

// beginPonging has sendPong wait for sent, unless nothing more is expected of the
// peer.
func (c *Conn) beginPonging(sent chan struct{}) {
	o := c.outbound()
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.ponging = sent; c.isOver {
		o.endPonging()
	}
}

func (c *Conn) endPonging(sent chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.outbound(); o.ponging == sent {
		o.endPonging()
	}
}

// endPonging releases who waits in sendPong. Conn.mu is held.
func (o *outbound) endPonging() {
	if o.ponging != nil {
		close(o.ponging)
		o.ponging = nil
	}
}

// controlFlood is a *frame.Error that is errControlFlood too.
type controlFlood struct{ rule frame.Error }

func (e controlFlood) Error() string   { return e.rule.Error() }
func (e controlFlood) Limit() string   { return "ControlBurst" }
func (e controlFlood) Unwrap() []error { return []error{&e.rule, errControlFlood} }

// A bucket limits a rate.
type bucket struct {
	tokens float64
	at     time.Duration // when tokens was right
}

func (b *bucket) init(burst int) { *b = bucket{tokens: float64(burst), at: clock()} }

// take takes a token and reports whether there was one. The bucket holds burst tokens
// at most and gains rate a second; with one of them negative there always is one.
func (b *bucket) take(burst, rate int) bool {
	if burst < 0 || rate < 0 {
		return true
	}
	now := clock()
	b.tokens = min(float64(burst), b.tokens+float64(rate)*(now-b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// full reports whether no token is missing.
func (b *bucket) full(burst, rate int) bool {
	return burst < 0 || rate < 0 || b.tokens+float64(rate)*(clock()-b.at).Seconds() >= float64(burst)
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
	mu      sync.Mutex // guards outbound.pongDue for writing too: whether there is one
	payload []byte     // as much memory as the Pings of this peer have needed
}

func (o *outbound) setPong(payload []byte) {
	o.pong.mu.Lock()
	defer o.pong.mu.Unlock()
	o.pong.payload = append(o.pong.payload[:0], payload...)
	o.pongDue.Store(true)
}

// takePong appends the pong's payload to b and reports whether there was one.
func (o *outbound) takePong(b []byte) ([]byte, bool) {
	o.pong.mu.Lock()
	defer o.pong.mu.Unlock()
	if !o.pongDue.Swap(false) {
		return b, false
	}
	return append(b, o.pong.payload...), true
}

// pingSize is the number of random bytes in a Ping of ours. A peer cannot answer
// a Ping that it has not received.
const pingSize = 8

// pings are those whose Pong is waited for, in the order in which they were
// sent. A Pong answers the Pings before its own as well: the peer "MAY elect to
// send a Pong frame for only the most recently processed Ping frame" (RFC 6455
// §5.5.3), and then nothing else will answer them.
type pings struct {
	mu      sync.Mutex
	waiting []sentPing
}

// A sentPing is a Ping without an answer. Only the last one may have been given
// up: its Pong is the one that those before it may have to wait for. Given up
// and not the last, it needs no memory, because a later one will be answered.
type sentPing struct {
	id   [pingSize]byte
	pong chan struct{} // closed by the answer; nil: given up
}

// add makes a new Ping's payload, and the channel that is closed by its Pong. The
// caller holds the output gate and sends the Ping before giving it back.
func (p *pings) add() ([pingSize]byte, chan struct{}) {
	s := sentPing{pong: make(chan struct{})}
	rand.Read(s.id[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.waiting); n > 0 && p.waiting[n-1].pong == nil {
		p.waiting = p.waiting[:n-1]
	}
	p.waiting = append(p.waiting, s)
	return s.id, s.pong
}

// find returns the place of the Ping with this payload, or -1. p.mu is held.
func (p *pings) find(id [pingSize]byte) int {
	return slices.IndexFunc(p.waiting, func(s sentPing) bool { return s.id == id })
}

// answered closes the channels that belong to a Pong and reports whether there
// was a Ping for it.
func (p *pings) answered(payload []byte) bool {
	if len(payload) != pingSize {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.find([pingSize]byte(payload))
	for _, s := range p.waiting[:i+1] {
		if s.pong != nil {
			close(s.pong)
		}
	}
	p.waiting = slices.Delete(p.waiting, 0, i+1)
	return i >= 0
}

// remove gives up waiting for a Ping's answer.
func (p *pings) remove(id [pingSize]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.find(id)
	switch {
	case i < 0:
		return // answered
	case i > 0 && i == len(p.waiting)-1:
		p.waiting[i].pong = nil
		return
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	if len(p.waiting) == 1 && p.waiting[0].pong == nil {
		p.waiting = nil // nobody waits before it
	}
}

// Ping sends a Ping and returns when its own Pong is back (RFC 6455 §5.5.2), or
// that of a later Ping of ours, for which the peer may have left its own out
// (§5.5.3): the time it takes is a round trip. It needs no concurrent Read: if nobody reads,
// Ping does, and keeps up to 64 KiB of messages for later reads. If more than
// that lies before the Pong, Ping waits until the application has read.
//
// If ctx ends first, Ping returns an error that wraps ctx's and the Conn stays usable.
func (c *Conn) Ping(ctx context.Context) error {
	id, pong, err := c.writePing(ctx)
	if err != nil {
		return err
	}
	defer c.outbound().pings.remove(id)
	return c.awaitPong(ctx, pong)
}

// awaitPong waits for pong to be closed. If nobody else reads it does, and it
// makes way for whoever wants to. Of several Pings one reads for all.
func (c *Conn) awaitPong(ctx context.Context, pong <-chan struct{}) error {
	if c.outbound().awaitingPong.lock(ctx, pong) {
		defer c.outbound().awaitingPong.unlock()
	}
	for {
		var err error
		var room <-chan struct{}
		if c.lockAhead(ctx, pong) {
			err = c.readAhead(ctx, pong)
			room = c.in.aheadRoom()
			c.unlockRead()
		}
		select {
		case <-pong:
			return nil
		default:
		}
		if ctx.Err() != nil {
			return gaveUp("ping", ctx)
		}
		if err != nil {
			return err
		}
		if room == nil {
			continue
		}
		select { // the Pong is behind more data than may be read ahead
		case <-room:
		case <-pong:
			return nil
		case <-c.overChan():
			return c.err.Load()
		case <-ctx.Done():
			return gaveUp("ping", ctx)
		}
	}
}
