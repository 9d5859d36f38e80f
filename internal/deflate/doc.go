// Package deflate holds the permessage-deflate state of one socket (RFC 7692),
// one value per direction: an [Inflater] for what arrives, a [Deflater] for
// what is sent. Both work on slices: no I/O, no goroutines, no clock.
//
// # What a message looks like
//
// A compressed message is a sequence of DEFLATE blocks (RFC 1951) that would
// end with an empty stored block, were its last four octets, 00 00 ff ff, not
// left out (RFC 7692 §7.2.1). So the last thing on the wire is the three header
// bits of that block, padded to an octet, and the receiver knows that a message
// is whole by standing exactly behind them.
//
// With context takeover the window of the previous messages may be referred to;
// without it every message stands alone (§7.1.1).
//
// # What is held, and when
//
// An Inflater takes its decoding tables from a pool with the first octet of a
// message and returns them with the last. Between messages it holds the window
// if there is context takeover, as large as the data seen so far made it, up to
// the negotiated size, and nothing otherwise. A Deflater without takeover takes
// its compressor from a pool in the same way; with takeover it keeps its own,
// made when the first message is compressed.
package deflate
