package websocket

import "github.com/wsmux/websocket/frame"

// A MessageType is the type of a message (RFC 6455 §5.6).
type MessageType uint8

// The two types of message.
const (
	MessageText   = MessageType(frame.Text)   // UTF-8; checked in both directions
	MessageBinary = MessageType(frame.Binary) // any bytes
)

// uncompressed is the mark that Uncompressed sets.
const uncompressed MessageType = 0x80

// Uncompressed returns t marked so that a message written with it is sent as it
// is, whatever was negotiated: for a secret that must not share a deflate
// context with text that an attacker chooses, or for data that does not
// compress. Messages that are read never carry the mark.
func (t MessageType) Uncompressed() MessageType { return t | uncompressed }

// String returns "text" or "binary", whether t has the mark of Uncompressed or not.
func (t MessageType) String() string {
	switch t &^ uncompressed {
	case MessageText:
		return "text"
	case MessageBinary:
		return "binary"
	}
	return "unknown message type"
}
