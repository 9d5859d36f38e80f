package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/wsmux/websocket/frame"
)

// How a Conn ends, seen from here. "both" is the state in which both Close
// frames have passed: from there on every way in which the stream ends is clean.
//
//	                 Close()                    peer's Close
//	open ──────────────────────► closing ──────────────────────► both ──► gone
//	  │                             │                              ▲
//	  │ peer's Close, we reply      │ END, reset, CloseTimeout     │
//	  ├─────────────────────────────│──────────────────────────────┘
//	  │ peer breaks a rule: we send Close and END, then discard
//	  ├─────────────────────────────│────────────────────────────────────► gone
//	  │ END, reset, CloseNow        ▼
//	  └────────────────────────► aborted ────────────────────────────────► gone
//
// CloseWrite sends our Close and stays in open, as far as reading goes, until the
// peer's Close arrives, which is both. Conn.err is set on leaving open and tells why.
// Conn.isOver is set when nothing more is expected of the peer (its Close, or the end
// of its input).

// fail records how the Conn ended and reports whether it was open until now.
func (c *Conn) fail(ce *CloseError) bool {
	if !c.err.CompareAndSwap(nil, ce) {
		return false
	}
	if x := c.handling.Load(); x != nil {
		x.connEnded()
	}
	return true
}

// setOver records that nothing more is expected of the peer; err is nil if its
// Close frame arrived.
func (c *Conn) setOver(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isOver {
		c.isOver = true
		e := c.theEnding()
		if e.overErr = err; e.over == nil {
			e.over = make(chan struct{})
		}
		close(e.over)
		if o := c.out.Load(); o != nil {
			o.endPonging()
		}
	}
}

// overChan returns a channel that is closed when nothing more is expected of the
// peer.
func (c *Conn) overChan() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.theEnding()
	if e.over == nil {
		e.over = make(chan struct{})
	}
	return e.over
}

// isOverNow reports whether nothing more is expected of the peer, and with what
// setOver was called.
func (c *Conn) isOverNow() (over bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isOver {
		return false, nil
	}
	return true, c.theEnding().overErr
}

// Close closes the socket in an orderly way: it sends a Close frame with the
// code and the reason (at most 123 bytes of UTF-8) and waits for the peer's,
// discarding messages that arrive before it (RFC 6455 §7.1.2). Code
// [StatusNoStatusReceived] sends a Close frame without a code. It returns nil if
// the peer answered, or had closed the socket before.
//
// The wait ends with ctx or with [Limits.CloseTimeout], whichever is first: then
// the stream is aborted, and the error wraps ctx's or
// context.DeadlineExceeded. If the stream ended without a Close frame the error
// is a *CloseError with status 1006. A code or reason that cannot be sent is an
// error too, and does nothing else.
//
// Further calls wait for the first one's result. The stream itself may be
// released a little later, when the peer has ended its side too.
func (c *Conn) Close(ctx context.Context, code StatusCode, reason string) error {
	payload, err := frame.AppendClose(nil, code, reason)
	if err != nil {
		return fmt.Errorf("websocket: close: %w", err)
	}
	written := make(chan struct{})
	if !c.beginClose(&CloseError{Code: code, Reason: reason, Err: net.ErrClosed}, written) {
		return c.awaitHandshake(ctx)
	}
	deadline := time.Now().Add(c.set.limits.CloseTimeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err = c.closeHandshake(ctx, payload, written)
	c.setHandshaken(err)
	if err != nil {
		if !c.isFinishing() { // after a breach the stream ends by itself
			c.giveUp(errors.Is(err, io.ErrUnexpectedEOF))
		}
		return err
	}
	// ctx governs the call, which is over. Callers cancel it on their way out,
	// and a stream that is ending in an orderly way must not be reset for that.
	go func() { // ends with the stream or at CloseTimeout; owns the stream's input
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		c.endAfterClose(false)
		c.finish(ctx, nil)
	}()
	return nil
}

// closeHandshake sends our Close frame and waits for the peer's. It reads while
// it waits for its turn to write: the peer may have to be read before it takes
// what is in front of our Close.
func (c *Conn) closeHandshake(ctx context.Context, payload []byte, written chan<- struct{}) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() { // ends with the write, at the latest with ctx
		err := c.writeClose(ctx, payload)
		if err != nil {
			cancel()
		}
		close(written)
		result <- err
	}()
	err := c.awaitPeer(reading)
	if writeErr := <-result; writeErr != nil && (err == nil || reading.Err() != nil) {
		err = writeErr
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("websocket: close: no Close frame from the peer: %w", ctx.Err())
	}
	return err
}

// beginClose is fail for a Close, whose frame has been written, or never will
// be, when written is closed.
func (c *Conn) beginClose(ce *CloseError, written <-chan struct{}) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.theEnding()
	if e.goodbye != nil {
		ce = e.goodbye.end // that is what the peer has been told
	}
	if !c.fail(ce) {
		return false
	}
	e.closing = written
	return true
}

// awaitPeer reads and discards until the peer's Close frame has arrived, or its
// input has ended, which is the error.
func (c *Conn) awaitPeer(ctx context.Context) error {
	for {
		if c.lockInput(ctx, c.overChan()) {
			c.discard(ctx)
			c.unlockRead()
		}
		if over, err := c.isOverNow(); over {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// discard reads until ctx or the input ends. The caller holds the reading gate.
func (c *Conn) discard(ctx context.Context) {
	in := c.in
	in.detach()
	in.ahead, in.piece, in.gathered = nil, nil, nil
	in.last = false // a Reader does not take what is gone for the end of its message
	for {
		if over, _ := c.isOverNow(); over {
			return
		}
		_, ok, err := c.parse(ctx)
		if err == nil && !ok {
			err = c.fill(ctx)
		}
		if err != nil {
			return
		}
	}
}

// awaitHandshake returns the result of a close that somebody else began.
func (c *Conn) awaitHandshake(ctx context.Context) error {
	c.mu.Lock()
	e := c.theEnding()
	c.mu.Unlock()
	select {
	case <-e.handshaken:
		return e.closeErr
	case <-ctx.Done():
		return gaveUp("close", ctx)
	}
}

func (c *Conn) setHandshaken(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.theEnding()
	select {
	case <-e.handshaken:
	default:
		e.closeErr = err
		close(e.handshaken)
	}
}

// CloseNow ends the socket without a closing handshake: the stream is aborted,
// blocked calls return, and the peer sees status 1006. It returns nil.
//
// Once the socket has ended, or is being closed, it does nothing, so that
// "defer c.CloseNow()" is right in every function that accepts or dials: a Close
// that still waits for the peer, on another goroutine, goes on. That wait is cut
// short by its own context. After CloseWrite it discards what is still to be
// read, and the socket ends with the peer's answer or at CloseTimeout.
func (c *Conn) CloseNow() error {
	if g := c.goodbyeSaid(); g != nil && c.err.Load() == nil {
		// This goroutine ends with the closing handshake, at CloseTimeout.
		go c.Close(context.Background(), StatusNoStatusReceived, "")
		return nil
	}
	c.endNow(&CloseError{Code: StatusAbnormalClosure, Err: net.ErrClosed})
	return nil
}

// endNow ends the Conn at once if it was open until now.
func (c *Conn) endNow(ce *CloseError) {
	if c.fail(ce) {
		c.setOver(ce)
		c.giveUp(false)
	}
}

func (c *Conn) isFinishing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finishing
}

// peerClosed deals with the peer's Close frame: if we have not sent ours it is
// answered with the same code (RFC 6455 §5.5.1), and then the stream ends. The
// caller holds the reading gate.
func (c *Conn) peerClosed(ctx context.Context, code StatusCode, reason string) error {
	c.publishRead() // nobody reads for the application any more
	ce := c.goodbyeSaid()
	if ce == nil {
		ce = &CloseError{Code: code, Reason: reason, Remote: true}
	}
	first := c.fail(ce)
	c.setOver(nil)
	if first {
		// A program that ends now has answered, if that was possible.
		select {
		case <-c.finishAfter(code, "", false):
		case <-ctx.Done():
		}
	}
	return c.err.Load()
}

// finishAfter sends a Close frame, unless one was sent, and then ends the
// stream. In a breach we are the ones who give up, so that END does not wait. It
// returns a channel that is closed when our last word has been written; the rest
// happens on a goroutine of its own, which ends with the stream or at
// CloseTimeout.
func (c *Conn) finishAfter(code StatusCode, reason string, breach bool) <-chan struct{} {
	said := make(chan struct{})
	c.mu.Lock()
	started, closing := c.finishing, c.theEnding().closing
	c.finishing = true
	c.mu.Unlock()
	if started {
		close(said)
		return said
	}
	payload, err := frame.AppendClose(nil, code, reason)
	if err != nil { // a reason of ours that is too long, or a code that is not for the wire
		payload, _ = frame.AppendClose(nil, code, "")
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.set.limits.CloseTimeout)
	go func() { // ends with the write, which its context bounds
		if closing != nil {
			<-closing
		} else {
			c.writeClose(ctx, payload)
		}
		c.endAfterClose(breach)
		if breach {
			c.setHandshaken(c.err.Load())
		} else {
			c.setHandshaken(nil)
		}
		close(said)
	}()
	go func() {
		defer cancel()
		c.finish(ctx, said)
	}()
	return said
}

// endAfterClose ends our direction behind our Close frame, unless it is the
// peer's turn: the server ends first, the client follows (RFC 6455 §7.1.1); in a
// breach nobody waits.
func (c *Conn) endAfterClose(breach bool) {
	if breach || !c.set.client {
		c.stream.CloseWrite()
	}
}

// finish ends the stream when both Close frames have passed, or after a breach:
// what the peer still sends is discarded until it has ended. It reads although
// our Close may still have to be written, which closes said, because the peer
// may have to be read before it takes what is in front of it. When ctx ends the
// stream is aborted. However the peer ends it, that is clean (the close matrix's
// rule 5).
func (c *Conn) finish(ctx context.Context, said <-chan struct{}) {
	c.mu.Lock()
	c.finishing = true
	c.mu.Unlock()
	// Nobody reads the stream once err is set and the gate was free.
	if c.lockInput(ctx, nil) {
		c.in.dropBuffer()
		c.unlockRead()
		c.drain(ctx)
	}
	if said != nil {
		<-said
	}
	if ctx.Err() != nil {
		c.stream.Abort()
	} else {
		c.stream.CloseWrite()
		c.stream.Close()
	}
	c.release()
}

// drain reads the stream to its end and drops what it reads.
func (c *Conn) drain(ctx context.Context) {
	b := scratchBuffers.Get().(*[readBufferSize]byte)
	defer scratchBuffers.Put(b)
	if end := ender(ctx); end != nil {
		i := c.interruptFor(&c.theRarity().readInterrupt, false)
		i.begin(ctx, end)
		defer i.end()
	}
	for ctx.Err() == nil {
		_, err := c.stream.Read(b[:])
		if err != nil {
			return
		}
	}
}

// giveUp releases the stream without a closing handshake: after the peer's END
// with an END of ours, otherwise at once.
func (c *Conn) giveUp(orderly bool) {
	if orderly {
		c.stream.CloseWrite()
		c.stream.Close()
	} else {
		c.stream.Abort()
	}
	ce := c.err.Load()
	c.setOver(ce) // for those who wait behind what nobody reads any more
	c.setHandshaken(ce)
	c.release()
}

// release ends what belongs to the Conn: timers, registrations, and those who
// wait.
func (c *Conn) release() {
	c.mu.Lock()
	if c.isGone {
		c.mu.Unlock()
		return
	}
	c.isGone = true
	c.mu.Unlock()
	if r := c.rare.Load(); r != nil {
		if i := r.readInterrupt.Load(); i != nil {
			i.release()
		}
	}
	if o := c.out.Load(); o != nil {
		o.release()
	}
	c.stopKeepAlive()
	if c.tryLockInput() {
		c.in.release()
		c.unlockRead()
	}
	if c.onEnd != nil {
		go c.onEnd()
	}
}

func (in *inbound) release() {
	if in.ahead != nil || len(in.piece) > 0 || in.open {
		return // still to be read; the collector takes it from there
	}
	in.dropBuffer()
	if in.inflater != nil {
		in.inflater.Free()
		in.inflater = nil
	}
}

// stalled is called when the peer has taken no byte for Limits.WriteStall.
func (c *Conn) stalled() {
	c.abort(&CloseError{Code: StatusAbnormalClosure, Remote: true, Err: errStalled})
}

// abort ends the Conn at once for a reason found by a timer or a writer.
func (c *Conn) abort(ce *CloseError) error {
	c.fail(ce)
	c.setOver(ce)
	c.giveUp(false)
	return c.err.Load()
}

// A timeoutError is a CloseError's cause when a limit in time was passed.
type timeoutError string

func (e timeoutError) Error() string   { return string(e) }
func (e timeoutError) Timeout() bool   { return true }
func (e timeoutError) Temporary() bool { return false }

// Limit names the field of Limits that was passed.
func (e timeoutError) Limit() string {
	if e == errStalled {
		return "WriteStall"
	}
	return "PingTimeout"
}

func (e timeoutError) Unwrap() error { return context.DeadlineExceeded }

const (
	errStalled = timeoutError("the peer takes no data")
	errDead    = timeoutError("no answer to a keep-alive ping")
)

var _ net.Error = timeoutError("")
