package h3connect

import (
	"context"
	"fmt"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
)

// Connect sees to it that there is a connection to the host of rawURL, whose
// scheme is wss or https, and reports whether the server offers extended CONNECT
// on it. The connection is the Transport's: Dial and RoundTrip find it. A server
// that cannot be reached over QUIC is an error that wraps
// websocket.ErrNotSupported.
func (t *Transport) Connect(ctx context.Context, rawURL string) (extendedConnect bool, err error) {
	addr, err := hostPortOf(ctx, rawURL)
	if err != nil {
		return false, err
	}
	c, err := t.acquire(ctx, addr, t.TLSClientConfig, forRequest, nil)
	if err != nil {
		return false, failed(err)
	}
	defer c.release(forRequest)
	if err := c.awaitSettings(ctx); err != nil {
		return false, failed(err)
	}
	return c.settings.extendedConnect, nil
}

// Connected reports whether there is a connection to the host of rawURL, whose
// scheme is wss or https, on which the server offers extended CONNECT.
func (t *Transport) Connected(rawURL string) bool {
	addr, err := hostPortOf(context.Background(), rawURL)
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.origins[place{addr: addr}]
	if o == nil {
		return false
	}
	for _, c := range o.conns {
		if c.offersSockets() {
			return true
		}
	}
	return false
}

// hostPortOf returns the host and port of a socket's URL.
func hostPortOf(ctx context.Context, rawURL string) (string, error) {
	req, err := handshake.Request(ctx, rawURL, websocket.HTTP3, nil)
	if err != nil {
		return "", failed(err)
	}
	if req.URL.Scheme != "https" {
		return "", failed(fmt.Errorf("the URL is for a connection in cleartext: %w", websocket.ErrNotSupported))
	}
	return hostPort(req.URL), nil
}

// awaitSettings waits for the server's SETTINGS, after which they may be read.
func (c *clientConn) awaitSettings(ctx context.Context) error {
	select {
	case <-c.settled:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the server's SETTINGS: %w", context.Cause(ctx))
	case <-c.qc.Context().Done():
		return neverSent(context.Cause(c.qc.Context()))
	}
}

// offersSockets says whether the connection is open and the server known to offer
// extended CONNECT.
func (c *clientConn) offersSockets() bool {
	select {
	case <-c.settled:
	default:
		return false
	}
	return c.settings.extendedConnect && c.gone.Err() == nil && c.qc.Context().Err() == nil
}
