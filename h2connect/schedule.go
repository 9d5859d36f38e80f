package h2connect

// This file decides whose bytes go next. A stream with bytes to send is in one
// of three lists of its connection; a stream with none is in no list and costs
// nothing.
//
//	sockets  may send now; its frames are small and somebody waits for them
//	bulk     may send now; an ordinary request or response
//	blocked  its own window is used up
//
// A list is served in turns of at most one frame, so that streams share by
// bytes; sockets go before bulk, but of nine frames one is bulk's. Bulk is in
// lanes by urgency, one before the other, but of nine of its frames one is any
// lane's: "It is RECOMMENDED that servers avoid such starvation where possible"
// (RFC 9218 §10).

// A queue is a list of streams, first in, first out. A stream is in at most one
// queue at a time.
type queue struct {
	head, tail *stream
}

// queue returns where st waits to send, nil if it does not.
func (st *stream) queue() *queue {
	if st.send.outlet == nil {
		return nil
	}
	return st.send.queue
}

func (q *queue) push(st *stream) {
	st.send.queue, st.send.prev, st.send.next = q, q.tail, nil
	if q.tail == nil {
		q.head = st
	} else {
		q.tail.send.next = st
	}
	q.tail = st
}

func (q *queue) remove(st *stream) {
	s := st.send.outlet
	if s.prev == nil {
		q.head = s.next
	} else {
		s.prev.send.next = s.next
	}
	if s.next == nil {
		q.tail = s.prev
	} else {
		s.next.send.prev = s.prev
	}
	s.queue, s.prev, s.next = nil, nil, nil
}

// insert puts st behind those of lower ids.
func (q *queue) insert(st *stream) {
	before := q.tail
	for before != nil && before.id > st.id {
		before = before.send.prev
	}
	if before == q.tail {
		q.push(st)
		return
	}
	s := st.send.outlet
	s.queue, s.prev = q, before
	if before == nil {
		s.next, q.head = q.head, st
	} else {
		s.next, before.send.next = before.send.next, st
	}
	s.next.send.prev = st
}

// A lane is the bulk of one urgency. RFC 9218 §10 asks to serve responses that
// are of no use in part one by one, in the order of their ids, and to let the
// others share; between the two kinds frames alternate.
type lane struct {
	whole     queue
	shared    queue
	wholeLast bool // which kind was served last
}

// first returns the stream whose turn it is, last one that would come late; nil
// if none waits.
func (l *lane) first() *stream { return l.alternate(l.whole.head) }
func (l *lane) last() *stream  { return l.alternate(l.whole.tail) }

func (l *lane) alternate(whole *stream) *stream {
	if whole == nil || l.wholeLast && l.shared.head != nil {
		l.wholeLast = false
		return l.shared.head
	}
	l.wholeLast = true
	return whole
}

func (l *lane) empty() bool { return l.whole.head == nil && l.shared.head == nil }

// bulkTurn is how many frames of sockets go before one of bulk when both wait,
// and how many of the first of bulk before one of any.
const bulkTurn = 8

// schedule is the state of a connection's sender; the connection's lock guards
// it.
type schedule struct {
	sockets queue
	bulk    [urgencies]lane
	blocked queue
	best    outdelta // none of the blocked has a larger window; it may be out of date
	turns   int      // frames of sockets since the last one of bulk
	firsts  int      // frames of the first of bulk since the last one of any
	any     int      // the lane whose it was
	held    bool     // bulk has to wait: see flight
}

// enqueue puts a stream that has bytes to send into its list.
func (s *schedule) enqueue(st *stream) {
	if st.send.queue != nil {
		return
	}
	if st.socket {
		s.sockets.push(st)
		return
	}
	l := &s.bulk[st.priority.urgency]
	if st.priority.incremental {
		l.shared.push(st)
		return
	}
	l.whole.insert(st)
}

// setPriority gives a stream another priority, and the place that it has by it.
func (s *schedule) setPriority(st *stream, p priority) {
	st.priority = p
	if q := st.queue(); q != nil && q != &s.blocked {
		q.remove(st)
		s.enqueue(st)
	}
}

// block puts a stream whose window is used up aside.
func (s *schedule) block(st *stream) {
	if s.blocked.head == nil || st.send.flow > s.best {
		s.best = st.send.flow
	}
	s.blocked.push(st)
}

// next takes the stream whose turn it is out of its list; nil if none may send,
// or if it is bulk's turn and bulk is not wanted.
func (s *schedule) next(bulk bool) *stream {
	st := s.sockets.head
	if st == nil || s.turns >= bulkTurn && !s.held && s.bulkWaits() {
		if !bulk || s.held {
			return nil
		}
		s.turns = 0
		st = s.nextBulk()
	} else {
		s.turns++
	}
	if st != nil {
		st.send.queue.remove(st)
	}
	return st
}

// pass takes a turn for a socket that is in no list, while none is, and reports
// whether it may.
func (s *schedule) pass() bool {
	if s.turns >= bulkTurn {
		if !s.held && s.bulkWaits() {
			return false
		}
		s.turns = 0 // nothing of bulk has waited for them
	}
	s.turns++
	return true
}

// nextBulk returns the stream of bulk whose turn it is; nil if none may send.
func (s *schedule) nextBulk() *stream {
	if s.firsts++; s.firsts > bulkTurn {
		s.firsts = 0
		for range s.bulk {
			s.any = (s.any + 1) % len(s.bulk)
			if st := s.bulk[s.any].last(); st != nil {
				return st
			}
		}
	}
	for i := range s.bulk {
		if st := s.bulk[i].first(); st != nil {
			return st
		}
	}
	return nil
}

// bulkWaits reports whether any stream of bulk may send.
func (s *schedule) bulkWaits() bool {
	for i := range s.bulk {
		if !s.bulk[i].empty() {
			return true
		}
	}
	return false
}

// waiting reports whether any stream may send.
func (s *schedule) waiting() bool { return s.sockets.head != nil || !s.held && s.bulkWaits() }

// batchBytes is how much bulk is handed to the kernel at once: what a socket's
// message may find in front of it. With messages of sockets alone a batch is up to
// socketBytes, so that one of 64 KiB, with the headers that it needs, is a batch and
// leaves no rest to go by itself.
const (
	batchBytes  = 32 << 10
	socketBytes = 66 << 10
)

// maxData is the payload of our largest DATA frame: with its header it fills
// one TLS record.
const maxData = maxFrame - frameHeader

const frameHeader = 9

// pump turns what waits of sockets into DATA frames, until the batch is full, the
// connection's window is used up, or it is bulk's turn. Bulk stays where it is
// until a flusher is about to write: in the batch, a socket's message could not
// overtake it any more. c.mu is held.
func (c *conn) pump() { c.serveAll(false) }

// fill completes a batch that is about to be written. c.mu is held.
func (c *conn) fill() { c.serveAll(true) }

func (c *conn) serveAll(bulk bool) {
	for c.outConn.window > 0 && c.sched.fits(socketBytes-len(c.out)) {
		st := c.sched.next(bulk && len(c.out) < batchBytes)
		if st == nil {
			return
		}
		c.serve(st)
	}
}

// fits reports whether the next frame of a socket has room in so many bytes; without
// one, whether there are any.
func (s *schedule) fits(room int) bool {
	if st := s.sockets.head; st != nil {
		return room >= frameHeader+min(st.send.pending(), maxData)
	}
	return room > 0
}

// serve sends one turn of st, which waits for one. c.mu is held.
func (c *conn) serve(st *stream) {
	pending := st.send.pending()
	n := min(int64(pending), maxData, c.outConn.window, c.outBase.window(st.send.flow))
	if n <= 0 {
		c.sched.block(st)
		return
	}
	last := int(n) == pending
	end := last && st.send.endWanted && st.send.trailer == nil
	c.appendData(st, int(n), end)
	c.sent(st, int(n))
	if !last {
		c.sched.enqueue(st)
		return
	}
	st.drained(end)
}

// sent accounts for n bytes of st that have been put into a DATA frame. c.mu is held.
func (c *conn) sent(st *stream, n int) {
	c.outConn.take(n)
	st.send.flow -= outdelta(n)
	st.send.sent += int64(n)
	c.dataSent += int64(n)
	if !st.socket {
		c.unpolled += n
		c.bulkSent()
	}
}

// retryBlocked gives all blocked streams another turn if any of them may have a
// use for it: their windows have moved together. What it costs not to is the
// same however many there are, so that windows moved to and fro are no attack
// (hardening: CVE-2026-78669). c.mu is held.
func (c *conn) retryBlocked() {
	if c.outBase.window(c.sched.best) <= 0 {
		return
	}
	for st := c.sched.blocked.head; st != nil; st = c.sched.blocked.head {
		c.sched.blocked.remove(st)
		c.sched.enqueue(st)
	}
}
