package negotiate

import (
	"context"
	"net"
	"net/http/httptrace"
)

// traceTarget tells a trace that a connection to t is wanted.
func traceTarget(ctx context.Context, t target) {
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GetConn != nil {
		trace.GetConn(t.addr)
	}
}

// traceGot tells a trace that nc is the connection.
func traceGot(ctx context.Context, nc net.Conn) {
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: nc})
	}
}

// An announced context is one whose trace has been told that a connection is
// wanted, and is not told again.
type announced struct{ context.Context }

// Value implements context.Context.
func (c announced) Value(key any) any {
	v := c.Context.Value(key)
	if trace, ok := v.(*httptrace.ClientTrace); ok && trace != nil {
		rest := *trace
		rest.GetConn = nil
		return &rest
	}
	return v
}
