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
// All servers of a protocol have the same client, which does as little as can talk
// to them (wire.go and its neighbours), so that what is measured is the server.
// What is to be reached is a table (goals.go), and each of its cells gets a verdict
// from the medians as they are. -json keeps the raw results; -from makes tables and
// the page with its plots of them again: README.md here is made that way.
//
// The parts: a contender (contender.go and one file for each family) is a server
// and the client that talks to it; a load (load.go and its neighbours) is what the
// client does; a case (cases.go) is a load with its figures, for the contenders
// it makes sense for; process.go runs
// them, report.go gathers, verdict.go judges, table.go and page.go show.
package main
