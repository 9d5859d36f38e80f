package h2connect

import (
	"encoding/binary"
	"time"
)

// This file bounds how many bytes of bulk are on their way to a client that has
// a socket on the same connection. Beyond what waits here and in our kernel
// there is a queue that nobody sees: what the client's kernel has received, and
// acknowledged, and its program has not read. It is as long as the windows of
// HTTP/2 allow, megabytes, and whatever a socket sends waits behind it.
//
// The answer to a PING says what the program has read. So a PING goes behind
// every quarter of the bound, at most, and bulk waits while a whole bound is
// unanswered. The bound is twice what the network takes to be busy, its speed
// times TCP's round-trip time, and a base. TCP's round trip does not include that
// last queue. So the network never waits for bulk, and the speed can double in each
// round trip, as TCP's does. A client that answers late, because its own direction
// is full, gets the next bound without an answer when it should have been here:
// what such a client loses is the quick socket, not the download. (That goes for
// one that reads less than 10 MB/s too, if any program does.)
//
// Where TCP cannot be asked, or on a client, nothing is bounded.

const (
	// flightBase is what may be on its way on any connection, and besides on a
	// fast one: more than our kernel is given to hold. Where that is gone in
	// flightTime, it is as much as goes in flightTime, up to flightMost: client
	// and server need some time to be woken.
	//
	// Between two PINGs goes half of that at least. An answer is a write of the
	// client's and a read of ours: with twice as many a download of a gigabyte
	// per second loses a tenth and more.
	flightBase = 256 << 10
	flightMost = 384 << 10
	flightTime = 400 * time.Microsecond

	// flightProbes is how many PINGs are on their way at once.
	flightProbes = 8

	// flightPatience is how long bulk waits for an answer, besides a round trip.
	flightPatience = 25 * time.Millisecond
)

// A network is what TCP knows of the way to the peer.
type network struct {
	rtt    time.Duration
	window int64 // bytes that TCP sends in a round trip
}

// rate returns the bytes per second.
func (n network) rate() int64 {
	if n.rtt <= 0 {
		return 0
	}
	return int64(float64(n.window) / n.rtt.Seconds())
}

// A flight is what is known of the bytes on their way. It is arithmetic without
// I/O. Positions count bytes of DATA since the connection began.
type flight struct {
	limit   int64 // 0: nothing is bounded
	spacing int64 // between two probes
	arrived int64 // the client is taken to have read up to here
	last    int64 // position of the last probe
	heard   int64 // position of the last one that was answered

	rtt      time.Duration // TCP's
	rate     int64         // bytes per second: the most that went lately
	roundPos int64         // heard, when
	roundAt  time.Time     // the measurement of rate in progress began

	probes [flightProbes]int64 // positions of unanswered probes, a ring
	sent   uint32              // probes so far; the next one's number
	oldest uint32              // number of the oldest unanswered one
}

// begin starts to bound, on a network of about rate. What is on its way at pos is
// not known.
func (f *flight) begin(pos, rate int64, now time.Time) {
	*f = flight{
		limit: flightBase, spacing: flightBase / 2, arrived: pos, last: pos - flightBase/2, heard: pos,
		rate: rate, roundPos: pos, roundAt: now, sent: f.sent, oldest: f.sent,
	}
}

// due reports whether a probe is to follow the byte at pos.
func (f *flight) due(pos int64) bool {
	return f.limit > 0 && pos-f.last >= f.spacing && f.sent-f.oldest < flightProbes
}

// probe records that one does, with the round-trip time at that time.
func (f *flight) probe(pos int64, rtt time.Duration) (number uint32) {
	f.rtt, f.last = rtt, pos
	in := func(d time.Duration) int64 { return int64(float64(f.rate) * d.Seconds()) }
	base := min(max(in(flightTime), flightBase), flightMost)
	f.limit = base + 2*in(rtt)
	f.spacing = max(f.limit/4, base/2)
	f.probes[f.sent%flightProbes] = pos
	f.sent++
	return f.sent - 1
}

// answered takes the answer to a probe, which answers those before it too. It
// reports whether one was due.
func (f *flight) answered(number uint32, now time.Time) bool {
	if number-f.oldest >= f.sent-f.oldest {
		return false // of an earlier time, or none of ours
	}
	f.heard = f.probes[number%flightProbes]
	f.arrived = max(f.arrived, f.heard)
	f.oldest = number + 1
	if took := now.Sub(f.roundAt); took >= max(f.rtt, time.Millisecond) {
		rate := int64(float64(f.heard-f.roundPos) / took.Seconds())
		f.rate = max(rate, f.rate-f.rate/8)
		f.roundPos, f.roundAt = f.heard, now
	}
	return true
}

// abandon goes on as if everything up to pos had been answered.
func (f *flight) abandon(pos int64) { f.arrived = pos }

// full reports whether bulk has to wait at pos.
func (f *flight) full(pos int64) bool { return f.limit > 0 && pos-f.arrived >= f.limit }

// patience is how long it waits.
func (f *flight) patience() time.Duration { return flightPatience + f.rtt }

// probePrefix is how the content of a probe begins; its number follows.
var probePrefix = [4]byte{'b', 'u', 'l', 'k'}

func probeContent(number uint32) (data [8]byte) {
	copy(data[:], probePrefix[:])
	binary.BigEndian.PutUint32(data[4:], number)
	return data
}

// probeNumber reports whether a PING's content is a probe's, and its number.
func probeNumber(data [8]byte) (uint32, bool) {
	return binary.BigEndian.Uint32(data[4:]), [4]byte(data[:4]) == probePrefix
}

// A hold is bulk's waiting for an answer. The timer is armed when it begins, left
// alone when it ends, and looks for itself when it fires. The connection's lock
// guards it.
type hold struct {
	since time.Time // zero: bulk is not held
	timer *time.Timer
	armed bool
}

// bulkSent is called behind each frame of bulk. c.mu is held.
func (c *conn) bulkSent() {
	f := &c.flight
	if c.sockets == 0 || c.side == clientSide {
		return
	}
	if f.limit == 0 {
		net, ok := c.network()
		if !ok {
			return
		}
		f.begin(c.dataSent, net.rate(), time.Now())
	}
	if f.due(c.dataSent) {
		net, _ := c.network()
		c.lastData = nil
		c.fr.WritePing(false, probeContent(f.probe(c.dataSent, net.rtt)))
	}
	if f.full(c.dataSent) {
		c.holdBulk()
	}
}

// holdBulk makes bulk wait. c.mu is held.
func (c *conn) holdBulk() {
	h := &c.hold
	if !h.since.IsZero() {
		return
	}
	c.sched.held, h.since = true, time.Now()
	if h.armed {
		return
	}
	h.armed = true
	if h.timer == nil {
		h.timer = time.AfterFunc(c.flight.patience(), c.checkHold)
		return
	}
	h.timer.Reset(c.flight.patience())
}

// releaseBulk lets bulk go on. c.mu is held.
func (c *conn) releaseBulk() { c.sched.held, c.hold.since = false, time.Time{} }

// probeAnswered takes a PING's acknowledgement and reports whether it was a
// probe's that was due. c.mu is held.
func (c *conn) probeAnswered(data [8]byte) bool {
	number, ok := probeNumber(data)
	if !ok || !c.flight.answered(number, time.Now()) {
		return false
	}
	if !c.flight.full(c.dataSent) {
		c.releaseBulk()
	}
	return true
}

func (c *conn) checkHold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.hold
	h.armed = false
	if h.since.IsZero() || c.dead() {
		return
	}
	if left := c.flight.patience() - time.Since(h.since); left > 0 {
		h.armed = true
		h.timer.Reset(left)
		return
	}
	c.flight.abandon(c.dataSent)
	c.releaseBulk()
	c.flush()
}

// socketEnded is called when a socket has left the table. Bulk is bounded for
// the sake of sockets only. c.mu is held.
func (c *conn) socketEnded() {
	c.sockets--
	if c.sockets == 0 {
		c.flight.limit = 0
		c.releaseBulk()
	}
}
