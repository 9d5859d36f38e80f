package handshake

import (
	"net/http"

	"github.com/wsmux/websocket"
	"golang.org/x/net/http/httpguts"
)

// Bounds on the header of a request.
const (
	maxFields      = 256
	maxHeaderBytes = 16 << 10
)

// CheckUpgrade checks the rules of an opening handshake that are HTTP/1.1's own
// (RFC 6455 §4.2.1, RFC 9110 §7.8): method, version of HTTP, Host, Upgrade and
// Connection, one version of the protocol at most, one key, no content. It
// returns the refusal, nil if the request is fine. [Negotiate] checks the rest.
func CheckUpgrade(r *http.Request) *websocket.HandshakeError {
	if e := checkSize(r.Header); e != nil {
		return e
	}
	// "The handshake consists of an HTTP Upgrade request […] The method of
	// the request MUST be GET, and the HTTP version MUST be at least 1.1."
	// https://www.rfc-editor.org/rfc/rfc6455#section-4.1
	if r.Method != http.MethodGet {
		e := refusal(http.StatusMethodNotAllowed, "the method is not GET", nil)
		e.Header = http.Header{"Allow": {http.MethodGet}}
		return e
	}
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 {
		return refusal(http.StatusHTTPVersionNotSupported, "the version of HTTP is not 1.1", nil)
	}
	if r.Host == "" {
		return refusal(http.StatusBadRequest, "no Host", nil)
	}
	if !httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket") {
		return upgradeRequired("no Upgrade to websocket")
	}
	if !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return refusal(http.StatusBadRequest, "no Upgrade in Connection", nil)
	}
	// A body behind an upgrade is read by one hop as a body, by another as
	// frames: the shape of request smuggling (RFC 9931).
	if r.ContentLength != 0 || len(r.TransferEncoding) != 0 {
		return refusal(http.StatusBadRequest, "the request has content", nil)
	}
	if len(r.Header[fieldVersion]) > 1 {
		return refusal(http.StatusBadRequest, "more than one Sec-WebSocket-Version", nil)
	}
	if clientKey(r.Header) == "" {
		return refusal(http.StatusBadRequest, "no valid Sec-WebSocket-Key", nil)
	}
	return nil
}

// checkSize refuses headers that no client needs for a handshake. The HTTP
// server has its own bound, which may be much higher, for the memory they take
// before we see them.
func checkSize(h http.Header) *websocket.HandshakeError {
	fields, size := 0, 0
	for name, values := range h {
		fields += len(values)
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	if fields > maxFields || size > maxHeaderBytes {
		return refusal(http.StatusRequestHeaderFieldsTooLarge, "too many header fields", nil)
	}
	return nil
}

// upgradeRequired returns a 426, which says what to upgrade to:
//
//	"The server MUST send an Upgrade header field in a 426 response"
//
// https://www.rfc-editor.org/rfc/rfc9110#section-15.5.22
//
// The connection closes behind it; [Refuse] adds that.
func upgradeRequired(reason string) *websocket.HandshakeError {
	e := refusal(http.StatusUpgradeRequired, reason, nil)
	e.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}
	return e
}
