package negotiate

import (
	"slices"

	"github.com/wsmux/websocket"
)

// A Policy says which bootstraps a [Dialer] may use, and in which order. The
// zero Policy is automatic: for wss and https URLs HTTP/2 where the server has
// extended CONNECT, else HTTP/1.1; for ws and http URLs HTTP/1.1.
type Policy struct {
	order []websocket.Bootstrap
	only  bool
}

// Only returns the policy that tries the bootstraps given, in that order, and no
// others. With HTTP2 alone, ws and http URLs are dialled as HTTP/2 by prior
// knowledge (RFC 9113 §3.3).
func Only(b ...websocket.Bootstrap) Policy {
	return Policy{order: slices.Clone(b), only: true}
}

// Prefer returns the policy that tries the bootstraps given, in that order, and
// then the others as the zero Policy would.
func Prefer(b ...websocket.Bootstrap) Policy {
	return Policy{order: slices.Clone(b)}
}

// bootstraps returns what to try, in order.
func (p Policy) bootstraps(secure bool) []websocket.Bootstrap {
	order := slices.Clone(p.order)
	if !p.only {
		order = append(order, websocket.HTTP2, websocket.HTTP1)
	}
	var list []websocket.Bootstrap
	for i, b := range order {
		asked := i < len(p.order)
		switch {
		case slices.Contains(list, b):
		case !secure && b == websocket.HTTP3: // there is no HTTP/3 without TLS
		case !secure && b == websocket.HTTP2 && !asked: // nothing announces it
		default:
			list = append(list, b)
		}
	}
	return list
}
