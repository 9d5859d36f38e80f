package h2connect

import (
	"errors"
	"io"

	"golang.org/x/net/http2"
)

// flushEvery is how many frames the reader takes, out of one read, before it
// sends what they have caused. Those that it has passed to Handlers do not count:
// see lead.flushDue.
const flushEvery = 64

// run is the connection's reader. It takes frame after frame until the network
// fails or the peer breaks a rule that costs the connection. Then it drops what
// comes until the connection is closed: a connection that is closed with bytes
// unread may take our last frames with it.
//
// It returns early if another goroutine has taken over: see lead.go. The
// connection's end is c.done.
func (c *conn) run() {
	var err error
	var last uint64
	for frames := 0; err == nil && !c.dying.Load(); {
		var n int
		n, err = c.takeFrames()
		frames += n
		if err == errDeposed {
			return // it is another's connection now
		}
		if term := c.lead.term.Load(); term != last {
			last, frames = term, 0
		}
		if c.lead.flushDue() || frames >= flushEvery {
			frames = 0
			c.mu.Lock()
			c.flushRead()
			c.mu.Unlock()
		}
	}
	c.wakeLate()
	c.baton.Load().start()
	var v *violation
	c.mu.Lock()
	if errors.As(err, &v) {
		c.die(v)
	}
	if c.dying.Load() {
		c.flush()
		c.endSummons()
		c.mu.Unlock()
		io.Copy(io.Discard, c.nc)
		c.mu.Lock()
	}
	c.end(networkError(err))
	c.mu.Unlock()
}

// takeFrames takes a frame, or a burst of them, and returns how many.
func (c *conn) takeFrames() (n int, err error) {
	if c.burst.frames == nil && c.data.st == nil {
		if c.in.r == c.in.w {
			if err := c.in.fill(); err != nil {
				return 0, c.framerError(err)
			}
		}
		if !c.admitBurst() {
			return 1, c.readFrame()
		}
	}
	if c.data.st != nil {
		return 1, c.readFrame()
	}
	n = c.burst.end // deliverBurst may leave it to another reader
	return n, c.deliverBurst()
}

// readFrame takes one frame. A violation that only costs a stream is dealt with
// here; the error is a fatal *violation or the network's.
func (c *conn) readFrame() error {
	var fh http2.FrameHeader
	var err error
	if c.data.st != nil {
		fh = c.data.header
		err = c.continueData()
	} else {
		fh, err = c.fr.ReadFrameHeader()
		if !c.peer.received && looksLikeHTTP1(fh) {
			return connViolation(http2.ErrCodeProtocol, "the peer answers in HTTP/1.1")
		}
		if err != nil {
			return c.framerError(err)
		}
		if !c.peer.received && fh.Type != http2.FrameSettings {
			// "The SETTINGS frame […] MUST be the first frame" (RFC 9113 §3.4).
			return connViolation(http2.ErrCodeProtocol, "first frame is not SETTINGS")
		}
		err = c.dispatch(fh)
	}
	if err == nil || err == errDeposed {
		return err
	}
	err = c.framerError(err)
	if v, ok := err.(*violation); ok && !v.fatal {
		c.in.stirred = true
		return c.streamViolation(fh.StreamID, v)
	}
	return err
}

func (c *conn) dispatch(fh http2.FrameHeader) error {
	if fh.Type != http2.FrameData || fh.Flags != 0 {
		c.in.stirred = true // what content does, deliver knows
	}
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
	case http2.FramePriorityUpdate:
		return c.readPriorityUpdate(fh)
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
	case errors.Is(err, http2.ErrFrameTooLarge):
		return connViolation(http2.ErrCodeFrameSize, "frame too large").passed(limitFrameSize)
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

// looksLikeHTTP1 reports whether a frame's header is the beginning of a status
// line of HTTP/1: the connection was made in the belief that the server speaks
// HTTP/2.
func looksLikeHTTP1(fh http2.FrameHeader) bool {
	return fh.Length == 'H'<<16|'T'<<8|'T' && fh.Type == 'P' && fh.Flags == '/'
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
	c.hits.count(v.limit)
	if c.idle(id) {
		// It cannot be reset (RFC 9113 §6.4).
		return connViolation(v.code, v.Error())
	}
	st := c.streams[id]
	if st == nil {
		c.writeReset(id, v.code)
		return nil
	}
	c.reset(st, &StreamError{Code: v.code, Err: v})
	return nil
}

var errResets = tooMuch(limitResets, "too many stream resets")

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
		if !c.probeAnswered(f.Data) && !c.glitches.take() {
			return errGlitches
		}
		return nil
	}
	if !c.upkeep.ping() && !c.glitches.take() {
		return errGlitches
	}
	c.writeControl(func(fr *http2.Framer) error { return fr.WritePing(true, f.Data) })
	return nil
}

func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.upkeep.update() && !c.glitches.take() {
		return errGlitches
	}
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
		return nil
	}
	if !c.outBase.add(&st.send.flow, f.Increment) {
		return streamViolation(http2.ErrCodeFlowControl, "stream window too large")
	}
	if q := st.queue(); q == &c.sched.blocked {
		if c.outBase.window(st.send.flow) <= 0 {
			c.sched.best = max(c.sched.best, st.send.flow)
			return nil
		}
		q.remove(st)
		c.sched.enqueue(st)
		c.pump()
	}
	return nil
}
