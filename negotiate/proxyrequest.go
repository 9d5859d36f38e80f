package negotiate

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tunnel"
)

// maxRefusal is how much of a backend's refusal is passed on.
const maxRefusal = 64 << 10

// dial opens the backend's side. It is called when the client's request has been
// found fine, and before it is answered.
func (s *proxied) dial() (tunnel.Answer, *websocket.HandshakeError) {
	if !s.count() {
		return tunnel.Answer{}, &websocket.HandshakeError{
			Status: http.StatusServiceUnavailable, Reason: "too many sockets",
		}
	}
	out := s.rewrite()
	s.backend = out.URL.Scheme + "://" + out.URL.Host
	s.back.RefusalLimit = maxRefusal
	s.back.Subprotocols = out.Header["Sec-Websocket-Protocol"]
	s.back.Extensions = out.Header["Sec-Websocket-Extensions"]
	options := &websocket.DialOptions{Header: handshake.Inherit(out.Header)}
	options.Limits.Handshake = -1 // the context has it
	if out.Host != "" {
		options.Header["Host"] = []string{out.Host}
	}
	ctx, cancel := s.dialContext()
	defer cancel()
	conn, _, err := s.p.dialer.Dial(ctx, out.URL.String(), options)
	switch {
	case err == nil && s.back.Stream != nil:
		return s.back.Answer, nil
	case err == nil: // an HTTP3Dialer that is not h3connect's
		_ = conn.CloseNow()
		err = errors.New("negotiate: proxy: the Dialer does not give its streams away")
	}
	return tunnel.Answer{}, s.failed(err)
}

// failed returns the refusal for a client whose backend has not accepted.
func (s *proxied) failed(err error) *websocket.HandshakeError {
	if answer := refusalOf(err); answer != nil {
		if status := refusalStatus(answer.Status, s.in.ProtoMajor); status != 0 {
			refusal := &websocket.HandshakeError{
				Status: status, Reason: "the backend refused", Header: answer.Header, Body: answer.Body, Err: err,
			}
			s.answer = refusal
			return refusal
		}
	}
	var ne net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(lastOf(err), &ne) && ne.Timeout() {
		return &websocket.HandshakeError{Status: http.StatusGatewayTimeout, Reason: "the backend does not answer", Err: err}
	}
	return &websocket.HandshakeError{Status: http.StatusBadGateway, Reason: "no socket to the backend", Err: err}
}

// refuse passes a backend's refusal on. Refusals of ours are not its business.
func (s *proxied) refuse(w http.ResponseWriter, e *websocket.HandshakeError) bool {
	if s.answer != error(e) {
		return false
	}
	passed, h := make(http.Header), w.Header()
	copyEndToEnd(passed, e.Header)
	for name, values := range passed {
		if !strings.HasPrefix(name, "Sec-Websocket-") || name == "Sec-Websocket-Version" {
			h[name] = append(h[name], values...) // beside what was set in front of the proxy
		}
	}
	if s.in.ProtoMajor == 1 {
		// What follows on the connection may have been meant as frames
		// (RFC 9931). net/http closes if the first value is exactly "close".
		h["Connection"] = []string{"close"}
		if e.Status == http.StatusUpgradeRequired {
			h["Connection"] = []string{"close", "Upgrade"}
			h["Upgrade"] = []string{"websocket"}
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(e.Body))}
	if s.back.Cut {
		delete(h, "Content-Length")
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.Body) // a client that has gone needs no refusal
	if s.back.Cut {
		_ = http.NewResponseController(w).Flush()
	}
	s.passed = true
	return true
}

// rewrite returns the request to the backend.
func (s *proxied) rewrite() *http.Request {
	out := asUpgrade(s.in, s.in.Context())
	out.Header = make(http.Header, len(s.in.Header))
	copyEndToEnd(out.Header, s.in.Header)
	// Credentials for a proxy are for this one (RFC 9110 §11.7.2).
	for _, name := range [...]string{":protocol", "Sec-Websocket-Key", "Sec-Websocket-Accept", "Proxy-Authorization"} {
		delete(out.Header, name)
	}
	out.URL.RawQuery = cleanQuery(out.URL.RawQuery)
	joinCookies(out.Header)
	dropForwarded(out.Header)
	pr := &httputil.ProxyRequest{In: s.in, Out: out}
	s.p.addForwarded(pr)
	s.p.Rewrite(pr)
	s.p.rewriteOrigin(pr)
	return pr.Out
}

// rewriteOrdinary is httputil.ReverseProxy's Rewrite.
func (p *ReverseProxy) rewriteOrdinary(pr *httputil.ProxyRequest) {
	pr.Out.URL.RawQuery = cleanQuery(pr.Out.URL.RawQuery)
	joinCookies(pr.Out.Header)
	p.addForwarded(pr)
	p.Rewrite(pr)
	p.rewriteOrigin(pr)
}

// cleanQuery removes parameters that net/url does not understand, as
// httputil.ReverseProxy does before it calls Rewrite: what that decides by them
// should not be another thing to the backend. A "#", of which only HTTP/1.1 lets one
// come so far, must not become a fragment's.
func cleanQuery(query string) string {
	if values, err := url.ParseQuery(query); err != nil {
		return values.Encode()
	}
	return strings.ReplaceAll(query, "#", "%23")
}

// dropForwarded removes what only a proxy may say, and this one has not said yet:
// as httputil.ReverseProxy does before it calls Rewrite.
func dropForwarded(h http.Header) {
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		delete(h, name)
	}
}

// addForwarded sets the Forwarded field (RFC 7239 §4).
func (p *ReverseProxy) addForwarded(pr *httputil.ProxyRequest) {
	if !p.Forwarded {
		return
	}
	client, proto := "unknown", "http"
	if host, _, err := net.SplitHostPort(pr.In.RemoteAddr); err == nil {
		client = host
		if strings.Contains(host, ":") {
			// "Note that IPv6 addresses may not be quoted in X-Forwarded-For and
			// may not be enclosed by square brackets, but they are quoted and
			// enclosed in square brackets in 'Forwarded'."
			// https://www.rfc-editor.org/rfc/rfc7239#section-4
			client = `"[` + host + `]"`
		}
	}
	if pr.In.TLS != nil {
		proto = "https"
	}
	value := "for=" + client + ";proto=" + proto
	if pr.In.Host != "" {
		value += ";host=" + quoted(pr.In.Host)
	}
	pr.Out.Header["Forwarded"] = []string{value}
}

// quoted returns s as a quoted-string (RFC 9110 §5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// rewriteOrigin makes a page of the proxy's origin one of the backend's.
func (p *ReverseProxy) rewriteOrigin(pr *httputil.ProxyRequest) {
	values := pr.Out.Header["Origin"]
	if !p.RewriteOrigin || len(values) != 1 || !handshake.SameOrigin(values[0], pr.In.TLS != nil, pr.In.Host) {
		return
	}
	host := pr.Out.Host
	if host == "" {
		host = pr.Out.URL.Host
	}
	scheme := "http"
	if slices.Contains([]string{"https", "wss"}, pr.Out.URL.Scheme) {
		scheme = "https"
	}
	pr.Out.Header["Origin"] = []string{(&url.URL{Scheme: scheme, Host: host}).String()}
}
