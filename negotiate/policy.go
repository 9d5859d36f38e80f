package negotiate

import (
	"slices"

	"github.com/wsmux/websocket"
)

// A Policy says which bootstraps a [Dialer] may use, and in which order. The
// zero Policy is automatic. For wss and https URLs it is an HTTP/3 or HTTP/2
// connection that is open already and on which the server has extended CONNECT;
// else HTTP/3 where the Dialer has it and the server announced it (Alt-Svc, RFC
// 7838), which is raced with TCP; on TCP HTTP/2 where the server has extended
// CONNECT, else HTTP/1.1. For ws and http URLs it is HTTP/1.1.
type Policy struct {
	order []websocket.Bootstrap
	only  bool
}

// Only returns the policy that tries the bootstraps given, in that order, and no
// others. HTTP/3 is raced with those behind it in the list, after
// [Dialer.HeadStart]. With HTTP2 alone, ws and http URLs are dialled as HTTP/2 by
// prior knowledge (RFC 9113 §3.3).
func Only(b ...websocket.Bootstrap) Policy {
	return Policy{order: slices.Clone(b), only: true}
}

// Prefer returns the policy that tries the bootstraps given, in that order, and
// then the others as the zero Policy would. HTTP/3 is raced with those behind it,
// after [Dialer.HeadStart].
func Prefer(b ...websocket.Bootstrap) Policy {
	return Policy{order: slices.Clone(b)}
}

// asks reports whether the policy names b.
func (p Policy) asks(b websocket.Bootstrap) bool { return slices.Contains(p.order, b) }

// bootstraps returns what to try, in order. announced says whether HTTP/3 is to be
// tried without being asked for.
func (p Policy) bootstraps(secure, announced bool) []websocket.Bootstrap {
	order := slices.Clone(p.order)
	if !p.only {
		if announced {
			order = append(order, websocket.HTTP3)
		}
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
