package h2connect

import (
	"cmp"
	"net/http"
	"strings"
	"time"
)

// rules are what a Transport, or the http.Transport it is under, says about
// requests on its connections.
type rules struct {
	compress       bool          // ask for gzip
	keepAlive      bool          // a connection serves more than one request
	strict         bool          // wait rather than open a further connection
	expectContinue time.Duration // how long content waits for 100 (Continue)
	responseHeader time.Duration // how long a response may take; 0: no limit
}

// expectTime is how long a request with Expect: 100-continue waits before it
// sends its content without having been asked to.
const expectTime = time.Second

// rules returns what holds for t, which may be nil: for a connection of no
// Transport's. They are read for each request, because http.Transport's fields
// may be set until its first one.
func (t *Transport) rules() rules {
	if t == nil {
		return rules{keepAlive: true, expectContinue: expectTime}
	}
	if t.over == nil {
		return rules{compress: !t.DisableCompression, keepAlive: true, expectContinue: expectTime}
	}
	t1 := t.over.t1
	return rules{
		compress:       !t1.DisableCompression && !t.DisableCompression,
		keepAlive:      !t1.DisableKeepAlives,
		strict:         t1.HTTP2 != nil && t1.HTTP2.StrictMaxConcurrentRequests,
		expectContinue: t1.ExpectContinueTimeout,
		responseHeader: t1.ResponseHeaderTimeout,
	}
}

// The windows of a client by default: it has asked for what comes, and a download
// takes a round trip for every window.
const (
	clientStreamWindow = 1 << 20
	clientConnWindow   = 4 << 20
)

// limits returns the limits of a new connection: where a Limits field is zero,
// the http.Transport's stands for it.
func (t *Transport) limits() Limits {
	l := t.Limits
	if t.over != nil {
		t1 := t.over.t1
		l = l.withConfig(t1.HTTP2)
		l.Idle = cmp.Or(l.Idle, t1.IdleConnTimeout)
		if n := t1.MaxResponseHeaderBytes; n > 0 && (l.HeaderBytes == 0 || n < int64(l.HeaderBytes)) {
			l.HeaderBytes = int(min(n, 1<<30))
		}
	}
	l.StreamWindow = cmp.Or(max(l.StreamWindow, 0), clientStreamWindow)
	l.ConnWindow = cmp.Or(max(l.ConnWindow, 0), clientConnWindow)
	return l.withDefaults()
}

// wantsClose reports whether a request wants no other to follow it on its
// connection.
func wantsClose(req *http.Request) bool {
	if req.Close {
		return true
	}
	for _, v := range req.Header["Connection"] {
		if strings.EqualFold(v, "close") {
			return true
		}
	}
	return false
}
