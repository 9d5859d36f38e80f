// Package h1upgrade opens sockets by HTTP/1.1 Upgrade (RFC 6455 §4): each has a
// connection of its own.
//
// # Servers
//
// [Accept] works in any handler of net/http's server, and of any other whose
// ResponseWriter can be hijacked. The socket does not outlive the handler, unless it
// is handed to a websocket.Handler: when the HTTP handler returns, a socket that is
// still open is closed with status 1000.
//
// What a client can do before the handler runs is the HTTP server's to bound.
// Its zero value waits for ever and reads a megabyte; this is a good start:
//
//	srv := &http.Server{
//		ReadHeaderTimeout: 10 * time.Second,
//		MaxHeaderBytes:    16 << 10,
//	}
//
// Accept itself refuses more than 256 fields or 16 KiB of them. ReadTimeout and
// WriteTimeout do not reach a socket, and Shutdown does not know of sockets:
// negotiate.Drain makes one that does.
//
// # Clients
//
// [Dial] opens a connection for each socket, with code of its own: no redirect
// is followed, no cookie is kept, no proxy is asked, and nothing that has been
// refused is used again. [NewClient] does the same on a connection that exists.
package h1upgrade
