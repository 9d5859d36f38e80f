package h2connect

import (
	"golang.org/x/net/http2"
)

// maxFrame is the largest frame payload that we send, and accept by default: the
// minimum of RFC 9113 §6.5.2, which no peer may go below and which keeps one
// stream from occupying the connection for long.
const maxFrame = 16384

// protocolTable is the size of an HPACK dynamic table before anything is said
// about it (RFC 9113 §6.5.2).
const protocolTable = 4096

// unlimited stands for the absence of a limit in the peer's SETTINGS.
const unlimited = 1<<32 - 1

// peerSettings is what the peer's SETTINGS frames have said so far.
type peerSettings struct {
	received       bool   // the first frame has arrived
	streams        uint32 // SETTINGS_MAX_CONCURRENT_STREAMS
	headerList     uint32 // SETTINGS_MAX_HEADER_LIST_SIZE
	connectAllowed bool   // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3)
	noTree         uint32 // SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218 §2.1)
}

// ourSettings returns the SETTINGS frame that opens our direction.
func (c *conn) ourSettings() []http2.Setting {
	s := []http2.Setting{
		{ID: http2.SettingMaxFrameSize, Val: uint32(c.limits.FrameSize)},
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.limits.StreamWindow)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.limits.HeaderBytes)},
		{ID: http2.SettingHeaderTableSize, Val: uint32(c.limits.HeaderTable)},
	}
	if c.side == clientSide {
		// "A client MUST NOT send ENABLE_PUSH with 1 and then accept none":
		// we never accept any (RFC 9113 §6.5.2, §8.4).
		return append(s, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	s = append(s,
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.limits.ConcurrentStreams)},
		http2.Setting{ID: http2.SettingNoRFC7540Priorities, Val: 1})
	if c.allowConnect {
		// RFC 8441 §3. It is never taken back: "A sender MUST NOT send a
		// SETTINGS_ENABLE_CONNECT_PROTOCOL parameter with the value of 0 after
		// previously sending a value of 1."
		s = append(s, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	}
	return s
}

// onSettings applies a SETTINGS frame and acknowledges it.
func (c *conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return c.onSettingsAck()
	}
	if n := c.limits.Settings; n >= 0 && f.NumSettings() > n {
		return tooMuch(limitSettings, "too many parameters in a frame")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peer.received && !c.glitches.take() {
		return errGlitches
	}
	noTree := c.peer.noTree
	for i := range f.NumSettings() {
		if err := c.applySetting(f.Setting(i)); err != nil {
			return err
		}
	}
	if c.peer.received && c.peer.noTree != noTree {
		// "Senders MUST NOT change the SETTINGS_NO_RFC7540_PRIORITIES value
		// after the first SETTINGS frame. Receivers that detect a change MAY
		// treat it as a connection error of type PROTOCOL_ERROR" (RFC 9218
		// §2.1).
		return connViolation(http2.ErrCodeProtocol, "NO_RFC7540_PRIORITIES changed")
	}
	if !c.peer.received {
		c.peer.received = true
		close(c.peerReady)
		c.armHandshakeTimer()
	}
	c.writeControl(func(fr *http2.Framer) error { return fr.WriteSettingsAck() })
	c.pump()
	c.role.slotsChanged()
	return nil
}

var errGlitches = tooMuch(limitGlitches, "too many frames without effect")

// applySetting applies one parameter; of duplicates the last wins, and unknown
// ones are ignored (RFC 9113 §6.5, §6.5.2). c.mu is held.
func (c *conn) applySetting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		code := http2.ErrCodeProtocol
		if s.ID == http2.SettingInitialWindowSize {
			code = http2.ErrCodeFlowControl
		}
		return connViolation(code, "invalid value of "+s.ID.String())
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		// The encoder belongs to this lock. It announces the smallest size
		// between two header blocks itself (RFC 7541 §4.2).
		c.enc.SetMaxDynamicTableSize(min(s.Val, uint32(c.limits.HeaderTable)))
	case http2.SettingEnablePush:
		if c.side == clientSide && s.Val != 0 {
			// "A client MUST treat receipt of a SETTINGS frame with
			// SETTINGS_ENABLE_PUSH set to 1 as a connection error."
			return connViolation(http2.ErrCodeProtocol, "ENABLE_PUSH from a server")
		}
	case http2.SettingMaxConcurrentStreams:
		c.peer.streams = s.Val
	case http2.SettingInitialWindowSize:
		if !c.outBase.set(s.Val, c.deltas) {
			return connViolation(http2.ErrCodeFlowControl, "INITIAL_WINDOW_SIZE makes a window too large")
		}
		c.retryBlocked()
	case http2.SettingMaxHeaderListSize:
		c.peer.headerList = s.Val
	case http2.SettingEnableConnectProtocol:
		if c.side == clientSide && c.peer.connectAllowed && s.Val == 0 {
			return connViolation(http2.ErrCodeProtocol, "ENABLE_CONNECT_PROTOCOL taken back")
		}
		// "Receipt of this parameter by a server does not have any effect"
		// (RFC 8441 §3); remembering it does no harm.
		c.peer.connectAllowed = s.Val == 1
	case http2.SettingNoRFC7540Priorities:
		if s.Val > 1 {
			// "Any value other than 0 or 1 MUST be treated as a connection
			// error […] of type PROTOCOL_ERROR" (RFC 9218 §2.1).
			return connViolation(http2.ErrCodeProtocol, "invalid value of "+s.ID.String())
		}
		c.peer.noTree = s.Val
	}
	return nil
}

// onSettingsAck settles the one SETTINGS frame that we send.
func (c *conn) onSettingsAck() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ackOwed {
		return connViolation(http2.ErrCodeProtocol, "SETTINGS ACK for nothing")
	}
	c.ackOwed = false
	c.armHandshakeTimer()
	if size := c.limits.HeaderTable; size < protocolTable {
		c.dec.SetAllowedMaxDynamicTableSize(uint32(size))
		// Of a table that is small enough already nothing has to be said: "a change
		// […] that reduces the maximum below the current size of the dynamic table"
		// (RFC 9113 §4.3.1).
		c.updates.owed = c.updates.size > uint64(size)
	}
	return nil
}
