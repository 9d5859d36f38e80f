package h2connect

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"

	"golang.org/x/net/http2"
)

// This file is how a client receives a response: informational ones before it,
// its header block, its content and its trailer section.

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
	case x.final && x.req.Method == http.MethodConnect && x.status/100 == 2:
		return streamViolation(http2.ErrCodeProtocol, "HEADERS on the stream of a CONNECT") // RFC 9113 §8.5
	case b.tooLarge:
		return streamViolation(http2.ErrCodeCancel, "the response's header is too large").passed(b.limit)
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
	x.resp, x.status = resp, status
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
	tunnel := x.req.Method == http.MethodConnect && status/100 == 2
	if values := resp.Header["Content-Length"]; len(values) > 0 && !tunnel {
		// In an answer to CONNECT it is ignored (RFC 9110 §9.3.6).
		n, err := parseLength(values)
		if err != nil {
			return nil, err
		}
		resp.ContentLength = n
		resp.Header["Content-Length"] = values[:1]
	}
	resp.Trailer = announced(resp.Header)
	bodiless := x.req.Method == http.MethodHead || !contentAllowed(status)
	if bodiless && !tunnel {
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
