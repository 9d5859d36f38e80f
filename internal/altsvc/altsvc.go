// Package altsvc carries, from a negotiate.Dialer to h3connect, where a server
// said that it is to be found over HTTP/3 (RFC 7838), by which TLS configuration,
// how long that may take, and which sockets share no connection: they do not import
// each other.
package altsvc

import (
	"context"
	"crypto/tls"
	"time"
)

type (
	addrKey      struct{}
	tlsKey       struct{}
	headStartKey struct{}
	apartKey     struct{}
)

// With returns a context in which connections over HTTP/3 lead to addr,
// "host:port", in place of the URL's host and port. What the server has to prove
// by its certificate stays the URL's host.
func With(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, addrKey{}, addr)
}

// Addr returns what With put into ctx, "" for nothing.
func Addr(ctx context.Context) string {
	addr, _ := ctx.Value(addrKey{}).(string)
	return addr
}

// WithTLS returns a context in which connections over HTTP/3 use config where
// nothing else is configured for them.
func WithTLS(ctx context.Context, config *tls.Config) context.Context {
	return context.WithValue(ctx, tlsKey{}, config)
}

// TLS returns what WithTLS put into ctx, nil for nothing.
func TLS(ctx context.Context) *tls.Config {
	config, _ := ctx.Value(tlsKey{}).(*tls.Config)
	return config
}

// WithHeadStart returns a context in which a socket or a request that one connection
// over HTTP/3 has not taken waits no longer than d for another one: there is TCP too.
func WithHeadStart(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, headStartKey{}, d)
}

// HeadStart returns what WithHeadStart put into ctx, and whether it did.
func HeadStart(ctx context.Context) (d time.Duration, ok bool) {
	d, ok = ctx.Value(headStartKey{}).(time.Duration)
	return d, ok
}

// WithApart returns a context in which a socket over HTTP/3 has a connection that
// nothing else uses.
func WithApart(ctx context.Context) context.Context {
	return context.WithValue(ctx, apartKey{}, new(Apart))
}

// An Apart stands for one call of WithApart.
type Apart struct{ _ byte }

// ApartOf returns what WithApart put into ctx, nil for nothing.
func ApartOf(ctx context.Context) *Apart {
	a, _ := ctx.Value(apartKey{}).(*Apart)
	return a
}
