package handshake

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/observe"
	"github.com/wsmux/websocket/internal/tunnel"
)

// Negotiate decides on a request that [CheckUpgrade] or [CheckConnect] has found
// fine, by the rules that are the same for all bootstraps: version, origin,
// subprotocol, extensions (RFC 6455 §4.2.2). It also checks that o can be used at
// all: what cannot is a refusal with status 500. Secure says whether the client's
// connection to us is secured by TLS or QUIC; o is not nil.
func Negotiate(r *http.Request, secure bool, o *websocket.AcceptOptions) (Agreement, *websocket.HandshakeError) {
	if e := checkVersion(r, o.AllowMissingVersion); e != nil {
		return Agreement{}, e
	}
	if t := tunnel.AcceptingOf(r.Context()); t != nil {
		return agreePassed(t, r)
	}
	if e := checkOrigin(r, secure, o); e != nil {
		return Agreement{}, e
	}
	offered, err := parseSubprotocols(r.Header[fieldProtocol])
	if err != nil {
		return Agreement{}, refusal(http.StatusBadRequest, "invalid Sec-WebSocket-Protocol", err)
	}
	// "If a value is received by either the client or the server during
	// negotiation that does not conform to the ABNF […], the recipient of
	// such malformed data MUST immediately _Fail the WebSocket Connection_."
	// https://www.rfc-editor.org/rfc/rfc6455#section-9.1
	extensions, err := parseExtensions(r.Header[fieldExtensions])
	if err != nil {
		return Agreement{}, refusal(http.StatusBadRequest, "invalid Sec-WebSocket-Extensions", err)
	}
	if err := checkFields(o.Header); err != nil {
		return Agreement{}, badConfiguration("invalid response header", err)
	}
	if err := checkCompression(o.Compression); err != nil {
		return Agreement{}, badConfiguration("invalid options", err)
	}
	a := Agreement{Subprotocol: choose(o.Subprotocols, offered)}
	a.Deflate, a.Extensions = acceptDeflate(extensions, o.Compression)
	return a, nil
}

// checkVersion refuses every version but ours, and says which that is:
//
//	"If this version does not match a version understood by the server, the
//	server MUST abort the WebSocket handshake […] and instead send an
//	appropriate HTTP error code (such as 426 Upgrade Required) and a
//	|Sec-WebSocket-Version| header field indicating the version(s) the
//	server is capable of understanding."
//
// https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
//
// A 426 needs an Upgrade field, which HTTP/2 and HTTP/3 do not have: there it is
// 400.
func checkVersion(r *http.Request, allowMissing bool) *websocket.HandshakeError {
	values := r.Header[fieldVersion]
	switch {
	case len(values) == 0 && allowMissing:
		return nil
	case len(values) == 1 && trimOWS(values[0]) == version:
		return nil
	case len(values) > 1:
		return refusal(http.StatusBadRequest, "more than one Sec-WebSocket-Version", nil)
	}
	const reason = "Sec-WebSocket-Version is not 13"
	if r.ProtoMajor == 1 {
		e := upgradeRequired(reason)
		e.Header[fieldVersion] = []string{version}
		return e
	}
	e := refusal(http.StatusBadRequest, reason, nil)
	e.Header = http.Header{fieldVersion: {version}}
	return e
}

// choose returns the first of ours that the client offers too, "" if there is
// none. Subprotocols are compared exactly.
func choose(ours, offered []string) string {
	for _, s := range ours {
		if slices.Contains(offered, s) {
			return s
		}
	}
	return ""
}

// AcceptHeader adds to h the fields of the response that accepts r: the agreed
// subprotocol and extensions, o's own fields, and on HTTP/1.1 Upgrade,
// Connection and Sec-WebSocket-Accept.
//
// HTTP/2 and HTTP/3 know neither key nor accept (RFC 8441 §5). Some clients send
// a key and want the accept all the same, so a well-formed key is answered there
// too; it is off the RFC's path and does no harm.
func AcceptHeader(h http.Header, r *http.Request, a Agreement, o *websocket.AcceptOptions) {
	for name := range h {
		if strings.HasPrefix(name, "Content-") {
			delete(h, name)
		}
	}
	addFields(h, o.Header)
	addFields(h, a.fields)
	if r.ProtoMajor == 1 {
		h["Upgrade"] = []string{"websocket"}
		h["Connection"] = []string{"Upgrade"}
	}
	if key := clientKey(r.Header); key != "" {
		h[fieldAccept] = []string{AcceptKey(key)}
	}
	if a.Subprotocol != "" {
		h[fieldProtocol] = []string{a.Subprotocol}
	}
	if a.Extensions != "" {
		h[fieldExtensions] = []string{a.Extensions}
	}
}

// Refuse writes the refusal e, with e's status and fields. Its content is e's
// reason for the client's mistakes, and for what is not there to be asked for
// (501), and no more than the status for mistakes of ours; e.Err, which may quote
// the peer, is not sent. On HTTP/1.1 the connection closes
// behind it, because what follows on it may have been meant as frames
// (RFC 9931).
func Refuse(w http.ResponseWriter, r *http.Request, e *websocket.HandshakeError) {
	t := tunnel.AcceptingOf(r.Context())
	if t != nil && e == t.Undecided {
		return
	}
	observe.Refused(r.Context(), r.ProtoMajor, e)
	if t != nil && t.Refuse != nil && t.Refuse(w, e) {
		return
	}
	h := w.Header()
	for name, values := range e.Header {
		name = http.CanonicalHeaderKey(name)
		if r.ProtoMajor == 1 {
			name = Spelling(name)
		}
		h[name] = slices.Clone(values)
	}
	if r.ProtoMajor == 1 {
		// net/http closes if the first value is exactly "close".
		h["Connection"] = append([]string{"close"}, e.Header["Connection"]...)
	}
	status := e.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	if (status < 500 || status == http.StatusNotImplemented) && e.Reason != "" {
		text += ": " + e.Reason
	}
	text += "\n"
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h.Del("Content-Encoding")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// If the peer is gone there is nobody left to tell.
		_, _ = w.Write([]byte(text))
	}
}
