package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/wsmux/websocket/frame"
)

// CloseWrite begins to close the socket and leaves the other direction open: it
// sends a Close frame with the code and the reason, as [Conn.Close] does, behind
// which nothing more can be written, and returns when the frame is written. What
// the peer had sent before it answered can be read as before; then reads return
// a *CloseError with code and reason, and the socket has ended. So a server that
// goes away loses no message that a client was able to send.
//
// Something must read, as always; while nothing does, up to 64 KiB are read ahead.
// If the peer does not answer within [Limits.CloseTimeout] the stream is aborted.
// Time during which the application is more than 64 KiB behind does not count.
// Close after CloseWrite waits for the peer and discards what is still to be
// read.
//
// If ctx, or CloseTimeout, ends before the frame is written the stream is aborted,
// and the error wraps ctx's or context.DeadlineExceeded. After another CloseWrite
// it does what that one did; if the socket is being closed in another way or has
// ended it does nothing and returns that *CloseError. A code or reason that cannot
// be sent is an error too, and does nothing else.
func (c *Conn) CloseWrite(ctx context.Context, code StatusCode, reason string) error {
	payload, err := frame.AppendClose(nil, code, reason)
	if err != nil {
		return fmt.Errorf("websocket: close: %w", err)
	}
	g := &goodbye{said: make(chan struct{})}
	g.end = &CloseError{Code: code, Reason: reason, Err: net.ErrClosed}
	if first, ce := c.beginGoodbye(g); ce != nil {
		return ce
	} else if first != g {
		return first.wait(ctx)
	}
	c.stopKeepAlive() // CloseTimeout takes its place
	go c.awaitAnswer(g)
	ctx, cancel := context.WithTimeout(ctx, c.set.limits.CloseTimeout)
	defer cancel()
	g.err = c.sayGoodbye(ctx, payload, g.end)
	close(g.said)
	return g.err
}

// A goodbye is a Close frame of ours behind which the peer's messages are still
// read.
type goodbye struct {
	end  *CloseError   // how the Conn ends, if the peer answers
	said chan struct{} // closed when the frame is written, or never will be
	err  error         // why it was not; read after said
}

func (g *goodbye) wait(ctx context.Context) error {
	select {
	case <-g.said:
		return g.err
	case <-ctx.Done():
		return gaveUp("close", ctx)
	}
}

// beginGoodbye makes g the Conn's goodbye and returns it, or the one that there
// is already, or how the Conn was closed otherwise.
func (c *Conn) beginGoodbye(g *goodbye) (*goodbye, *CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.theEnding()
	if e.goodbye != nil {
		return e.goodbye, nil
	}
	if ce := c.err.Load(); ce != nil {
		return nil, ce
	}
	e.goodbye, e.closing = g, g.said
	return g, nil
}

// goodbyeSaid returns how a Conn ends whose goodbye the peer answers, nil without
// one.
func (c *Conn) goodbyeSaid() *CloseError {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rare.Load()
	if r == nil || r.ending == nil || r.ending.goodbye == nil {
		return nil
	}
	return r.ending.goodbye.end
}

// sayGoodbye writes the Close frame and lets nothing be written behind it.
func (c *Conn) sayGoodbye(ctx context.Context, payload []byte, ce *CloseError) error {
	err := c.writeCloseThen(ctx, payload, func() {
		if c.outbound().err == nil {
			c.outbound().err = ce
		}
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("websocket: close: no Close frame could be written: %w", ctx.Err())
		c.unanswered(ce, err)
	}
	return err
}

// unanswered gives the peer up, because of err.
func (c *Conn) unanswered(ce *CloseError, err error) {
	c.fail(ce)
	c.setHandshaken(err)
	c.setOver(ce)
	c.giveUp(false)
}

// awaitAnswer has a goroutine of its own, which CloseWrite starts: it reads when
// nobody else does, and keeps for the application what it reads. It ends with the
// peer's Close frame, with the stream, when somebody closes the Conn in another
// way, or when the answer is late.
func (c *Conn) awaitAnswer(g *goodbye) {
	for {
		late, behind := c.readForAnswer()
		if !late {
			return
		}
		if !behind {
			c.unanswered(g.end, fmt.Errorf("websocket: close: no Close frame from the peer: %w", context.DeadlineExceeded))
			return
		}
	}
}

// readForAnswer reads for CloseTimeout. It reports whether the answer has not
// come in that time, and then whether the application was so far behind that the
// peer may have given it.
func (c *Conn) readForAnswer() (late, behind bool) {
	ctx, cancel := context.WithTimeout(context.Background(), c.set.limits.CloseTimeout)
	defer cancel()
	over := c.overChan()
	behind = c.backlogged()
	// Of those who read ahead one reads for all, see awaitPong.
	if c.outbound().awaitingPong.lock(ctx, over) {
		defer c.outbound().awaitingPong.unlock()
	}
	for {
		var err error
		full := false
		if c.lockAhead(ctx, over) {
			err = c.readAhead(ctx, over)
			full = c.in.aheadFull()
			c.unlockRead()
		}
		behind = behind || full
		if full { // what is ahead leads whoever reads it to the answer
			select {
			case <-over:
			case <-ctx.Done():
			}
		}
		select {
		case <-over:
			return false, false
		default:
		}
		if ctx.Err() != nil {
			return true, behind || c.backlogged()
		}
		if err != nil {
			return false, false
		}
	}
}

// writeCloseThen writes our Close frame, unless one has been written, and calls
// then before anything else can be written.
func (c *Conn) writeCloseThen(ctx context.Context, payload []byte, then func()) error {
	if !c.output.lock(ctx, nil) {
		return ctx.Err()
	}
	defer c.unlockOutput()
	if c.outbound().err != nil {
		if c.outbound().err == c.goodbyeSaid() {
			return nil
		}
		return c.outbound().err
	}
	if err := c.writeBeforeClose(ctx); err != nil {
		return err
	}
	err := c.writeFrame(ctx, frame.Header{Fin: true, Opcode: frame.Close}, payload)
	if errors.Is(err, frame.ErrClosed) {
		err = nil
	}
	if err == nil && then != nil {
		then()
	}
	return err
}
