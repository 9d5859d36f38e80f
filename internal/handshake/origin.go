package handshake

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/wsmux/websocket"
)

// An origin is scheme, host and port (RFC 6454 §4), in a form in which equal
// origins are equal values: lower case, IP addresses in their shortest form, the
// port always there if the scheme has a default for it.
type origin struct{ scheme, host, port string }

var errOrigin = errors.New("not an origin")

// parseOrigin reads a serialized origin (RFC 6454 §6.2): scheme, host and port,
// and nothing else. "null" is not one.
func parseOrigin(s string) (origin, error) {
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || !validScheme(scheme) || strings.HasSuffix(authority, ":") {
		return origin{}, errOrigin
	}
	return originOf(strings.ToLower(scheme), authority)
}

// originOf returns the origin of a scheme, in lower case, and an authority:
// "example.com", "example.com:8443", "[::1]:8443".
func originOf(scheme, authority string) (origin, error) {
	o := origin{scheme: scheme}
	rest, bracketed := strings.CutPrefix(authority, "[")
	if bracketed {
		host, port, ok := strings.Cut(rest, "]")
		addr, err := netip.ParseAddr(host)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return origin{}, errOrigin
		}
		if port != "" && port[0] != ':' {
			return origin{}, errOrigin
		}
		o.host, o.port = "["+addr.String()+"]", strings.TrimPrefix(port, ":")
	} else {
		o.host, o.port, _ = strings.Cut(authority, ":")
		if !validRegName(o.host) {
			return origin{}, errOrigin
		}
		o.host = strings.ToLower(o.host)
	}
	return o.withPort()
}

// withPort gives the port its shortest decimal form, or the scheme's default.
func (o origin) withPort() (origin, error) {
	if o.port == "" {
		switch o.scheme {
		case "http":
			o.port = "80"
		case "https":
			o.port = "443"
		}
		return o, nil
	}
	for _, c := range []byte(o.port) {
		if c < '0' || c > '9' {
			return origin{}, errOrigin
		}
	}
	n, err := strconv.ParseUint(o.port, 10, 16)
	if err != nil {
		return origin{}, errOrigin
	}
	o.port = strconv.FormatUint(n, 10)
	return o, nil
}

// validScheme checks the syntax of RFC 3986 §3.1.
func validScheme(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// validRegName checks the characters of a host that is not an IP literal
// (RFC 3986 §3.2.2).
func validRegName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~%!$&'()*+,;=", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// checkOrigin decides whether the page that asks may open a socket:
//
//	"Servers that are not intended to process input from any web page but
//	only for certain sites SHOULD verify the |Origin| field is an origin
//	they expect."
//
// https://www.rfc-editor.org/rfc/rfc6455#section-10.2
//
// The origin itself is only in the error's cause, quoted: it does not go back to
// the peer.
func checkOrigin(r *http.Request, secure bool, o *websocket.AcceptOptions) *websocket.HandshakeError {
	values := r.Header["Origin"]
	if len(values) > 1 {
		return refusal(http.StatusBadRequest, "more than one Origin", nil)
	}
	if len(values) == 0 {
		if o.RequireOrigin {
			return refusal(http.StatusForbidden, "no Origin", nil)
		}
		return nil
	}
	if o.InsecureSkipOriginCheck {
		return nil
	}
	theirs, err := parseOrigin(values[0])
	if err != nil {
		return forbidden(values[0], err)
	}
	ours, err := ownOrigin(r, secure, o.PublicOrigin)
	if err != nil {
		return badConfiguration("invalid PublicOrigin", fmt.Errorf("%q: %w", o.PublicOrigin, err))
	}
	if theirs == ours {
		return nil
	}
	for _, s := range o.Origins {
		allowed, err := parseOrigin(s)
		if err != nil {
			return badConfiguration("invalid entry in Origins", fmt.Errorf("%q: %w", s, err))
		}
		if theirs == allowed {
			return nil
		}
	}
	return forbidden(values[0], nil)
}

func forbidden(value string, err error) *websocket.HandshakeError {
	cause := fmt.Errorf("origin %q", value)
	if err != nil {
		cause = fmt.Errorf("origin %q: %w", value, err)
	}
	return refusal(http.StatusForbidden, "origin not allowed", cause)
}

// ownOrigin returns the server's origin as the request shows it, or as public
// says. A request whose host makes no origin has the zero origin, which equals
// no other.
func ownOrigin(r *http.Request, secure bool, public string) (origin, error) {
	if public != "" {
		return parseOrigin(public)
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	ours, err := originOf(scheme, r.Host)
	if err != nil {
		return origin{}, nil
	}
	return ours, nil
}
