package h2connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An exchange is a request that a client has sent and what has come of it.
type exchange struct {
	req    *http.Request
	rules  rules
	trace  *httptrace.ClientTrace
	socket bool // an extended CONNECT
	packed bool // gzip has been asked for on the caller's behalf

	// The connection's reader owns these.
	begun    bool   // something has come
	final    bool   // the response's header block has come
	informs  int    // informational responses before it
	informed uint64 // their size

	proceed chan struct{} // closed when the peer wants the content (RFC 9110 §10.1.1)
	asked   bool          // proceed is closed; the reader's

	done chan struct{} // closed when resp or err is set
	resp *http.Response
	err  error

	// The connection's lock guards these.
	stop  func() bool   // ends the watch over the request's context
	over  chan struct{} // closed when the stream has ended; nil if nobody waits
	timer *time.Timer   // of the response's header block
}

// maxInforms is how many informational responses a request may get whose caller
// does not look at them, with httptrace.ClientTrace.Got1xxResponse.
const maxInforms = 64

// roundTrip sends req on a stream of its own and waits for the response's header
// block. The caller has reserved the stream. If begun is false nothing has been
// sent, and req's body is as it was; otherwise it will be closed.
func (cc *ClientConn) roundTrip(req *http.Request) (resp *http.Response, begun bool, err error) {
	st, err := cc.open(req, "")
	if err != nil {
		return nil, false, err
	}
	x := st.exchange
	if hasContent(req) {
		go st.sendContent(req)
	} else {
		x.requestSent(st, nil)
	}
	resp, err = x.wait(st, req.Context())
	return resp, true, err
}

// requestSent says that a request has been sent to its end, or as far as err let
// it. From here the response may take its time and no more.
func (x *exchange) requestSent(st *stream, err error) {
	if x.trace != nil && x.trace.WroteRequest != nil {
		x.trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
	d := x.rules.responseHeader
	if d <= 0 || err != nil {
		return
	}
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.gone || x.answered() {
		return
	}
	x.timer = time.AfterFunc(d, func() {
		if !x.answered() {
			st.abort(http2.ErrCodeCancel, errResponseHeader)
		}
	})
}

const errResponseHeader = timeoutError("h2connect: timeout awaiting response headers")

// answered reports whether resp or err is set.
func (x *exchange) answered() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// wait waits for the response's header block.
func (x *exchange) wait(st *stream, ctx context.Context) (*http.Response, error) {
	select {
	case <-x.done:
	case <-ctx.Done():
		x.giveUp(st, ctx)
		<-x.done
		if x.resp == nil {
			return nil, context.Cause(ctx)
		}
	}
	// What the caller's own side gave up for, such as the error of its
	// content, is returned as it is.
	var reset *StreamError
	if errors.As(x.err, &reset) && !reset.Remote && reset.Err != nil && reset.Code == http2.ErrCodeCancel {
		if _, ok := reset.Err.(*violation); !ok {
			return nil, reset.Err
		}
	}
	return x.resp, x.err
}

// giveUp resets a stream whose context has ended. http.Client.Timeout ends the
// context and closes Request.Cancel by two timers of the same length; only with
// the second http.Client knows that it was its Timeout, so that one is given the
// time to come.
func (x *exchange) giveUp(st *stream, ctx context.Context) {
	//lint:ignore SA1019 http.Client.Timeout sets it
	cancel := x.req.Cancel
	if cancel != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		late := time.NewTimer(cancelTime)
		defer late.Stop()
		select {
		case <-cancel:
		case <-late.C:
		}
	}
	st.abort(http2.ErrCodeCancel, context.Cause(ctx))
}

const cancelTime = 20 * time.Millisecond

// open opens a stream with req. protocol is what :protocol says, "" for an
// ordinary request.
func (cc *ClientConn) open(req *http.Request, protocol string) (*stream, error) {
	fields, err := requestFields(req, protocol)
	if err != nil {
		cc.release()
		return nil, err
	}
	x := &exchange{
		req: req, rules: cc.t.rules(), socket: protocol != "", trace: httptrace.ContextClientTrace(req.Context()),
		proceed: make(chan struct{}), done: make(chan struct{}),
	}
	if protocol == "" && x.rules.compress && asksForGzip(req) {
		x.packed = true
		fields = append(fields, hpack.HeaderField{Name: "accept-encoding", Value: "gzip"})
	}
	cc.traceConn(x.trace)
	st, err := cc.openStream(x, fields)
	if err != nil {
		return nil, err
	}
	if x.trace != nil && x.trace.WroteHeaderField != nil {
		for _, f := range fields {
			x.trace.WroteHeaderField(f.Name, []string{f.Value})
		}
	}
	if x.trace != nil && x.trace.WroteHeaders != nil {
		x.trace.WroteHeaders()
	}
	return st, nil
}

// traceConn tells a request's trace which connection it has got.
func (cc *ClientConn) traceConn(trace *httptrace.ClientTrace) {
	c := cc.c
	c.mu.Lock()
	info := httptrace.GotConnInfo{Conn: c.nc, Reused: cc.used, WasIdle: cc.used && c.slots == 0}
	if info.WasIdle {
		info.IdleTime = time.Since(c.idleSince)
	}
	cc.used = true
	c.mu.Unlock()
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(info)
	}
}

// openStream sends a request's header block.
func (cc *ClientConn) openStream(x *exchange, fields []hpack.HeaderField) (*stream, error) {
	req, ctx := x.req, x.req.Context()
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.reserved--
	if err := cc.usable(); err != nil {
		return nil, notProcessed{err}
	}
	if size := listSize(fields); size > uint64(c.peer.headerList) {
		return nil, errors.New("h2connect: the request's header is larger than the peer allows")
	}
	cc.tidyUntil = time.Time{}
	st := c.newStream(c.nextOut)
	c.watchHealth()
	c.nextOut += 2
	st.exchange = x
	end := !x.socket && !hasContent(req)
	c.writeHeaders(st.id, fields, end)
	if end {
		st.send.endWanted, st.send.ended, st.send.err = true, true, errWriteEnded
	}
	// A socket outlives the context of its dial, whose caller watches it.
	x.stop = func() bool { return true }
	if !x.socket {
		x.stop = context.AfterFunc(ctx, func() { x.giveUp(st, ctx) })
		x.watchCancel(st)
		if !x.rules.keepAlive || wantsClose(req) {
			c.goAway() // the connection closes when its streams have ended
		}
	}
	c.flush()
	return st, nil
}

// watchCancel watches over the channel that requests had before they had
// contexts, and that http.Client.Timeout still uses. c.mu is held.
func (x *exchange) watchCancel(st *stream) {
	//lint:ignore SA1019 http.Client.Timeout sets it
	cancel := x.req.Cancel
	if cancel == nil {
		return
	}
	x.over = make(chan struct{})
	over := x.over
	// This goroutine ends with the stream.
	go func() {
		select {
		case <-cancel:
			st.abort(http2.ErrCodeCancel, errRequestCanceled)
		case <-over:
		}
	}()
}

var errRequestCanceled = errors.New("h2connect: request canceled")

func hasContent(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// listSize is the size of a header block as SETTINGS_MAX_HEADER_LIST_SIZE counts
// it (RFC 9113 §6.5.2).
func listSize(fields []hpack.HeaderField) (n uint64) {
	for _, f := range fields {
		n += uint64(f.Size())
	}
	return n
}

// requestFields returns the header block of a request (RFC 9113 §8.3.1).
func requestFields(req *http.Request, protocol string) ([]hpack.HeaderField, error) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	host, err := httpguts.PunycodeHostPort(host)
	if err != nil || host == "" || !httpguts.ValidHostHeader(host) {
		return nil, errors.New("h2connect: no valid host in the request")
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	if !httpguts.ValidHeaderFieldName(method) {
		return nil, fmt.Errorf("h2connect: invalid method %q", method)
	}
	fields := make([]hpack.HeaderField, 0, 8+len(req.Header))
	add := func(name, value string) { fields = append(fields, hpack.HeaderField{Name: name, Value: value}) }
	add(":authority", host)
	add(":method", method)
	if method != http.MethodConnect || protocol != "" {
		path := req.URL.RequestURI()
		if path == "" || path[0] != '/' && path != "*" {
			return nil, errors.New("h2connect: no valid path in the request")
		}
		add(":path", path)
		add(":scheme", req.URL.Scheme)
	}
	if protocol != "" {
		add(":protocol", protocol)
	}
	return appendRequestHeader(fields, req, protocol)
}

// appendRequestHeader appends the regular fields.
func appendRequestHeader(fields []hpack.HeaderField, req *http.Request, protocol string) ([]hpack.HeaderField, error) {
	agent := protocol == ""
	for name, values := range req.Header {
		lower := lowerName(name)
		if !validFieldName(lower) {
			return nil, fmt.Errorf("h2connect: invalid header field name %q", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return nil, fmt.Errorf("h2connect: invalid value of header field %q", name)
			}
		}
		switch {
		case lower == "host" || lower == "content-length" || lower == "trailer" || connectionSpecific(lower):
			continue
		case lower == "user-agent":
			agent = false
			if len(values) == 0 || values[0] == "" {
				continue // the way to send none
			}
			values = values[:1]
		}
		fields = appendFields(fields, name, values)
	}
	if n := contentLength(req); n >= 0 && protocol == "" {
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.FormatInt(n, 10)})
	}
	for name := range req.Trailer {
		if !httpguts.ValidTrailerHeader(http.CanonicalHeaderKey(name)) {
			return nil, fmt.Errorf("h2connect: invalid trailer field %q", name)
		}
		fields = append(fields, hpack.HeaderField{Name: "trailer", Value: lowerName(name)})
	}
	if agent {
		fields = append(fields, hpack.HeaderField{Name: "user-agent", Value: "Go-http-client/2.0"})
	}
	return fields, nil
}

// contentLength returns what a request's content-length says, -1 if it has none.
func contentLength(req *http.Request) int64 {
	if hasContent(req) {
		if req.ContentLength > 0 {
			return req.ContentLength
		}
		return -1
	}
	switch req.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return 0
	}
	return -1
}

// sendContent is the goroutine that sends a request's content. roundTrip starts
// it; it ends with the content, with the stream, or, where the content's Read
// does not return, when that does.
func (st *stream) sendContent(req *http.Request) {
	defer req.Body.Close()
	x := st.exchange
	if httpguts.HeaderValuesContainsToken(req.Header["Expect"], "100-continue") && !x.mayProceed() {
		x.requestSent(st, nil)
		return
	}
	err := st.copyContent(req)
	if err == nil {
		var trailer []hpack.HeaderField
		for name, values := range req.Trailer {
			trailer = appendFields(trailer, name, values)
		}
		st.c.mu.Lock()
		st.endWrite(trailer)
		st.c.flush()
		st.c.mu.Unlock()
	}
	x.requestSent(st, err)
}

// mayProceed waits until the peer wants the content. It does not if it answers
// without it.
func (x *exchange) mayProceed() bool {
	if x.rules.expectContinue == 0 {
		return true
	}
	if x.trace != nil && x.trace.Wait100Continue != nil {
		x.trace.Wait100Continue()
	}
	late := time.NewTimer(x.rules.expectContinue)
	defer late.Stop()
	select {
	case <-x.proceed:
		return true
	case <-late.C:
		return true
	case <-x.done:
		return false
	}
}

// copyContent sends the content and checks it against ContentLength. An error
// of the content's resets the stream; one of the stream's needs no more doing.
func (st *stream) copyContent(req *http.Request) error {
	storage := getStorage(16 << 10)
	defer putStorage(storage)
	buf := storage[:cap(storage)]
	var sent int64
	for {
		n, err := req.Body.Read(buf)
		sent += int64(n)
		if req.ContentLength > 0 && (sent > req.ContentLength || err == io.EOF && sent < req.ContentLength) {
			err = fmt.Errorf("h2connect: the request's content is not as long as ContentLength says (%d)", req.ContentLength)
			st.abort(http2.ErrCodeCancel, err)
			return err
		}
		if n > 0 {
			if _, err := st.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			st.abort(http2.ErrCodeCancel, err)
			return err
		}
	}
}

// more implements role: a response, in its parts.
func (cc *ClientConn) more(st *stream, b *block) error {
	x := st.exchange
	if !x.begun {
		x.begun = true
		if x.trace != nil && x.trace.GotFirstResponseByte != nil {
			x.trace.GotFirstResponseByte()
		}
	}
	switch {
	case x.final && x.socket && st.isSocket():
		return streamViolation(http2.ErrCodeProtocol, "HEADERS on a socket's stream") // RFC 9113 §8.5
	case b.tooLarge:
		return streamViolation(http2.ErrCodeCancel, "the response's header is too large")
	case x.final:
		return cc.trailer(st, b)
	}
	status, err := parseStatus(b)
	if err != nil {
		return err
	}
	if status < 200 && !(x.socket && status == http.StatusSwitchingProtocols) {
		return x.inform(st, status, b)
	}
	x.final = true
	resp, err := cc.response(st, b, status)
	if err != nil {
		return err
	}
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.gone {
		return nil
	}
	x.resp = resp
	close(x.done)
	if b.endStream {
		c.peerEnded(st)
	}
	return nil
}

// parseStatus reads :status and sees to it that no pseudo-header field of
// requests is there (RFC 9113 §8.3.2).
func parseStatus(b *block) (int, error) {
	value, ok := b.get(":status")
	if !ok || b.pseudo != 1 || len(value) != 3 {
		return 0, malformed("no valid :status")
	}
	status, err := strconv.ParseUint(value, 10, 16)
	if err != nil || status < 100 {
		return 0, malformed("no valid :status")
	}
	return int(status), nil
}

// inform takes an informational response (RFC 9110 §15.2).
func (x *exchange) inform(st *stream, status int, b *block) error {
	x.informs++
	switch {
	case b.endStream:
		return malformed("informational response with END_STREAM")
	case status == http.StatusSwitchingProtocols:
		return malformed("101 does not exist in HTTP/2") // RFC 9113 §8.6
	}
	delivered := x.trace != nil && x.trace.Got1xxResponse != nil
	x.informed += b.size
	if !delivered && (x.informs > maxInforms || x.informed > b.maxSize) {
		return streamViolation(http2.ErrCodeEnhanceYourCalm, "too many 1xx informational responses")
	}
	if status == http.StatusContinue {
		if !x.asked {
			x.asked = true
			close(x.proceed)
		}
		if x.trace != nil && x.trace.Got100Continue != nil {
			x.trace.Got100Continue()
		}
	}
	if delivered {
		if err := x.trace.Got1xxResponse(status, textproto.MIMEHeader(headerOf(b))); err != nil {
			st.abort(http2.ErrCodeCancel, err)
		}
	}
	return nil
}

// response makes the http.Response.
func (cc *ClientConn) response(st *stream, b *block, status int) (*http.Response, error) {
	x := st.exchange
	resp := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: headerOf(b), Request: x.req, TLS: cc.c.tls,
		ContentLength: -1, Body: http.NoBody,
	}
	socket := x.socket && status/100 == 2
	if values := resp.Header["Content-Length"]; len(values) > 0 && !socket {
		// In an answer to CONNECT it is ignored (RFC 9110 §9.3.6).
		n, err := parseLength(values)
		if err != nil {
			return nil, err
		}
		resp.ContentLength = n
	}
	resp.Trailer = announced(resp.Header)
	bodiless := x.req.Method == http.MethodHead || !contentAllowed(status)
	if bodiless && !socket {
		st.declared = 0
	} else {
		st.declared = resp.ContentLength
	}
	if b.endStream {
		if !bodiless && resp.ContentLength > 0 {
			return nil, malformed("content is not as long as content-length says")
		}
		if x.req.Method != http.MethodHead {
			resp.ContentLength = 0
		}
		return resp, nil
	}
	resp.Body = &responseBody{st: st, resp: resp}
	if x.packed {
		unpack(resp)
	}
	return resp, nil
}

// trailer takes a response's trailer section.
func (cc *ClientConn) trailer(st *stream, b *block) error {
	switch {
	case !b.endStream:
		return malformed("trailer section without END_STREAM")
	case b.pseudo > 0:
		return malformed("pseudo-header field in a trailer section")
	case st.declared >= 0 && st.received != st.declared:
		return errContentLength
	}
	st.recv.setTrailer(trailerOf(b))
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	cc.c.peerEnded(st)
	return nil
}

// A responseBody is the content of a response. Closing it before its end resets
// the stream.
type responseBody struct {
	st   *stream
	resp *http.Response
}

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.st.Read(p)
	if err == io.EOF {
		if trailer := b.st.recv.takeTrailer(); trailer != nil {
			if b.resp.Trailer == nil {
				b.resp.Trailer = make(http.Header)
			}
			for name, values := range trailer {
				b.resp.Trailer[name] = values
			}
		}
	}
	if err != nil && errors.Is(err, errContentLength) && b.st.received < b.st.declared {
		err = io.ErrUnexpectedEOF // as in HTTP/1.1
	}
	return n, err
}

// Close implements io.Closer.
func (b *responseBody) Close() error {
	st := b.st
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !st.gone && !st.recvEnded {
		c.reset(st, &StreamError{Code: http2.ErrCodeCancel, Err: errBodyClosed})
	}
	c.discard(st, errBodyClosed)
	c.flush()
	return nil
}

var errBodyClosed = errors.New("h2connect: read after the response's body was closed")
