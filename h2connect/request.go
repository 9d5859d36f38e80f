package h2connect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// An incoming is a request as its header block says it (RFC 9113 §8.3.1),
// checked.
type incoming struct {
	stream    uint32
	endStream bool
	declared  int64 // content-length; -1: none
	expects   bool  // Expect: 100-continue

	method, protocol, scheme, authority, path string

	url     *url.URL
	header  http.Header
	trailer http.Header // the names that the Trailer field announces

	status int // not 0: to be answered with it, without a handler
}

func malformed(rule string) error { return streamViolation(http2.ErrCodeProtocol, rule) }

// parseRequest checks and takes apart a request's header block. The error is a
// *violation: "Malformed requests or responses that are detected MUST be treated
// as a stream error of type PROTOCOL_ERROR" (RFC 9113 §8.1.1).
func parseRequest(b *block, allowConnect, secure bool) (*incoming, error) {
	in := &incoming{stream: b.stream, endStream: b.endStream, declared: -1}
	in.method, _ = b.get(":method")
	in.scheme, _ = b.get(":scheme")
	in.authority, _ = b.get(":authority")
	in.path, _ = b.get(":path")
	protocol, extended := b.get(":protocol")
	in.protocol = protocol
	if _, ok := b.get(":status"); ok {
		return nil, malformed(":status in a request")
	}
	if !httpguts.ValidHeaderFieldName(in.method) {
		return nil, malformed("the method is not a token")
	}
	in.header = headerOf(b)
	var err error
	switch {
	case extended:
		err = in.checkExtended(b, allowConnect, secure)
	case in.method == http.MethodConnect:
		err = in.checkPlainConnect()
	default:
		err = in.checkOrdinary()
	}
	if err != nil || in.status != 0 {
		return in, err
	}
	if err := in.checkHost(); err != nil {
		return nil, err
	}
	if err := in.takeLength(); err != nil {
		return nil, err
	}
	in.takeFields()
	if extended {
		in.header[":protocol"] = []string{protocol}
	}
	return in, nil
}

// checkExtended applies RFC 8441 §4 to a request with :protocol. Of requests
// that are well-formed, those for other protocols than websocket are left to
// the handler.
func (in *incoming) checkExtended(b *block, allowConnect, secure bool) error {
	if !allowConnect {
		return malformed(":protocol without SETTINGS_ENABLE_CONNECT_PROTOCOL")
	}
	err := handshake.CheckConnect(&handshake.Connect{
		Method: in.method, Protocol: in.protocol, Scheme: in.scheme, Authority: in.authority,
		Path: in.path, Header: in.header, HasProtocol: true, TLS: secure, EndStream: b.endStream,
	})
	var bad *handshake.Malformed
	if errors.As(err, &bad) {
		return malformed(bad.Reason)
	}
	var refused *websocket.HandshakeError
	if errors.As(err, &refused) && refused.Status != http.StatusNotImplemented {
		in.status = refused.Status
		return nil
	}
	in.url, err = url.ParseRequestURI(in.path)
	if err != nil {
		return malformed("no valid :path")
	}
	return nil
}

// checkPlainConnect applies RFC 9113 §8.5. Such a request goes to the handler
// as it does in net/http; the engine itself never opens a tunnel.
func (in *incoming) checkPlainConnect() error {
	if in.scheme != "" || in.path != "" || in.authority == "" {
		return malformed("CONNECT has :authority and neither :scheme nor :path")
	}
	in.url = &url.URL{Host: in.authority}
	return nil
}

// checkOrdinary applies RFC 9113 §8.3.1.
func (in *incoming) checkOrdinary() error {
	if in.scheme != "http" && in.scheme != "https" {
		return malformed("no valid :scheme")
	}
	if in.path == "*" && in.method == http.MethodOptions {
		in.url = &url.URL{Path: "*"}
		return nil
	}
	if !strings.HasPrefix(in.path, "/") || strings.ContainsAny(in.path, " \t#") {
		return malformed("no valid :path")
	}
	var err error
	in.url, err = url.ParseRequestURI(in.path)
	if err != nil {
		return malformed("no valid :path")
	}
	return nil
}

// checkHost settles which host is meant: ":authority" or, without it, Host.
// "A server SHOULD treat a request as malformed if it contains a Host header
// field that identifies an entity that differs from the entity in the
// ':authority' pseudo-header field" (RFC 9113 §8.3.1).
func (in *incoming) checkHost() error {
	hosts := in.header["Host"]
	delete(in.header, "Host")
	switch {
	case len(hosts) > 1:
		return malformed("more than one Host")
	case len(hosts) == 1 && in.authority == "":
		in.authority = hosts[0]
	case len(hosts) == 1 && !strings.EqualFold(hosts[0], in.authority):
		return malformed("Host does not agree with :authority")
	}
	if strings.Contains(in.authority, "@") || !httpguts.ValidHostHeader(in.authority) {
		return malformed("no valid :authority")
	}
	return nil
}

// takeLength reads content-length (RFC 9113 §8.1.1, RFC 9110 §8.6).
func (in *incoming) takeLength() error {
	values := in.header["Content-Length"]
	if len(values) == 0 {
		return nil
	}
	n, err := parseLength(values)
	if err != nil {
		return err
	}
	if in.endStream && n != 0 {
		return malformed("content is not as long as content-length says")
	}
	in.declared = n
	in.header["Content-Length"] = values[:1]
	return nil
}

// parseLength reads a message's content-length fields, which must agree.
func parseLength(values []string) (int64, error) {
	for _, v := range values[1:] {
		if v != values[0] {
			return 0, malformed("content-length fields that differ")
		}
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || values[0][0] == '+' {
		return 0, malformed("no valid content-length")
	}
	return int64(n), nil
}

// takeFields brings Expect, Trailer and Cookie into the form in which handlers
// know them from HTTP/1.1.
func (in *incoming) takeFields() {
	h := in.header
	if httpguts.HeaderValuesContainsToken(h["Expect"], "100-continue") {
		in.expects = true
		delete(h, "Expect")
	}
	if crumbs := h["Cookie"]; len(crumbs) > 1 {
		// "these MUST be concatenated into a single octet string using […]
		// '; '" (RFC 9113 §8.2.3).
		h["Cookie"] = []string{strings.Join(crumbs, "; ")}
	}
	in.trailer = announced(h)
}

// announced takes the Trailer field out of h and returns the names in it, as
// keys without values; nil if there are none.
func announced(h http.Header) (trailer http.Header) {
	for _, v := range h["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(strings.Trim(name, " \t"))
			if !httpguts.ValidTrailerHeader(name) || !httpguts.ValidHeaderFieldName(name) {
				continue
			}
			if trailer == nil {
				trailer = make(http.Header)
			}
			trailer[name] = nil
		}
	}
	delete(h, "Trailer")
	return trailer
}

// request makes the http.Request.
func (in *incoming) request(ctx context.Context, sc *serverConn, body *requestBody) *http.Request {
	r := new(http.Request).WithContext(ctx)
	r.Method, r.URL, r.RequestURI = in.method, in.url, in.path
	r.Proto, r.ProtoMajor = "HTTP/2.0", 2
	r.Header, r.Trailer, r.Host = in.header, in.trailer, in.authority
	r.ContentLength, r.Body = in.declared, body
	r.RemoteAddr, r.TLS = sc.remoteAddr, sc.c.tls
	if in.path == "" {
		r.RequestURI = in.authority // as in HTTP/1.1
	}
	if in.endStream {
		r.ContentLength, r.Body = 0, http.NoBody
	}
	return r
}

// headerOf returns a block's regular fields as an http.Header.
func headerOf(b *block) http.Header {
	fields := b.regular()
	h := make(http.Header, len(fields))
	values := make([]string, len(fields)) // the memory of all one-element slices
	for _, f := range fields {
		name := canonicalName(f.Name)
		if old := h[name]; old != nil {
			h[name] = append(old, f.Value)
			continue
		}
		values[0] = f.Value
		h[name], values = values[:1:1], values[1:]
	}
	return h
}

// trailerOf returns a trailer section's fields, without those that may not be in
// one (RFC 9110 §6.5.1).
func trailerOf(b *block) http.Header {
	h := headerOf(b)
	for name := range h {
		if !httpguts.ValidTrailerHeader(name) {
			delete(h, name)
		}
	}
	return h
}

// A requestBody is the content of a request. A handler may read it on one
// goroutine and write the response on another.
type requestBody struct {
	st      *stream
	trailer http.Header
	closed  atomic.Bool

	expects atomic.Bool // 100 (Continue) is still owed
	sending sync.Mutex  // held while it is sent
}

// sendContinue sends 100 (Continue) if it is owed.
func (b *requestBody) sendContinue() {
	if !b.expects.Load() {
		return
	}
	b.sending.Lock()
	defer b.sending.Unlock()
	if b.expects.Swap(false) {
		b.st.writeHeaders(responseFields(http.StatusContinue, nil, nil), false, true)
	}
}

// responding says that the response begins: then 100 (Continue) is not owed any
// more, and must not be sent either.
func (b *requestBody) responding() {
	if b.expects.Load() {
		b.sending.Lock()
		defer b.sending.Unlock()
		b.expects.Store(false)
	}
}

// Read implements io.Reader. The first call sends 100 (Continue) to a client
// that waits for it (RFC 9110 §10.1.1).
func (b *requestBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	b.sendContinue()
	n, err := b.st.Read(p)
	if err == io.EOF && b.trailer != nil {
		for name, values := range b.st.recv.takeTrailer() {
			if _, announced := b.trailer[name]; announced {
				b.trailer[name] = values
			}
		}
	}
	return n, err
}

// Close drops the content that is left.
func (b *requestBody) Close() error {
	if !b.closed.Swap(true) {
		b.st.discardInput()
	}
	return nil
}
