package h2connect

import (
	"net/http"
	"os"
	"sync"
)

// A receiver is the half of a stream that takes what the peer sends. The
// connection's reader delivers, one goroutine at a time reads. While a call to
// read is blocked, payload goes straight from the connection's buffer to the
// caller's; otherwise it waits in a buffer that exists only as long as there is
// something in it.
//
// Its lock may be taken while the connection's is held, never the other way
// round.
type receiver struct {
	mu   sync.Mutex
	cond signal // with mu
	flow inflow

	waiting buffer

	dst  []byte // what the blocked read wants filled; nil if none is blocked
	done int    // how much of dst has been filled
	lazy lazy   // where dst comes from, if a blocked read has none yet

	consumed int64 // bytes read from waiting or past it

	to      pushTarget // of Push
	owner   *stream    // whose receiver it is; set by Push
	pushing bool       // what arrives is pushed, unless a read is blocked
	busy    bool       // a call of to is in progress, or on its way: it finds what waits

	err       error // why nothing more will come: io.EOF or final; nil while open
	discarded bool  // nobody will read: what comes is dropped
	deadline  deadline
	trailer   http.Header
}

// A pushTarget takes what is pushed: see Conn's side of it in package websocket.
type pushTarget = interface {
	Take(p []byte) (taken, more bool)
	Resume()
}

// lazy yields a read's buffer when there is something to put there.
type lazy = interface {
	Buffer() []byte
	Borrow(p []byte)
}

// A fate is what becomes of delivered bytes.
type fate uint8

const (
	fateKept    fate = iota // they wait, or have gone where a read wanted them
	fateTaken               // Take is to be called with them, by the caller
	fateServe               // they wait, and serve is to be called
	fateOverrun             // the window does not allow them: nothing has changed
)

func (r *receiver) init(window int) {
	r.flow = newInflow(int32(window))
}

// take checks n bytes of a frame against the stream's window.
func (r *receiver) take(n uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flow.take(n)
}

// deliver takes bytes that have arrived, charge of which take has not been asked
// about, and says what becomes of them. It returns how many of them now wait, the
// credit to announce at once because nobody wants them, and whether everything
// before them had been consumed.
func (r *receiver) deliver(p []byte, charge int) (f fate, buffered int, increment uint32, consumed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.flow.take(uint32(charge)) && r.err == nil {
		return fateOverrun, 0, 0, false
	}
	if r.err != nil { // nobody wants them, or the stream has been reset meanwhile
		return fateKept, 0, r.giveLocked(len(p)), false
	}
	consumed = r.waiting.len() == 0
	if r.pushing && !r.busy && r.dst == nil && r.lazy == nil {
		r.busy = true
		if consumed && r.owner.c.inline(r.owner) {
			return fateTaken, 0, 0, true
		}
		r.waiting.append(p)
		return fateServe, len(p), 0, consumed
	}
	if r.lazy != nil && consumed && len(p) > 0 {
		r.dst, r.lazy = r.lazy.Buffer(), nil
	}
	if r.dst != nil && consumed {
		n := copy(r.dst[r.done:], p)
		r.done += n
		p = p[n:]
	}
	r.waiting.append(p)
	r.cond.Broadcast()
	return fateKept, len(p), 0, consumed
}

// pushed settles a call of Take with p. It returns how many bytes wait that did
// not, the credit to announce, and whether Resume is to be called; if not, the
// next bytes may be pushed again.
func (r *receiver) pushed(p []byte, taken, more bool) (buffered int, increment uint32, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case taken:
		r.consumed += int64(len(p))
		increment = r.giveLocked(len(p))
	case r.discarded:
		increment = r.giveLocked(len(p))
	default:
		r.waiting.prepend(p)
		r.cond.Broadcast()
		buffered = len(p)
	}
	return buffered, increment, more || r.callAgain()
}

// resumed settles a call of Resume, and reports whether it is to be called again.
func (r *receiver) resumed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.callAgain()
}

// callAgain reports whether there is something for Resume, and ends busy if not.
func (r *receiver) callAgain() bool {
	r.busy = r.pushing && (r.waiting.len() > 0 || r.err != nil)
	return r.busy
}

// tryRead is read without waiting.
func (r *receiver) tryRead(p []byte) (n int, increment uint32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting.len() == 0 {
		return 0, 0, r.err
	}
	n = r.waiting.read(p)
	r.consumed += int64(n)
	return n, r.giveLocked(n), nil
}

// give returns credit for bytes that never reach a reader: padding.
func (r *receiver) give(n int) (increment uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.giveLocked(n)
}

// giveLocked returns credit. A peer that has ended gets none: it would not know
// what to do with it.
func (r *receiver) giveLocked(n int) (increment uint32) {
	increment = r.flow.give(n)
	if r.err != nil {
		return 0
	}
	return increment
}

// read waits for bytes and moves them to p, or to b's buffer if b is not nil.
// Besides it returns how many of them had been waiting, and the credit to
// announce.
func (r *receiver) read(p []byte, b lazy) (n, unbuffered int, increment uint32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.waiting.len() == 0 {
		if r.err != nil {
			return 0, 0, 0, r.err
		}
		if r.deadline.passed() {
			return 0, 0, 0, os.ErrDeadlineExceeded
		}
		if len(p) == 0 && b == nil {
			return 0, 0, 0, nil
		}
		if n := r.await(p, b); n > 0 {
			r.consumed += int64(n)
			return n, 0, r.giveLocked(n), nil
		}
	}
	if r.deadline.passed() {
		return 0, 0, 0, os.ErrDeadlineExceeded
	}
	if b != nil {
		p = b.Buffer()
	}
	n = r.waiting.read(p)
	r.consumed += int64(n)
	return n, n, r.giveLocked(n), nil
}

// await blocks until something happens, and returns how much of p, or of b's
// buffer, has been filled meanwhile. A second reader, which the contract does not
// allow, only waits.
func (r *receiver) await(p []byte, b lazy) (n int) {
	if r.dst != nil || r.lazy != nil {
		r.deadline.wait(r.cond.on(&r.mu))
		return 0
	}
	r.dst, r.lazy, r.done = p, b, 0
	r.deadline.wait(r.cond.on(&r.mu))
	n, r.dst, r.lazy = r.done, nil, nil
	return n
}

// unread returns how many bytes wait and how many have been read so far.
func (r *receiver) unread() (waiting int, read int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting.len(), r.consumed
}

// end says that nothing more will come. What waits can still be read. The first
// err stays.
func (r *receiver) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
		r.cond.Broadcast()
		r.pushEnd()
	}
}

// pushEnd has Resume called for the end.
func (r *receiver) pushEnd() {
	if r.pushing && !r.busy {
		r.busy = true
		go r.owner.serve()
	}
}

// discard says that nobody will read any more: what waits and what comes is
// dropped, a blocked read ends with err. It returns how many bytes had been
// waiting, and the credit to announce.
func (r *receiver) discard(err error) (unbuffered int, increment uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline.stop()
	if r.discarded {
		return 0, 0
	}
	r.discarded = true
	unbuffered = r.waiting.len()
	r.waiting.free()
	increment = r.giveLocked(unbuffered)
	r.err = err
	r.cond.Broadcast()
	r.pushEnd()
	return unbuffered, increment
}

// setTrailer keeps a trailer section for whoever reads to the end.
func (r *receiver) setTrailer(h http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trailer = h
}

// takeTrailer returns the trailer section, nil if there was none.
func (r *receiver) takeTrailer() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trailer
}
