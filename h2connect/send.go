package h2connect

import (
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// sendBuffer is how many bytes of a stream wait with us while its writer goes
// on: small messages that cannot go out at once collect here and travel
// together.
const sendBuffer = 16 << 10

// handlerBuffer is the same for what a Handler writes while it keeps the reader: a
// message of 64 KiB does not cost the connection its reader.
const handlerBuffer = socketBytes

// A sender is the half of a stream that sends. The connection's lock guards it.
//
// What waits to be sent is in two places: small writes were copied to buffered,
// and the write that is too large for that waits, in its caller's own memory,
// in header and payload. They go out in this order, and then the end of the
// stream.
type sender struct {
	flow outdelta
	sent int64 // bytes put into DATA frames
	err  error // why nothing more can be sent; nil while it can

	endWanted bool // END_STREAM goes after what waits
	ended     bool // END_STREAM or RST_STREAM has been queued

	*outlet // nil before there is anything to send: see begin
}

// An outlet is the part of a sender that has to do with what waits to be sent.
type outlet struct {
	cond     signal // with the connection's lock
	deadline deadline
	stall    stallWatch

	buffered        buffer
	header, payload []byte
	taken           int64 // how much of the write in progress is in frames or in buffered
	writing         bool  // a write is in progress: header and payload are its

	trailer []hpack.HeaderField // a header block to end with, nil for none

	queue      *queue // where the stream waits to send, nil if it does not
	prev, next *stream
}

// begin sees to it that there is an outlet.
func (s *sender) begin() {
	if s.outlet == nil {
		s.outlet = new(outlet)
	}
}

// wake wakes the writers that are blocked.
func (s *sender) wake() {
	if s.outlet != nil {
		s.cond.Broadcast()
	}
}

// pending returns how many bytes wait.
func (s *sender) pending() int {
	if s.outlet == nil {
		return 0
	}
	return s.buffered.len() + len(s.header) + len(s.payload)
}

// take moves the first n pending bytes to the end of dst.
func (s *sender) take(dst []byte, n int) []byte {
	if n == 0 {
		return dst
	}
	if n == s.pending() {
		s.stall.waiting = false // the peer has let everything go
	}
	if m := min(n, s.buffered.len()); m > 0 {
		dst = s.buffered.take(dst, m)
		n -= m
	}
	if n == 0 {
		return dst
	}
	m := min(n, len(s.header))
	dst = append(dst, s.header[:m]...)
	s.header = s.header[m:]
	dst = append(dst, s.payload[:n-m]...)
	s.payload = s.payload[n-m:]
	s.taken += int64(n)
	if len(s.header)+len(s.payload) == 0 {
		s.header, s.payload = nil, nil
		s.cond.Broadcast()
	}
	return dst
}

// keep copies what the writer still holds to the buffer, if there is room in so
// many bytes. It reports whether the writer may go.
func (s *sender) keep(room int) bool {
	if s.pending() > room {
		return false
	}
	s.taken += int64(len(s.header) + len(s.payload))
	s.buffered.append(s.header)
	s.buffered.append(s.payload)
	s.header, s.payload = nil, nil
	return true
}

// drop forgets everything that waits, and stops the timers.
func (s *sender) drop() {
	if s.outlet == nil {
		return
	}
	s.buffered.free()
	s.header, s.payload, s.trailer = nil, nil, nil
	s.deadline.stop()
	if s.stall.timer != nil {
		s.stall.timer.Stop()
	}
}

// A stallWatch resets a stream whose peer keeps its window closed while data
// waits for it: what waits is memory of ours that the peer holds (hardening:
// CVE-2019-9511, slow read). The timer is armed when data has to wait, left
// alone when it need not wait any more, and looks for itself when it fires: at
// how long data has waited since there was none.
type stallWatch struct {
	timer   *time.Timer
	armed   bool
	waiting bool          // something has waited since
	since   time.Duration // this, by clock, all the time
	mark    int64         // sender.sent then, or when the peer was last seen to go on
	conn    int64         // conn.dataSent at that time
}

// stallProgress is how much a peer must take within Limits.WriteStall: windows
// that open by the byte are no progress.
const stallProgress = 1 << 10

// watchStall arms the stream's watch if something waits. c.mu is held.
func (st *stream) watchStall() {
	limit := st.c.limits.WriteStall
	if limit < 0 || st.gone || st.send.pending() == 0 {
		return
	}
	w := &st.send.stall
	if !w.waiting {
		w.waiting, w.since, w.mark, w.conn = true, clock(), st.send.sent, st.c.dataSent
	}
	if !w.armed {
		w.arm(limit, st.checkStall)
	}
}

func (w *stallWatch) arm(after time.Duration, check func()) {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(after, check)
		return
	}
	w.timer.Reset(after)
}

func (st *stream) checkStall() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w, limit := &st.send.stall, c.limits.WriteStall
	w.armed = false
	if st.gone || st.send.pending() == 0 {
		return
	}
	still := limit - (clock() - w.since)
	switch {
	case w.waiting && still > 0:
		w.arm(still, st.checkStall) // it had to wait again, later
		return
	case !w.waiting || st.send.sent-w.mark >= stallProgress || st.outranked():
		w.waiting = false
		st.watchStall()
		return
	}
	c.hits.count(limitWriteStall)
	c.reset(st, &StreamError{Code: http2.ErrCodeCancel, Err: errWriteStall})
	c.flush()
}

// outranked reports whether others, who go first, have used what the peer took
// since the watch was armed: as much as if it had been shared. c.mu is held.
func (st *stream) outranked() bool {
	c := st.c
	return c.outBase.window(st.send.flow) > 0 &&
		c.dataSent-st.send.stall.conn >= stallProgress*int64(len(c.streams))
}
