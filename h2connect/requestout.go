package h2connect

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wsmux/websocket/internal/handshake"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// This file is how a client sends a request: its header block and its content.

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
	host, err := httpguts.PunycodeHostPort(handshake.WithoutZone(host))
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
		if req.URL.Opaque != "" { // with the host in it, it is for HTTP/1.1's proxies
			path = strings.TrimPrefix(path, req.URL.Scheme+"://"+host)
		}
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
// it; it ends with the content or with the stream: then the content is closed
// under it, so that its Read returns.
func (st *stream) sendContent(req *http.Request) {
	x := st.exchange
	defer close(x.contentOver)
	defer x.closeContent()
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
	x.closeContent() // before the caller can know of an error
	var own contentError
	if errors.As(err, &own) {
		err = own.error
		st.contentFailed(err)
	}
	x.requestSent(st, err)
}

// contentFailed resets the stream whose content cannot be sent to its end. A
// response that is complete stays readable: the content may have failed because
// it was closed when the server had answered without it.
func (st *stream) contentFailed(cause error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.gone {
		return
	}
	if !st.recvEnded {
		c.discard(st, cause)
	}
	c.reset(st, &StreamError{Code: http2.ErrCodeCancel, Err: cause})
	c.flush()
}

// A contentError is an error of the content's, not of the stream's.
type contentError struct{ error }

// mayProceed waits until the peer wants the content. It does not if it refuses the
// request without it; who answers with a success may still read.
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
		return x.err == nil && !x.refused()
	}
}

// copyContent sends the content and checks it against ContentLength. The stream
// is to be reset for an error of the content's, a contentError.
func (st *stream) copyContent(req *http.Request) error {
	storage := getStorage(16 << 10)
	defer putStorage(storage)
	buf := storage[:cap(storage)]
	var sent int64
	for {
		n, err := req.Body.Read(buf)
		sent += int64(n)
		if req.ContentLength > 0 && (sent > req.ContentLength || err == io.EOF && sent < req.ContentLength) {
			return contentError{fmt.Errorf("h2connect: the request's content is not as long as ContentLength says (%d)", req.ContentLength)}
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
			return contentError{err}
		}
	}
}
