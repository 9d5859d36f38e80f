package h2connect

import (
	"encoding/binary"
	"time"
)

// This file bounds how many bytes of bulk are on their way to a client that has
// a socket on the same connection. Beyond what waits here there are queues that
// nobody sees: what our kernel holds, and what the client's kernel has received,
// and acknowledged, and its program has not read. They are as long as the windows
// of HTTP/2 allow, megabytes, and whatever a socket sends waits behind them.
//
// The answer to a PING says what the program has read. So PINGs go between the
// bytes, and bulk waits while too much is unanswered. How much that is the answers
// say too: by the rate at which bytes are read, and by the time that an answer
// takes when there is no queue. It is the sum of
//
//	what is read in that time: with less the network would be idle,
//	a quarter of that, as much again while the rate still grows, so that it can,
//	a queue of a few milliseconds, for client and server need to be woken,
//
// all three of them times, not bytes: a socket waits as long on a slow line as on
// a fast one, but for the few frames that a queue has to have.
//
// The network is TCP's to fill. Where TCP says that its round trip is longer, then
// it is longer: bulk never waits for what TCP would send. Where a PING takes longer,
// there is something behind TCP's peer, such as a proxy.
//
// A client may answer late without a queue, because its own direction is full. It
// gets the next bound without an answer when it should have been here, and a larger
// one for a while, and if it goes on so it is found out again how long an answer
// takes: what such a client loses is the quick socket, not the download.

const (
	// flightTime is how long bulk may queue, but no less than flightLeast and no
	// more than flightBase or what goes in flightShort, if that is more.
	//
	// Before a client that reads faster than we send a queue does not stand: it comes
	// when the client does not run for a while, and if it is bounded then, we stand
	// still while the client does not. So for one whose answers are there within
	// flightQuick it may be as long as flightTime, up to flightMost. That takes
	// flightSteps such answers, and as many later ones take it back: after a moment in
	// which we have not run, an answer is quick whatever else stands.
	//
	// Between two PINGs go two thirds of a queue at least.
	flightTime  = 2 * time.Millisecond
	flightLeast = 2 * maxData
	flightBase  = 256 << 10
	flightShort = 700 * time.Microsecond
	flightQuick = flightShort / 2
	flightSteps = 10
	flightMost  = 4 << 20

	// flightProbes is how many PINGs are on their way at once.
	flightProbes = 8

	// flightPatience is how long bulk waits for an answer, besides what it should
	// take, of which mostPatience is how much counts for a queue.
	flightPatience = 25 * time.Millisecond
	mostPatience   = 5 * time.Second

	// How long an answer takes without a queue is the least of flightTries, for
	// each of which bulk waits. It is found out again after flightRenew and
	// flightRenewTrips times as long, of which flightRenewTrip is the most.
	flightTries      = 2
	flightRenew      = time.Second
	flightRenewTrips = 64
	flightRenewTrip  = 250 * time.Millisecond

	// flightMostLate bounds what is added because answers come late.
	flightMostLate = 1 << 30
)

// A network is what TCP knows of the way to its peer.
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
	heard   int64 // the client has read up to here
	arrived int64 // it is taken to have
	last    int64 // position of the last probe
	late    int64 // how much of limit is there because answers came late

	probes [flightProbes]int64 // positions of unanswered probes, a ring
	sent   uint32              // probes so far; the next one's number
	oldest uint32              // number of the oldest unanswered one

	rate     int64     // bytes per second: the most that were read lately
	guessed  bool      // TCP says so, no answers yet
	growing  bool      // it was more than before
	roundPos int64     // the client had read up to here
	roundAt  time.Time // when; the measurement of rate in progress began. Zero: no answer has come

	rtt      time.Duration // TCP's
	spare    time.Duration // how long bulk may queue besides flightShort: see judge
	trip     time.Duration // what an answer takes without a queue, as far as is known
	renewed  time.Time     // when that was found out; zero: it has not been
	timed    uint32        // number of the probe whose answer's time is taken
	timedAt  time.Time     // when it was sent; zero: none's is
	clear    bool          // nothing was on its way before it
	tries    int           // answers to such since trip has to be found out
	found    time.Duration // the least time of those
	draining bool          // bulk waits until nothing is on its way
}

// begin starts to bound, on a network of about rate. What is on its way at pos is
// not known.
func (f *flight) begin(pos, rate int64) {
	*f = flight{
		limit: flightBase, heard: pos, arrived: pos, last: pos - flightBase,
		rate: rate, guessed: true, growing: true,
		trip: f.trip, renewed: f.renewed, sent: f.sent, oldest: f.sent,
	}
}

// full reports whether bulk has to wait at pos.
func (f *flight) full(pos int64) bool {
	return f.limit > 0 && (f.draining || pos-f.arrived >= f.limit)
}

// due reports whether a probe is to follow the byte of bulk at pos: the one that is
// nearest to the distance wanted.
func (f *flight) due(pos int64) bool {
	return f.limit > 0 && pos-f.last+maxData/2 >= f.spacing && f.sent-f.oldest < flightProbes
}

// dueNow reports whether a probe is to follow at once, because bulk waits and no
// answer is on its way that could end that.
func (f *flight) dueNow(pos int64) bool { return f.full(pos) && f.sent == f.oldest }

// probe records that one is sent at pos, with TCP's round-trip time at that time.
func (f *flight) probe(pos int64, rtt time.Duration, now time.Time) (number uint32) {
	known := !f.roundAt.IsZero()
	clear := known && f.sent == f.oldest && (f.draining || pos-f.arrived <= maxData)
	number = f.sent
	if f.timedAt.IsZero() || clear && !f.clear {
		f.timed, f.timedAt, f.clear = number, now, clear
	}
	if clear {
		f.draining = f.draining && f.tries < flightTries-1 // nobody waits for what follows the last
	} else {
		f.draining = known && (f.timedAt.IsZero() || !f.clear) && f.stale(rtt, now)
	}
	f.rtt, f.last = rtt, pos
	f.probes[number%flightProbes] = pos
	f.sent++
	f.fit()
	return number
}

// stale reports whether it has to be found out again how long an answer takes
// without a queue. If not much longer than TCP's, then TCP's says enough, unless most
// of the bound is there because answers come late: they may do so from now on.
func (f *flight) stale(rtt time.Duration, now time.Time) bool {
	return f.renewed.IsZero() ||
		(f.trip > 2*rtt || f.late > f.limit/2) && now.Sub(f.renewed) > flightRenew+flightRenewTrips*min(f.trip, flightRenewTrip)
}

// answered takes the answer to a probe, which answers those before it too. It
// reports whether one was due.
func (f *flight) answered(number uint32, now time.Time) bool {
	if number-f.oldest >= f.sent-f.oldest {
		return false // of an earlier time, or none of ours
	}
	pos := f.probes[number%flightProbes]
	f.heard, f.arrived = pos, max(f.arrived, pos)
	f.oldest = number + 1
	if f.roundAt.IsZero() {
		f.roundPos, f.roundAt = pos, now
	}
	if !f.timedAt.IsZero() && int32(number-f.timed) >= 0 {
		f.time(now)
	}
	f.measure(pos, now)
	f.fit()
	return true
}

// time finds out how long answers take. No answer takes less time than it would
// without a queue, and if nothing was on its way before, there was none.
func (f *flight) time(now time.Time) {
	took := now.Sub(f.timedAt)
	f.timedAt = time.Time{}
	f.judge(took)
	if !f.clear {
		f.trip = min(f.trip, took)
		return
	}
	f.roundPos, f.roundAt = f.heard, now // before that there was a pause
	if f.tries == 0 || took < f.found {
		f.found = took
	}
	if f.tries++; f.tries == flightTries {
		f.trip, f.renewed, f.tries = f.found, now, 0
	}
}

// judge takes an answer for a sign of whether a queue stands before the client.
func (f *flight) judge(took time.Duration) {
	const most = flightTime - flightShort
	if took <= f.trip+flightQuick {
		f.spare = min(f.spare+most/flightSteps, most)
		return
	}
	f.spare = max(f.spare-most/flightSteps, 0)
}

// measure finds out at which rate the client reads, if it has been long enough
// without a pause.
func (f *flight) measure(pos int64, now time.Time) {
	took := now.Sub(f.roundAt)
	if took < max(f.trip, f.rtt, time.Millisecond) {
		return
	}
	rate := int64(float64(pos-f.roundPos) / took.Seconds())
	f.growing = f.guessed || rate > f.rate+f.rate/8
	if f.guessed {
		f.rate, f.guessed = rate, false
	}
	f.rate = max(rate, f.rate-f.rate/16)
	f.late -= f.late / 32
	f.roundPos, f.roundAt = pos, now
}

// fit makes the bound what is known demands.
func (f *flight) fit() {
	in := func(d time.Duration) int64 { return int64(float64(f.rate) * d.Seconds()) }
	queue := min(max(in(flightTime), flightLeast), flightBase)
	queue = max(queue, min(in(flightShort+f.spare), flightMost))
	if f.guessed {
		f.limit = 2*in(f.rtt) + queue
		f.spacing = min(max(f.limit/flightProbes, queue*2/3), flightBase) // an answer is wanted soon
		return
	}
	trip := in(max(f.trip, f.rtt))
	more := trip / 4
	if f.growing {
		more = trip
	}
	f.limit = trip + more + queue + f.late
	f.spacing = max(f.limit/flightProbes, queue*2/3)
}

// patience is how long bulk waits at pos. What is not read yet is waited for, however
// often an answer was late, so that a client is not taken to answer late that is
// slow.
func (f *flight) patience(pos int64) time.Duration {
	d := flightPatience + max(f.trip, f.rtt)
	if f.rate > 0 {
		queue := float64(pos-f.heard) / float64(f.rate) * float64(time.Second)
		d += time.Duration(min(queue, float64(mostPatience)))
	}
	if f.draining {
		d += flightRenewTrip // its answer may take longer than is known
	}
	return d
}

// abandon goes on as if everything up to pos had been answered.
func (f *flight) abandon(pos int64, now time.Time) {
	f.arrived = pos
	switch {
	case f.draining:
		// It takes that long at least. It is asked for again soon, with more
		// patience.
		f.trip = max(f.trip, f.patience(pos))
		f.renewed = now.Add(-flightRenewTrips * min(f.trip, flightRenewTrip))
		f.draining, f.tries = false, 0
	case !f.roundAt.IsZero():
		f.late = min(f.late+f.limit, flightMostLate)
	}
	f.fit()
}

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
