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
// bytes; sockets go before bulk, but of nine frames one is bulk's.

// A queue is a list of streams, first in, first out. A stream is in at most one
// queue at a time.
type queue struct {
	head, tail *stream
}

func (q *queue) push(st *stream) {
	st.queue, st.prev, st.next = q, q.tail, nil
	if q.tail == nil {
		q.head = st
	} else {
		q.tail.next = st
	}
	q.tail = st
}

func (q *queue) remove(st *stream) {
	if st.prev == nil {
		q.head = st.next
	} else {
		st.prev.next = st.next
	}
	if st.next == nil {
		q.tail = st.prev
	} else {
		st.next.prev = st.prev
	}
	st.queue, st.prev, st.next = nil, nil, nil
}

// bulkTurn is how many frames of sockets go before one of bulk when both wait.
const bulkTurn = 8

// schedule is the state of a connection's sender; the connection's lock guards
// it.
type schedule struct {
	sockets queue
	bulk    queue
	blocked queue
	best    outdelta // none of the blocked has a larger window; it may be out of date
	turns   int      // frames of sockets since the last one of bulk
}

// enqueue puts a stream that has bytes to send into its list.
func (s *schedule) enqueue(st *stream) {
	if st.queue != nil {
		return
	}
	if st.socket {
		s.sockets.push(st)
		return
	}
	s.bulk.push(st)
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
	if st == nil || s.turns >= bulkTurn && s.bulk.head != nil {
		st = s.bulk.head
		if st == nil || !bulk {
			return nil
		}
		s.turns = 0
		s.bulk.remove(st)
		return st
	}
	s.turns++
	s.sockets.remove(st)
	return st
}

// waiting reports whether any stream may send.
func (s *schedule) waiting() bool { return s.sockets.head != nil || s.bulk.head != nil }

// batchBytes is how much is handed to the kernel at once: what a socket's
// message may find in front of it.
const batchBytes = 32 << 10

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
	for len(c.out) < batchBytes && c.outConn.window > 0 {
		st := c.sched.next(bulk)
		if st == nil {
			return
		}
		c.serve(st)
	}
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
	c.outConn.take(int(n))
	st.send.flow -= outdelta(n)
	st.send.sent += n
	if !last {
		c.sched.enqueue(st)
		return
	}
	st.drained(end)
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
