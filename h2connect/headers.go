package h2connect

import (
	"time"

	"golang.org/x/net/http2"
)

// readHeaders takes a header block and what it says.
func (c *conn) readHeaders(fh http2.FrameHeader) error {
	if err := c.readBlock(fh); err != nil {
		return err
	}
	return c.onHeaders(&c.block)
}

// readBlock takes a header block: a HEADERS frame and its CONTINUATIONs
// (RFC 9113 §4.3, §6.10). Each frame counts, however empty, and the whole has to
// arrive in time. The block is decoded to its end even if nobody will look at
// it, because the decoder's table depends on it.
func (c *conn) readBlock(fh http2.FrameHeader) error {
	var late *time.Timer // nil while all of the block is at hand
	defer func() {
		if late != nil {
			late.Stop()
		}
	}()
	if int(fh.Length) > c.in.w-c.in.r {
		late = c.boundBlock()
	}
	f, err := c.fr.ReadFrameForHeader(fh)
	if err != nil {
		if _, ok := err.(http2.StreamError); ok {
			// The block is lost, and with it the decoder's table.
			return connViolation(http2.ErrCodeProtocol, "padding longer than the frame")
		}
		return err
	}
	hf := f.(*http2.HeadersFrame)
	b := &c.block
	b.reset(fh.StreamID, hf.StreamEnded())
	c.updates.begin()
	if hf.HasPriority() && hf.Priority.StreamDep == fh.StreamID {
		b.malformed = "stream depends on itself"
	}
	if err := c.decode(hf.HeaderBlockFragment()); err != nil {
		return err
	}
	if !hf.HeadersEnded() {
		if late == nil {
			late = c.boundBlock()
		}
		if err := c.readContinuations(); err != nil {
			return err
		}
	}
	if err := c.dec.Close(); err != nil {
		return connViolation(http2.ErrCodeCompression, "truncated header block")
	}
	return nil
}

// boundBlock cuts the connection if the timer is not stopped within Limits.Preface.
func (c *conn) boundBlock() *time.Timer {
	return time.AfterFunc(c.limits.Preface, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.expire(limitPreface, "header block not complete in time")
	})
}

func (c *conn) readContinuations() error {
	for {
		fh, err := c.fr.ReadFrameHeader() // sees to it that it is a CONTINUATION
		if err != nil {
			return err
		}
		c.block.continuations++
		if c.block.continuations > c.limits.Continuations {
			return tooMuch(limitContinuations, "too many CONTINUATION frames")
		}
		f, err := c.fr.ReadFrameForHeader(fh)
		if err != nil {
			return err
		}
		cf := f.(*http2.ContinuationFrame)
		if err := c.decode(cf.HeaderBlockFragment()); err != nil {
			return err
		}
		if cf.HeadersEnded() {
			return nil
		}
	}
}

func (c *conn) decode(fragment []byte) error {
	for len(fragment) > 0 {
		n, ok := c.updates.follow(fragment)
		if !ok {
			return connViolation(http2.ErrCodeCompression, "misplaced dynamic table size update")
		}
		_, err := c.dec.Write(fragment[:n])
		if err == nil && c.updates.updated() {
			err = c.dec.Close() // or it would not take a second update while its table holds something
		}
		if err != nil {
			return connViolation(http2.ErrCodeCompression, "invalid header block")
		}
		fragment = fragment[n:]
	}
	if l := c.block.wayPast(); l != noLimit {
		return tooMuch(l, "header block too large")
	}
	return nil
}

// onHeaders finds the stream that a header block belongs to (RFC 9113 §5.1).
func (c *conn) onHeaders(b *block) error {
	c.mu.Lock()
	st := c.streams[b.stream]
	isNew := c.opensPeer(b.stream) && b.stream > c.lastIn
	late := st == nil && c.ignored(b.stream)
	if isNew {
		c.openedIn(b.stream)
		late = c.goneAway
	}
	ended := st != nil && st.recvEnded
	idle, passed := c.idle(b.stream), c.passed.has(b.stream)
	if late && !c.glitches.take() {
		c.mu.Unlock()
		return errGlitches
	}
	c.mu.Unlock()
	switch {
	case late:
		return nil
	case ended:
		return streamViolation(http2.ErrCodeStreamClosed, "HEADERS on a half-closed stream")
	case st != nil && b.malformed != "":
		return streamViolation(http2.ErrCodeProtocol, b.malformed)
	case st != nil:
		return c.role.more(st, b)
	case isNew && c.side == serverSide:
		return c.role.opened(b)
	case isNew || idle || passed:
		// "An endpoint that receives an unexpected stream identifier MUST
		// respond with a connection error […] of type PROTOCOL_ERROR"
		// (RFC 9113 §5.1.1).
		return connViolation(http2.ErrCodeProtocol, "HEADERS on a stream that cannot be opened")
	}
	return connViolation(http2.ErrCodeStreamClosed, "HEADERS on a closed stream")
}
