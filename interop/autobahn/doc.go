// Package autobahn runs the case table of the Autobahn test-suite, the
// conformance suite for RFC 6455 and RFC 7692 that most libraries are measured
// by, against both ends of a socket over HTTP/1.1, HTTP/2 and HTTP/3. The
// original speaks HTTP/1.1 only.
//
// The fuzzer is the peer of the endpoint under test: a client if a server is
// tested, and a server if a client is. It opens a raw byte stream with the
// lowest means there are (a TCP or TLS connection and an Upgrade written by
// hand, HTTP/2 frames written by hand, a request stream of quic-go's http3), so
// that it can send what no library would. Of this module it uses the plain
// frame writer of internal/wstest; what arrives is parsed, inflated and judged
// by code of its own, since a judge that shares the codec shares its mistakes.
//
// # The cases
//
// Numbers and names are the suite's, and so are the octets of categories 1 to
// 10: 1 framing, 2 pings and pongs, 3 reserved bits, 4 opcodes, 5
// fragmentation, 6 UTF-8, 7 closing, 9 limits and performance, 10
// auto-fragmentation, 12 compression of several kinds of data, 13 compression
// with several parameters. 8 and 11 do not exist. That makes 517. Category 20 is
// not the suite's: it has what the suite leaves out, such as frames masked the
// wrong way round, lengths not in the shortest form, and broken deflate data.
//
// # The verdicts
//
// Each case has two: what the endpoint did ([OK], [NonStrict], [Informational],
// [Unimplemented], [Failed]) and how the socket ended ([OK], [Unclean],
// [WrongCode], [FailedByClient], [Informational], [Failed]). They are given by
// the suite's rules. Where the suite looks away this judge does not:
//
//   - A frame that the endpoint was not allowed to send fails the case,
//     whatever else happened.
//   - What comes between the fuzzer's Close frame and the endpoint's counts as
//     received.
//   - In category 9 contents are compared, not only lengths.
//   - In 12 and 13 references into what the endpoint promised to forget, or
//     farther back than the window agreed on, fail the case.
//
// And where it has to differ it is more lenient, never in what is right: every
// time limit is multiplied by [Options.Slack], because a loaded machine is not a
// broken endpoint; and 12 and 13 use data of the same kinds and sizes as the
// suite's, made by a generator, and may send fewer messages of the larger sizes
// ([Options.Volume]). A report says how many were sent.
//
// # Running
//
//	go -C interop test ./autobahn -v
//	go -C interop test ./autobahn -run 'Transport/h2' -reports /tmp/reports
//
// plays all cases against our server and our client over HTTP/1.1, HTTP/2 and
// HTTP/3, and those that take no time also over HTTP/1.1 with TLS and HTTP/2
// without. Each run leaves a page to read and the same as JSON. With -short
// categories 9, 12 and 13 are left out, with -full their messages are as many as
// in the suite. That the judge notices what it should is tested with endpoints
// that are wrong on purpose.
//
// # Dropping the connection
//
// "Dropping the TCP connection" is the end of the stream on HTTP/2 and HTTP/3:
// END_STREAM, FIN or a reset.
package autobahn
