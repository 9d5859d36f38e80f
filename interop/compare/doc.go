// Command compare measures what it costs to carry messages by WebSocket over
// HTTP/1.1, HTTP/2 and HTTP/3, by event streams (SSE) with POST, and by long
// polling: connections, handshakes, bytes on the wire, latency, the server's CPU
// time and memory, and what a slow network does to them.
//
//	go -C interop run ./compare
//
// It needs no preparation and no flags. Every run has a server and a client process
// of its own. Runs over slow networks have network namespaces of their own, without
// names, which end with those processes; nothing is left behind, however the
// comparison ends.
package main
