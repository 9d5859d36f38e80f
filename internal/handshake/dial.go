package handshake

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tunnel"
	"golang.org/x/net/http/httpguts"
)

// Request returns the request that opens a socket at rawURL, whose scheme is ws,
// wss, http or https: GET with a fresh key for HTTP/1.1, CONNECT for the others,
// to whose :protocol the bootstrap sees. The request's URL has the scheme http or
// https, no userinfo and no fragment; its Host is what Host or :authority says.
// o may be nil.
//
// All that can be wrong with the arguments is found here, before anything is
// dialled.
func Request(ctx context.Context, rawURL string, b websocket.Bootstrap, o *websocket.DialOptions) (*http.Request, error) {
	if o == nil {
		o = &websocket.DialOptions{}
	}
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	host, err := checkRequestHeader(o.Header)
	if err != nil {
		return nil, err
	}
	if err := checkSubprotocols(o.Subprotocols); err != nil {
		return nil, err
	}
	if err := checkCompression(o.Compression); err != nil {
		return nil, err
	}
	r := &http.Request{
		Method:     http.MethodConnect,
		URL:        u,
		Proto:      protocol(b),
		ProtoMajor: int(b),
		Header:     make(http.Header, len(o.Header)+6),
		Host:       WithoutZone(u.Host),
	}
	addFields(r.Header, o.Header)
	delete(r.Header, "Host")
	if host != "" {
		r.Host = host
	}
	if u.User != nil {
		if r.Header["Authorization"] == nil {
			r.Header["Authorization"] = []string{basic(u.User)}
		}
		u.User = nil
	}
	if b == websocket.HTTP1 {
		r.Method, r.ProtoMinor = http.MethodGet, 1
		r.Header["Upgrade"] = []string{"websocket"}
		r.Header["Connection"] = []string{"Upgrade"}
		r.Header[fieldKey] = []string{newKey()}
	}
	r.Header[fieldVersion] = []string{version}
	if d := tunnel.DialingOf(ctx); d != nil {
		offerPassed(r.Header, d)
		if e := CheckOffer(r.Header); e != nil {
			return nil, fmt.Errorf("%s: %w", e.Reason, e.Err)
		}
		return r.WithContext(ctx), nil
	}
	if len(o.Subprotocols) > 0 {
		r.Header[fieldProtocol] = []string{strings.Join(o.Subprotocols, ", ")}
	}
	if o.Compression != nil {
		r.Header[fieldExtensions] = []string{offerDeflate(o.Compression).String()}
	}
	return r.WithContext(ctx), nil
}

// ConnectError returns err, with which opening a connection has failed, as that of
// ctx if ctx's deadline is the reason. Package net waits for the deadline in two
// ways, and the error of one of them does not say whose it was.
func ConnectError(ctx context.Context, err error) error {
	deadline, ok := ctx.Deadline()
	if err == nil || !ok || time.Now().Before(deadline) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

func protocol(b websocket.Bootstrap) string {
	if b == websocket.HTTP1 {
		return "HTTP/1.1"
	}
	return "HTTP/" + strconv.Itoa(int(b)) + ".0"
}

// newKey returns a Sec-WebSocket-Key:
//
//	"The value of this header field MUST be a nonce consisting of a randomly
//	selected 16-byte value that has been base64-encoded"
//
// https://www.rfc-editor.org/rfc/rfc6455#section-4.1
func newKey() string {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// basic returns the credentials of a URL's userinfo (RFC 7617 §2).
func basic(u *url.Userinfo) string {
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}

// parseURL reads a URL of a socket and gives it the scheme of HTTP:
//
//	"Fragment identifiers are meaningless in the context of WebSocket URIs
//	and MUST NOT be used on these URIs."
//
// https://www.rfc-editor.org/rfc/rfc6455#section-3
//
// Its errors do not repeat the URL, which may hold a password.
func parseURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("invalid URL: %w", err)
	}
	switch u.Scheme {
	case "ws", "http":
		u.Scheme = "http"
	case "wss", "https":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("invalid URL: scheme %q is none of ws, wss, http, https", u.Scheme)
	}
	if strings.Contains(rawURL, "#") {
		return nil, errors.New("invalid URL: it has a fragment")
	}
	if strings.Contains(u.User.Username(), ":") {
		return nil, errors.New("invalid URL: a user name cannot have a colon") // RFC 7617 §2
	}
	if u.Opaque != "" || u.Hostname() == "" {
		return nil, errors.New("invalid URL: no host")
	}
	if p := u.Port(); p != "" {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil {
			return nil, errors.New("invalid URL: port out of range")
		}
	}
	if u.Host, err = httpguts.PunycodeHostPort(u.Host); err != nil {
		return nil, fmt.Errorf("invalid URL: host: %w", err)
	}
	if !httpguts.ValidHostHeader(u.Host) {
		return nil, errors.New("invalid URL: invalid character in host")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	u.RawQuery = escapeQuery(u.RawQuery)
	return u, nil
}

// WithoutZone removes the zone from an IPv6 address, which may be in brackets and
// have a port: it means something to this machine only (RFC 6874 §1), and is not
// what a certificate is for.
func WithoutZone(host string) string {
	address, zone, _ := strings.Cut(host, "%")
	switch end := strings.IndexByte(zone, ']'); {
	case strings.Count(address, ":") < 2:
		return host
	case address[0] != '[':
		return address
	case end >= 0:
		return address + zone[end:]
	}
	return host
}

// escapeQuery escapes what may not stand in a query as it is (RFC 3986 §3.4);
// url.Parse leaves it there, and a space would end the request's target.
func escapeQuery(s string) string {
	bad := func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' }
	var b strings.Builder
	for i := range len(s) {
		if bad(s[i]) {
			fmt.Fprintf(&b, "%%%02X", s[i])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// checkRequestHeader checks the application's fields and returns the Host among
// them, "" if there is none.
func checkRequestHeader(h http.Header) (host string, err error) {
	if err := checkFields(h); err != nil {
		return "", fmt.Errorf("invalid request header: %w", err)
	}
	found := false
	for name, values := range h {
		if http.CanonicalHeaderKey(name) != "Host" {
			continue
		}
		if found || len(values) != 1 || values[0] == "" || !httpguts.ValidHostHeader(values[0]) {
			return "", errors.New("invalid request header: invalid Host")
		}
		host, found = values[0], true
	}
	return host, nil
}

// checkSubprotocols checks what the application wants to offer:
//
//	"The elements that comprise this value MUST be non-empty strings with
//	characters in the range U+0021 to U+007E not including separator
//	characters […] and MUST all be unique strings."
//
// https://www.rfc-editor.org/rfc/rfc6455#section-4.1
func checkSubprotocols(list []string) error {
	for i, s := range list {
		if !isToken(s) {
			return fmt.Errorf("subprotocol %q is not a token", s)
		}
		if slices.Contains(list[:i], s) {
			return fmt.Errorf("subprotocol %q is offered twice", s)
		}
	}
	return nil
}
