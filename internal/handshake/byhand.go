package handshake

import (
	"fmt"
	"net/http"

	"github.com/wsmux/websocket"
)

// On HTTP/2 and HTTP/3 any 2xx opens the tunnel that an extended CONNECT asks for
// (RFC 9110 §9.3.6, RFC 8441 §5), and there is no Sec-WebSocket-Accept by which a
// client could tell a socket from a page. So the servers of this module let a 2xx
// to an extended CONNECT for websocket pass only if somebody has said that it is
// an acceptance.

// acceptedMark is a key in a ResponseWriter's header, which middleware passes on
// even where it hides the ResponseWriter itself. It is no name of a field and has
// no values, so that no server sends anything for it.
const acceptedMark = ":accepted"

// MarkAccepted says in h, the header of a response, that a 2xx is an acceptance.
func MarkAccepted(h http.Header) { h[acceptedMark] = nil }

// UnmarkAccepted takes back what MarkAccepted said.
func UnmarkAccepted(h http.Header) { delete(h, acceptedMark) }

// MarkedAccepted reports whether MarkAccepted has been called. A field that came
// from elsewhere has values and is no mark.
func MarkedAccepted(h http.Header) bool {
	values, ok := h[acceptedMark]
	return ok && values == nil
}

// NotAccepted returns the refusal that takes the place of a 2xx that is no
// acceptance: for a :protocol that the server does not support 501 is the answer
// (RFC 9220 §3), and this resource does not support it.
func NotAccepted() *websocket.HandshakeError {
	return &websocket.HandshakeError{
		Status: http.StatusNotImplemented,
		Reason: "nothing opens a WebSocket here",
		Err:    ErrNotAccepted,
	}
}

// ErrNotAccepted is what a handler gets that writes the content of such a 2xx. As
// with other statuses that have no content of the handler's it is an
// http.ErrBodyNotAllowed.
var ErrNotAccepted = fmt.Errorf("websocket: the request asks for a WebSocket and no Accept was called: refused with 501: %w", http.ErrBodyNotAllowed)
