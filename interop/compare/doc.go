// Command compare measures what it costs to carry messages by WebSocket over
// HTTP/1.1, HTTP/2 and HTTP/3, by event streams (SSE) with POST, and by long
// polling: connections, handshakes, bytes on the wire, latency, the server's CPU
// time and memory, and what a slow network does to them.
//
//	go -C interop run ./compare
//
// It needs no preparation, no flags and no rights. Every run has a server and a
// client process of its own. An interrupt ends it with a report of what there is.
//
// Runs over slow networks have two network namespaces, joined by a cable in this
// program that delays, loses and paces packets between two TUN devices: the
// kernel's TCP meets loss as it would outside, also where the kernel has no netem,
// and also without root where users may have namespaces. The namespaces have no
// names and end with the processes in them, so nothing is left behind, however the
// comparison ends. Where they cannot be had a proxy imitates the network, and the
// report says so.
//
// With -url it asks a server that is not its own which bootstraps it has at that
// URL and, if it echoes there, what that costs. The system's roots verify it;
// SSL_CERT_FILE names others where crypto/x509 heeds it.
package main
