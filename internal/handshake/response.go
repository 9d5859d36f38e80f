package handshake

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tunnel"
	"golang.org/x/net/http/httpguts"
)

// maxRefusalBody is how much of a refusal's content an error keeps.
const maxRefusalBody = 1 << 10

// CheckResponse decides whether resp accepts the socket that req, made by
// [Request] from o, asked for, and returns what was agreed. The error is a
// *websocket.HandshakeError: with Remote for a refusal, of which up to 1 KiB of
// content is read from resp.Body, and without for an acceptance that breaks a
// rule, so that it is this side that refuses. In both cases the caller ends the
// connection or the stream, and never uses an HTTP/1.1 connection again.
//
// Whether a stream of HTTP/2 or HTTP/3 ended with its header block, which is no
// acceptance either, is the caller's to check. The caller closes resp.Body, and
// by closing it, or by a deadline, unblocks the reading of a refusal.
func CheckResponse(resp *http.Response, req *http.Request, o *websocket.DialOptions) (Agreement, error) {
	if o == nil {
		o = &websocket.DialOptions{}
	}
	upgrade := req.Method == http.MethodGet
	passed := tunnel.DialingOf(req.Context())
	if !accepts(resp.StatusCode, upgrade) {
		if passed != nil {
			return Agreement{}, refusedPassed(resp, passed)
		}
		return Agreement{}, refused(resp)
	}
	fail := func(reason string, cause error) (Agreement, error) {
		return Agreement{}, &websocket.HandshakeError{Reason: reason, Header: resp.Header, Err: cause}
	}
	if upgrade {
		if reason := checkSwitch(resp.Header, req.Header); reason != "" {
			return fail(reason, nil)
		}
	} else if isPage(resp.Header) {
		return fail("the server answered with a page (text/html) and not with a socket", nil)
	}
	if passed != nil {
		return checkPassedAnswer(resp, req, passed)
	}
	var a Agreement
	var err error
	if a.Subprotocol, err = checkSubprotocol(resp.Header[fieldProtocol], o.Subprotocols); err != nil {
		return fail("invalid Sec-WebSocket-Protocol in the answer", err)
	}
	if a.Deflate, err = checkExtensions(resp.Header[fieldExtensions], o.Compression); err != nil {
		return fail("invalid Sec-WebSocket-Extensions in the answer", err)
	}
	if a.Deflate != nil {
		a.Extensions = strings.Join(resp.Header[fieldExtensions], ", ")
	}
	return a, nil
}

// accepts says whether a status accepts a socket: 101 on HTTP/1.1 (RFC 6455
// §4.1), any 2xx on the others (RFC 9110 §9.3.6), but for those that say that no
// content follows, when a socket is nothing but content.
func accepts(status int, upgrade bool) bool {
	if upgrade {
		return status == http.StatusSwitchingProtocols
	}
	return status >= 200 && status <= 299 &&
		status != http.StatusNoContent && status != http.StatusResetContent
}

// isPage says whether a 2xx to an extended CONNECT is the work of a server that
// knows nothing of sockets, a page that it has for every URL for instance: nothing
// in HTTP/2 and HTTP/3 takes the place of Sec-WebSocket-Accept, and browsers take
// such a page for frames. Content-Length, by which one would know it as well, says
// nothing here:
//
//	"A client MUST ignore any Content-Length or Transfer-Encoding header fields
//	received in a successful response to CONNECT."
//
// https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
//
// Nor do other types, which servers set on everything that they answer or have
// taken from the first frames.
func isPage(h http.Header) bool {
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(trimOWS(mediaType), "text/html")
}

// refused returns the error for a response that does not accept the socket.
func refused(resp *http.Response) *websocket.HandshakeError {
	e := &websocket.HandshakeError{Status: resp.StatusCode, Remote: true, Header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		e.Reason = "101 does not exist in this version of HTTP" // RFC 9113 §8.6, RFC 9114 §4.5
		return e
	}
	if resp.StatusCode/100 == 2 {
		e.Reason = "the server answered without opening a socket"
	}
	if resp.Body != nil {
		// The status says enough if the content cannot be read.
		e.Body, _ = io.ReadAll(io.LimitReader(resp.Body, maxRefusalBody))
	}
	return e
}

// checkSwitch checks the fields of a 101 and returns what is wrong with them:
//
//	"If the response lacks an |Upgrade| header field or the |Upgrade| header
//	field contains a value that is not an ASCII case-insensitive match for
//	the value 'websocket', the client MUST _Fail the WebSocket Connection_.
//
//	If the response lacks a |Connection| header field or the |Connection|
//	header field doesn't contain a token that is an ASCII case-insensitive
//	match for the value 'Upgrade', the client MUST _Fail […]_.
//
//	If the response lacks a |Sec-WebSocket-Accept| header field or [it]
//	contains a value other than the [expected one], the client MUST
//	_Fail […]_."
//
// https://www.rfc-editor.org/rfc/rfc6455#section-4.1
func checkSwitch(answer, request http.Header) string {
	if v := answer["Upgrade"]; len(v) != 1 || !strings.EqualFold(trimOWS(v[0]), "websocket") {
		return "no Upgrade to websocket in the answer"
	}
	if !httpguts.HeaderValuesContainsToken(answer["Connection"], "upgrade") {
		return "no Upgrade in the answer's Connection"
	}
	want := AcceptKey(request.Get(fieldKey))
	if v := answer[fieldAccept]; len(v) != 1 || trimOWS(v[0]) != want {
		return "wrong Sec-WebSocket-Accept in the answer"
	}
	return ""
}

// checkSubprotocol returns the server's choice, which must be one of those
// offered (RFC 6455 §4.1, last item 6).
func checkSubprotocol(values, offered []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errors.New("more than one field")
	}
	s := trimOWS(values[0])
	if !slices.Contains(offered, s) {
		return "", fmt.Errorf("%q was not offered", s)
	}
	return s, nil
}

// checkExtensions returns the agreed permessage-deflate, nil for none:
//
//	"If the response includes a |Sec-WebSocket-Extensions| header field and
//	this header field indicates the use of an extension that was not
//	present in the client's handshake […], the client MUST _Fail the
//	WebSocket Connection_."
//
// https://www.rfc-editor.org/rfc/rfc6455#section-4.1
func checkExtensions(values []string, c *websocket.Compression) (*websocket.DeflateParams, error) {
	list, err := parseExtensions(values)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, nil
	}
	if c == nil || list[0].name != deflateName {
		return nil, fmt.Errorf("%q was not offered", list[0].name)
	}
	if len(list) > 1 {
		return nil, fmt.Errorf("%q was not offered beside %s", list[1].name, deflateName)
	}
	return checkDeflate(list[0].params, c)
}
