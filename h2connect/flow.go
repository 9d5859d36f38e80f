package h2connect

// This file is flow control as arithmetic (RFC 9113 §5.2, §6.9). Nothing in it
// blocks, locks or does I/O.
//
// Sending, a stream's window is the sum of two numbers: the peer's
// SETTINGS_INITIAL_WINDOW_SIZE, which all streams of a connection share, and a
// delta of the stream's own, which counts WINDOW_UPDATEs up and sent bytes
// down. So a SETTINGS frame that moves the windows of all streams (§6.9.2)
// changes one number. Either may make the window negative.
//
// Receiving, credit goes back to the peer in three steps: take when bytes
// arrive, give when they are done with, and the increment that give returns is
// what to send in a WINDOW_UPDATE. A byte is given exactly once, so that at
// rest everything taken has been given, and never more.

// maxWindow is the largest window: "A sender MUST NOT allow a flow-control
// window to exceed 2^31-1 octets" (RFC 9113 §6.9.1).
const maxWindow = 1<<31 - 1

// protocolWindow is the size of every window before anything is said about it
// (RFC 9113 §6.9.2).
const protocolWindow = 65535

// outflow is what we may still send on a connection.
type outflow struct {
	window int64
}

// add grows the window by a WINDOW_UPDATE's increment. It reports whether the
// window stays within its bound and changes nothing otherwise.
func (f *outflow) add(increment uint32) bool {
	if f.window+int64(increment) > maxWindow {
		return false
	}
	f.window += int64(increment)
	return true
}

// take records n bytes sent.
func (f *outflow) take(n int) { f.window -= int64(n) }

// outbase is the part of the send windows that all streams of a connection
// share.
type outbase struct {
	initial int64 // the peer's SETTINGS_INITIAL_WINDOW_SIZE
	highest int64 // no stream's delta is higher; it may be out of date
}

// outdelta is the part of a stream's send window that is its own.
type outdelta int64

// window returns how much may be sent; zero or less means nothing.
func (b *outbase) window(d outdelta) int64 { return b.initial + int64(d) }

// add grows d by a WINDOW_UPDATE's increment. It reports whether the window
// stays within its bound and changes nothing otherwise.
func (b *outbase) add(d *outdelta, increment uint32) bool {
	if b.initial+int64(*d)+int64(increment) > maxWindow {
		return false
	}
	*d += outdelta(increment)
	b.highest = max(b.highest, int64(*d))
	return true
}

// set makes initial the size that all windows build on. It reports whether all
// of them stay within their bound (RFC 9113 §6.9.2: a change that makes any
// window exceed it is a connection error). The cost does not depend on the
// number of streams unless the bound seems to be passed: then highest is
// brought up to date with the deltas that deltas yields.
func (b *outbase) set(initial uint32, deltas func(yield func(outdelta) bool)) bool {
	b.initial = int64(initial)
	if b.initial+b.highest <= maxWindow {
		return true
	}
	b.highest = 0
	for d := range deltas {
		b.highest = max(b.highest, int64(d))
	}
	return b.initial+b.highest <= maxWindow
}

// inflow is what the peer may still send, on a stream or on a connection.
type inflow struct {
	size   int32 // the window we keep open
	avail  int32 // what the peer may still send
	unsent int32 // given, but not yet announced to the peer
}

func newInflow(size int32) inflow { return inflow{size: size, avail: size} }

// take records n bytes received. It reports whether the peer was allowed to
// send them and changes nothing otherwise.
func (f *inflow) take(n uint32) bool {
	if int64(n) > int64(f.avail) {
		return false
	}
	f.avail -= int32(n)
	return true
}

// give returns n bytes of credit. The result is the increment to announce now,
// or 0 while it is too small to be worth a frame: less than half of the window,
// unless the peer is about to run out.
func (f *inflow) give(n int) (increment uint32) {
	f.unsent += int32(n)
	if f.unsent < f.size/2 && f.unsent <= f.avail {
		return 0
	}
	return f.flush()
}

// double makes the window twice as large. The increment is to be announced.
func (f *inflow) double() (increment uint32) {
	increment = uint32(f.size)
	f.avail += f.size
	f.size *= 2
	return increment
}

// flush returns whatever has been given and not yet been announced.
func (f *inflow) flush() (increment uint32) {
	increment = uint32(f.unsent)
	f.avail += f.unsent
	f.unsent = 0
	return increment
}
