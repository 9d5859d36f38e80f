// Command bench measures what a WebSocket costs: this module's over HTTP/1.1,
// HTTP/2 and HTTP/3, other libraries' over HTTP/1.1, streams of other HTTP/2
// engines and of gRPC, and, as the price of the wire itself, plain TLS and plain
// QUIC.
//
//	go -C interop run ./bench
//
// Every measurement has a server and a client process of its own, started for it
// and ended after it. Rounds are interleaved: each round measures every
// contender once before the next round begins, so that what else the machine does
// falls on all alike. The table gives medians over the rounds, and ratios to the
// contender that the case compares with. CPU times are the operating system's
// (getrusage), of the server between the first message and the last. Every byte
// that comes back is compared with what was sent; a difference ends the run.
//
// The parts: a contender (contender.go and one file for each family) is a server
// and the client that talks to it; a load (load.go and its neighbours) is what the
// client does; a case (cases.go) is a load with its figures, for the contenders
// it makes sense for; process.go runs them, report.go prints.
package main
