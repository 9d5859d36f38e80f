package h2connect

import (
	"net/http"
	"os"
	"sync"
	"sync/atomic"
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
	flow inflow

	keepsUp   bool // nothing that has come waits to be read: see widen
	pushing   bool // what arrives is pushed, unless a read is blocked
	busy      bool // a call of to is in progress, or on its way: it finds what waits
	discarded bool // nobody will read: what comes is dropped

	consumed int64      // bytes read from waiting or past it
	to       pushTarget // of Push
	err      error      // why nothing more will come: io.EOF or final; nil while open

	*inlet // nil before anybody reads or anything waits: see begin
}

// An inlet is the part of a receiver that has to do with what waits, and with
// those who wait for more.
type inlet struct {
	cond     signal // with the receiver's lock
	deadline deadline

	waiting buffer

	dst  []byte      // what the blocked read wants filled; nil if none is blocked
	done uint32      // how much of dst has been filled, no more than a window
	due  atomic.Bool // the blocked read stands in line for the connection's baton
	lazy lazy        // where dst comes from, if a blocked read has none yet

	trailer http.Header
	mark    int64 // consumed when watchUnread last looked; -1 if nothing waited, or it has not
}

// begin sees to it that there is an inlet.
func (r *receiver) begin() {
	if r.inlet == nil {
		r.inlet = &inlet{mark: -1}
	}
}

// wake wakes the readers that are blocked.
func (r *receiver) wake() {
	if r.inlet != nil {
		r.cond.Broadcast()
	}
}

// unread returns how many bytes wait.
func (r *receiver) unread() int {
	if r.inlet == nil {
		return 0
	}
	return r.waiting.len()
}

// blocked reports whether a read waits.
func (r *receiver) blocked() bool {
	return r.inlet != nil && (r.dst != nil || r.lazy != nil)
}

// A pushTarget takes what is pushed: see Conn's side of it in package websocket.
type pushTarget = interface {
	Begin() bool
	Take(p []byte) (more bool)
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
	fateRead                // a blocked read has them: it is to be lined up, or woken
	fateOverrun             // the window does not allow them: nothing has changed
)

func (r *receiver) init(window int) { r.flow = newInflow(int32(window)) }

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
func (r *receiver) deliver(st *stream, p []byte, charge int) (f fate, buffered int, increment uint32, consumed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.flow.take(uint32(charge)) && r.err == nil {
		return fateOverrun, 0, 0, false
	}
	if r.err != nil { // nobody wants them, or the stream has been reset meanwhile
		return fateKept, 0, r.giveLocked(len(p)), false
	}
	consumed = r.unread() == 0
	if r.pushing && !r.busy && !r.blocked() {
		r.busy = true
		if consumed && st.c.inline(st) && r.to.Begin() {
			return fateTaken, 0, 0, true
		}
		r.begin()
		r.waiting.append(p)
		return fateServe, len(p), 0, consumed
	}
	r.begin()
	if r.lazy != nil && consumed && len(p) > 0 {
		r.dst, r.lazy = r.lazy.Buffer(), nil
	}
	if r.dst != nil && consumed {
		n := copy(r.dst[r.done:], p)
		r.done += uint32(n)
		p = p[n:]
		if !r.due.Swap(true) {
			f = fateRead
		}
	}
	r.waiting.append(p)
	return f, len(p), 0, consumed
}

// pushed settles a call of Take with n bytes. It returns the credit to announce, and
// whether Resume is to be called; if not, the next bytes may be pushed again.
func (r *receiver) pushed(n int, more bool) (increment uint32, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.consume(n), more || r.callAgain()
}

// resumed settles a call of Resume, and reports whether it is to be called again.
func (r *receiver) resumed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.callAgain()
}

// callAgain reports whether there is something for Resume, and ends busy if not.
func (r *receiver) callAgain() bool {
	r.busy = r.pushing && (r.unread() > 0 || r.err != nil)
	return r.busy
}

// tryRead is read without waiting.
func (r *receiver) tryRead(p []byte) (n int, increment uint32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unread() == 0 {
		return 0, 0, r.err
	}
	n = r.waiting.read(p)
	return n, r.consume(n), nil
}

// give returns credit for bytes that never reach a reader: padding.
func (r *receiver) give(n int) (increment uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.giveLocked(n)
}

// consume returns credit for bytes that have reached a reader.
func (r *receiver) consume(n int) (increment uint32) {
	r.consumed += int64(n)
	increment = r.giveLocked(n)
	r.keepsUp = r.unread() == 0
	return increment
}

// widen doubles the window when there is credit to announce, up to most and by no more
// than room, and returns by how much. So that of a peer who uses it up, and whose bytes
// are read as they come, doubles with each increment: it does not hold up who sends
// much, and whom nobody reads does not get it.
func (r *receiver) widen(most, room int) (increment uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := int(r.flow.size)
	if !r.keepsUp || r.err != nil || size > most/2 || size > room {
		return 0
	}
	return r.flow.double()
}

// window returns how large the window is.
func (r *receiver) window() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.flow.size)
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
	for r.unread() == 0 {
		if r.err != nil {
			return 0, 0, 0, r.err
		}
		r.begin()
		if r.deadline.passed() {
			return 0, 0, 0, os.ErrDeadlineExceeded
		}
		if len(p) == 0 && b == nil {
			return 0, 0, 0, nil
		}
		if n := r.await(p, b); n > 0 {
			return n, 0, r.consume(n), nil
		}
	}
	if r.deadline.passed() {
		return 0, 0, 0, os.ErrDeadlineExceeded
	}
	if b != nil {
		p = b.Buffer()
	}
	n = r.waiting.read(p)
	return n, n, r.consume(n), nil
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
	n, r.dst, r.lazy = int(r.done), nil, nil
	return n
}

// space returns for how many more bytes a blocked read has room.
func (r *receiver) space() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inlet == nil || r.dst == nil {
		return 0
	}
	return len(r.dst) - int(r.done)
}

// look returns how many bytes wait, and whether none have been read since they
// were marked.
func (r *receiver) look() (waiting int, stalled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting = r.unread()
	return waiting, waiting > 0 && r.mark == r.consumed
}

// setMark marks how far what waits has been read.
func (r *receiver) setMark() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.unread() > 0:
		r.mark = r.consumed
	case r.inlet != nil:
		r.mark = -1
	}
}

// ended reports whether nothing more will come.
func (r *receiver) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil
}

// end says that nothing more will come. What waits can still be read. The first
// err stays.
func (r *receiver) end(st *stream, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
		r.wake()
		r.pushEnd(st)
	}
}

// pushEnd has Resume called for the end.
func (r *receiver) pushEnd(st *stream) {
	if r.pushing && !r.busy {
		r.busy = true
		go st.serve()
	}
}

// discard says that nobody will read any more: what waits and what comes is
// dropped, a blocked read ends with err. It returns how many bytes had been
// waiting, and the credit to announce.
func (r *receiver) discard(st *stream, err error) (unbuffered int, increment uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inlet != nil {
		r.deadline.stop()
	}
	if r.discarded {
		return 0, 0
	}
	r.discarded = true
	if r.inlet != nil {
		unbuffered = r.waiting.len()
		r.waiting.free()
	}
	increment = r.giveLocked(unbuffered)
	r.err = err
	r.wake()
	r.pushEnd(st)
	return unbuffered, increment
}

// setTrailer keeps a trailer section for whoever reads to the end.
func (r *receiver) setTrailer(h http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin()
	r.trailer = h
}

// takeTrailer returns the trailer section, nil if there was none.
func (r *receiver) takeTrailer() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inlet == nil {
		return nil
	}
	return r.trailer
}
