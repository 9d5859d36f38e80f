package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strconv"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tlsrecord"
)

// This file opens TCP connections and performs TLS handshakes.

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialDirect opens a TCP connection to addr, which may be a proxy's.
func (d *Dialer) dialDirect(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.DialContext != nil {
		return d.DialContext(ctx, network, addr)
	}
	return dialTCP(ctx, network, addr)
}

// dialTCP opens a TCP connection to a host and port, trying all addresses of the
// host as RFC 8305 recommends.
func dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	port, err := strconv.ParseUint(service, 10, 16)
	if _, e := netip.ParseAddr(host); e == nil || err != nil {
		return dialer.DialContext(ctx, network, addr)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var addrs []netip.AddrPort
	for _, ip := range interleave(ips) {
		addrs = append(addrs, netip.AddrPortFrom(ip, uint16(port)))
	}
	return firstOf(ctx, addrs, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return dialer.DialContext(ctx, network, to.String())
	})
}

// dialTLS opens a connection to t and lets the server choose among the protocols.
// Failures to connect are connectErrors. With traced the trace of ctx is told of
// the handshake; without, somebody else does it.
func (d *Dialer) dialTLS(ctx context.Context, t target, traced bool, protocols ...string) (*tls.Conn, error) {
	nc, err := d.dialTarget(ctx, t)
	if err != nil {
		return nil, connectError{err}
	}
	tc := tls.Client(tlsrecord.Beneath(nc), d.tlsConfig(t.url.Hostname(), protocols...))
	trace := httptrace.ContextClientTrace(ctx)
	if !traced {
		trace = nil
	}
	if err = handshakeTLS(ctx, tc, trace); err == nil {
		return tc, nil
	}
	nc.Close()
	if refusedALPN(err) {
		return nil, fmt.Errorf("the server speaks none of %q: %w: %w", protocols, websocket.ErrNotSupported, err)
	}
	return nil, connectError{err}
}

// tlsConfig returns the configuration of one connection to host.
func (d *Dialer) tlsConfig(host string, protocols ...string) *tls.Config {
	config := new(tls.Config)
	if d.TLSClientConfig != nil {
		config = d.TLSClientConfig.Clone()
	}
	config.NextProtos = protocols
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if slices.Contains(protocols, "h2") {
		config.Renegotiation = tls.RenegotiateNever // RFC 9113 §9.2.1
	}
	if config.ServerName == "" {
		config.ServerName = handshake.WithoutZone(host)
	}
	return config
}

func handshakeTLS(ctx context.Context, tc *tls.Conn, trace *httptrace.ClientTrace) error {
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err := tc.HandshakeContext(ctx)
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(tc.ConnectionState(), err)
	}
	return err
}

// refusedALPN reports whether a TLS handshake failed with the server's alert
// no_application_protocol (RFC 7301 §3.2). Over TCP crypto/tls reports alerts by
// a type of its own that is known only by its text, which is that of AlertError.
func refusedALPN(err error) bool {
	const noApplicationProtocol = tls.AlertError(120)
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == noApplicationProtocol.Error()
}

// dialHTTP2 opens a connection for http2. If HTTP/1.1 may be used too, it is
// offered in the same handshake; a server that chooses it has its connection kept
// for that.
func (d *Dialer) dialHTTP2(ctx context.Context, _, addr string) (net.Conn, error) {
	t := targetAt(addr)
	protocols := []string{"h2"}
	if slices.Contains(d.Policy.bootstraps(true, false), websocket.HTTP1) {
		protocols = append(protocols, "http/1.1")
	}
	tc, err := d.dialTLS(ctx, t, true, protocols...)
	if err != nil {
		return nil, err
	}
	if tc.ConnectionState().NegotiatedProtocol == "h2" {
		return tc, nil
	}
	org := d.origin(t.origin)
	org.remember(&org.noHTTP2, errNoHTTP2)
	if len(protocols) > 1 && ctx.Err() == nil {
		org.keep(tc)
	} else {
		tc.Close()
	}
	return nil, errNoHTTP2
}

// dialHTTP1 opens a connection to t for HTTP/1.1, or takes one that was opened
// for HTTP/2 and turned out otherwise.
func (d *Dialer) dialHTTP1(ctx context.Context, t target, traced bool) (net.Conn, error) {
	if !t.secure {
		nc, err := d.dialTarget(ctx, t)
		if err != nil {
			return nil, connectError{err}
		}
		return nc, nil
	}
	if nc := d.origin(t.origin).take(); nc != nil {
		return nc, nil
	}
	tc, err := d.dialTLS(ctx, t, traced, "http/1.1")
	if err != nil {
		return nil, err
	}
	return tc, nil
}
