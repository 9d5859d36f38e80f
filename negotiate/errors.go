package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wsmux/websocket"
)

// A DialError says how dialling failed: what was tried, in order. It wraps the
// errors of all attempts, so that errors.Is and errors.As find what any of them
// says; websocket.ErrNotSupported among them means that the server lacks a
// bootstrap that the Policy asked for.
type DialError struct {
	// URL is the origin that was dialled, the last one if there were redirects.
	URL string

	// Attempts has at least one element.
	Attempts []Attempt
}

// An Attempt is one bootstrap that was tried, in vain unless Err is nil.
type Attempt struct {
	Bootstrap websocket.Bootstrap // 0 if there was none left to be tried, or no time

	// Addr is the host and port that it was tried at: the URL's, or those of an
	// alternative service that the origin announced (RFC 7838).
	Addr string

	// Proxy is the proxy on the way, "scheme://host:port", empty for none.
	Proxy string

	Duration time.Duration // of the attempt, connecting included
	Err      error         // why it failed, nil if it has not
}

// Error lists the attempts.
func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("negotiate: dial " + e.URL)
	for i, a := range e.Attempts {
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		b.WriteString(sep)
		if a.Bootstrap != 0 {
			fmt.Fprintf(&b, "%v after %v: ", a.Bootstrap, a.Duration.Round(time.Millisecond))
		}
		if a.Err != nil {
			b.WriteString(a.Err.Error())
		}
	}
	return b.String()
}

// Unwrap returns the attempts' errors.
func (e *DialError) Unwrap() []error {
	var errs []error
	for _, a := range e.Attempts {
		if a.Err != nil {
			errs = append(errs, a.Err)
		}
	}
	return errs
}

// lastOf returns why the last attempt failed if err is or wraps a dial's, and else err.
func lastOf(err error) error {
	var dial *DialError
	if errors.As(err, &dial) && len(dial.Attempts) > 0 {
		return dial.Attempts[len(dial.Attempts)-1].Err
	}
	return err
}

// refusalOf returns the server's refusal that err is or wraps, nil for none. Of a
// dial's attempts the last one counts: those before were not answered by the server,
// though a stream that was rejected is a refusal too.
func refusalOf(err error) *websocket.HandshakeError {
	var refused *websocket.HandshakeError
	if !errors.As(lastOf(err), &refused) || !refused.Remote {
		return nil
	}
	return refused
}

type attemptsKey struct{}

// Attempts returns how the socket was reached that came with a response of
// [Dialer.Dial]: what was tried, in order, the last being what succeeded, with a
// nil Err. It returns nil for other responses.
func Attempts(resp *http.Response) []Attempt {
	if resp == nil || resp.Request == nil {
		return nil
	}
	list, _ := resp.Request.Context().Value(attemptsKey{}).([]Attempt)
	return list
}

// noteAttempts makes Attempts return list for resp.
func noteAttempts(resp *http.Response, list []Attempt) {
	if resp == nil || resp.Request == nil {
		return
	}
	// What made the request has ended, and its context should not be kept.
	resp.Request = resp.Request.WithContext(context.WithValue(context.Background(), attemptsKey{}, list))
}

// A connectError is a failure to connect over TCP, of the TLS handshake included:
// other bootstraps over TCP would meet it too.
type connectError struct{ error }

func (e connectError) Unwrap() error { return e.error }

// A ProxyError is the refusal of a proxy to open a connection.
type ProxyError struct {
	// Status is the HTTP status, 407 where the proxy wants credentials.
	Status int

	// Header holds the fields of the proxy's response.
	Header http.Header
}

// Error says with which status the proxy refused.
func (e *ProxyError) Error() string {
	return fmt.Sprintf("refused by the proxy with %d %s", e.Status, http.StatusText(e.Status))
}
