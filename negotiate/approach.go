package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/altsvc"
	"github.com/wsmux/websocket/internal/tunnel"
)

// An approach is the way of one socket, or of one ordinary request, to its
// server.
type approach struct {
	d      *Dialer
	t      target
	org    *origin
	socket bool // not an ordinary request

	// For sockets:
	o   *websocket.DialOptions
	own bool // the socket gets a connection of its own

	via      *url.URL // the proxy, nil for none
	alt      string   // where HTTP/3 is to be had, "" if the origin has not said so
	attempts []Attempt
	last     bool  // nothing is left to be tried
	tcpDown  bool  // no connection could be opened over TCP
	slow     error // HTTP/2 took too long to connect
}

// open opens the socket.
func (a *approach) open(ctx context.Context, avoid websocket.Bootstrap) (*websocket.Conn, *http.Response, error) {
	var err error
	if a.via, err = a.d.proxyFor(ctx, a.t); err != nil {
		return nil, nil, &DialError{URL: a.t.String(), Attempts: []Attempt{{Addr: a.t.addr, Err: err}}}
	}
	a.alt = a.org.alternative()
	order := a.order()
	if i := slices.Index(order, avoid); i >= 0 {
		order = append(slices.Delete(order, i, i+1), avoid)
	}
	var refusing *http.Response
	for i, b := range order {
		if !a.begin(ctx, b, order[i+1:]) {
			if a.timeIsUp(ctx) {
				break
			}
			continue
		}
		start := time.Now()
		a.last = i == len(order)-1
		c, resp, err := a.openBy(ctx, b)
		a.org.hear(a.t, resp)
		a.note(b, start, err)
		if err == nil {
			if a.slow != nil && b == websocket.HTTP1 {
				a.org.remember(&a.org.noSockets, a.slow)
			}
			noteAttempts(resp, a.attempts)
			return c, resp, nil
		}
		if resp != nil {
			refusing = resp
		}
		if !a.goesOn(b, err) || !a.last && a.timeIsUp(ctx) {
			break
		}
	}
	return nil, refusing, a.failed()
}

// timeIsUp reports whether ctx has ended, as the errors say then: what was tried last
// may have failed just before.
func (a *approach) timeIsUp(ctx context.Context) bool {
	end := ctx.Err()
	if end == nil {
		return false
	}
	cause := context.Cause(ctx)
	if !slices.ContainsFunc(a.attempts, func(t Attempt) bool { return errors.Is(t.Err, end) || errors.Is(t.Err, cause) }) {
		a.note(0, time.Now(), end)
	}
	return true
}

func (a *approach) failed() error {
	if len(a.attempts) == 0 {
		err := fmt.Errorf("no bootstrap for this URL: %w", websocket.ErrNotSupported)
		a.attempts = []Attempt{{Addr: a.t.addr, Proxy: proxyName(a.via), Err: err}}
	}
	return &DialError{URL: a.t.String(), Attempts: a.attempts}
}

func (a *approach) note(b websocket.Bootstrap, start time.Time, err error) {
	attempt := Attempt{Bootstrap: b, Addr: a.t.addr, Proxy: proxyName(a.via), Duration: time.Since(start), Err: err}
	if b == websocket.HTTP3 {
		attempt.Proxy = ""
		if a.alt != "" {
			attempt.Addr = a.alt
		}
	}
	a.attempts = append(a.attempts, attempt)
}

// order returns what to try, in order.
func (a *approach) order() []websocket.Bootstrap {
	d := a.d
	list := d.Policy.bootstraps(a.t.secure, a.offersHTTP3())
	if a.via != nil && !d.Policy.asks(websocket.HTTP3) {
		list = slices.DeleteFunc(list, func(b websocket.Bootstrap) bool { return b == websocket.HTTP3 })
	}
	return list
}

// offersHTTP3 reports whether HTTP/3 is to be tried though the Policy does not name
// it: there is a connection, or the origin announced it and there is nothing that
// could be used at once.
func (a *approach) offersHTTP3() bool {
	d := a.d
	switch {
	case d.HTTP3 == nil || a.own || a.via != nil || !a.t.secure:
		return false
	case d.HTTP3.Connected(a.t.raw):
		return true
	case a.alt == "" || a.lacksHTTP3() != nil:
		return false
	}
	return !d.http2.Connected(a.t.raw)
}

// lacksHTTP3 returns an error if HTTP/3 is known to be of no use.
func (a *approach) lacksHTTP3() error {
	if err := a.org.recall(&a.org.noHTTP3); err != nil {
		return err
	}
	if a.socket {
		return a.org.recall(&a.org.noHTTP3WS)
	}
	return nil
}

// begin prepares the bootstrap b, rest being what follows it, and reports whether
// it is to be tried. Where HTTP/3 may have to give way to TCP this is where both
// are connecting.
func (a *approach) begin(ctx context.Context, b websocket.Bootstrap, rest []websocket.Bootstrap) bool {
	if b != websocket.HTTP3 {
		return !a.tcpDown
	}
	d, start := a.d, time.Now()
	if d.HTTP3 == nil || a.via != nil || a.own || d.HTTP3.Connected(a.t.raw) {
		return true
	}
	if err := a.lacksHTTP3(); err != nil && !d.Policy.only {
		a.note(b, start, err)
		return false
	}
	tcp := a.firstOverTCP(rest)
	if tcp == 0 || a.tcpDown {
		return true
	}
	overTCP := func(ctx context.Context) error { return a.connectTCP(ctx, tcp) }
	winner, errs := race(ctx, d.headStart(), a.connectHTTP3, overTCP)
	if winner == 0 {
		return true
	}
	if ctx.Err() != nil {
		a.note(b, start, context.Cause(ctx))
		return false
	}
	if winner == 1 && (errs[0] == nil || errors.Is(errs[0], context.Canceled)) {
		errs[0] = errSlower
	}
	if errors.Is(errs[0], errNoSockets) {
		a.org.remember(&a.org.noHTTP3WS, errs[0])
	} else {
		a.org.remember(&a.org.noHTTP3, errs[0])
	}
	a.note(b, start, errs[0])
	if winner < 0 && errs[1] != nil && errs[1] != errNotBegun && !errors.Is(errs[1], websocket.ErrNotSupported) {
		a.note(tcp, start, errs[1])
		a.tcpDown = true
	}
	return false
}

// firstOverTCP returns the bootstrap whose connection is raced with HTTP/3, 0 for
// none.
func (a *approach) firstOverTCP(rest []websocket.Bootstrap) websocket.Bootstrap {
	for _, b := range rest {
		switch {
		case b == websocket.HTTP1:
			return b
		case b == websocket.HTTP2 && a.lacksHTTP2() == nil:
			return b
		}
	}
	return 0
}

// lacksHTTP2 returns an error if HTTP/2 is known to be of no use.
func (a *approach) lacksHTTP2() error {
	if a.d.Policy.only {
		return nil
	}
	if a.socket {
		return a.org.lacksSockets()
	}
	return a.org.recall(&a.org.noHTTP2)
}

// connectHTTP3 sees to it that there is a connection over HTTP/3, one on which
// there are sockets if one is wanted.
func (a *approach) connectHTTP3(ctx context.Context) error {
	sockets, err := a.d.HTTP3.Connect(a.atAlternative(ctx), a.t.raw)
	if err == nil && a.socket && !sockets {
		err = errNoSockets
	}
	return err
}

// atAlternative returns a context with which HTTP/3 finds the origin where it said
// that it is to be had, and the Dialer's TLS configuration.
func (a *approach) atAlternative(ctx context.Context) context.Context {
	if a.d.TLSClientConfig != nil {
		ctx = altsvc.WithTLS(ctx, a.d.TLSClientConfig)
	}
	if a.alt != "" {
		return altsvc.With(ctx, a.alt)
	}
	return ctx
}

// connectTCP sees to it that there is a connection for the bootstrap b, or for the
// one that a server that lacks b gets. It returns nil also if the server turns out
// to lack b: it is within reach.
func (a *approach) connectTCP(ctx context.Context, b websocket.Bootstrap) error {
	if b == websocket.HTTP2 {
		_, err := a.d.http2.Connect(ctx, a.t.raw)
		if errors.Is(err, errNoHTTP2) {
			return nil
		}
		return err
	}
	nc, err := a.d.dialHTTP1(ctx, a.t, true)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		nc.Close()
		return ctx.Err()
	}
	a.org.keep(nc)
	return nil
}

// openBy opens the socket by one bootstrap.
func (a *approach) openBy(ctx context.Context, b websocket.Bootstrap) (*websocket.Conn, *http.Response, error) {
	if a.own || b == websocket.HTTP1 {
		ctx = tunnel.WithTracker(ctx, a.d.streams.track)
	}
	switch b {
	case websocket.HTTP1:
		return a.openHTTP1(ctx)
	case websocket.HTTP2:
		return a.openHTTP2(ctx)
	case websocket.HTTP3:
		return a.openHTTP3(ctx)
	}
	return nil, nil, fmt.Errorf("%v: %w", b, websocket.ErrNotSupported)
}

func (a *approach) openHTTP1(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	if a.own {
		return h1upgrade.Dial(ctx, a.t.raw, a.ownOptions())
	}
	traceTarget(ctx, a.t)
	nc, err := a.d.dialHTTP1(ctx, a.t, true)
	if err != nil {
		return nil, nil, err
	}
	traceGot(ctx, nc)
	return h1upgrade.NewClient(ctx, nc, a.t.raw, a.o)
}

func (a *approach) openHTTP2(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	if a.own {
		return h2connect.Dial(ctx, a.t.raw, a.ownOptions())
	}
	if err := a.lacksHTTP2(); err != nil {
		return nil, nil, err
	}
	traceTarget(ctx, a.t)
	sockets, err := a.connectHTTP2(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !sockets {
		a.org.remember(&a.org.noSockets, errNoSockets)
		return nil, nil, errNoSockets
	}
	return a.d.http2.Dial(announced{ctx}, a.t.raw, a.o)
}

// connectHTTP2 sees to it that there is a connection over HTTP/2. A server whose
// SETTINGS do not come must not use up all the time if there is something else to
// be tried.
func (a *approach) connectHTTP2(ctx context.Context) (sockets bool, err error) {
	part := ctx
	if end, ok := ctx.Deadline(); ok && !a.last {
		var cancel context.CancelFunc
		part, cancel = context.WithTimeout(ctx, time.Until(end)*2/3)
		defer cancel()
	}
	sockets, err = a.d.http2.Connect(part, a.t.raw)
	switch {
	case err == nil || ctx.Err() != nil:
	case part.Err() != nil:
		a.slow = fmt.Errorf("HTTP/2 took too long to connect: %w", websocket.ErrNotSupported)
		return false, a.slow
	case !a.t.secure && errors.Is(err, websocket.ErrNotSupported):
		a.org.remember(&a.org.noHTTP2, err) // it was a guess
	}
	return sockets, err
}

func (a *approach) openHTTP3(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	switch {
	case a.d.HTTP3 == nil:
		return nil, nil, fmt.Errorf("the Dialer has no HTTP3: %w", websocket.ErrNotSupported)
	case a.via != nil:
		return nil, nil, fmt.Errorf("HTTP/3 does not go through a proxy: %w", websocket.ErrNotSupported)
	}
	ctx = a.forHTTP3(ctx)
	if a.own {
		ctx = altsvc.WithApart(ctx)
	}
	return a.d.HTTP3.Dial(ctx, a.t.raw, a.o)
}

// forHTTP3 returns ctx with what HTTP/3 is to know: where, and how long it is waited for
// where there is TCP.
func (a *approach) forHTTP3(ctx context.Context) context.Context {
	ctx = a.atAlternative(ctx)
	if d := a.d.headStart(); d >= 0 && !a.last && !a.tcpDown {
		ctx = altsvc.WithHeadStart(ctx, d)
	}
	return ctx
}

// headStart returns HeadStart or its default.
func (d *Dialer) headStart() time.Duration {
	if d.HeadStart == 0 {
		return defaultHeadStart
	}
	return d.HeadStart
}

// ownOptions returns the options of a socket with a connection of its own, which
// is led through the proxy.
func (a *approach) ownOptions() *websocket.DialOptions {
	o := *a.o
	dial := o.DialContext
	if dial == nil {
		dial = a.d.dialDirect
	}
	o.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		nc, err := a.d.dialThrough(ctx, a.t, dial)
		if err != nil {
			return nil, connectError{err}
		}
		return nc, nil
	}
	if o.TLSClientConfig == nil {
		o.TLSClientConfig = a.d.TLSClientConfig
	}
	return &o
}

// goesOn reports whether something else may succeed where the bootstrap b failed
// with err: a server's answer is final, a mistake in the options is the same
// everywhere.
func (a *approach) goesOn(b websocket.Bootstrap, err error) bool {
	var refused *websocket.HandshakeError
	answered := errors.As(err, &refused)
	switch {
	case b == websocket.HTTP3 && answered && refused.Status == http.StatusMisdirectedRequest && a.alt != "":
		// The alternative is not the origin after all, which has not answered
		// yet: RFC 7838 §6 has the client forget the one and ask the other.
		a.org.dropAlternative(a.alt)
		return true
	case errors.Is(err, websocket.ErrNotSupported):
		return true
	case answered:
		return false
	case b == websocket.HTTP3:
		// A failure before there was an answer is one of a service that need
		// not be the origin's own; over TCP the origin itself is asked.
		return !errors.Is(err, context.Canceled)
	}
	if errors.As(err, new(connectError)) {
		a.tcpDown = true // HTTP/3 may find another way
		return true
	}
	return false
}
