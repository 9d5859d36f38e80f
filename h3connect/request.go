package h3connect

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket/internal/handshake"
	"golang.org/x/net/http/httpguts"
)

// checkRequest finds what would keep http3 from sending r. http3 itself, having
// found it, would wait for an answer.
func checkRequest(r *http.Request) error {
	switch {
	case r.URL == nil:
		return errors.New("nil Request.URL")
	case r.URL.Scheme != "https":
		return fmt.Errorf("unsupported scheme %q", r.URL.Scheme)
	case r.Method != "" && !httpguts.ValidHeaderFieldName(r.Method):
		return fmt.Errorf("invalid method %q", r.Method)
	case r.Method == http.MethodConnect && r.Proto != "" && r.Proto != "HTTP/1.1":
		return errors.New("an extended CONNECT is not an ordinary request")
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	for _, h := range [2]string{host, r.URL.Host} {
		ascii, err := httpguts.PunycodeHostPort(h)
		if err != nil || ascii == "" || !httpguts.ValidHostHeader(ascii) {
			return errors.New("invalid host")
		}
	}
	if uri := r.URL.RequestURI(); r.URL.Opaque != "" || uri[0] != '/' && uri != "*" {
		return errors.New("invalid URL path")
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("invalid header field name %q", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("invalid value of header field %q", name)
			}
		}
	}
	return nil
}

// hostPort returns where to connect to for u.
func hostPort(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "443"
	}
	if ascii, err := httpguts.PunycodeHostPort(host); err == nil {
		host = ascii
	}
	if !strings.Contains(host, "%") { // the zone of an IPv6 literal is the system's name
		host = strings.ToLower(host)
	}
	return net.JoinHostPort(host, port)
}

// A watchedRequest is a request on its way, of which we know how far it came.
type watchedRequest struct {
	original *http.Request
	request  *http.Request // to be sent
	left     atomic.Bool   // its header section has been written
	begun    func()        // called, once or more often, when it has a stream
	first    quic.StreamID // the first that it may have; the connection's mutex guards it
}

func watchRequest(r *http.Request) *watchedRequest {
	w := &watchedRequest{original: r}
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { w.begun() },
		WroteHeaders:     func() { w.left.Store(true) },
	})
	w.request = r.WithContext(ctx)
	if r.Host == "" {
		w.request.Host = r.URL.Host
	}
	w.request.Host = handshake.WithoutZone(w.request.Host)
	if r.Header == nil {
		w.request.Header = make(http.Header)
	}
	return w
}

// again returns the request to be sent once more after err, and false if the
// server may have acted upon it, or if its body is spent. One that was given up just
// when it had its stream, or that came when the server closed an idle connection or had
// forgotten it, which it may have done since, may be sent again if that is as good as
// once.
func (w *watchedRequest) again(err error) (*http.Request, bool) {
	r := w.original
	if !w.left.Load() {
		return r, true // the body has not been touched
	}
	_, forgotten := errors.AsType[*quic.StatelessResetError](err)
	unknown := err == errFull || err == errGoneAway || closedInOrder(err) || forgotten
	switch {
	case !w.unprocessed(err) && !(unknown && idempotent(r.Method)):
		return nil, false
	case r.Body == nil || r.Body == http.NoBody:
		return r, true
	case r.GetBody == nil:
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	c := *r
	c.Body = body
	return &c, true
}

// unprocessed says whether the server has certainly not acted upon the request that
// failed with err (RFC 9114 §4.1.1).
func (w *watchedRequest) unprocessed(err error) bool {
	e, _ := errors.AsType[*http3.Error](err)
	rejected := e != nil && e.Remote && e.ErrorCode == http3.ErrCodeRequestRejected
	return !w.left.Load() || rejected || err == errTurnedAway
}

// idempotent says whether a request that is sent twice has the effect of one (RFC 9110
// §9.2.2).
func idempotent(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
