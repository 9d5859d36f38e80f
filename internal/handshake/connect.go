package handshake

import (
	"net/http"
	"strings"

	"github.com/wsmux/websocket"
)

// Connect is a request on HTTP/2 or HTTP/3 as it stood on the wire, before any
// server interpreted it. A pseudo-header field that was absent is "".
//
// That each pseudo-header field came once, before all others, and is a known
// one, only the parser of the header block can see: it is the bootstrap's to
// check (RFC 9113 §8.3).
type Connect struct {
	Method    string      // :method
	Protocol  string      // :protocol
	Scheme    string      // :scheme
	Authority string      // :authority
	Path      string      // :path
	Header    http.Header // all other fields, Host and Content-Length among them, under canonical names

	HasProtocol bool // :protocol was there, be it empty; implied by Protocol != ""
	TLS         bool // the connection is secured by TLS or QUIC
	EndStream   bool // nothing follows the header block
}

// Malformed is a request that is not HTTP (RFC 9113 §8.1.1, RFC 9114 §4.1.2). It
// is answered by an error of its stream: RST_STREAM with PROTOCOL_ERROR on
// HTTP/2, H3_MESSAGE_ERROR on HTTP/3.
type Malformed struct{ Reason string }

// Error returns the reason, which holds nothing that the peer sent.
func (m *Malformed) Error() string { return "malformed request: " + m.Reason }

// CheckConnect checks an extended CONNECT request (RFC 8441 §4 and §5, RFC 9220
// §3). The error is a *[Malformed], or a *websocket.HandshakeError whose status
// is the answer. [Negotiate] checks the rest.
func CheckConnect(c *Connect) error {
	if reason := c.malformed(); reason != "" {
		return &Malformed{Reason: reason}
	}
	if e := c.refused(); e != nil {
		return e
	}
	return nil
}

func (c *Connect) extended() bool { return c.HasProtocol || c.Protocol != "" }

// malformed returns what makes the request malformed, "" if nothing does.
func (c *Connect) malformed() string {
	if !isToken(c.Method) {
		return "the method is not a token"
	}
	isConnect := c.Method == http.MethodConnect || c.extended()
	for name := range c.Header {
		if connectionSpecific(name, c.Header[name]) || isConnect && aboutContent(name) {
			return "a field that is not allowed here"
		}
	}
	if !c.extended() {
		// RFC 9113 §8.5
		if c.Method == http.MethodConnect && (c.Scheme != "" || c.Path != "" || c.Authority == "") {
			return "CONNECT without :protocol has :authority and neither :scheme nor :path"
		}
		return c.malformedAuthority()
	}
	// "A new pseudo-header field :protocol MAY be included on request
	// HEADERS indicating the desired protocol to be spoken on the tunnel
	// created by CONNECT."
	// https://www.rfc-editor.org/rfc/rfc8441#section-4
	if c.Method != http.MethodConnect {
		return ":protocol with a method other than CONNECT"
	}
	if !isToken(c.Protocol) {
		return ":protocol is not a token"
	}
	// "On requests that contain the :protocol pseudo-header field, the
	// :scheme and :path pseudo-header fields of the target URI […] MUST
	// also be included."
	// https://www.rfc-editor.org/rfc/rfc8441#section-4
	if !validScheme(c.Scheme) {
		return "no valid :scheme"
	}
	if !validPath(c.Path) {
		return "no valid :path"
	}
	if c.Authority == "" {
		return "no :authority"
	}
	return c.malformedAuthority()
}

// malformedAuthority checks :authority and that Host, where there is one, names
// the same entity (RFC 9113 §8.3.1, RFC 9114 §4.3.1).
func (c *Connect) malformedAuthority() string {
	scheme := strings.ToLower(c.Scheme)
	var authority origin
	if c.Authority != "" {
		var err error
		if authority, err = originOf(scheme, c.Authority); err != nil {
			return ":authority is not host and port"
		}
	}
	hosts := c.Header["Host"]
	if len(hosts) == 0 {
		return ""
	}
	host, err := originOf(scheme, hosts[0])
	if len(hosts) > 1 || err != nil || c.Authority != "" && host != authority {
		return "Host does not agree with :authority"
	}
	return ""
}

// connectionSpecific says whether a field belongs to HTTP/1.1 connections, which
// makes any request malformed (RFC 9113 §8.2.2, RFC 9114 §4.2).
func connectionSpecific(canonical string, values []string) bool {
	switch canonical {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
		return true
	case "Te":
		return len(values) != 1 || values[0] != "trailers"
	}
	return false
}

// aboutContent says whether a field speaks of content, of which a CONNECT request
// has none (RFC 9113 §8.5).
func aboutContent(canonical string) bool {
	switch canonical {
	case "Content-Length", "Expect", "Trailer":
		return true
	}
	return false
}

// validPath says whether s can be the :path of an http or https URI: an absolute
// path, perhaps a query, no fragment.
func validPath(s string) bool {
	if !strings.HasPrefix(s, "/") {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// refused returns the refusal of a request that is well-formed, nil if there is
// none.
func (c *Connect) refused() *websocket.HandshakeError {
	if c.Method != http.MethodConnect {
		e := refusal(http.StatusMethodNotAllowed, "the method is not CONNECT", nil)
		e.Header = http.Header{"Allow": {http.MethodConnect}}
		return e
	}
	if !c.extended() {
		return refusal(http.StatusNotImplemented, "CONNECT without :protocol", nil)
	}
	// "If a server receives Extended CONNECT with a :protocol value that is
	// unknown or is not supported, the server SHOULD respond to the request
	// with a 501 (Not Implemented) status code"
	// https://www.rfc-editor.org/rfc/rfc9220#section-3
	//
	// Recipients compare names of protocols without regard to case
	// (RFC 9110 §7.8); proxies pass on what an HTTP/1.1 client wrote.
	if !strings.EqualFold(c.Protocol, "websocket") {
		return refusal(http.StatusNotImplemented, ":protocol is not websocket", nil)
	}
	// "The scheme of the target URI […] MUST be 'https' for 'wss'-schemed
	// WebSockets and 'http' for 'ws'-schemed WebSockets."
	// https://www.rfc-editor.org/rfc/rfc8441#section-5
	//
	// The target's, not the connection's: a proxy that ends TLS asks for an
	// https target without it (RFC 9113 §8.3.1). The other way round nobody
	// has reason to.
	if !strings.EqualFold(c.Scheme, "https") && (c.TLS || !strings.EqualFold(c.Scheme, "http")) {
		return refusal(http.StatusBadRequest, "the :scheme is not the connection's", nil)
	}
	if c.EndStream {
		return refusal(http.StatusBadRequest, "the stream has ended", nil)
	}
	return checkSize(c.Header)
}
