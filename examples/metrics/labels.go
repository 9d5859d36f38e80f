package main

import (
	"context"
	"strconv"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

// What metrics are labelled with has few values, whatever peers do: a status code,
// for instance, is the peer's choice among 4000.

func side(client bool) string {
	if client {
		return "client"
	}
	return "server"
}

// code returns a status code as a label: those of RFC 6455 §7.4.1 one by one, and
// the others by their range (§7.4.2).
func code(c websocket.StatusCode) string {
	switch {
	case c <= websocket.StatusTLSHandshake:
		return strconv.Itoa(int(c))
	case c < 3000:
		return "reserved"
	case c < 4000:
		return "registered"
	}
	return "application"
}

// by says who ended a socket.
func by(e negotiate.SocketEnd) string {
	if e.Err.Remote {
		return "peer"
	}
	return "self"
}

// both returns an Observer that tells a and b, all of whose functions are set.
func both(a, b *negotiate.Observer) *negotiate.Observer {
	return &negotiate.Observer{
		Opened: func(ctx context.Context, s negotiate.SocketInfo) {
			a.Opened(ctx, s)
			b.Opened(ctx, s)
		},
		Closed: func(ctx context.Context, s negotiate.SocketInfo, e negotiate.SocketEnd) {
			a.Closed(ctx, s, e)
			b.Closed(ctx, s, e)
		},
		Refused: func(ctx context.Context, r negotiate.Refusal) {
			a.Refused(ctx, r)
			b.Refused(ctx, r)
		},
		FellBack: func(ctx context.Context, f negotiate.Fallback) {
			a.FellBack(ctx, f)
			b.FellBack(ctx, f)
		},
		LimitHit: func(l negotiate.LimitHit) {
			a.LimitHit(l)
			b.LimitHit(l)
		},
	}
}
