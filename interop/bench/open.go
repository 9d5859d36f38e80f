package main

import (
	"context"
	"time"

	"github.com/wsmux/websocket/interop/internal/child"
)

// open measures how fast sockets open: on one connection where they share, each
// by a TLS handshake of its own where they do not.
func (l load) open(ctx context.Context, c client, mark func(string) error) (figures, error) {
	if _, err := c.open(ctx, 1, 1, func(int, []byte, bool) {}); err != nil { // the connection
		return figures{}, err
	}
	if err := mark(markBegin); err != nil {
		return figures{}, err
	}
	begin, cpu := time.Now(), child.CPUTime()
	if _, err := c.open(ctx, l.Sockets, 1, func(int, []byte, bool) {}); err != nil {
		return figures{}, err
	}
	n := float64(l.Sockets)
	f := figures{Messages: n / time.Since(begin).Seconds(), ClientCPU: per(child.CPUTime()-cpu, n), Count: n}
	return f, mark(markEnd)
}
