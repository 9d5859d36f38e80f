package h2connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/sockets"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A responseWriter is the http.ResponseWriter of one request. Like net/http's
// it is for the handler's goroutine; only the deadlines and the stream of an
// accepted socket are for any. After the handler has returned its methods do
// nothing and return errors.
type responseWriter struct {
	sc    *serverConn
	st    *stream
	req   *http.Request // nil once it is a socket
	body  *requestBody
	ctx   context.Context // the request's
	scope *sockets.Scope  // nil for a request that cannot become a socket

	header   http.Header // the handler's
	snapshot http.Header // header as it was at WriteHeader; nil before
	status   int
	sent     bool     // the header block is on its way
	bodiless bool     // HEAD, or a status without content
	declared int64    // content-length; -1: none
	written  int64    // content that the handler has written
	buf      []byte   // content that waits for more
	trailers []string // announced by the Trailer field, canonical
	err      error    // the first error of writing
	accepted bool     // the stream is a socket
	asked    bool     // for a socket: the request is an extended CONNECT for websocket
	refused  bool     // instead of the handler, which answered 2xx without accepting
	gone     chan bool
	done     atomic.Bool
}

// responseBuffer is how much content waits for more before it is sent; a
// complete response of up to this size gets a content-length.
const responseBuffer = 4 << 10

var (
	_ http.Flusher    = (*responseWriter)(nil)
	_ io.StringWriter = (*responseWriter)(nil)

	_ sockets.StreamRejecter = (*responseWriter)(nil)
)

func newResponseWriter(sc *serverConn, st *stream, in *incoming, ctx context.Context) *responseWriter {
	w := &responseWriter{sc: sc, st: st, ctx: ctx, header: make(http.Header), declared: -1}
	w.body = &requestBody{st: st, trailer: in.trailer}
	w.body.expects.Store(in.expects)
	w.req = in.request(ctx, sc, w.body)
	w.asked = strings.EqualFold(in.protocol, "websocket")
	return w
}

// Header implements http.ResponseWriter.
func (w *responseWriter) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header) // of no use any more
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter. An informational status (1xx) is
// sent at once and may be followed by others; 101 does not exist in HTTP/2
// (RFC 9113 §8.6) and is ignored.
func (w *responseWriter) WriteHeader(status int) {
	if w.done.Load() || w.snapshot != nil || w.accepted {
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if status < 200 {
		if status != http.StatusSwitchingProtocols {
			w.inform(status)
		}
		return
	}
	w.body.responding()
	tunnel := w.req.Method == http.MethodConnect && status < 300
	if tunnel && w.asked && !handshake.MarkedAccepted(w.header) {
		w.refuse()
		return
	}
	w.status, w.snapshot = status, w.header.Clone()
	if tunnel || status == http.StatusNoContent {
		// "A server MUST NOT send any Transfer-Encoding or Content-Length header
		// fields in a 2xx (Successful) response to CONNECT" (RFC 9110 §9.3.6), nor
		// the latter with 204 (No Content) (§8.6).
		w.snapshot["Content-Length"] = nil
	}
	if tunnel {
		delete(w.snapshot, "Trailer") // RFC 9113 §8.5: only DATA follows
	}
	w.bodiless = w.req.Method == http.MethodHead || !contentAllowed(status)
	for _, v := range w.snapshot["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			w.announce(name)
		}
	}
	if values := w.snapshot["Content-Length"]; len(values) > 0 {
		n, err := strconv.ParseUint(values[0], 10, 63)
		if err != nil || values[0][0] == '+' {
			delete(w.snapshot, "Content-Length")
		} else {
			w.declared = int64(n)
		}
	}
}

// inform sends an informational response.
func (w *responseWriter) inform(status int) {
	h := w.header
	if status == http.StatusContinue {
		w.body.responding()
		h = nil
	}
	if _, ok := h["Content-Length"]; ok {
		// "A server MUST NOT send a Content-Length header field in any response
		// with a status code of 1xx" (RFC 9110 §8.6).
		h = h.Clone()
		delete(h, "Content-Length")
	}
	w.st.writeHeaders(responseFields(status, h, nil), false, true)
}

// contentAllowed reports whether a response with this status may have content
// (RFC 9110 §6.4.1).
func contentAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(p []byte) (int, error) { return writeContent(w, p) }

// WriteString implements io.StringWriter.
func (w *responseWriter) WriteString(s string) (int, error) { return writeContent(w, s) }

func writeContent[T []byte | string](w *responseWriter, p T) (int, error) {
	if err := w.beforeWrite(len(p)); err != nil {
		return 0, err
	}
	if !contentAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	n := 0
	for len(p)-n > 0 {
		if w.buf == nil {
			w.buf = getStorage(responseBuffer)
		}
		m := min(len(p)-n, responseBuffer-len(w.buf))
		w.buf = append(w.buf, p[n:n+m]...)
		n += m
		if len(w.buf) < responseBuffer {
			break
		}
		if q, ok := any(p).([]byte); ok && len(p)-n >= responseBuffer {
			// What is large is not worth a copy.
			if err := w.send(q[n:]); err != nil {
				return n, err
			}
			return len(p), nil
		}
		if len(p)-n > 0 {
			if err := w.send(nil); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// beforeWrite checks that n more bytes of content may be written.
func (w *responseWriter) beforeWrite(n int) error {
	if w.done.Load() {
		return errHandlerDone
	}
	if w.accepted {
		return errAccepted
	}
	if w.snapshot == nil {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return w.err
	}
	if w.declared >= 0 && w.written+int64(n) > w.declared && !w.bodiless {
		return http.ErrContentLength
	}
	w.written += int64(n)
	return nil
}

var errAccepted = errors.New("h2connect: the response is a socket")

// send sends the header block if that is still to be done, what waits, and p.
func (w *responseWriter) send(p []byte) error {
	if w.bodiless {
		// The answer to HEAD has the header that GET's would have, so far as it
		// can be known without holding the content.
		w.sendHeader(false, true)
		w.buf = w.buf[:0]
		return nil
	}
	w.sendHeader(false, false)
	_, err := w.st.WriteBuffers(w.buf, p)
	w.buf = w.buf[:0]
	if err != nil && w.err == nil {
		w.err = err
	}
	return err
}

// sendHeader queues the header block. complete says that no more content will
// come than waits, end that none at all follows.
func (w *responseWriter) sendHeader(complete, end bool) {
	if w.sent {
		return
	}
	w.sent = true
	h := w.snapshot
	var extra []hpack.HeaderField
	_, disabled := h["Content-Length"] // set to nil: the handler wants none
	if w.declared < 0 && complete && !disabled && contentAllowed(w.status) && (w.written > 0 || w.req.Method != http.MethodHead) {
		extra = append(extra, hpack.HeaderField{Name: "content-length", Value: strconv.FormatInt(w.written, 10)})
	}
	if _, typed := h["Content-Type"]; !typed && h.Get("Content-Encoding") == "" && len(w.buf) > 0 {
		extra = append(extra, hpack.HeaderField{Name: "content-type", Value: http.DetectContentType(w.buf)})
	}
	if _, dated := h["Date"]; !dated {
		extra = append(extra, hpack.HeaderField{Name: "date", Value: dateNow()})
	}
	if slices.Contains(h["Connection"], "close") {
		// The handler's word for: no more requests on this connection.
		w.sc.drain()
	}
	w.st.writeHeaders(responseFields(w.status, h, extra), end, end)
}

// announce notes the name of a trailer field.
func (w *responseWriter) announce(name string) {
	name = http.CanonicalHeaderKey(strings.Trim(name, " \t"))
	if httpguts.ValidTrailerHeader(name) && httpguts.ValidHeaderFieldName(name) && !slices.Contains(w.trailers, name) {
		w.trailers = append(w.trailers, name)
	}
}

// trailerFields collects what the handler has set of the trailer fields it
// announced, and those it set with http.TrailerPrefix.
func (w *responseWriter) trailerFields() []hpack.HeaderField {
	for name := range w.header {
		if trailer, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.announce(trailer)
			w.header[http.CanonicalHeaderKey(trailer)] = w.header[name]
		}
	}
	if w.req.Method == http.MethodConnect && w.status < 300 {
		return nil // RFC 9113 §8.5: only DATA follows
	}
	var fields []hpack.HeaderField
	for _, name := range w.trailers {
		fields = appendFields(fields, name, w.header[name])
	}
	return fields
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() { w.FlushError() }

// FlushError sends what has been written so far: see http.ResponseController.
func (w *responseWriter) FlushError() error {
	if w.done.Load() {
		return errHandlerDone
	}
	if w.accepted {
		return nil
	}
	if w.snapshot == nil {
		w.WriteHeader(http.StatusOK)
	}
	if w.refused {
		return handshake.ErrNotAccepted
	}
	if w.bodiless {
		w.sendHeader(false, true)
		return nil
	}
	if !w.sent {
		w.sendHeader(false, false)
	}
	if len(w.buf) > 0 {
		return w.send(nil)
	}
	return w.st.flushAll()
}

// SetReadDeadline sets the deadline for reading the request's content. Unlike
// net/http's it may be moved after it has passed.
func (w *responseWriter) SetReadDeadline(t time.Time) error {
	if w.done.Load() {
		return errHandlerDone
	}
	return w.st.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline for writing the response. Unlike
// net/http's it may be moved after it has passed.
func (w *responseWriter) SetWriteDeadline(t time.Time) error {
	if w.done.Load() {
		return errHandlerDone
	}
	return w.st.SetWriteDeadline(t)
}

// CloseNotify implements http.CloseNotifier, which is older than the request's
// context and which some frameworks still ask for: the channel receives once,
// when the client has gone or the handler has returned.
func (w *responseWriter) CloseNotify() <-chan bool {
	if w.gone == nil {
		gone := make(chan bool, 1)
		w.gone = gone
		context.AfterFunc(w.ctx, func() { gone <- true })
	}
	return w.gone
}

// EnableFullDuplex does nothing: HTTP/2 is.
func (w *responseWriter) EnableFullDuplex() error { return nil }

// finish completes the response when the handler has returned.
func (w *responseWriter) finish() {
	if w.done.Load() {
		return // by RequireHTTP1
	}
	if w.accepted {
		w.done.Store(true)
		w.st.ctx.End(errHandlerDone)
		if !w.st.livesOn() {
			w.st.Close()
		}
		return
	}
	if w.snapshot == nil {
		w.WriteHeader(http.StatusOK)
	}
	w.done.Store(true)
	// The context ends when w is of no use any more, and before the client can
	// know of the end.
	w.st.ctx.End(errHandlerDone)
	defer w.release()
	if w.refused {
		return
	}
	if w.err == nil && w.declared >= 0 && !w.bodiless && w.written < w.declared {
		// What was promised is not complete: it must not look as if it were.
		w.send(nil)
		w.st.flushAll()
		w.err = io.ErrUnexpectedEOF
	}
	if w.err != nil {
		w.st.abort(http2.ErrCodeInternal, w.err)
		return
	}
	trailer := w.trailerFields()
	if w.bodiless || len(w.buf) == 0 && len(trailer) == 0 && !w.sent {
		w.sendHeader(true, true)
		w.st.Close()
		return
	}
	w.sendHeader(true, false)
	w.st.finish(w.buf, trailer)
}

// abort resets the stream of a handler that has failed. A socket's was told so
// by status 1011 and ends in its own time: a reset could overtake that.
func (w *responseWriter) abort(code http2.ErrCode, cause error) {
	w.done.Store(true)
	if w.accepted {
		w.st.Close()
		return
	}
	w.st.abort(code, cause)
	w.release()
}

// refuse answers in place of a handler that knows nothing of sockets: its 2xx would
// open one. Nothing of its response goes out, and it is told by its writes and by
// its context, which ends with the stream, so that a response without end, an event
// stream, does not go on for nobody.
func (w *responseWriter) refuse() {
	w.asked, w.header = false, make(http.Header)
	handshake.Refuse(w, w.req, handshake.NotAccepted())
	w.refused, w.err = true, handshake.ErrNotAccepted
	w.sendHeader(true, false)
	w.st.ctx.End(handshake.ErrNotAccepted)
	w.st.finish(w.buf, nil)
	w.buf = w.buf[:0]
}

// RejectStream is what package sockets wants of a server that is shutting down:
//
//	"The REFUSED_STREAM error code can be included in a RST_STREAM frame to indicate
//	that the stream is being closed prior to any processing having occurred. Any
//	request that was sent on the reset stream can be safely retried."
//
// https://www.rfc-editor.org/rfc/rfc9113#section-8.7-4
func (w *responseWriter) RejectStream() bool {
	if !w.asked || w.done.Load() || w.snapshot != nil || w.accepted {
		return false
	}
	w.abort(http2.ErrCodeRefusedStream, http.ErrServerClosed)
	return true
}

func (w *responseWriter) release() {
	if w.buf != nil {
		putStorage(w.buf)
		w.buf = nil
	}
}

// accept makes the stream a socket: it answers 200 (RFC 8441 §5) with the fields
// that have been set, at once, and lifts the deadlines of ordinary requests.
func (w *responseWriter) accept() (*stream, error) {
	if w.done.Load() {
		return nil, errHandlerDone
	}
	if w.snapshot != nil || w.accepted {
		return nil, errors.New("h2connect: the response has begun")
	}
	w.accepted = true
	w.body.closed.Store(true)
	st, h := w.st, w.header
	w.req, w.header = nil, nil // a handler that stays needs no memory of ours for them
	st.SetReadDeadline(time.Time{})
	st.SetWriteDeadline(time.Time{})
	var date []hpack.HeaderField
	if h["Date"] == nil {
		date = []hpack.HeaderField{{Name: "date", Value: dateNow()}}
	}
	return st, st.acceptSocket(responseFields(http.StatusOK, h, date))
}

// responseFields returns a response's header block. Fields that HTTP/2 forbids,
// or that are not valid, are left out, as net/http does.
func responseFields(status int, h http.Header, extra []hpack.HeaderField) []hpack.HeaderField {
	fields := make([]hpack.HeaderField, 0, 1+len(h)+len(extra))
	fields = append(fields, hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	for name, values := range h {
		if !strings.HasPrefix(name, http.TrailerPrefix) {
			fields = appendFields(fields, name, values)
		}
	}
	return append(fields, extra...)
}

// appendFields appends one field line for each value.
func appendFields(fields []hpack.HeaderField, name string, values []string) []hpack.HeaderField {
	lower := lowerName(name)
	if !validFieldName(lower) || connectionSpecific(lower) {
		return fields
	}
	for _, v := range values {
		v = strings.Trim(v, " \t")
		if validFieldValue(v) && (lower != "te" || v == "trailers") {
			fields = append(fields, hpack.HeaderField{Name: lower, Value: v})
		}
	}
	return fields
}

// lowerName returns a field name as HTTP/2 spells it (RFC 9113 §8.2.1).
func lowerName(name string) string {
	if lower, ok := commonNames[name]; ok {
		return lower
	}
	return strings.ToLower(name)
}

// canonicalName returns a field name as package http spells it.
func canonicalName(lower string) string {
	if name, ok := canonicalNames[lower]; ok {
		return name
	}
	return http.CanonicalHeaderKey(lower)
}

// commonNames spares the usual fields the conversion, and canonicalNames the way back.
var commonNames, canonicalNames = func() (lower, canonical map[string]string) {
	lower, canonical = make(map[string]string), make(map[string]string)
	for name := range strings.FieldsSeq(`accept accept-encoding accept-language accept-ranges age
		allow authorization cache-control connection content-disposition content-encoding
		content-language content-length content-location content-range content-security-policy
		content-type cookie date etag expires host if-match if-modified-since if-none-match
		if-range last-modified link location origin pragma range referer retry-after
		sec-websocket-accept sec-websocket-extensions sec-websocket-key sec-websocket-protocol
		sec-websocket-version server set-cookie strict-transport-security te trailer
		user-agent vary via www-authenticate x-content-type-options x-forwarded-for`) {
		lower[http.CanonicalHeaderKey(name)] = name
		canonical[name] = http.CanonicalHeaderKey(name)
	}
	return lower, canonical
}()
