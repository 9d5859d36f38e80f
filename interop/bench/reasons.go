package main

import "strings"

// A reason says why cells were not reached in the results beside this file.
type reason struct {
	in, of, metric string // the beginning of what the cell's parts are called
	text           string
}

// reasons are searched in order. Shares are of profiles of the same server
// (-profiles), of this version or of one of the days before it.
var reasons = []reason{
	{
		"echo, 32 B, 100 sockets", "h2 handler", "messages/s",
		"A hundred sockets that each wait for their answer go to and fro as a batch or two: the server is busy for 0.74 of a processor and the client for 0.54, each of them partly while the other sleeps, and each has to be woken up. Since 9c17979 the first 2 KiB of a batch go ahead, which gave 46 % more messages. Where other work kept the second processor, so that both were on one and nobody had to be woken up, the same server needed 0.31 µs for a message and answered 1.96 million a second. " +
			"In server CPU time the message costs 0.08 of x/net's. Of that 28 % are system calls, 26 % OnMessage with its Write, and the rest taking messages from frames and handing them over.",
	},
	{
		"echo, 32 B, 1,000 sockets", "h2 handler", "messages/s",
		"The server is the limit: it uses 0.84 of a processor and the client 0.69, because one goroutine at a time reads a connection and handles what is quick; x/net uses 1.11 and an HTTP/1.1 server about one. " +
			"In server CPU time the message costs 0.04 of x/net's.",
	},
	{
		"echo, 32 B", "h2 loop", "messages/s",
		"A goroutine is parked and woken for each message, which handler mode does not do. Loops that one read has woken run one after the other since cb18ab2, each starting the next, so that no thread is woken for them; the change of goroutine stays: ReadInto is 57 % of the server's time at 1,000 sockets and 39 % at 100, and in it the waiting 17 and 3 %, starting the next one 10 and 15 %; Write is 13 and 20 %. At 1,000 sockets stacks and state are outside the cache. " +
			"In server CPU time the message costs 0.16 to 0.20 of x/net's.",
	},
	{
		"8,000 messages/s", "h2", "p99",
		"The best of four peers by chance: raw TLS itself has 0.61 ms here, the loop 0.60 and the handler 0.62, and rounds of one server differ by more than servers do (loop 0.57 to 0.86, handler 0.57 to 0.77, gorilla 0.53 to 0.68).",
	},
	{
		"8,000 messages/s", "h2", "server CPU",
		"At this rate there is little to batch. Eight messages become due each millisecond, each is a TLS record and a write of its own, and most of them are read, answered and written alone: system calls are a third of the profile and waking threads that had gone to sleep another 30 %. " +
			"Both are the same for every server. Records that one read of the network has brought are answered together: 25 writes for 100 messages, where it was 93.",
	},
	{
		"echo, 64 KiB, 10 sockets", "h2", "MB/s",
		"Ten sockets on one connection are encrypted, decrypted and copied by one goroutine each way, at either end; ten connections use all processors. Since what is beneath TLS sends records together (negotiate.BeneathTLS) the server's CPU time for a message is raw TLS's, where it was 1.35 of that (handler) and 1.95 (loop). " +
			"What is missing is less than rounds differ by: three further runs of one round had 1.04, 0.92 and 0.82 of raw TLS's rate for the loop, 0.93, 1.07 and 1.12 for the handler. x/net's server, under the same client, is bound by the same connection.",
	},
	{
		"echo, 32 B, 1 socket", "h2", "p50",
		"On one processor the system calls are raw TLS's, and two thirds of the profile. Frames, the connection's lock and its batch are most of the rest; since 52727c4 the kernel is not asked before each write whether there is room, which was 0.3 of 11.7 µs.",
	},
	{
		"echo, 32 B, 1 socket", "h1", "",
		"On one processor, five rounds at 33b8ec1: raw TLS 6.9 µs, gws 7.5, the loop 7.6 and the handler 7.6. 78 to 83 % of that is the kernel's, by as many system calls for each server: 1.9 reads, 1 write and 1.8 epoll_pwait for a message. Without the keep-alive and without the watch for stalled writes it is 7.5: timers do not show. " +
			"Where single rounds differ by a factor of five, the results are of a run before 33b8ec1, whose processes were on one processor or on two as it came, and the order of the contenders in this cell is chance.",
	},
	{
		"echo, 1 KiB, 1 socket", "h1", "",
		"On one processor, five rounds at 33b8ec1: raw TLS 7.3 µs, gws 7.9, the loop 8.2 and the handler 8.4, with the same system calls. Of the profile 21 % are not the kernel's (gws 20, raw TLS 17). With no kernel between, client and server on one goroutine, Conn adds 0.29 µs to crypto/tls's 0.92 (0.17 at 32 B): an idle socket waits with 64 bytes, and what is longer takes a second Read of crypto/tls and is gathered, 0.12 µs or 1.5 % of the message. A larger buffer would have to be kept while nothing comes. The rest of the difference to raw TLS and gws is the same code found cold behind the kernel's; it is not shown by a profile. " +
			"Where single rounds differ by a factor of three, see 32 B, 1 socket.",
	},
	{
		"echo, 32 B", "h1", "",
		"Two system calls for each message, one read and one write, are 58 to 63 % of the server's time, and crypto/tls and the scheduler most of the rest: what all of these servers pay. What is left to Conn is 0.13 µs with everything in the cache, and of a thousand sockets each finds its state cold: the profile has Conn's functions where they touch a part first. " +
			"Apart, at 1,000 sockets with all on one processor, where rounds differ less, four rounds at f16c14b: raw TLS 9.6 µs, the handler 10.8, gws 11.8, the loop 13.1. The loop has more that is cold: the stack below the HTTP handler, the request's context, which may end each read, and the message's buffer.",
	},
	{
		"echo, 1 KiB", "h1", "",
		"As with 32 B: two system calls for each message are most of it, and cold memory is the difference. Apart, at 1,000 sockets with all on one processor, four rounds at f16c14b: raw TLS 10.7 µs, gws 11.8, the handler 12.3, the loop 14.6, which keeps a buffer for each socket. " +
			"Allocations are crypto/tls's one; the rest are pools filled again after a collection and sockets' first buffers, for every server: five further rounds had 0.97 to 1.04 for the loop, 0.98 to 1.01 for the handler and 1.01 to 1.05 for raw TLS.",
	},
	{
		"echo, 1 MiB", "h1 handler", "",
		"Large messages are gathered in buffers that are kept by size. Measured side by side, in five rounds, the server's CPU time is 908 µs at one socket (gobwas 943) and 748 at ten (gobwas 760); what is left in MB/s is within what rounds differ by.",
	},
	{
		"echo, 1 MiB", "h1 loop", "",
		"The cipher, the kernel and one copy are all there is; rounds of the best of four peers and of this server overlap. gobwas writes header and payload apart, without a copy.",
	},
	{
		"echo, 64 KiB", "h1", "",
		"System calls and the cipher are all but the whole of it, and nothing is copied to write such a message. Since 47d50ee its five records reach TCP together, for 2 to 7 % more messages. Measured apart after that, medians of three to six rounds, MB/s: one socket, handler 623 where gobwas has 608, and loop 606 where it has 602; ten, handler 972, loop 950, gws 938; a hundred, handler 898, loop 832, gws 830; a thousand, handler 821, loop 758, gws 755, raw TLS 739. " +
			"So the loop and the best peer are within what rounds differ by. It reads into a buffer for each socket, as raw TLS does here, where the handler and gws take one from a pool when a message comes: at a hundred sockets the difference is 11 µs of 72, probably what writing 64 KiB outside the cache costs.",
	},
	{
		"echo, 32 B, 1 socket", "h3", "messages/s",
		"On one processor, five rounds at f16c14b: raw QUIC 30,059 messages/s, the handler 29,644, http3 29,336 and the loop 28,869, in µs of the server 16.4, 17.0, 18.0 and 17.5. So 1.15 × http3 is more than there is between http3 and no HTTP/3 at all.",
	},
	{
		"echo, 32 B, 1,000 sockets", "h3", "messages/s",
		"quic-go is most of it on all sides: a socket here is an HTTP/3 stream with frames in frames, which costs quic-go/http3's own stream as much (compare its row); the raw stream has neither. Of the handler's profile this module is 11 %: one read, one write, the rest are its locks and its state, which of a thousand streams is cold.",
	},
	{
		"echo", "h3", "messages/s",
		"The profile is quic-go's: receiving and sending packets by system calls 31 to 39 %, its run loop, packing, acknowledging and waking up nearly all of the rest. What this module adds or spares beside quic-go/http3 is under a tenth: it allocates 7 times for a message instead of 12, which does not show in time. 1.15 × would need more than this module costs in all, 11 % of the profile where it is most.",
	},
	{
		openingCase, "h2 handler", "",
		"A socket costs under a quarter of x/net's server CPU time and 0.04 of HTTP/1.1's, with 26 allocations: request, header map, response, context and Conn, as a handler of net/http needs them. About 40 % of the server's time are parsing the request and starting its handler, 30 % are that handler. HTTP/1.1's rate is bounded by its handshakes.",
	},
	{
		openingCase, "h2 loop", "",
		"As with the handler, and the goroutine that stays has its stack grown from 2 to 4 KiB, which is copied: runtime.newstack is a quarter of the profile, and the collector, which scans as many stacks as there are sockets, another. Seven allocations fewer, 33 instead of 40, made no difference.",
	},
	{
		idleCase, "h2 handler, compressing", "",
		"Nothing that a compressed socket holds: the objects counted by size are the same as without compression to within 6 bytes a socket, before and after traffic. What differs is how full the pages of the heap are when the last collection has run, from run to run by up to 80 bytes a socket.",
	},
	{
		idleCase, "h2 loop, compressing", "",
		"Between 30 and 50 bytes are the header field and its value in the request that the HTTP handler still has. The rest is how full the pages of the heap are, which differs from run to run by up to 250 bytes a socket: an HTTP handler that runs has 26 objects among the garbage of the opening.",
	},
	{
		idleCase, "h2 handler", "",
		"Of 1,086 bytes when the parts were counted, 450 were the socket's own: 160 for the stream, 160 for the Conn, 64 for what ties it to the server, 48 for its Handler, 16 for its end. 200 were its share of the connection's heap, of which crypto/tls has 75 and the lists of sockets 45; 90 of the one stack of 8 KiB that a connection has (net/http's frame alone is larger than what the collector halves a stack for), 130 pages of the heap that are not full, and 80 what the runtime keeps about all that. What is left is not of the heap, and not shown by a profile.",
	},
	{
		idleCase, "h2 loop", "",
		"4.2 KiB are the stack of the goroutine that waits: it has used 1,230 bytes of it where it waits, and 2 KiB leave 1,250 to a goroutine, which Accept and a first Write pass many times. So 4.5 KiB would leave 0.3 for everything else. Of 3 KiB of heap the goroutine itself is 480 bytes, and what the HTTP handler that still runs refers to is most of the rest: header map 416, request 320, response 192, URL 144, and the socket's own parts. After traffic 1,024 are the bench's buffer for the message, and 740 parts that read and write, and a timer.",
	},
	{
		idleCase, "h1 loop", "",
		"The HTTP handler still runs, so net/http's connection, its request and its context stay, and so does the stack of its goroutine, 8 KiB, of which 3 are in use where it waits; crypto/tls holds 7. Handler mode leaves all that of net/http behind.",
	},
	{
		idleCase, "h1 handler", "",
		"crypto/tls alone holds 6 KiB a connection, and a goroutine waits in its Read with a stack of 4, of which 2 are in use. 1.3 KiB are pages of the heap that are not full, probably because each handshake leaves much garbage among what stays.",
	},
	{
		"a socket, 64 B, beside endless downloads", "", "",
		"This module's client takes everything at once and is slower than the server, so that little queues anywhere with either server; the cases above, with a client that hashes or a link that is slower, are those in which a message would wait.",
	},
	{
		"a socket, 64 B, beside", "", kept.name,
		"Server and client have a processor each, and both are busy: what another program of the machine takes from one of them the other one soon loses as well, for there are no megabytes between them. For that three rounds are few: in eleven of the client that drops, by themselves, at the same commit and on the same day, the downloads kept 0.98 (one) and 0.97 (eight) with a loop, and 0.97 both times with Handle. Where the path is the limit nothing is lost.",
	},
}

// unexplained stands where a reason is missing.
const unexplained = "Not explained yet."

func reasonFor(v verdict) string {
	for _, r := range reasons {
		if strings.HasPrefix(v.in, r.in) && strings.HasPrefix(v.of, r.of) && strings.HasPrefix(v.metric.name, r.metric) {
			return r.text
		}
	}
	return unexplained
}
