// Package handshake holds the rules of the opening handshake that the
// bootstraps share, as functions over header fields: what a server answers to a
// request (RFC 6455 §4.2, RFC 8441 §4 and §5, RFC 9220 §3), what a client sends
// and which answer it takes (RFC 6455 §4.1), the origin check (RFC 6455 §10.2)
// and the negotiation of permessage-deflate (RFC 7692 §7.1).
//
// Nothing here reads or writes a connection, but for Refuse, which writes a
// response, and CheckResponse, which reads the first kilobyte of a refusal.
//
// Field names are in the canonical form of net/http: whoever writes them out
// gives them the spelling of their transport.
package handshake

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"

	"github.com/wsmux/websocket"
)

// The handshake's fields, in the canonical form of net/http.
const (
	fieldAccept     = "Sec-Websocket-Accept"
	fieldExtensions = "Sec-Websocket-Extensions"
	fieldKey        = "Sec-Websocket-Key"
	fieldProtocol   = "Sec-Websocket-Protocol"
	fieldVersion    = "Sec-Websocket-Version"
)

// version is the only version of the protocol (RFC 6455 §4.1, item 9).
const version = "13"

// Agreement is what both ends agreed on.
type Agreement struct {
	Subprotocol string                   // "" for none
	Deflate     *websocket.DeflateParams // nil: no permessage-deflate
	Extensions  string                   // the response's Sec-WebSocket-Extensions, "" for none

	fields http.Header // further fields of the response
}

// Params returns what websocket.New has to know of the handshake. The caller
// adds Buffered, and OnEnd if it wants to.
func (a Agreement) Params(client bool, c *websocket.Compression, l websocket.Limits) websocket.Params {
	return websocket.Params{
		Client:      client,
		Subprotocol: a.Subprotocol,
		Deflate:     a.Deflate,
		Compression: c,
		Limits:      l,
	}
}

// AcceptKey returns the Sec-WebSocket-Accept that answers key:
//
//	"the base64-encoded SHA-1 of the concatenation of the
//	|Sec-WebSocket-Key| […] with the string
//	'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'"
//
// https://www.rfc-editor.org/rfc/rfc6455#section-4.1
func AcceptKey(key string) string {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// clientKey returns the request's Sec-WebSocket-Key, "" unless there is exactly
// one and it is well-formed:
//
//	"a base64-encoded […] value that, when decoded, is 16 bytes in length"
//
// https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
func clientKey(h http.Header) string {
	values := h[fieldKey]
	if len(values) != 1 || len(values[0]) != base64.StdEncoding.EncodedLen(16) {
		return ""
	}
	var raw [18]byte
	n, err := base64.StdEncoding.Decode(raw[:], []byte(values[0]))
	if err != nil || n != 16 {
		return ""
	}
	return values[0]
}

// refusal returns a refusal of ours. The reason goes to the peer, so it holds
// nothing that the peer sent; cause, which may be nil, does not.
func refusal(status int, reason string, cause error) *websocket.HandshakeError {
	return &websocket.HandshakeError{Status: status, Reason: reason, Err: cause}
}

// badConfiguration returns the refusal for options that cannot be used: the Go
// error is the point of it, the peer is told nothing but the 500.
func badConfiguration(reason string, cause error) *websocket.HandshakeError {
	return refusal(http.StatusInternalServerError, reason, cause)
}
