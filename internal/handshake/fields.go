package handshake

import (
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// managed says whether a field belongs to the handshake or to the connection, so
// that the application may not set it: RFC 6455's own fields, the fields that
// frame a message or are of one connection only (RFC 9110 §7.6.1), and the
// pseudo-header fields.
func managed(canonical string) bool {
	switch canonical {
	case "Connection", "Upgrade", "Keep-Alive", "Proxy-Connection",
		"Transfer-Encoding", "Te", "Trailer", "Content-Length", "Expect", "Http2-Settings":
		return true
	}
	return strings.HasPrefix(canonical, "Sec-Websocket-")
}

// checkField says whether the application may send a field. Name is in any
// case. This is what keeps a line feed in a cookie from becoming a field of its
// own.
func checkField(name string, values []string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("field name %q is not a token", name)
	}
	if managed(http.CanonicalHeaderKey(name)) {
		return fmt.Errorf("field %s is not the application's to set", name)
	}
	for _, v := range values {
		if !httpguts.ValidHeaderFieldValue(v) {
			// The value may be a secret, and is not printed.
			return fmt.Errorf("the value of field %s has a control character", name)
		}
	}
	return nil
}

// checkFields is checkField for all of h.
func checkFields(h http.Header) error {
	for name, values := range h {
		if err := checkField(name, values); err != nil {
			return err
		}
	}
	return nil
}

// addFields adds the fields of from to h under their canonical names.
func addFields(h, from http.Header) {
	for name, values := range from {
		name = http.CanonicalHeaderKey(name)
		h[name] = append(h[name], values...)
	}
}

// ConnectionOptions returns the canonical names of the fields that h's Connection
// lists: they are of one connection only (RFC 9110 §7.6.1).
func ConnectionOptions(h http.Header) []string {
	var listed []string
	for _, v := range h["Connection"] {
		for option := range strings.SplitSeq(v, ",") {
			listed = append(listed, http.CanonicalHeaderKey(trimOWS(option)))
		}
	}
	return listed
}

// Spelling returns a canonical field name as RFC 6455 spells it. Names are
// compared without case, but not by everyone: on HTTP/1.1 the RFC's spelling is
// what peers have seen before.
func Spelling(canonical string) string {
	if rest, ok := strings.CutPrefix(canonical, "Sec-Websocket-"); ok {
		return "Sec-WebSocket-" + rest
	}
	return canonical
}

// Inherit returns the fields of h, a ResponseWriter's header, that may go out
// with a response that opens a socket: middleware's cookies, for instance, but
// nothing that speaks of content, and nothing that is not a field. A line break
// in a value becomes a space, as net/http does it.
func Inherit(h http.Header) http.Header {
	kept := make(http.Header, len(h)+5)
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		if managed(name) || strings.HasPrefix(name, "Content-") {
			continue
		}
		for _, v := range values {
			v = lineBreaks.Replace(v)
			if httpguts.ValidHeaderFieldValue(v) {
				kept[name] = append(kept[name], v)
			}
		}
	}
	return kept
}

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")
