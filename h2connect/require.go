package h2connect

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/wsmux/websocket"
	"golang.org/x/net/http2"
)

// RequireHTTP1 refuses the request that w answers with RST_STREAM
// HTTP_1_1_REQUIRED: "The endpoint requires that HTTP/1.1 be used instead of
// HTTP/2" (RFC 9113 §7). On that Chromium opens a socket again over HTTP/1.1 by
// itself, which it does on no status code. It is for a server that advertises
// extended CONNECT but has handlers whose sockets need HTTP/1.1; a server that
// has none but such is better off with [Server.DisableExtendedConnect].
//
// It must be called before anything has been written, and the handler should
// return then: nothing more can be written. w may be wrapped, as [Accept]
// allows. Under an HTTP/2 server that is not this package's the error wraps
// websocket.ErrNotSupported and nothing has been done.
func RequireHTTP1(w http.ResponseWriter) error {
	rw := responseWriterOf(w)
	switch {
	case rw == nil:
		return errNotSupported("not a response of this package's HTTP/2 server")
	case rw.done.Load():
		return errHandlerDone
	case rw.sent || rw.accepted:
		return errors.New("h2connect: the response has begun")
	}
	rw.abort(http2.ErrCodeHTTP11Required, errHTTP1)
	return nil
}

var errHTTP1 = errors.New("h2connect: the request requires HTTP/1.1")

// orHTTP1 says of a socket that was refused with HTTP_1_1_REQUIRED, on its stream
// or with the connection, that it is to be opened over HTTP/1.1.
func orHTTP1(err error) error {
	var reset *StreamError
	var ended *ConnError
	switch {
	case errors.As(err, &reset) && reset.Remote && reset.Code == http2.ErrCodeHTTP11Required:
	case errors.As(err, &ended) && ended.Remote && ended.Code == http2.ErrCodeHTTP11Required:
	default:
		return err
	}
	return fmt.Errorf("%w: %w", websocket.ErrNotSupported, err)
}
