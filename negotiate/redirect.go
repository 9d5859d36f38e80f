package negotiate

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/wsmux/websocket"
)

// withCookies returns o with the Jar's cookies for t.
func withCookies(o *websocket.DialOptions, jar http.CookieJar, t target) *websocket.DialOptions {
	if jar == nil {
		return o
	}
	cookies := jar.Cookies(t.url)
	if len(cookies) == 0 {
		return o
	}
	with := *o
	req := http.Request{Header: make(http.Header, len(o.Header)+1)}
	for name, values := range o.Header {
		name = http.CanonicalHeaderKey(name)
		req.Header[name] = append(req.Header[name], values...)
	}
	joinCookies(req.Header) // AddCookie keeps the first field only
	for _, c := range cookies {
		req.AddCookie(c)
	}
	with.Header = req.Header
	return &with
}

// carried are the fields of DialOptions.Header that go along to another origin:
// none of them lets anybody in.
var carried = []string{"User-Agent", "Accept-Language", "Origin"}

// redirected returns where a refusal sends the socket, and the options that go
// there; false if it does not, or not to where it may go. From TLS the way leads
// to TLS only: "wss" promises it.
func redirected(ctx context.Context, from target, o *websocket.DialOptions, resp *http.Response, err error) (target, *websocket.DialOptions, bool) {
	refused := refusalOf(err)
	if resp == nil || refused == nil || refused.Status != resp.StatusCode {
		return target{}, nil, false
	}
	switch refused.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return target{}, nil, false
	}
	location, e := url.Parse(resp.Header.Get("Location"))
	if e != nil || resp.Header.Get("Location") == "" {
		return target{}, nil, false
	}
	to := from.url.ResolveReference(location)
	to.Fragment, to.RawFragment = "", ""
	to.User = nil // who is let in is not the server's to say
	if sameOrigin := targetOfSocket(to).origin == from.origin; sameOrigin {
		given, e := url.Parse(from.raw)
		if e != nil {
			return target{}, nil, false
		}
		to.User = given.User
	} else {
		o = withoutCredentials(o)
	}
	next, e := parseTarget(ctx, to.String(), o)
	if e != nil || from.secure && !next.secure {
		return target{}, nil, false
	}
	return next, o, true
}

// targetOfSocket returns the target of a URL whose scheme may be a socket's.
func targetOfSocket(u *url.URL) target {
	http := *u
	switch u.Scheme {
	case "ws":
		http.Scheme = "http"
	case "wss":
		http.Scheme = "https"
	}
	return targetOf(&http)
}

// withoutCredentials returns o for another origin.
func withoutCredentials(o *websocket.DialOptions) *websocket.DialOptions {
	with := *o
	with.Header = make(http.Header)
	for name, values := range o.Header {
		if slices.Contains(carried, http.CanonicalHeaderKey(name)) {
			with.Header[name] = values
		}
	}
	return &with
}
