package h2connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/wsmux/websocket"
	"golang.org/x/net/http2"
)

// This file is how a Transport finds the connection for a socket. A socket asks
// more of it than a request does: extended CONNECT, a stream that is not kept for
// requests, and a server that lives, because a socket that is put on a dead
// connection is missed only by whoever waits for its messages.

// defaultRequestStreams is Transport.RequestStreams's.
const defaultRequestStreams = 20

// maxSockets returns how many sockets a connection takes whose server allows so
// many streams.
func (t *Transport) maxSockets(streams uint32) int {
	n := min(int64(streams), 1<<30)
	if t == nil || t.RequestStreams < 0 {
		return int(n)
	}
	left := int64(t.RequestStreams)
	if left == 0 {
		left = defaultRequestStreams
	}
	return int(max(n-min(left, max(n/5, 1)), min(n, 1)))
}

// Dial opens a socket at rawURL: see the package's [Dial] for what it returns.
// It uses a pooled connection if there is one, whatever o says about how to
// connect. One from which nothing has come for ten seconds is asked by a PING
// first, and passed over if it does not answer within two.
//
// A socket that the server has certainly not looked at, or whose connection was an
// old one and broke before there was an answer, is asked for again on another
// connection.
func (t *Transport) Dial(ctx context.Context, rawURL string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	ctx, req, cancel, err := newDial(ctx, rawURL, o)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	if err := t.checkURL(req.URL); err != nil {
		return nil, nil, err
	}
	traceGetConn(ctx, req.URL)
	search := search{key: keyOf(req.URL), o: o}
	for try := 1; ; try++ {
		cc, err := t.getSocket(ctx, &search)
		if err != nil {
			return nil, nil, elsewhere(err)
		}
		old := cc.wasUsed()
		conn, resp, err := cc.dialReserved(ctx, req, o, nil)
		if err == nil || try == maxTries || ctx.Err() != nil || !search.goesOn(cc, old, err) {
			return conn, resp, elsewhere(err)
		}
	}
}

// Connect sees to it that there is a connection to the server of rawURL, whose
// scheme is wss, ws, https or http, and reports whether the server accepts
// extended CONNECT on it. The connection is the pool's: sockets and requests find
// it there. Where the server does not speak HTTP/2 the error wraps
// websocket.ErrNotSupported.
func (t *Transport) Connect(ctx context.Context, rawURL string) (extendedConnect bool, err error) {
	key, err := t.keyOfSocket(rawURL)
	if err != nil {
		return false, err
	}
	for {
		t.mu.Lock()
		cc := t.live(key)
		if cc == nil {
			d := t.join(ctx, key, nil)
			t.mu.Unlock()
			if cc, err = t.await(ctx, key, d); err != nil {
				return false, err
			}
		} else {
			t.mu.Unlock()
		}
		old := cc.wasUsed()
		extendedConnect, err = cc.WaitForSettings(ctx)
		if err == nil || !old || !retryable(err) {
			return extendedConnect, elsewhere(err)
		}
	}
}

// Connected reports whether the pool has a connection to the server of rawURL on
// which the server accepts extended CONNECT, and could take a socket or open
// another connection for it.
func (t *Transport) Connected(rawURL string) bool {
	key, err := t.keyOfSocket(rawURL)
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, cc := range t.conns[key] {
		if cc.takesSockets() {
			return true
		}
	}
	return false
}

// keyOfSocket returns the keyOf of a socket's URL.
func (t *Transport) keyOfSocket(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", errors.New("h2connect: not a URL")
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	return keyOf(u), t.checkURL(u)
}

// A search is the way of one socket to its connection.
type search struct {
	key     string
	o       *websocket.DialOptions
	avoid   *ClientConn // it has failed already
	refused bool        // a server has answered REFUSED_STREAM
	wary    bool        // a pooled connection was found dead: old ones are passed over
}

// goesOn reports whether a socket that failed on cc may be asked for again, and
// remembers what to do otherwise then. old says whether cc had carried something
// before.
//
// What is lost of an old connection with no word of the server's is, as a rule, a
// connection that had ended long before: net/http sends a GET again then, and the
// opening of a socket, of which nobody has seen anything yet, is as safe.
func (s *search) goesOn(cc *ClientConn, old bool, err error) bool {
	s.avoid = cc
	if errors.Is(err, websocket.ErrNotSupported) {
		return false // wherever it is asked for
	}
	var reset *StreamError
	if errors.As(err, &reset) {
		refused := s.refused
		s.refused = true
		return !refused && retryable(err) && reset.Code == http2.ErrCodeRefusedStream
	}
	var ended *ConnError
	return retryable(err) || old && errors.As(err, &ended) && ended.Remote && ended.Code == http2.ErrCodeNo
}

// elsewhere says of a socket that the server has certainly not looked at that
// another bootstrap may be tried: nothing was sent that could have been processed.
func elsewhere(err error) error {
	if err == nil || !retryable(err) || errors.Is(err, websocket.ErrNotSupported) {
		return err
	}
	return fmt.Errorf("%w: %w", websocket.ErrNotSupported, err)
}

// getSocket returns a connection with a stream promised to a socket, whose server
// accepts extended CONNECT and has lately shown that it lives. While a connection
// is being set up it waits for it, because only its SETTINGS say how many sockets
// it takes.
func (t *Transport) getSocket(ctx context.Context, s *search) (*ClientConn, error) {
	if t.rules().strict {
		return t.getStrict(ctx, s)
	}
	for {
		t.mu.Lock()
		cc, unsettled := t.pooledForSocket(s)
		if cc == nil && unsettled == nil {
			d := t.join(ctx, s.key, s.o)
			t.mu.Unlock()
			fresh, err := t.await(ctx, s.key, d)
			if err != nil {
				return nil, err
			}
			unsettled = fresh
		} else {
			t.mu.Unlock()
		}
		if cc == nil {
			supported, err := unsettled.WaitForSettings(ctx)
			if err != nil {
				return nil, err
			}
			if !supported {
				return nil, errNoConnect()
			}
			if !unsettled.everTakesSockets() {
				return nil, errNotSupported("the server allows no streams")
			}
			continue
		}
		err := cc.ask(ctx)
		if err == nil {
			return cc, nil
		}
		cc.release(true)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s.wary = true
	}
}

// getStrict is getSocket where a further connection is not wanted: it waits for a
// free stream instead.
func (t *Transport) getStrict(ctx context.Context, s *search) (*ClientConn, error) {
	cc, err := t.get(ctx, urlOf(s.key), s.o)
	if err != nil {
		return nil, err
	}
	supported, err := cc.WaitForSettings(ctx)
	if err == nil && !supported {
		err = errNoConnect()
	}
	if err != nil {
		cc.release(false)
		return nil, err
	}
	cc.promiseSocket()
	return cc, nil
}

func errNoConnect() error { return errNotSupported("the server does not accept extended CONNECT") }

// pooledForSocket returns a pooled connection with a stream promised to a socket,
// or else one whose SETTINGS are to be waited for, if there is one. t.mu is held.
func (t *Transport) pooledForSocket(s *search) (cc, unsettled *ClientConn) {
	conns := t.conns[s.key]
	for i := range conns {
		cc := conns[len(conns)-1-i] // the last one is the most likely to have room
		if cc == s.avoid || s.wary && cc.quiet() >= trustTime {
			continue
		}
		switch cc.trySocket() {
		case socketPromised:
			return cc, nil
		case socketUnsettled:
			unsettled = cc
		}
	}
	return nil, unsettled
}

// What a connection says to a socket.
type socketOffer uint8

const (
	socketNone      socketOffer = iota // no
	socketUnsettled                    // not known before the server's SETTINGS
	socketPromised                     // it has a stream
)

// trySocket promises a stream to a socket if one is free.
func (cc *ClientConn) trySocket() socketOffer {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case cc.usable() != nil:
		return socketNone
	case !c.peer.received || !c.peer.connectAllowed:
		return socketUnsettled
	case cc.room() <= 0 || cc.sockets >= cc.t.maxSockets(c.peer.streams):
		return socketNone
	}
	cc.reserved++
	cc.sockets++
	return socketPromised
}

// everTakesSockets reports whether the server allows a socket on this connection
// if there is nothing else on it.
func (cc *ClientConn) everTakesSockets() bool {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.t.maxSockets(cc.c.peer.streams) > 0
}

// promiseSocket makes a promised stream a socket's.
func (cc *ClientConn) promiseSocket() {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	cc.sockets++
}

// takesSockets reports whether the server accepts sockets here, now or when
// others have ended.
func (cc *ClientConn) takesSockets() bool {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.usable() == nil && cc.c.peer.connectAllowed
}

// wasUsed reports whether the connection has carried something.
func (cc *ClientConn) wasUsed() bool {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.used
}

// A connection from which nothing has come for trustTime is asked for a sign of
// life before a socket is put on it, and has answerTime to give one.
const (
	trustTime  = 10 * time.Second
	answerTime = 2 * time.Second
)

// A probe is a PING that all wait for who want to put a socket on a connection.
type probe struct {
	done chan struct{} // closed when err is set
	err  error
}

// quiet returns for how long nothing has come.
func (cc *ClientConn) quiet() time.Duration {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.quietFor()
}

// quietFor is quiet with c.mu held.
func (cc *ClientConn) quietFor() time.Duration {
	if cc.c.health.waiting.IsZero() {
		return 0
	}
	return time.Since(cc.c.health.waiting)
}

// ask returns nil if the server lives, as far as one can know.
func (cc *ClientConn) ask(ctx context.Context) error {
	cc.c.mu.Lock()
	if cc.quietFor() < trustTime {
		cc.c.mu.Unlock()
		return nil
	}
	p := cc.probe
	if p == nil {
		p = &probe{done: make(chan struct{})}
		cc.probe = p
		// This goroutine ends with the answer, or after answerTime.
		go cc.runProbe(p)
	}
	cc.c.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// runProbe asks the server for a sign of life. If there is none and nothing is on
// the connection, it is cut; otherwise what is on it has Limits.PingTimeout to
// find out more.
func (cc *ClientConn) runProbe(p *probe) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	err := cc.Ping(ctx)
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.probe = nil
	if err != nil && cc.quietFor() < answerTime {
		err = nil // it is busy with something else
	}
	p.err = err
	close(p.done)
	if err != nil && c.slots == 0 {
		c.end(&ConnError{Remote: true, Err: errUnhealthy})
	}
}
