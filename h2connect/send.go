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

// A sender is the half of a stream that sends. The connection's lock guards it.
//
// What waits to be sent is in two places: small writes were copied to buffered,
// and the write that is too large for that waits, in its caller's own memory,
// in header and payload. They go out in this order, and then the end of the
// stream.
type sender struct {
	cond signal // with the connection's lock
	flow outdelta
	sent int64 // bytes put into DATA frames

	buffered        buffer
	header, payload []byte
	writing         bool  // a write is in progress: header and payload are its
	taken           int64 // how much of that write is in frames or in buffered

	endWanted bool                // END_STREAM goes after what waits
	trailer   []hpack.HeaderField // a header block to end with, nil for none
	ended     bool                // END_STREAM or RST_STREAM has been queued

	err      error // why nothing more can be sent; nil while it can
	deadline deadline

	stall stallWatch
}

// pending returns how many bytes wait.
func (s *sender) pending() int {
	return s.buffered.len() + len(s.header) + len(s.payload)
}

// take moves the first n pending bytes to the end of dst.
func (s *sender) take(dst []byte, n int) []byte {
	if m := min(n, s.buffered.len()); m > 0 {
		dst = append(dst, s.buffered.peek(m)...)
		s.buffered.skip(m)
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

// keep copies what the writer still holds to the buffer, if there is room. It
// reports whether the writer may go.
func (s *sender) keep() bool {
	if s.pending() > sendBuffer {
		return false
	}
	s.taken += int64(len(s.header) + len(s.payload))
	s.buffered.append(s.header)
	s.buffered.append(s.payload)
	s.header, s.payload = nil, nil
	return true
}

// drop forgets everything that waits.
func (s *sender) drop() {
	s.buffered.free()
	s.header, s.payload, s.trailer = nil, nil, nil
}

// A stallWatch resets a stream whose peer keeps its window closed while data
// waits for it: what waits is memory of ours that the peer holds (hardening:
// CVE-2019-9511, slow read). The timer is armed when data has to wait, left
// alone when it need not wait any more, and looks for itself when it fires.
type stallWatch struct {
	timer *time.Timer
	armed bool
	mark  int64 // sender.sent when it was armed
	conn  int64 // conn.dataSent then
}

// stallProgress is how much a peer must take within Limits.WriteStall: windows
// that open by the byte are no progress.
const stallProgress = 1 << 10

// watchStall arms the stream's watch if something waits. c.mu is held.
func (st *stream) watchStall() {
	w, limit := &st.send.stall, st.c.limits.WriteStall
	if w.armed || limit < 0 || st.gone || st.send.pending() == 0 {
		return
	}
	w.armed, w.mark, w.conn = true, st.send.sent, st.c.dataSent
	if w.timer == nil {
		w.timer = time.AfterFunc(limit, st.checkStall)
		return
	}
	w.timer.Reset(limit)
}

func (st *stream) checkStall() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &st.send.stall
	w.armed = false
	if st.gone || st.send.pending() == 0 {
		return
	}
	if st.send.sent-w.mark >= stallProgress || st.outranked() {
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
