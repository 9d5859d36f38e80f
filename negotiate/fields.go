package negotiate

import (
	"net/http"
	"slices"
	"strings"

	"github.com/wsmux/websocket/internal/handshake"
)

// copyEndToEnd sets in to what from says, but for the fields that are of one
// connection only:
//
//	"Intermediaries MUST parse a received Connection header field before a
//	message is forwarded and, for each connection-option in this field,
//	remove any header or trailer field(s) from the message with the same name
//	as the connection-option, and then remove the Connection header field
//	itself"
//
// https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
func copyEndToEnd(to, from http.Header) {
	listed := handshake.ConnectionOptions(from)
	for name, values := range from {
		name = http.CanonicalHeaderKey(name)
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
			continue
		}
		if !slices.Contains(listed, name) {
			to[name] = slices.Clone(values)
		}
	}
}

// joinCookies undoes the division of cookies:
//
//	"If there are multiple Cookie header fields after decompression, these
//	MUST be concatenated into a single octet string […] before being passed
//	into a non-HTTP/2 context"
//
// https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3
func joinCookies(h http.Header) {
	if crumbs := h["Cookie"]; len(crumbs) > 1 {
		h["Cookie"] = []string{strings.Join(crumbs, "; ")}
	}
}

// refusalStatus returns the status for a client that asked for a socket by
// HTTP/major, where the status of the refusal to be passed on is given. Zero says
// that there is none: passed on, the status would accept the socket, or mean
// nothing.
func refusalStatus(status, major int) int {
	switch {
	case status == http.StatusUpgradeRequired && major > 1:
		// "The server MUST send an Upgrade header field in a 426 response"
		// (RFC 9110 §15.5.22), which there is none of.
		return http.StatusBadRequest
	case status >= 300 && status <= 599:
		return status
	}
	return 0
}
