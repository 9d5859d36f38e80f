package negotiate

import (
	"fmt"
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/registry"
)

// Accept accepts the socket that r asks for, whichever HTTP version r came by:
// an Upgrade on HTTP/1.1 (RFC 6455 §4.2), an extended CONNECT on HTTP/2 (RFC
// 8441) or HTTP/3 (RFC 9220). A nil o is the zero value.
//
// If it refuses, it has written the refusal, and the error, a
// *[websocket.HandshakeError], says why. The handler does not write to w
// afterwards, in either case.
//
// A route for it must admit both methods, GET for HTTP/1.1 and CONNECT for the
// others: mux.HandleFunc("/ws", …) does.
//
// HTTP/3 needs package h3connect in the program, which a program that serves
// HTTP/3 has anyway.
func Accept(w http.ResponseWriter, r *http.Request, o *websocket.AcceptOptions) (*websocket.Conn, error) {
	if b := bridgeOf(r); b != nil && r.ProtoMajor == 1 {
		w, r = b.goNative(r)
	}
	switch r.ProtoMajor {
	case 1:
		return h1upgrade.Accept(w, r, o)
	case 2:
		return h2connect.Accept(w, r, o)
	case 3:
		if accept := registry.HTTP3(); accept != nil {
			return accept(w, r, o)
		}
	}
	refusal := &websocket.HandshakeError{
		Status: http.StatusNotImplemented,
		Reason: fmt.Sprintf("no bootstrap for HTTP/%d is linked into this program", r.ProtoMajor),
		Err:    websocket.ErrNotSupported,
	}
	handshake.Refuse(w, r, refusal)
	return nil, refusal
}
