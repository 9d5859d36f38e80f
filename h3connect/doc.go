// Package h3connect opens WebSockets on streams of HTTP/3, by extended CONNECT
// (RFC 9220), over quic-go.
//
// A socket is one request stream of a QUIC connection that carries other sockets
// and ordinary requests beside it: a stream that stalls or loses packets holds up
// none of them.
//
// # Server
//
// [Server] is a complete server. [ConfigureServer] prepares an http3.Server of
// one's own, and [Accept] works under one that was not prepared too, with these
// differences:
//
//   - the request's context ends when our sending direction does, or when the
//     peer asks us to stop sending, while there may be something to read still;
//   - the socket does not end with its handler;
//   - what should cost the peer its connection, such as a HEADERS frame on the
//     socket's stream, costs it the stream;
//   - Shutdown says no goodbye to sockets, which only Server's does.
//
// # What http3 keeps to itself
//
// quic-go's http3 parses the request, and most malformed ones never reach a
// handler. Accept cannot see some things that the rules of the opening handshake
// are about:
//
//   - :scheme, so that "http" passes for "https" (up to v0.62 it can be seen);
//   - a FIN that does not come in the same STREAM frame as the end of the header
//     section: the socket opens, and ends with status 1006;
//   - in versions before v0.63 the :path as it was: what url.ParseRequestURI
//     makes of it is checked.
//
// http3 gives nobody access to a stream before its header section is complete,
// unless one accepts streams oneself, and then it sends no GOAWAY. So a stream on
// which no HEADERS come is not reset by a timer of its own. Such streams are
// bounded by QUIC's limit of 100 for a connection, and a connection on which
// there are only such streams is closed after the idle timeout, keep-alive or
// not.
//
// http3 always advertises SETTINGS_ENABLE_CONNECT_PROTOCOL. A handler that knows
// nothing of sockets will see the CONNECT requests of clients that take this for
// an invitation.
//
// # Client
//
// [Transport] pools connections, for sockets and for ordinary requests. [Dial]
// opens a socket on a connection of its own.
//
// # Errors
//
// When a stream or a connection fails under a socket, the socket's error wraps a
// [*StreamError] or a [*ConnError], which wrap quic-go's.
package h3connect
