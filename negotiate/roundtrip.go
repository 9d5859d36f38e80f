package negotiate

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/wsmux/websocket"
)

// RoundTrip sends an ordinary request by the first HTTP version of the Policy
// that the server has, on a connection that sockets of this Dialer use too where
// that is HTTP/2 or HTTP/3. It makes a Dialer an http.RoundTripper:
//
//	client := &http.Client{Transport: dialer}
func (d *Dialer) RoundTrip(req *http.Request) (*http.Response, error) {
	d.setup()
	if req.URL == nil {
		closeBody(req)
		return nil, errors.New("negotiate: request without a URL")
	}
	t, err := targetOf(req.URL)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	body := new(heldBody)
	if req.Body != nil && req.Body != http.NoBody {
		body.ReadCloser = req.Body
		held := *req // RoundTrip must not modify req
		held.Body = body
		req = &held
	}
	order := d.Policy.bootstraps(t.secure)
	err = fmt.Errorf("no HTTP version for this URL: %w", websocket.ErrNotSupported)
	for _, b := range order {
		body.hold()
		var resp *http.Response
		resp, err = d.roundTripBy(b, t, req)
		if err == nil {
			body.pass()
			return resp, nil
		}
		if !errors.Is(err, websocket.ErrNotSupported) {
			break
		}
	}
	body.pass()
	return nil, fmt.Errorf("negotiate: %w", err)
}

// roundTripBy sends a request by one HTTP version. An error that wraps
// websocket.ErrNotSupported means that nothing of it was sent.
func (d *Dialer) roundTripBy(b websocket.Bootstrap, t target, req *http.Request) (*http.Response, error) {
	switch b {
	case websocket.HTTP1:
		return d.http1.RoundTrip(req)
	case websocket.HTTP2:
		org := d.origin(t.origin)
		if err := org.lacksHTTP2(); err != nil && !d.Policy.only {
			return nil, err
		}
		resp, err := d.http2.RoundTrip(req)
		if errors.Is(err, errNoHTTP2) {
			org.learn(err)
		}
		return resp, err
	case websocket.HTTP3:
		if d.HTTP3 != nil {
			return d.HTTP3.RoundTrip(req)
		}
	}
	return nil, fmt.Errorf("%v: %w", b, websocket.ErrNotSupported)
}

// CloseIdleConnections closes connections that carry neither a socket nor a
// request.
func (d *Dialer) CloseIdleConnections() {
	d.setup()
	d.http1.CloseIdleConnections()
	d.http2.CloseIdleConnections()
	if d.HTTP3 != nil {
		d.HTTP3.CloseIdleConnections()
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// A heldBody is a request's body that survives an attempt by an HTTP version
// that the server does not have: such an attempt closes the body unread. After
// pass it is closed as usual.
type heldBody struct {
	io.ReadCloser

	mu             sync.Mutex
	passed, closed bool
}

func (b *heldBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.passed {
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
