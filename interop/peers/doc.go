// Package peers puts proxies between the library's clients and its servers:
// HAProxy and nghttpx, with HTTP/2 and extended CONNECT in front, behind, and on
// both sides. Each goes through the short matrix of package matrix, with both ends
// ours, so that what one end did and what the other saw are compared.
//
//	go -C interop test -v ./peers
//
// A proxy that is not in PATH is skipped, or a failure with INTEROP_REQUIRE=1.
package peers
