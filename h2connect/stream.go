package h2connect

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/lifetime"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A stream is one stream of a connection, in either role (RFC 9113 §5.1). Of
// the RFC's states it knows the two halves, since idle and closed streams are
// not in the connection's table:
//
//	              recv.ended   send.ended
//	open              –            –
//	half-closed       –            x       (local)
//	half-closed       x            –       (remote)
//	closed            x            x       → left the table
//
// A reset, sent or received, ends both halves at once. Once accepted, a stream
// of an extended CONNECT is a websocket.Stream.
//
// An idle socket is small: what only HTTP messages, data that waits and calls that
// block have a use for is in parts of its own, which come when they are needed.
type stream struct {
	c    *conn
	id   uint32
	slow atomic.Int32 // how many more times a goroutine of its own is to serve it

	// The connection's lock guards these.
	*httpPart // nil once the stream is a socket's alone
	priority  priority
	recvEnded bool // END_STREAM or a reset has arrived, or we have reset
	gone      bool // it has left the table
	socket    bool // an accepted extended CONNECT: only DATA from here on
	tunnel    bool // server: a CONNECT, whose header block only DATA follows
	outlives  bool // a socket that does not end with its HTTP handler
	stopping  bool // once our direction has ended, so must the peer's
	lingering bool // stopPeerLater has been called
	handling  bool // server: the handler has not returned
	send      sender

	recv receiver
}

// An httpPart is what a stream knows of the request or response that it carries, or
// that made it a socket's. The connection's lock guards what the part is of; on a
// client, where it stays, declared and received are the connection's reader's.
type httpPart struct {
	ctx      *lifetime.Context // server: the request's, until its handler has returned
	exchange *exchange         // client: the request that opened the stream
	declared int64             // content-length of what is being received; -1: none
	received int64             // content received
}

// short reports whether less content has come than was declared, with more to come
// or without. c.mu is held.
func (st *stream) short() bool {
	return st.httpPart != nil && st.declared >= 0 && st.received < st.declared
}

var _ websocket.Stream = (*stream)(nil)

// Read implements websocket.Stream.
func (st *stream) Read(p []byte) (int, error) {
	n, unbuffered, increment, err := st.recv.read(p, nil)
	if n > 0 {
		st.wokeUp()
	}
	if unbuffered > 0 || increment > 0 {
		st.c.consumed(st, unbuffered, increment)
	}
	return n, err
}

// InputEnded reports whether the peer's direction has ended: see package websocket.
func (st *stream) InputEnded() bool { return st.recv.ended() }

// ReadLazy is Read into a buffer that b yields once there is something to read. An
// idle socket's reader is here: see shallow in package websocket.
func (st *stream) ReadLazy(b lazy) (int, error) {
	n, unbuffered, increment, err := st.recv.read(nil, b)
	if n > 0 {
		st.wokeUp()
	}
	if unbuffered > 0 || increment > 0 {
		st.c.consumed(st, unbuffered, increment)
	}
	return n, err
}

// Write implements websocket.Stream. It returns once every byte is in a frame,
// within the windows of stream and connection, or in the stream's small buffer.
func (st *stream) Write(p []byte) (int, error) {
	n, err := st.write(nil, p)
	return int(n), err
}

// WriteBuffers writes header and payload as if they stood in one.
func (st *stream) WriteBuffers(header, payload []byte) (int64, error) {
	return st.write(header, payload)
}

func (st *stream) write(header, payload []byte) (int64, error) {
	c, s := st.c, &st.send
	c.mu.Lock()
	defer c.mu.Unlock()
	for s.outlet != nil && s.writing && s.err == nil && !s.deadline.passed() {
		s.deadline.wait(s.cond.on(&c.mu)) // a second writer, which the contract does not allow
	}
	if err := st.writable(); err != nil {
		return 0, err
	}
	total := int64(len(header) + len(payload))
	if total == 0 {
		return 0, nil
	}
	if c.writeNow(st, header, payload) {
		c.flush()
		return total, nil
	}
	s.begin()
	s.writing, s.header, s.payload, s.taken = true, header, payload, 0
	c.writeDirect(st)
	if s.pending() > 0 {
		c.sched.enqueue(st)
		c.pump()
		c.flush()
	}
	for s.taken < total && s.err == nil && !s.keep(st.sendRoom()) && !s.deadline.passed() {
		if term := c.lead.term.Load(); calls(term) == st.id && c.depose(term) {
			c.flush() // it is the reader who would have had to wait
			continue
		}
		st.watchStall()
		s.deadline.wait(s.cond.on(&c.mu))
	}
	st.watchStall()
	s.writing, s.header, s.payload = false, nil, nil
	s.cond.Broadcast() // for a second writer
	if s.queue != nil && s.pending() == 0 {
		s.queue.remove(st)
	}
	taken := s.taken
	switch {
	case taken == total:
		return total, nil
	case s.err != nil:
		return taken, s.err
	case s.endWanted && s.pending() == 0: // the end waited for bytes that are not to come
		st.endNow()
		c.flush()
	}
	return taken, os.ErrDeadlineExceeded
}

// sendRoom returns how many bytes may wait of what is being written.
func (st *stream) sendRoom() int {
	if calls(st.c.lead.term.Load()) == st.id {
		return handlerBuffer
	}
	return sendBuffer
}

// Shared returns what create returned first for the connection: see package
// websocket.
func (st *stream) Shared(create func() any) any {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shared == nil {
		c.shared = create()
	}
	return c.shared
}

// WriteLater takes p without waiting and without sending it: see package
// websocket. What is taken beyond sendBuffer is no more than one message.
func (st *stream) WriteLater(p []byte) (interface{ Flush() }, bool) {
	c, s := st.c, &st.send
	c.mu.Lock()
	defer c.mu.Unlock()
	s.begin()
	if s.writing || st.writable() != nil || s.pending() > 0 && s.pending()+len(p) > sendBuffer {
		return c, false
	}
	s.buffered.append(p)
	c.sched.enqueue(st)
	c.pump()
	st.watchStall()
	if len(c.out) >= batchBytes {
		c.flush()
	}
	return c, true
}

// writable returns why nothing can be written, nil if it can. c.mu is held.
func (st *stream) writable() error {
	s := &st.send
	switch {
	case s.err != nil:
		return s.err
	case s.endWanted:
		return errWriteEnded
	case s.outlet != nil && s.deadline.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

var errWriteEnded = errors.New("h2connect: write after the end of the stream")

// CloseWrite implements websocket.Stream: END_STREAM, on the last DATA frame
// where that is still at hand.
func (st *stream) CloseWrite() error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.send.err != nil {
		if st.send.ended && st.send.err == errWriteEnded {
			return nil
		}
		return st.send.err
	}
	st.endWrite(nil)
	st.c.flush()
	return nil
}

// endWrite ends our direction after everything that waits, with a trailer
// section unless trailer is nil. c.mu is held.
func (st *stream) endWrite(trailer []hpack.HeaderField) {
	s := &st.send
	if s.endWanted || s.ended {
		return
	}
	s.endWanted = true
	if trailer != nil {
		s.begin()
		s.trailer = trailer
	}
	if s.pending() == 0 {
		st.endNow()
	}
}

// endNow ends our direction when nothing waits. c.mu is held.
func (st *stream) endNow() {
	bare := st.send.outlet == nil || st.send.trailer == nil
	if bare {
		// An empty DATA frame is allowed here and nowhere else (XC-21).
		st.c.appendData(st, 0, true)
	}
	st.drained(bare)
}

// drained is called when nothing waits any more; ended says whether the last
// frame carried END_STREAM. c.mu is held.
func (st *stream) drained(ended bool) {
	s := &st.send
	if !s.endWanted || s.ended {
		return
	}
	if !ended {
		st.c.writeHeaders(st.id, s.trailer, true)
		s.trailer = nil
	}
	s.ended, s.err = true, errWriteEnded
	s.wake()
	st.c.halfClosed(st)
}

// Close implements websocket.Stream.
func (st *stream) Close() error {
	st.endWriteAndDiscard()
	return nil
}

// endWriteAndDiscard ends our direction and drops what may still come. A peer
// that has not ended its own is asked to stop once ours is through: NO_ERROR
// says that nothing is wrong (RFC 9113 §8.1).
func (st *stream) endWriteAndDiscard() {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.gone {
		st.c.discard(st, net.ErrClosed)
		return
	}
	st.endWrite(nil)
	st.c.discard(st, net.ErrClosed)
	if st.socket {
		st.stopPeerLater()
	} else {
		st.stopPeer()
	}
	st.c.flush()
}

// stopPeerLater gives a socket's peer the time to answer our END_STREAM with its
// own, before it is asked to: a reset can cost it what it has not read yet.
// c.mu is held.
func (st *stream) stopPeerLater() {
	c := st.c
	if st.gone || st.recvEnded || st.lingering {
		return
	}
	st.lingering = true
	time.AfterFunc(c.limits.Linger, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		st.stopPeer()
		c.flush()
	})
}

// stopPeer makes sure that the peer ends its direction when ours has ended.
// c.mu is held.
func (st *stream) stopPeer() {
	if st.gone || st.recvEnded {
		return
	}
	if !st.send.ended {
		st.stopping = true // halfClosed will do it
		return
	}
	code := http2.ErrCodeNo
	if st.c.side == clientSide {
		// "Clients MUST NOT discard responses as a result of receiving such
		// a RST_STREAM": it is a server's word; a client cancels.
		code = http2.ErrCodeCancel
	}
	st.c.reset(st, &StreamError{Code: code, Err: net.ErrClosed})
}

// Abort implements websocket.Stream: RST_STREAM with CANCEL (RFC 8441 §5).
func (st *stream) Abort() error {
	st.abort(http2.ErrCodeCancel, net.ErrClosed)
	return nil
}

// abort resets the stream and drops everything that waits in both directions.
func (st *stream) abort(code http2.ErrCode, cause error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if !st.gone {
		st.c.reset(st, &StreamError{Code: code, Err: cause})
	}
	st.c.discard(st, cause)
	st.c.flush()
}

// SetReadDeadline implements websocket.Stream.
func (st *stream) SetReadDeadline(t time.Time) error {
	st.recv.mu.Lock()
	defer st.recv.mu.Unlock()
	if st.recv.inlet == nil && t.IsZero() {
		return nil
	}
	st.recv.begin()
	st.recv.deadline.set(t)
	st.recv.cond.Broadcast()
	return nil
}

// SetWriteDeadline implements websocket.Stream.
func (st *stream) SetWriteDeadline(t time.Time) error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.send.outlet == nil && t.IsZero() {
		return nil
	}
	st.send.begin()
	st.send.deadline.set(t)
	st.send.cond.Broadcast()
	return nil
}

// Bootstrap implements websocket.Stream.
func (st *stream) Bootstrap() websocket.Bootstrap { return websocket.HTTP2 }

// LocalAddr implements websocket.Stream.
func (st *stream) LocalAddr() net.Addr { return st.c.nc.LocalAddr() }

// RemoteAddr implements websocket.Stream.
func (st *stream) RemoteAddr() net.Addr { return st.c.nc.RemoteAddr() }

// TLS implements websocket.Stream.
func (st *stream) TLS() *tls.ConnectionState { return st.c.tls }

// writeHeaders queues a header block. end says that nothing follows, now that
// it is to go out at once rather than with what follows.
func (st *stream) writeHeaders(fields []hpack.HeaderField, end, now bool) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.send.ended || st.send.endWanted || c.dead() {
		return
	}
	c.writeHeaders(st.id, fields, end)
	if end {
		st.send.endWanted = true
		st.send.ended, st.send.err = true, errWriteEnded
		c.halfClosed(st)
	}
	if now {
		c.flush()
	}
}

// flushAll sends what has been queued, and returns why the stream has ended if
// it has.
func (st *stream) flushAll() error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	return st.send.err
}

// finish ends a response: with content that still waits, a trailer section
// unless trailer is empty, and END_STREAM, all in as few frames as possible.
// It waits as a write does where the content has to.
func (st *stream) finish(content []byte, trailer []hpack.HeaderField) {
	c, s := st.c, &st.send
	c.mu.Lock()
	if s.err != nil {
		c.mu.Unlock()
		st.Close()
		return
	}
	if len(content) > 0 {
		s.begin()
		s.buffered.append(content) // no more than responseBuffer
	}
	if s.pending() > 0 {
		c.sched.enqueue(st)
	}
	if len(trailer) == 0 {
		trailer = nil
	}
	st.endWrite(trailer)
	c.pump()
	st.watchStall()
	c.mu.Unlock()
	st.Close()
}

// acceptSocket answers the request and turns the stream into a socket's.
func (st *stream) acceptSocket(fields []hpack.HeaderField) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.send.err != nil {
		return st.send.err
	}
	st.becomeSocket()
	c.writeHeaders(st.id, fields, false)
	// The lock is released while the answer is written, and a peer may have
	// reset the socket by then: the socket says so to whoever uses it.
	c.flush()
	return nil
}

// becomeSocket makes the stream of an extended CONNECT that has succeeded a
// socket's. c.mu is held.
func (st *stream) becomeSocket() {
	st.socket = true
	if !st.gone {
		st.c.sockets++
	}
}

// discardInput drops what waits and what still comes from the peer.
func (st *stream) discardInput() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discard(st, http.ErrBodyReadAfterClose)
	c.flush()
}

// outlive makes a socket independent of its HTTP handler.
func (st *stream) outlive() error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.outlives = true
	return nil
}

// livesOn reports whether the stream does not end with its HTTP handler.
func (st *stream) livesOn() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.outlives
}
