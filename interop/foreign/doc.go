// Package foreign tests the library with HTTP and WebSocket programs of other
// makers: Node's http2 module, Python's h2 and wsproto, curl, nghttp, h2load,
// Hypercorn, and the HTTP clients of net/http and quic-go.
//
//	go -C interop test -v ./foreign
//
// The clients in node and python take an origin and print a line of JSON for each
// feature of the short matrix; the tests compare with what our server saw of each
// socket: the request that opened it, the connection, and how it ended. The
// servers there are dialled by our client, and say which requests they got. A
// program that is not installed is skipped, or a failure with INTEROP_REQUIRE=1.
package foreign
