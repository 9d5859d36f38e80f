// Package h2connect opens and accepts WebSockets by extended CONNECT on HTTP/2
// (RFC 8441), and holds the HTTP/2 engine (RFC 9113) they run on: server and
// client, sockets and ordinary requests on the same connection.
//
// # Server
//
// [ConfigureServer] puts the engine behind an http.Server. Every handler of that
// server is then served by it over HTTP/2, and a handler that calls [Accept]
// takes a socket:
//
//	srv := &http.Server{Addr: ":443", Handler: handler}
//	if err := h2connect.ConfigureServer(srv, nil); err != nil { … }
//	err := srv.ListenAndServeTLS(certFile, keyFile)
//
// A server configured like this tells its clients that it accepts extended
// CONNECT. Browsers believe it for every URL of the server and do not fall back
// to HTTP/1.1 if a socket is refused; so each handler that opens sockets must
// accept them with this package (or with package negotiate). See
// [Server.DisableExtendedConnect]. Importing this package changes nothing.
//
// Accept also works under the HTTP/2 servers of net/http and golang.org/x/net
// where extended CONNECT has been switched on (GODEBUG=http2xconnect=1).
//
// # Client
//
// [Dial] opens a socket on a connection of its own. A [Transport] is an
// http.RoundTripper and a dialer of sockets on one pool of connections.
//
// # Trust
//
// What a peer can make the engine hold, do or wait for is bounded by [Limits].
// A peer that passes a bound meant for attacks gets a GOAWAY whose debug data
// names the limit.
package h2connect
