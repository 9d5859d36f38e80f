package h2connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// This file puts a Transport under an http.Transport. Three ways lead from one
// to the other:
//
//   - t1 asks t2 first for every https request (RegisterProtocol), so that a
//     connection which t2 has opened for a socket serves them too;
//   - a connection on which t1 negotiates h2 goes to t2's pool (TLSNextProto);
//   - t2 opens connections through t1.NewClientConn, and so through t1's proxy,
//     dial functions and TLS configuration. Which of t1's connections was made
//     for t2 is told by the context that t1 hands to its dial functions.

// ConfigureTransport makes t1 use t2 for HTTP/2 over TLS, so that requests of an
// http.Client with t1 and sockets opened by t2.Dial share connections. t2 opens
// its connections for https and wss by t1's Proxy, DialContext, DialTLSContext
// and TLSClientConfig; its own fields of that kind are not used for them.
//
// It must be called before t1 is used. It returns an error where t1 would not
// use t2: if t1 has an HTTP/2 implementation already, or if t1.Protocols is set
// without HTTP2 and UnencryptedHTTP2.
//
// What t1 says about requests and connections (DisableCompression,
// DisableKeepAlives, ExpectContinueTimeout, ResponseHeaderTimeout,
// IdleConnTimeout, MaxResponseHeaderBytes, HTTP2) holds for them as it does with
// net/http's own HTTP/2; a field of t2.Limits that is not zero goes before it.
// t1.CloseIdleConnections closes t2's too. The package comment lists what
// differs.
func ConfigureTransport(t1 *http.Transport, t2 *Transport) (err error) {
	switch {
	case t1 == nil || t2 == nil:
		return errors.New("h2connect: nil transport")
	case t1.TLSNextProto[nextProto] != nil:
		return errors.New("h2connect: the http.Transport has an HTTP/2 implementation already")
	case t1.Protocols != nil && !t1.Protocols.HTTP2() && !t1.Protocols.UnencryptedHTTP2():
		return errors.New("h2connect: the http.Transport's Protocols do not allow HTTP/2")
	}
	o := &overlay{t1: t1, t2: t2}
	if err := register(t1, o); err != nil {
		return err
	}
	if t1.TLSClientConfig == nil {
		t1.TLSClientConfig = &tls.Config{}
	}
	for i, name := range []string{nextProto, "http/1.1"} {
		if !slices.Contains(t1.TLSClientConfig.NextProtos, name) {
			t1.TLSClientConfig.NextProtos = slices.Insert(t1.TLSClientConfig.NextProtos, min(i, len(t1.TLSClientConfig.NextProtos)), name)
		}
	}
	if t1.TLSNextProto == nil {
		t1.TLSNextProto = make(map[string]func(string, *tls.Conn) http.RoundTripper)
	}
	t1.TLSNextProto[nextProto] = func(authority string, tc *tls.Conn) http.RoundTripper {
		return o.negotiated(keyOf(&url.URL{Scheme: "https", Host: authority}), tc)
	}
	t1.TLSNextProto[nextProtoCleartext] = o.negotiatedCleartext
	o.watchDials(t1)
	t2.over = o
	return nil
}

// register makes o the first to be asked for https requests. RegisterProtocol
// panics where somebody is already.
func register(t1 *http.Transport, o *overlay) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("h2connect: the http.Transport is in use already: %v", v)
		}
	}()
	t1.RegisterProtocol("https", registered{o})
	return nil
}

// registered is what t1 knows an overlay as. A struct with one exported field
// that can close idle connections is how http.Transport.CloseIdleConnections
// finds those of an HTTP/2 implementation that is not its own.
type registered struct{ H2 *overlay }

// RoundTrip implements http.RoundTripper.
func (r registered) RoundTrip(req *http.Request) (*http.Response, error) { return r.H2.RoundTrip(req) }

// NewClientConn is what http.Transport.NewClientConn calls for a connection on
// which it has negotiated h2.
func (r registered) NewClientConn(nc net.Conn, stateHook func()) (http.RoundTripper, error) {
	return r.H2.newClientConn(nc, stateHook)
}

// CloseIdleConnections is called by t1's method of that name.
func (o *overlay) CloseIdleConnections() { o.t2.CloseIdleConnections() }

// An overlay is the http.Transport's side of a Transport.
type overlay struct {
	t1 *http.Transport
	t2 *Transport

	// dialled says for which of t2's connect calls t1's dial functions opened
	// a connection.
	dialled sync.Map // net.Conn → *connecting
}

// A connecting is one call of connect.
type connecting struct {
	cc    *ClientConn
	conns []net.Conn // keys of overlay.dialled
}

type connectingKey struct{}

// watchDials has t1's dial functions note the connections that are for t2.
func (o *overlay) watchDials(t1 *http.Transport) {
	dial := t1.DialContext
	//lint:ignore SA1019 where a program still sets it, it is what t1 dials with
	if old := t1.Dial; dial == nil && old != nil {
		dial = func(_ context.Context, network, addr string) (net.Conn, error) { return old(network, addr) }
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	t1.DialContext = o.noting(dial)
	if t1.DialTLSContext != nil {
		t1.DialTLSContext = o.noting(t1.DialTLSContext)
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

func (o *overlay) noting(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if c, ok := ctx.Value(connectingKey{}).(*connecting); ok && err == nil {
			c.conns = append(c.conns, nc)
			o.dialled.Store(nc, c)
		}
		return nc, err
	}
}

// connect opens a connection for the pool through t1.
func (o *overlay) connect(ctx context.Context, u *url.URL) (*ClientConn, error) {
	c := &connecting{}
	defer func() {
		for _, nc := range c.conns {
			o.dialled.Delete(nc)
		}
	}()
	hc, err := o.t1.NewClientConn(context.WithValue(ctx, connectingKey{}, c), "https", u.Host)
	if err != nil {
		return nil, err
	}
	if c.cc == nil {
		hc.Close()
		return nil, errNotSupported("the server did not choose HTTP/2")
	}
	return c.cc, nil
}

// RoundTrip implements http.RoundTripper: t1 asks for every https request
// whether a pooled connection can take it.
func (o *overlay) RoundTrip(req *http.Request) (*http.Response, error) {
	key := keyOf(req.URL)
	cc, err := o.t2.reserved(req.Context(), key)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if cc == nil {
		return nil, http.ErrSkipAltProtocol
	}
	traceGetConn(req.Context(), req.URL)
	resp, elsewhere, err := o.t2.roundTripAgain(cc, key, req)
	if elsewhere {
		return nil, http.ErrSkipAltProtocol
	}
	return resp, err
}

// roundTripAgain is roundTrip for t1, which sends a request again on a connection
// that it opens, without end. So what is refused where there are connections that take
// more is sent again here, and has a limit; elsewhere says that t1 may do so, for none
// takes more now. The caller has reserved a stream of cc, one of key's connections.
func (t *Transport) roundTripAgain(cc *ClientConn, key string, req *http.Request) (resp *http.Response, elsewhere bool, err error) {
	theirs := req
	for try := 1; ; try++ {
		if try > 1 {
			cc.WaitForSettings(req.Context()) // as in Transport.RoundTrip
		}
		resp, begun, err := cc.roundTrip(req)
		if err == nil {
			return resp, false, nil
		}
		if errors.Is(err, errLowered) {
			try = max(try-1, 1)
		}
		may := mayTryAgain(req, begun, err) && try < maxTries
		if may {
			var failed error
			if cc, failed = t.reserved(req.Context(), key); failed != nil {
				may, err = false, failed
			}
		}
		elsewhere := may && cc == nil
		if !may || elsewhere {
			if !begun && (!elsewhere || req != theirs) {
				closeBody(req)
			}
			return nil, elsewhere, err
		}
		if req, err = again(req, begun, err); err != nil {
			cc.release(false)
			return nil, false, err
		}
	}
}

// mayTryAgain reports whether a request that failed with err may be sent again: the
// server has not looked at it, and its body is as it was or can be had again.
func mayTryAgain(req *http.Request, begun bool, err error) bool {
	return retryable(err) && (!begun || !hasContent(req) || req.GetBody != nil)
}

// negotiated takes over a connection that t1 has opened for a request of its
// own. Where several requests had one opened at a time, the first is enough.
func (o *overlay) negotiated(key string, nc net.Conn) http.RoundTripper {
	o.t2.mu.Lock()
	defer o.t2.mu.Unlock()
	if o.t2.closed { // or t1 would open one after the other
		go nc.Close()
		return failedConn{errTransportClosed}
	}
	for _, cc := range o.t2.conns[key] {
		if cc.CanTakeNewRequest() {
			go nc.Close() // which may write an alert
			return overlayConn{o.t2, key}
		}
	}
	if o.t2.waits(key) {
		go nc.Close()
		return overlayConn{o.t2, key}
	}
	cc, err := o.t2.NewClientConn(nc)
	if err != nil {
		go nc.Close()
		return failedConn{err}
	}
	o.t2.add(key, cc)
	return overlayConn{o.t2, key}
}

// negotiatedCleartext is negotiated for a connection without TLS, which t1 hands
// over inside a TLS connection that is none.
func (o *overlay) negotiatedCleartext(authority string, tc *tls.Conn) http.RoundTripper {
	inner, ok := tc.NetConn().(interface{ UnencryptedNetConn() net.Conn })
	if !ok {
		go tc.Close()
		return failedConn{errors.New("h2connect: net/http handed over a cleartext connection in a way that is not known")}
	}
	return o.negotiated(keyOf(&url.URL{Scheme: "http", Host: authority}), inner.UnencryptedNetConn())
}

// newClientConn makes a ClientConn of a connection that t1.NewClientConn has
// opened, for t2's pool or for whoever else has called it.
func (o *overlay) newClientConn(nc net.Conn, stateHook func()) (http.RoundTripper, error) {
	cc, err := o.t2.NewClientConn(nc)
	if err != nil {
		return nil, err
	}
	if c := o.connectingOf(nc); c != nil {
		c.cc = cc
		return &claimedConn{ClientConn: cc}, nil
	}
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	cc.onChange = func() { go stateHook() }
	return &claimedConn{ClientConn: cc}, nil
}

// connectingOf finds the call of connect that nc was opened for.
func (o *overlay) connectingOf(nc net.Conn) *connecting {
	for nc != nil {
		if c, ok := o.dialled.Load(nc); ok {
			return c.(*connecting)
		}
		tc, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = tc.NetConn()
	}
	return nil
}

// An overlayConn is what http.Transport has for a connection: all that t has to a
// server.
type overlayConn struct {
	t   *Transport
	key string
}

// RoundTrip implements http.RoundTripper. The error for connections that take no more
// requests makes t1 open another.
func (oc overlayConn) RoundTrip(req *http.Request) (*http.Response, error) {
	cc, err := oc.t.reserved(req.Context(), oc.key)
	switch {
	case err != nil:
		closeBody(req)
		return nil, err
	case cc == nil:
		return nil, noCachedConn{}
	}
	resp, elsewhere, err := oc.t.roundTripAgain(cc, oc.key, req)
	if elsewhere {
		return nil, noCachedConn{}
	}
	return resp, err
}

// noCachedConn is the error by which http.Transport knows that a connection has
// had its time. The request has not been sent.
type noCachedConn struct{}

func (noCachedConn) Error() string { return "h2connect: connection takes no more requests" }

// IsHTTP2NoCachedConnError is net/http's mark.
func (noCachedConn) IsHTTP2NoCachedConnError() {}

// A failedConn stands for a connection that could not be taken over.
type failedConn struct{ err error }

// RoundTrip implements http.RoundTripper.
func (f failedConn) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// RoundTripErr is net/http's way to see the error before it sends anything.
func (f failedConn) RoundTripErr() error { return f.err }
