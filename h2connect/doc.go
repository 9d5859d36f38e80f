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
// accept them with this package (or with package negotiate), or refuse them with
// [RequireHTTP1]. See [Server.DisableExtendedConnect]. Importing this package changes nothing.
//
// Whoever calls no Accept accepts nothing. Any 2xx to an extended CONNECT opens the
// tunnel (RFC 9110 §9.3.6), and nothing in HTTP/2 tells a client a socket from a
// page, as Sec-WebSocket-Accept does in HTTP/1.1. So where a handler that knows
// nothing of sockets answers 2xx to a CONNECT for websocket, with a page, a file, or
// by returning without a word, the server answers 501 (Not Implemented) instead,
// which is what RFC 9220 §3 has for a :protocol that is not supported: 426 needs the
// field Upgrade, and 405 would be about the method, which other protocols share.
// Nothing of the handler's response goes out, its writes return an
// http.ErrBodyNotAllowed, and the request's context ends with the stream. Other
// statuses pass as they are, and so does everything that is answered to a CONNECT for
// other protocols. That is for the whole server and cannot be switched off. A handler
// that speaks WebSocket by itself, on the request's Body and the ResponseWriter, says
// so with [AcceptByHand]; one that is written for http.Hijacker is served by
// negotiate.Bridge.
//
// [Server.Shutdown] ends its connections in an orderly way: sockets first.
//
// Accept also works under the HTTP/2 servers of net/http and golang.org/x/net
// where extended CONNECT has been switched on (GODEBUG=http2xconnect=1).
//
// # Client
//
// [Dial] opens a socket on a connection of its own. A [Transport] is an
// http.RoundTripper and a dialer of sockets on one pool of connections.
//
// [ConfigureTransport] puts a Transport under an http.Transport.
//
// # What differs from net/http
//
// Handlers and requests find what net/http's HTTP/2 gives them, but for the
// following. On the server:
//
//   - PING frames: a client that has a socket open beside large responses gets
//     some, because their answers say how far it has read. The responses go no
//     further ahead of that than its network needs, so that a socket's message does
//     not wait behind megabytes (on Linux, where TCP can be asked).
//   - Server push: there is none, and no http.Pusher. Browsers have removed it.
//   - Priority trees (RFC 7540 §5.3): there are none; RFC 9113 has deprecated them.
//     Urgency and incremental (RFC 9218) are heeded, from the priority field and
//     from PRIORITY_UPDATE frames, but sockets go before every response, and of
//     nine frames one goes to another than the most urgent response.
//   - Deadlines set with http.ResponseController: they may move after they have
//     passed, because a deadline that cannot be lifted is of no use to a socket.
//   - A path of * is malformed with other methods than OPTIONS (RFC 9113 §8.3.1).
//   - Content that is not as long as content-length says: the stream is reset, as
//     RFC 9113 §8.1.1 demands, besides the handler's error. Of a response that the
//     handler left too short, what the peer has room for goes out, and the stream is
//     reset behind it: with END_STREAM it would be malformed.
//   - http.Server.SetKeepAlivesEnabled(false) is not seen, since net/http tells
//     nobody else. A response with Connection: close ends its connection.
//   - http.Server.MaxHeaderBytes: the default limit is 16 KiB, not 1 MiB, because
//     it bounds what each of many streams may hold. IdleTimeout: there is a
//     default, Limits.Idle, so that forgotten connections do not stay.
//   - http.HTTP2Config: its frame and table sizes are not used, but those of Limits:
//     16 KiB and 4 KiB, the protocol's initial values. Larger frames are never sent:
//     they would let a bulk response hold up sockets. CountError and
//     PermitProhibitedCipherSuites are not used.
//   - There is no ServeConn, as x/net's server has it: connections are accepted by
//     an http.Server.
//
// On the client:
//
//   - PING of a silent server (Limits.ReadIdle): it is the default. Limits.Idle:
//     there is a default here too.
//   - A request's cookies stay one field. Connection-specific fields of a request
//     are left out, not refused; and content that comes for HEAD all the same is
//     an error for who reads it.
//   - Connection-specific fields, and Content-Length fields that are no length or
//     differ, are not left out of a response: the response is malformed (RFC 9113
//     §8.1.1, §8.2.2).
//   - Where the response is no success, the request's content is sent on until the
//     response has ended, then it is reset. net/http stops at the header.
//   - The connection's credit returns at once when content arrives, a stream's when
//     it is read, so that a response that nobody reads stalls no other.
//   - A request that is cancelled is reset, and no PING goes with a reset:
//     Limits.ReadIdle finds out whether the server lives.
//   - After a RST_STREAM with PROTOCOL_ERROR a request is not sent again: the
//     server may have acted on it. Other retries happen at once, without waiting
//     in between, because their cause is one connection's.
//   - After Request.Cancel net/http's unexported error is not returned but one with
//     the same words. Where http.Client.Timeout ends a request that is still being
//     connected, its error may not say that it was the Timeout's.
//   - httptrace.ClientTrace.GotConn is also called for a connection that then
//     turns out to be broken.
//   - A connection stays open for Limits.Linger after its last frame, so that the
//     frame is not lost, and http.Transport.MaxConnsPerHost does not count the
//     connections that a Transport opens for sockets.
//
// # Trust
//
// What a peer can make the engine hold, do or wait for is bounded by [Limits].
// A peer that passes a bound meant for attacks gets a GOAWAY whose debug data
// names the limit.
package h2connect
