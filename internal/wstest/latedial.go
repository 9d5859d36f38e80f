package wstest

import (
	"context"
	"net"
	"os"
	"time"
)

// LateDial is a DialContext that ends by ctx's deadline as package net's does where
// the connection notices it before the context: with an error that is not ctx's.
func LateDial(ctx context.Context, network, _ string) (net.Conn, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		panic("LateDial wants a deadline")
	}
	time.Sleep(time.Until(deadline))
	return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
}
