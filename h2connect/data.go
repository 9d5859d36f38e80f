package h2connect

import (
	"io"

	"golang.org/x/net/http2"
)

// readData takes a DATA frame (RFC 9113 §6.1). All of it, padding included,
// counts against the windows of connection and stream, whatever becomes of it.
func (c *conn) readData(fh http2.FrameHeader) error {
	if fh.StreamID == 0 {
		return connViolation(http2.ErrCodeProtocol, "DATA on stream 0")
	}
	content, padding := int(fh.Length), 0
	if fh.Flags.Has(http2.FlagDataPadded) {
		if content == 0 {
			return connViolation(http2.ErrCodeProtocol, "padding without a length")
		}
		p, err := c.in.next(1)
		if err != nil {
			return err
		}
		padding = int(p[0])
		content -= 1 + padding
		if content < 0 {
			return connViolation(http2.ErrCodeProtocol, "padding longer than the frame")
		}
	}
	st, shares, err := c.admitData(fh, content)
	if st == nil {
		if fatal(err) {
			return err
		}
		if err := c.in.skip(content + padding); err != nil {
			return err
		}
		c.mu.Lock()
		c.giveConn(int(fh.Length))
		c.mu.Unlock()
		return err
	}
	c.data = dataFrame{st: st, shares: shares, header: fh, content: content, padding: padding, first: true}
	return c.continueData()
}

// A dataFrame is a DATA frame in progress. Its state is not on the reader's stack,
// so that another goroutine can take over in the middle of it.
type dataFrame struct {
	st      *stream // nil: none is in progress
	shares  bool    // st is a socket, and not the connection's only one
	header  http2.FrameHeader
	content int  // bytes still to come
	padding int  // bytes behind them
	first   bool // no content has come yet
}

// continueData moves the content of the DATA frame in progress to its stream.
func (c *conn) continueData() error {
	d := &c.data
	for d.content > 0 {
		p, err := c.in.next(d.content)
		if err != nil {
			return err
		}
		first := d.first
		d.content, d.first = d.content-len(p), false
		if err := c.deliver(d.st, p, 0, first); err != nil {
			return err
		}
	}
	st, overhead := d.st, d.padding
	if d.header.Flags.Has(http2.FlagDataPadded) {
		overhead++
	}
	d.st = nil
	if err := c.in.skip(d.padding); err != nil {
		return err
	}
	return c.dataDone(st, d.header, overhead)
}

func fatal(err error) bool {
	v, ok := err.(*violation)
	return ok && v.fatal
}

// admitData accounts for a DATA frame and finds its stream, and whether that is one
// of several sockets. Without a stream the payload is to be dropped; the error says
// what else is to be done.
func (c *conn) admitData(fh http2.FrameHeader, content int) (st *stream, shares bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := fh.StreamID
	if c.idle(id) {
		return nil, false, connViolation(http2.ErrCodeProtocol, "DATA on an idle stream")
	}
	if !c.inConn.take(fh.Length) {
		return nil, false, connViolation(http2.ErrCodeFlowControl, "connection window exceeded").passed(limitConnWindow)
	}
	st = c.streams[id]
	if st == nil && c.ignored(id) {
		if !c.glitches.take() {
			return nil, false, errGlitches
		}
		return nil, false, nil
	}
	if st == nil || st.recvEnded {
		return nil, false, streamViolation(http2.ErrCodeStreamClosed, "DATA on a closed stream")
	}
	if st.httpPart != nil && st.exchange != nil && !st.exchange.final {
		return nil, false, malformed("DATA before the response")
	}
	if !st.recv.take(fh.Length) {
		return nil, false, windowExceeded()
	}
	end := fh.Flags.Has(http2.FlagDataEndStream)
	if content == 0 && !end {
		c.empties++
		if n := c.limits.EmptyData; n >= 0 && c.empties > n {
			return nil, false, tooMuch(limitEmptyData, "too many empty DATA frames")
		}
	}
	if content > 0 {
		c.upkeep.received()
	}
	if st.httpPart != nil {
		st.received += int64(content)
		if st.declared >= 0 && st.received > st.declared {
			return nil, false, errContentLength
		}
	}
	return st, st.socket && c.sockets > 1, nil
}

func windowExceeded() *violation {
	return streamViolation(http2.ErrCodeFlowControl, "stream window exceeded").passed(limitStreamWindow)
}

// deliver moves bytes of content from the connection's buffer to the stream. Of
// them charge have not been charged to the stream's window yet, none if they are
// of the frame in progress; first says that they are the first of their frame.
func (c *conn) deliver(st *stream, p []byte, charge int, first bool) error {
	f, buffered, increment, consumed := st.recv.deliver(st, p, charge)
	if buffered > 0 {
		c.buffered.Add(int64(buffered))
	}
	if first && consumed && c.empties > 0 {
		c.empties--
	}
	if increment > 0 {
		c.mu.Lock()
		c.credit(st, increment)
		c.mu.Unlock()
	}
	switch f {
	case fateTaken:
		return c.push(st, p)
	case fateServe:
		go st.serve()
	case fateRead:
		if c.putOff(st, len(p), c.data.shares || c.burst.shares) || (charge > 0 || c.data.shares) && c.lineUp(st) {
			return nil
		}
		st.recv.cond.Broadcast()
	case fateOverrun:
		return c.streamViolation(st.id, windowExceeded())
	}
	c.in.stirred = true
	return nil
}

// dataDone settles a DATA frame: padding has been consumed as it stands, the
// connection's credit returns, and the stream may have ended.
func (c *conn) dataDone(st *stream, fh http2.FrameHeader, padding int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if padding > 0 {
		c.credit(st, st.recv.give(padding))
	}
	c.giveConn(int(fh.Length))
	if fh.Flags.Has(http2.FlagDataEndStream) {
		if st.short() && !st.gone {
			return errContentLength // what there is can be read
		}
		c.peerEnded(st)
	}
	return nil
}

// errContentLength: "A request or response is also malformed if the value of a
// Content-Length header field does not equal the sum of the DATA frame payload
// lengths that form the content" (RFC 9113 §8.1.1).
var errContentLength = streamViolation(http2.ErrCodeProtocol, "content is not as long as content-length says")

// peerEnded says that the peer has ended its direction of st. c.mu is held.
func (c *conn) peerEnded(st *stream) {
	if st.gone || st.recvEnded {
		return
	}
	st.recvEnded = true
	st.recv.end(st, io.EOF)
	c.halfClosed(st)
}
