package negotiate

import (
	"errors"
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wsmux/websocket"
)

// A pump copies one direction of a joint. Its goroutine owns it, but for what is
// said to be otherwise.
type pump struct {
	from, to websocket.Stream
	pending  []byte // to be passed on before anything is read
	stall    time.Duration
	piece    int // what is written at once
	frames   frames
	own      bool // the Close frame was not the peer's but ours

	intake
	bytes atomic.Int64 // passed on; anybody may look

	// Guarded by the joint's lock.
	closing bool      // a Close frame passes, or has passed
	closed  bool      // a Close frame has passed
	ended   bool      // nothing more comes
	writes  uint64    // begun and ended: odd while one is in progress
	refused bool      // a write was told by TCP that the destination had been reset
	armed   time.Time // when the deadline for writing was set; zero: there is none
}

// A side is the end of a pump at which something went wrong.
type side uint8

const (
	source side = iota
	destination
)

// copy passes bytes on until the source ends, which is an error as well, the
// destination fails, or a Close frame of ours has taken the place of what follows.
func (j *joint) copy(p *pump) (side, error) {
	defer p.giveBack()
	chunk := p.pending
	p.pending = nil
	for {
		if len(chunk) > 0 {
			j.moved.Store(int64(time.Since(j.start)))
			if err := j.pass(p, chunk); err != nil {
				return destination, err
			}
		}
		if p.own {
			return source, nil
		}
		if p.fit() {
			j.rest()
		}
		var err error
		chunk, err = p.read(p.from)
		switch {
		case len(chunk) > 0 || err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := j.woken(p); err != nil {
				return destination, err
			}
		default:
			return source, err
		}
	}
}

// pass follows the frames in b and writes it, or so much of it as comes before a
// farewell.
func (j *joint) pass(p *pump, b []byte) error {
	bidding := p == &j.down && j.hasFarewell()
	b = b[:p.frames.follow(b, bidding)]
	if p.frames.closed {
		j.set(&p.closing) // before its answer can come
	}
	n, err := j.write(p, b)
	p.bytes.Add(int64(n))
	if p.frames.closed && !p.own {
		j.set(&p.closed)
		j.begin(nil)
	}
	if err == nil && bidding {
		_, err = j.bid()
	}
	return err
}

// woken is called when a read was interrupted: because there is something to be
// said, or because a large buffer has been held in vain.
func (j *joint) woken(p *pump) error {
	if err := p.from.SetReadDeadline(time.Time{}); err != nil {
		return nil // the next read says why
	}
	p.giveBack()
	if p != &j.down || !j.hasFarewell() {
		return nil
	}
	_, err := j.bid()
	return err
}

// drain reads what still comes and lets it go. It returns why that has ended.
func (j *joint) drain(p *pump) error {
	p.giveBack()
	for {
		n, err := p.from.Read(p.small[:])
		if n > 0 && !p.own {
			p.frames.follow(p.small[:n], false)
			if p.frames.closed {
				j.set(&p.closed)
			}
		}
		switch {
		case n > 0 || err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = p.from.SetReadDeadline(time.Time{})
		default:
			return err
		}
	}
}

// pieceLeast is how many bytes are written at once at first, and as long as that takes
// more than a little of the time for a peer that takes nothing: a write that its deadline
// cuts cannot be continued on every stream, so that a large buffer's one write would end
// peers that do take something, but slowly. Others get twice as much each time.
const pieceLeast = 64 << 10

// write writes b, each piece of it within the time for a peer that takes nothing.
func (j *joint) write(p *pump, b []byte) (n int, err error) {
	j.mu.Lock()
	p.writes++
	j.mu.Unlock()
	for n < len(b) && err == nil {
		begun := time.Now()
		if err = j.arm(p, begun); err != nil {
			break
		}
		var taken int
		taken, err = p.to.Write(b[n:min(n+p.piece, len(b))])
		n += taken
		ended := time.Now()
		j.moved.Store(int64(ended.Sub(j.start)))
		switch {
		case p.stall > 0 && ended.Sub(begun) > p.stall/64:
			p.piece = pieceLeast
		case taken == p.piece:
			p.piece = min(2*p.piece, largeBuffer)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	p.writes++
	if err != nil && p.to.Bootstrap() == websocket.HTTP1 && isReset(p.to, err) && !errors.Is(err, syscall.EPIPE) {
		p.refused = true
	}
	p.disarm()
	j.changed.Broadcast()
	return n, err
}

// arm sets the deadline for writing, now and then, not with each write.
func (j *joint) arm(p *pump, now time.Time) error {
	if p.stall <= 0 {
		return nil
	}
	j.mu.Lock()
	due := now.Sub(p.armed) > p.stall/4
	if due {
		p.armed = now
	}
	j.mu.Unlock()
	if !due {
		return nil
	}
	j.rest()
	return p.to.SetWriteDeadline(now.Add(p.stall))
}

// disarm takes the deadline for writing away in time, if no write is in progress: TLS
// writes by itself when its peer asks for new keys, and if a deadline has passed then,
// no write succeeds any more. The joint's lock is held.
func (p *pump) disarm() {
	if p.writes%2 == 0 && !p.armed.IsZero() && time.Since(p.armed) >= p.stall/2 {
		p.armed = time.Time{}
		_ = p.to.SetWriteDeadline(time.Time{}) // the next write says what is wrong
	}
}

// resetPatience is how long a write may take to come back from a connection that is no
// more.
const resetPatience = time.Second

// wasReset says whether the source of a pump, whose input has ended with err, was
// reset by its peer. TCP says so once only: if it has told a write, one of the other
// pump's, the next read finds an end in order. EPIPE is none of that: it follows an
// end that was one.
func (j *joint) wasReset(p, other *pump, err error) bool {
	if p.from.Bootstrap() != websocket.HTTP1 || isReset(p.from, err) {
		return isReset(p.from, err)
	}
	j.begin(nil)
	late := false
	defer time.AfterFunc(resetPatience, func() { j.set(&late) }).Stop()
	j.mu.Lock()
	defer j.mu.Unlock()
	// A write that is in progress comes back at once if the connection is no more. If it
	// does not, the peer takes nothing, and has only ended its own direction.
	for n := other.writes; n%2 == 1 && other.writes == n && !j.isCut && !late; {
		j.changed.Wait()
	}
	return other.refused
}

// rest sets the watch to when there may be something to do.
func (j *joint) rest() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return
	}
	next := time.Duration(math.MaxInt64)
	if j.idleTimeout > 0 {
		quiet := time.Since(j.start) - time.Duration(j.moved.Load())
		next = max(j.idleTimeout-quiet, time.Millisecond)
	}
	for _, p := range [2]*pump{&j.up, &j.down} {
		if !p.armed.IsZero() {
			next = min(next, p.stall/4)
		}
		if p.borrowing.Load() {
			next = min(next, bufferRest)
		}
	}
	j.watch.Reset(next)
}

// look is what the watch's goroutine does, which ends at once: it ends a socket
// on which nothing moves, and takes buffers and deadlines away from pumps that only
// wait.
func (j *joint) look() {
	quiet := time.Since(j.start) - time.Duration(j.moved.Load())
	if j.idleTimeout > 0 && quiet >= j.idleTimeout {
		j.begin(errIdle)
		j.leave(websocket.StatusGoingAway, "idle")
		return
	}
	for _, p := range [2]*pump{&j.up, &j.down} {
		if p.borrowing.Load() && quiet >= bufferRest {
			_ = p.from.SetReadDeadline(longAgo)
		}
		j.mu.Lock()
		p.disarm()
		j.mu.Unlock()
	}
	j.rest()
}
