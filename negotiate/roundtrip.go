package negotiate

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket"
)

// RoundTrip sends an ordinary request by the first HTTP version of the Policy
// that the server has, on a connection that sockets of this Dialer use too where
// that is HTTP/2 or HTTP/3. It makes a Dialer an http.RoundTripper:
//
//	client := &http.Client{Transport: dialer}
func (d *Dialer) RoundTrip(req *http.Request) (*http.Response, error) {
	d.setup()
	t, err := targetOfRequest(req)
	if err == nil && d.isClosed() {
		err = errClosed
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	ctx := req.Context()
	a := &approach{d: d, t: t, org: d.origin(t.origin)}
	if a.via, err = d.proxyFor(ctx, t); err != nil {
		closeBody(req)
		return nil, fmt.Errorf("negotiate: %w", err)
	}
	body := new(heldBody)
	if req.Body != nil && req.Body != http.NoBody {
		req, body = hold(req, req.Body)
	}
	a.alt = a.org.alternative()
	order := a.order()
	for i, b := range order {
		if !a.begin(ctx, b, order[i+1:]) {
			if a.timeIsUp(ctx) {
				break
			}
			continue
		}
		body.hold()
		start := time.Now()
		a.last = i == len(order)-1
		resp, err := a.roundTripBy(b, req)
		a.org.hear(t, resp)
		if err == nil && !(a.misdirected(b, resp) && body.ReadCloser == nil && i+1 < len(order)) {
			body.pass()
			return resp, nil
		}
		if err == nil {
			resp.Body.Close()
			err = errMisdirected
		}
		a.note(b, start, err)
		if !a.goesOn(b, err) || !unsent(err) || !a.last && a.timeIsUp(ctx) {
			break
		}
		if body.begun.Load() {
			// It was sent to a server that did not process it, and there was no
			// other connection.
			if req.GetBody == nil {
				break
			}
			fresh, err := req.GetBody()
			if err != nil {
				break
			}
			body.pass()
			req, body = hold(req, fresh)
		}
	}
	closeBody(req) // an attempt that was not begun did not
	body.pass()
	a.failed()
	return nil, fmt.Errorf("negotiate: %w", a.attempts[len(a.attempts)-1].Err)
}

var errMisdirected = fmt.Errorf("421 from an alternative service: %w", websocket.ErrNotSupported)

// misdirected reports whether a response came from an alternative that is not the
// origin, and forgets the alternative then (RFC 7838 §6).
func (a *approach) misdirected(b websocket.Bootstrap, resp *http.Response) bool {
	if b != websocket.HTTP3 || resp.StatusCode != http.StatusMisdirectedRequest || a.alt == "" {
		return false
	}
	a.org.dropAlternative(a.alt)
	return true
}

// unsent reports whether nothing was sent, or processed, of the request that
// failed with err.
func unsent(err error) bool {
	return errors.Is(err, websocket.ErrNotSupported) || errors.As(err, new(connectError))
}

// roundTripBy sends a request by one HTTP version. An error that wraps
// websocket.ErrNotSupported means that nothing of it was processed.
func (a *approach) roundTripBy(b websocket.Bootstrap, req *http.Request) (*http.Response, error) {
	d := a.d
	switch b {
	case websocket.HTTP1:
		if !a.t.secure && a.via != nil && (a.via.Scheme == "http" || a.via.Scheme == "https") {
			return d.forward.RoundTrip(req)
		}
		return d.http1.RoundTrip(req)
	case websocket.HTTP2:
		if err := a.lacksHTTP2(); err != nil {
			return nil, err
		}
		if !a.t.secure && !a.last {
			// Whether the server speaks HTTP/2 is not known before it does.
			if _, err := a.connectHTTP2(req.Context()); err != nil {
				return nil, err
			}
		}
		return d.http2.RoundTrip(req)
	case websocket.HTTP3:
		if d.HTTP3 != nil && a.via == nil {
			return d.HTTP3.RoundTrip(req.WithContext(a.forHTTP3(req.Context())))
		}
	}
	return nil, fmt.Errorf("%v: %w", b, websocket.ErrNotSupported)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// A heldBody is a request's body that survives an attempt by an HTTP version
// that the server does not have: such an attempt closes the body unread. After
// pass it is closed as usual, but once.
type heldBody struct {
	io.ReadCloser
	begun atomic.Bool // it has been read from

	mu             sync.Mutex
	passed, closed bool
}

// hold returns req, which must not be modified, with content that is held.
func hold(req *http.Request, content io.ReadCloser) (*http.Request, *heldBody) {
	body := &heldBody{ReadCloser: content}
	held := *req
	held.Body = body
	return &held, body
}

func (b *heldBody) Read(p []byte) (int, error) {
	b.begun.Store(true)
	return b.ReadCloser.Read(p)
}

func (b *heldBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.closed
	b.closed = true
	if b.passed && !before {
		return b.ReadCloser.Close()
	}
	return nil
}

// hold forgets the Close of an attempt before.
func (b *heldBody) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
}

// pass lets Close through, one that has been called included.
func (b *heldBody) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passed = true
	if b.closed {
		b.ReadCloser.Close()
	}
}
