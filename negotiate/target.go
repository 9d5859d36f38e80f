package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"golang.org/x/net/http/httpguts"
)

// A target is where a URL leads.
type target struct {
	url    *url.URL // http or https, without userinfo
	raw    string   // the same with userinfo: what the bootstraps are given
	secure bool
	addr   string // host:port
	origin string // "https://host:port"
}

// String returns the origin: a URL's path and query may hold secrets.
func (t target) String() string { return t.origin }

// parseTarget reads the URL of a socket that is to be opened with o, and finds
// all that can be wrong with either before anything is dialled.
func parseTarget(ctx context.Context, rawURL string, o *websocket.DialOptions) (target, error) {
	req, err := handshake.Request(ctx, rawURL, websocket.HTTP1, o)
	if err != nil {
		return target{}, fmt.Errorf("negotiate: dial: %w", err)
	}
	given, err := url.Parse(rawURL)
	if err != nil {
		return target{}, errors.New("negotiate: dial: not a URL") // without quoting it
	}
	t := targetOf(req.URL)
	with := *t.url
	with.User = given.User
	t.raw = with.String()
	return t, nil
}

// targetOf returns the target of a URL of HTTP.
func targetOf(u *url.URL) target {
	port, scheme := "80", "http"
	if u.Scheme == "https" {
		port, scheme = "443", "https"
	}
	if p := u.Port(); p != "" {
		port = p
	}
	host := u.Hostname()
	if !strings.Contains(host, "%") { // the zone of an IPv6 literal is the system's name
		host = strings.ToLower(host)
	}
	addr := net.JoinHostPort(host, port)
	return target{url: u, raw: u.String(), secure: scheme == "https", addr: addr, origin: scheme + "://" + addr}
}

// targetOfRequest returns the target of an ordinary request: the origin alone, because
// a request's URL may have what a socket's may not, such as a fragment.
func targetOfRequest(req *http.Request) (target, error) {
	switch {
	case req.URL == nil:
		return target{}, errors.New("negotiate: request without a URL")
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return target{}, fmt.Errorf("negotiate: unknown scheme %q", req.URL.Scheme)
	case req.URL.Host == "":
		return target{}, errors.New("negotiate: request without a host")
	}
	host, err := httpguts.PunycodeHostPort(req.URL.Host)
	if err != nil {
		return target{}, fmt.Errorf("negotiate: invalid host: %w", err)
	}
	if !httpguts.ValidHostHeader(host) { // it becomes part of a proxy's request
		return target{}, errors.New("negotiate: invalid character in host")
	}
	return targetOf(&url.URL{Scheme: req.URL.Scheme, Host: host}), nil
}

// targetAt returns the target of a TLS connection to addr.
func targetAt(addr string) target {
	return targetOf(&url.URL{Scheme: "https", Host: addr})
}

// cleartextAt returns the target of a connection to addr without TLS.
func cleartextAt(addr string) target {
	return targetOf(&url.URL{Scheme: "http", Host: addr})
}
