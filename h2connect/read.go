package h2connect

import (
	"errors"
	"io"
	"time"

	"golang.org/x/net/http2"
)

// readBuffer is the size of a connection's read buffer: what one wake-up of the
// reader can bring.
const readBuffer = 32 << 10

// An input is the connection's read buffer. The Framer reads frame headers and
// short payloads through it; DATA is taken from it directly.
type input struct {
	c    *conn
	buf  []byte // buf[r:w] has been received and not been used
	r, w int
	err  error // the network's last word
}

func (in *input) init(c *conn) { in.c, in.buf = c, make([]byte, readBuffer) }

// fill waits for more bytes; there are none left. Before it waits, everything
// that the bytes so far have caused is sent.
func (in *input) fill() error {
	if in.err != nil {
		return in.err
	}
	c := in.c
	c.mu.Lock()
	c.flush()
	c.mu.Unlock()
	n, err := c.nc.Read(in.buf)
	in.r, in.w = 0, n
	if n == 0 {
		in.err = err
		return err
	}
	in.err = err
	return nil
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}

// next returns up to n bytes, at least one, which are valid until the next call.
func (in *input) next(n int) ([]byte, error) {
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	n = min(n, in.w-in.r)
	p := in.buf[in.r : in.r+n]
	in.r += n
	return p, nil
}

// skip drops n bytes.
func (in *input) skip(n int) error {
	for n > 0 {
		p, err := in.next(n)
		if err != nil {
			return err
		}
		n -= len(p)
	}
	return nil
}

// flushEvery is how many frames the reader takes, out of one read, before it
// sends what they have caused.
const flushEvery = 64

// run is the connection's reader. It takes frame after frame until the network
// fails or the peer breaks a rule that costs the connection. Then it drops what
// comes until the connection is closed: a connection that is closed with bytes
// unread may take our last frames with it.
func (c *conn) run() {
	var err error
	for n := 1; err == nil && !c.dying.Load(); n++ {
		err = c.readFrame()
		if n%flushEvery == 0 {
			c.mu.Lock()
			c.flush()
			c.mu.Unlock()
		}
	}
	var v *violation
	c.mu.Lock()
	if errors.As(err, &v) {
		c.die(v)
	}
	if c.dying.Load() {
		c.flush()
		c.mu.Unlock()
		io.Copy(io.Discard, c.nc)
		c.mu.Lock()
	}
	c.end(networkError(err))
	c.mu.Unlock()
}

// readFrame takes one frame. A violation that only costs a stream is dealt with
// here; the error is a fatal *violation or the network's.
func (c *conn) readFrame() error {
	fh, err := c.fr.ReadFrameHeader()
	if err != nil {
		return c.framerError(err)
	}
	if !c.peer.received && fh.Type != http2.FrameSettings {
		// "The SETTINGS frame […] MUST be the first frame" (RFC 9113 §3.4).
		return connViolation(http2.ErrCodeProtocol, "first frame is not SETTINGS")
	}
	err = c.framerError(c.dispatch(fh))
	if v, ok := err.(*violation); ok && !v.fatal {
		return c.streamViolation(fh.StreamID, v)
	}
	return err
}

func (c *conn) dispatch(fh http2.FrameHeader) error {
	switch fh.Type {
	case http2.FrameData:
		return c.readData(fh)
	case http2.FrameHeaders:
		return c.readHeaders(fh)
	case http2.FramePriority:
		return c.readPriority(fh)
	case http2.FramePushPromise:
		// A server never allows it to be sent, a client has disabled it
		// (RFC 9113 §8.4).
		return connViolation(http2.ErrCodeProtocol, "PUSH_PROMISE")
	case http2.FrameRSTStream, http2.FrameSettings, http2.FramePing, http2.FrameGoAway, http2.FrameWindowUpdate:
		return c.readControl(fh)
	}
	// "Implementations MUST ignore and discard frames of unknown types"
	// (RFC 9113 §4.1).
	if err := c.glitch(); err != nil {
		return err
	}
	return c.in.skip(int(fh.Length))
}

func (c *conn) readControl(fh http2.FrameHeader) error {
	f, err := c.fr.ReadFrameForHeader(fh)
	if err != nil {
		return err
	}
	switch f := f.(type) {
	case *http2.RSTStreamFrame:
		return c.onReset(f)
	case *http2.SettingsFrame:
		if !c.peer.received && f.IsAck() {
			return connViolation(http2.ErrCodeProtocol, "first frame is not SETTINGS")
		}
		return c.onSettings(f)
	case *http2.PingFrame:
		return c.onPing(f)
	case *http2.GoAwayFrame:
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.glitches.take() {
			return errGlitches
		}
		c.role.goAway(f)
	case *http2.WindowUpdateFrame:
		return c.onWindowUpdate(f)
	}
	return nil
}

// framerError sorts the Framer's errors: the network's stay as they are, what
// it found wrong with a frame becomes a violation.
func (c *conn) framerError(err error) error {
	var ce http2.ConnectionError
	var se http2.StreamError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, http2.ErrFrameTooLarge):
		return connViolation(http2.ErrCodeFrameSize, "frame too large")
	case errors.As(err, &ce):
		rule := "malformed frame"
		if detail := c.fr.ErrorDetail(); detail != nil {
			rule = detail.Error()
		}
		return connViolation(http2.ErrCode(ce), rule)
	case errors.As(err, &se):
		return streamViolation(se.Code, "malformed frame")
	case c.in.err == nil && errors.Is(err, io.ErrUnexpectedEOF):
		// The payload ended before the fields that its flags promise.
		return connViolation(http2.ErrCodeFrameSize, "frame too short")
	}
	return err
}

// streamViolation resets a stream for a rule that its peer broke. It counts
// against the reset bucket, because a peer can make us do it as often as it
// likes (hardening: CVE-2025-8671).
func (c *conn) streamViolation(id uint32, v *violation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.resets.take() {
		return errResets
	}
	if c.idle(id) {
		// It is not idle any more once it has been reset.
		if c.side == clientSide || id%2 == 0 {
			return connViolation(v.code, v.rule)
		}
		c.openedIn(id)
	}
	st := c.streams[id]
	if st == nil {
		c.writeReset(id, v.code)
		return nil
	}
	c.reset(st, &StreamError{Code: v.code, Err: v})
	return nil
}

var errResets = connViolation(http2.ErrCodeEnhanceYourCalm, "too many stream resets")

// glitch counts a frame that achieves nothing.
func (c *conn) glitch() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.glitches.take() {
		return errGlitches
	}
	return nil
}

// idle reports whether id is that of a stream in the idle state (RFC 9113
// §5.1.1). c.mu is held.
func (c *conn) idle(id uint32) bool {
	if c.opensPeer(id) {
		return id > c.lastIn
	}
	return id >= c.nextOut
}

// openedIn says that the peer has used id for the first time. c.mu is held.
func (c *conn) openedIn(id uint32) {
	c.passed.opened(c.lastIn, id)
	c.lastIn = id
}

// opensPeer reports whether streams of this id are the peer's to open: odd ones
// are the client's.
func (c *conn) opensPeer(id uint32) bool { return (id%2 == 1) == (c.side == serverSide) }

// ignored reports whether frames for a stream that is not in the table are to
// be dropped without a word: we have reset it and the peer may not know yet, or
// it came too late for our GOAWAY. c.mu is held.
func (c *conn) ignored(id uint32) bool {
	return c.goneAway && c.opensPeer(id) && id > c.lastTaken || c.resetIDs.has(id)
}

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
	st, err := c.admitData(fh, content)
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
	if err := c.deliver(st, content); err != nil {
		return err
	}
	if err := c.in.skip(padding); err != nil {
		return err
	}
	return c.dataDone(st, fh, int(fh.Length)-content)
}

func fatal(err error) bool {
	v, ok := err.(*violation)
	return ok && v.fatal
}

// admitData accounts for a DATA frame and finds its stream. Without a stream
// the payload is to be dropped; the error says what else is to be done.
func (c *conn) admitData(fh http2.FrameHeader, content int) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := fh.StreamID
	if c.idle(id) {
		return nil, connViolation(http2.ErrCodeProtocol, "DATA on an idle stream")
	}
	if !c.inConn.take(fh.Length) {
		return nil, connViolation(http2.ErrCodeFlowControl, "connection window exceeded")
	}
	st := c.streams[id]
	if st == nil && c.ignored(id) {
		if !c.glitches.take() {
			return nil, errGlitches
		}
		return nil, nil
	}
	if st == nil || st.recvEnded {
		return nil, streamViolation(http2.ErrCodeStreamClosed, "DATA on a closed stream")
	}
	if st.exchange != nil && !st.exchange.final {
		return nil, malformed("DATA before the response")
	}
	if !st.recv.take(fh.Length) {
		return nil, streamViolation(http2.ErrCodeFlowControl, "stream window exceeded")
	}
	end := fh.Flags.Has(http2.FlagDataEndStream)
	if content == 0 && !end {
		c.empties++
		if n := c.limits.EmptyData; n >= 0 && c.empties > n {
			return nil, connViolation(http2.ErrCodeEnhanceYourCalm, "too many empty DATA frames")
		}
	}
	st.received += int64(content)
	if st.declared >= 0 && (st.received > st.declared || end && st.received < st.declared) {
		return nil, streamViolation(http2.ErrCodeProtocol, "content is not as long as content-length says")
	}
	return st, nil
}

// deliver moves n bytes of content from the connection's buffer to the stream.
func (c *conn) deliver(st *stream, n int) error {
	for first := true; n > 0; first = false {
		p, err := c.in.next(n)
		if err != nil {
			return err
		}
		n -= len(p)
		buffered, increment, consumed := st.recv.deliver(p)
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
	}
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
		c.peerEnded(st)
	}
	return nil
}

// peerEnded says that the peer has ended its direction of st. c.mu is held.
func (c *conn) peerEnded(st *stream) {
	if st.gone || st.recvEnded {
		return
	}
	st.recvEnded = true
	st.recv.end(io.EOF)
	c.halfClosed(st)
}

// readHeaders takes a header block: a HEADERS frame and its CONTINUATIONs
// (RFC 9113 §4.3, §6.10). Each frame counts, however empty, and the whole has to
// arrive in time. The block is decoded to its end even if nobody will look at
// it, because the decoder's table depends on it.
func (c *conn) readHeaders(fh http2.FrameHeader) error {
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
	if hf.HasPriority() && hf.Priority.StreamDep == fh.StreamID {
		b.malformed = "stream depends on itself"
	}
	if err := c.decode(hf.HeaderBlockFragment()); err != nil {
		return err
	}
	if !hf.HeadersEnded() {
		if err := c.readContinuations(); err != nil {
			return err
		}
	}
	if err := c.dec.Close(); err != nil {
		return connViolation(http2.ErrCodeCompression, "truncated header block")
	}
	return c.onHeaders(b)
}

func (c *conn) readContinuations() error {
	late := time.AfterFunc(c.limits.Preface, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.end(&ConnError{Err: timeoutError("header block not complete in time")})
	})
	defer late.Stop()
	for {
		fh, err := c.fr.ReadFrameHeader() // sees to it that it is a CONTINUATION
		if err != nil {
			return err
		}
		c.block.continuations++
		if c.block.continuations > c.limits.Continuations {
			return connViolation(http2.ErrCodeEnhanceYourCalm, "too many CONTINUATION frames")
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
	if _, err := c.dec.Write(fragment); err != nil {
		return connViolation(http2.ErrCodeCompression, "invalid header block")
	}
	if c.block.wayTooLarge() {
		return connViolation(http2.ErrCodeEnhanceYourCalm, "header block too large")
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

// readPriority takes a PRIORITY frame, which says nothing to us (RFC 9113
// §5.3.2) but has its rules all the same (§6.3).
func (c *conn) readPriority(fh http2.FrameHeader) error {
	if fh.StreamID == 0 {
		return connViolation(http2.ErrCodeProtocol, "PRIORITY on stream 0")
	}
	if err := c.glitch(); err != nil {
		return err
	}
	if fh.Length != 5 {
		if err := c.in.skip(int(fh.Length)); err != nil {
			return err
		}
		return c.priorityViolation(fh.StreamID, streamViolation(http2.ErrCodeFrameSize, "PRIORITY of a wrong length"))
	}
	f, err := c.fr.ReadFrameForHeader(fh)
	if err != nil {
		return err
	}
	if f.(*http2.PriorityFrame).StreamDep == fh.StreamID {
		return c.priorityViolation(fh.StreamID, streamViolation(http2.ErrCodeProtocol, "stream depends on itself"))
	}
	return nil
}

// priorityViolation: PRIORITY may come for a stream that is idle, which cannot
// be reset ("RST_STREAM frames MUST NOT be sent for a stream in the idle
// state", RFC 9113 §6.4).
func (c *conn) priorityViolation(id uint32, v *violation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.fatal = c.idle(id)
	return v
}

func (c *conn) onReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle(f.StreamID) {
		return connViolation(http2.ErrCodeProtocol, "RST_STREAM on an idle stream")
	}
	if !c.resets.take() {
		return errResets
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil
	}
	var err error = &StreamError{Code: f.ErrCode, Remote: true}
	if f.ErrCode == http2.ErrCodeRefusedStream {
		err = notProcessed{err} // RFC 9113 §8.7
	}
	c.forget(st, err)
	return nil
}

func (c *conn) onPing(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.IsAck() {
		if waiting := c.pings[f.Data]; waiting != nil {
			delete(c.pings, f.Data)
			close(waiting)
			return nil
		}
		if !c.glitches.take() {
			return errGlitches
		}
		return nil
	}
	c.writeControl(func(fr *http2.Framer) error { return fr.WritePing(true, f.Data) })
	return nil
}

func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if !c.outConn.add(f.Increment) {
			return connViolation(http2.ErrCodeFlowControl, "connection window too large")
		}
		c.pump()
		return nil
	}
	if c.idle(f.StreamID) {
		return connViolation(http2.ErrCodeProtocol, "WINDOW_UPDATE on an idle stream")
	}
	st := c.streams[f.StreamID]
	if st == nil {
		if !c.glitches.take() {
			return errGlitches
		}
		return nil
	}
	if !c.outBase.add(&st.send.flow, f.Increment) {
		return streamViolation(http2.ErrCodeFlowControl, "stream window too large")
	}
	if st.queue == &c.sched.blocked && c.outBase.window(st.send.flow) > 0 {
		st.queue.remove(st)
		c.sched.enqueue(st)
		c.pump()
	}
	return nil
}
