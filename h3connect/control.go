package h3connect

import (
	"errors"
	"io"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// Settings (RFC 9114 §7.2.4.1, RFC 9220 §3, RFC 9297 §2.1.1).
const (
	settingMaxFieldSectionSize   = 0x06
	settingEnableConnectProtocol = 0x08
	settingH3Datagram            = 0x33
)

// streamControl is the type of the control stream (RFC 9114 §6.2.1).
const streamControl = 0x00

// maxSettingsFrame bounds the SETTINGS frame, in bytes.
const maxSettingsFrame = 8 << 10

// serverSettings is what we want to know of a server's SETTINGS.
type serverSettings struct {
	extendedConnect bool
	maxFieldSection uint64 // 0: not given
}

// parseSettings reads the payload of a SETTINGS frame. The error is a
// *frameError.
func parseSettings(payload []byte) (serverSettings, error) {
	var s serverSettings
	seen := make(map[uint64]bool)
	for len(payload) > 0 {
		id, n, err := quicvarint.Parse(payload)
		if err != nil {
			return s, brokenFrame()
		}
		value, m, err := quicvarint.Parse(payload[n:])
		if err != nil {
			return s, brokenFrame()
		}
		payload = payload[n+m:]
		// "The same setting identifier MUST NOT occur more than once in the
		// SETTINGS frame. A receiver MAY treat the presence of duplicate
		// setting identifiers as a connection error of type
		// H3_SETTINGS_ERROR."
		// https://www.rfc-editor.org/rfc/rfc9114#section-7.2.4
		if seen[id] {
			return s, badSetting("a setting came twice")
		}
		seen[id] = true
		switch id {
		case 0x00, 0x02, 0x03, 0x04, 0x05:
			// "Setting identifiers that were defined in [HTTP/2] where there
			// is no corresponding HTTP/3 setting have also been reserved […]
			// their receipt MUST be treated as a connection error of type
			// H3_SETTINGS_ERROR."
			// https://www.rfc-editor.org/rfc/rfc9114#section-7.2.4.1
			return s, badSetting("a setting of HTTP/2")
		case settingMaxFieldSectionSize:
			s.maxFieldSection = value
		case settingEnableConnectProtocol:
			// The value is 0 or 1 (RFC 8441 §3).
			if value > 1 {
				return s, badSetting("invalid ENABLE_CONNECT_PROTOCOL")
			}
			s.extendedConnect = value == 1
		case settingH3Datagram:
			if value > 1 { // RFC 9297 §2.1.1
				return s, badSetting("invalid H3_DATAGRAM")
			}
		}
	}
	return s, nil
}

func badSetting(text string) error {
	return &frameError{code: http3.ErrCodeSettingsError, conn: true, text: text}
}

func brokenFrame() error {
	return &frameError{code: http3.ErrCodeFrameError, conn: true, text: "a frame's content and its length disagree"}
}

func unexpectedFrame() error {
	return &frameError{code: http3.ErrCodeFrameUnexpected, conn: true, text: "unexpected frame on the control stream"}
}

// controlEvents is who wants to know what a server says on its control stream.
type controlEvents interface {
	gotSettings(serverSettings)
	gotGoAway(id quic.StreamID)
}

// readControl reads a server's control stream, behind its type, to the end. It
// always returns an error: a *frameError, or nothing that would matter because
// the connection has ended.
func readControl(str io.Reader, events controlEvents) error {
	r := quicvarint.NewReader(str)
	// "Each side MUST initiate a single control stream at the beginning of
	// the connection and send its SETTINGS frame as the first frame on this
	// stream. If the first frame of the control stream is any other frame
	// type, this MUST be treated as a connection error of type
	// H3_MISSING_SETTINGS."
	// https://www.rfc-editor.org/rfc/rfc9114#section-6.2.1
	t, length, err := frameHeader(r)
	if err != nil {
		return err
	}
	if t != frameSettings {
		return &frameError{code: http3.ErrCodeMissingSettings, conn: true, text: "no SETTINGS at the beginning"}
	}
	if length > maxSettingsFrame {
		return &frameError{code: http3.ErrCodeExcessiveLoad, conn: true, text: "SETTINGS too long"}
	}
	payload := make([]byte, length) // bounded
	if _, err := io.ReadFull(str, payload); err != nil {
		return closedCritical(err)
	}
	settings, err := parseSettings(payload)
	if err != nil {
		return err
	}
	events.gotSettings(settings)
	for last := quic.StreamID(quicvarint.Max); ; {
		t, length, err := frameHeader(r)
		if err != nil {
			return err
		}
		switch {
		case t == frameGoAway:
			if last, err = readGoAway(str, length, last); err != nil {
				return err
			}
			events.gotGoAway(last)
		case t == frameCancelPush:
			// We allow no pushes, so there is none to be cancelled.
			return &frameError{code: http3.ErrCodeIDError, conn: true, text: "CANCEL_PUSH without a push"}
		case knownType(t) || reservedType(t):
			return unexpectedFrame()
		default:
			if _, err := io.CopyN(io.Discard, str, int64(length)); err != nil {
				return closedCritical(err)
			}
		}
	}
}

func frameHeader(r quicvarint.Reader) (t, length uint64, err error) {
	if t, err = quicvarint.Read(r); err == nil {
		length, err = quicvarint.Read(r)
	}
	return t, length, closedCritical(err)
}

// closedCritical turns the end of the control stream into what it means:
//
//	"If either control stream is closed at any point, this MUST be treated as
//	a connection error of type H3_CLOSED_CRITICAL_STREAM."
//
// https://www.rfc-editor.org/rfc/rfc9114#section-6.2.1
func closedCritical(err error) error {
	_, reset := errors.AsType[*quic.StreamError](err)
	if reset || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &frameError{code: http3.ErrCodeClosedCriticalStream, conn: true, text: "the control stream was closed"}
	}
	return err
}

// readGoAway reads the payload of a GOAWAY frame from a server: the first of our
// streams that it will not process (RFC 9114 §7.2.6). It may come again, but not
// with a greater one.
func readGoAway(str io.Reader, length uint64, last quic.StreamID) (quic.StreamID, error) {
	if length == 0 || length > 8 {
		return 0, brokenFrame()
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(str, payload); err != nil {
		return 0, closedCritical(err)
	}
	id, n, err := quicvarint.Parse(payload)
	if err != nil || n != len(payload) {
		return 0, brokenFrame()
	}
	if id%4 != 0 || quic.StreamID(id) > last {
		return 0, &frameError{code: http3.ErrCodeIDError, conn: true, text: "invalid stream ID in GOAWAY"}
	}
	return quic.StreamID(id), nil
}

// peekStreamType returns the type of a unidirectional stream and how long it is,
// without taking it off the stream (RFC 9114 §6.2).
func peekStreamType(str *quic.ReceiveStream) (t uint64, n int, err error) {
	var b [8]byte
	if _, err := str.Peek(b[:1]); err != nil {
		return 0, 0, err
	}
	n = 1 << (b[0] >> 6)
	if _, err := str.Peek(b[:n]); err != nil {
		return 0, 0, err
	}
	return quicvarint.Parse(b[:n])
}
