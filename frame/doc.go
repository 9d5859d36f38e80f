// Package frame is the framing of the WebSocket protocol: all of RFC 6455 §5,
// with the close payloads of §7.4 and the UTF-8 rule of §8.1, as machines that
// take bytes and give bytes.
//
// It does no I/O, reads no clock, draws no random number, starts no goroutine
// and owns no buffer. Whatever carries the bytes (a TCP connection, a stream of
// HTTP/2 or HTTP/3, a test) stays with the caller, and so does every decision
// about memory: a [Receiver] parses the slice it is given, unmasks it in place
// and returns pieces of it; a [Sender] appends to the slice it is given.
// Nothing is ever allocated from a length that a peer declares.
//
// The zero Receiver and the zero Sender are a server's, without compression and
// without limits. Neither may be used by two goroutines at once, but the two
// share nothing: one goroutine may receive while another sends. Both are plain
// values: a copy keeps the state, to go back to or to go on from.
//
// # Errors
//
// What a peer does wrong is an [*Error], which carries the status code to close
// with. What a local caller does wrong (an illegal sequence of frames, text that
// is not UTF-8) is a plain error: it is no reason to close, since nothing was
// appended and nothing has changed.
//
// # Extensions
//
// RSV1 has the meaning RFC 7692 §6 gives it, where permessage-deflate was
// agreed on; inflating is left to the caller. RSV2 and RSV3 have none, and are
// refused in both directions.
package frame
