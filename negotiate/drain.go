package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/sockets"
)

// Drain makes srv keep track of its sockets, and returns what is to be called in
// place of srv.Shutdown, which knows nothing of them over HTTP/1.1: a shutdown as
// [Server.Shutdown] does it, of srv alone. Drain wraps srv.Handler (nil:
// http.DefaultServeMux), so that must have its final value, and srv must not serve
// yet. HTTP/2 by h2connect.ConfigureServer may be configured before or after.
//
// From then on a handler's panic ends its socket over HTTP/1.1 with status 1011, as
// it does over HTTP/2, and the request's context ends with its socket.
//
// If srv.Shutdown is called in spite of this, it says goodbye to the sockets as
// well, but does not wait for them; srv.Close does not cut them.
func Drain(srv *http.Server) (shutdown func(context.Context) error) {
	d := &drainer{srv: srv}
	srv.Handler = sockets.Handler(orDefaultMux(srv.Handler), &d.set)
	srv.RegisterOnShutdown(func() {
		// Whoever waits for the sockets asks for the result himself.
		_ = d.set.GoAway(context.Background(), nil)
	})
	return func(ctx context.Context) error { return d.shutdown(ctx, nil) }
}

// A drainer is an http.Server and its sockets, perhaps those of an HTTP3Server
// too.
type drainer struct {
	srv *http.Server
	set sockets.Set
}

// shutdown is Server.Shutdown; other may be nil.
func (d *drainer) shutdown(ctx context.Context, other HTTP3Server) error {
	d.set.Refuse()
	goodbye, tcp, udp := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	// Each goroutine ends when what it shuts down has ended, at the latest when
	// ctx does.
	go func() { goodbye <- d.set.GoAway(ctx, nil) }()
	go func() { tcp <- d.srv.Shutdown(ctx) }()
	if other != nil {
		go func() { udp <- other.Shutdown(ctx) }()
	} else {
		udp <- nil
	}
	e := new(ShutdownError)
	e.addGoodbye(<-goodbye)
	e.addServer("TCP", <-tcp)
	e.addServer("HTTP/3", withoutSockets(<-udp))
	// What is left is cut: connections with ordinary requests whose time is up,
	// and the contexts of handlers that have taken a connection over for another
	// protocol.
	_ = d.srv.Close() // the listeners are closed; connections have nothing to report
	d.set.CloseNow()
	if e.isEmpty() {
		return nil
	}
	return e
}

// withoutSockets returns err without what is known of the sockets anyhow.
func withoutSockets(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	if _, ok := err.(*sockets.Unclean); ok {
		return nil
	}
	var rest []error
	for _, err := range joined.Unwrap() {
		rest = append(rest, withoutSockets(err))
	}
	return errors.Join(rest...)
}

// A ShutdownError says what did not end cleanly when a server was shut down. It
// wraps the cause of the context's end, if that came first, the errors of the
// servers, and how some of the sockets ended.
type ShutdownError struct {
	// Sockets counts, by bootstrap, sockets that ended without a complete closing
	// handshake: they were cut, or their clients were gone or did not answer.
	Sockets map[websocket.Bootstrap]int

	// Handlers counts handlers that had not returned when the context ended,
	// although their sockets had ended.
	Handlers int

	// Errs are the errors that it wraps.
	Errs []error
}

func (e *ShutdownError) addGoodbye(err error) {
	unclean, ok := err.(*sockets.Unclean)
	if !ok {
		return // nil
	}
	e.Sockets, e.Handlers = unclean.Sockets, unclean.Handlers
	e.Errs = append(e.Errs, unclean.Unwrap()...)
}

func (e *ShutdownError) addServer(name string, err error) {
	if err != nil {
		e.Errs = append(e.Errs, fmt.Errorf("requests over %s were cut: %w", name, err))
	}
}

func (e *ShutdownError) isEmpty() bool {
	return len(e.Sockets) == 0 && e.Handlers == 0 && len(e.Errs) == 0
}

// Error counts, and lists the errors.
func (e *ShutdownError) Error() string {
	var parts []string
	for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3} {
		if n := e.Sockets[b]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d sockets over %v without a complete closing handshake", n, b))
		}
	}
	if e.Handlers > 0 {
		parts = append(parts, fmt.Sprintf("%d handlers still running", e.Handlers))
	}
	for _, err := range e.Errs {
		parts = append(parts, err.Error())
	}
	return "negotiate: shutdown: " + strings.Join(parts, "; ")
}

// Unwrap returns Errs.
func (e *ShutdownError) Unwrap() []error { return e.Errs }
