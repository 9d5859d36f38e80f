// Package interop holds what needs other programs or other libraries: test
// suites, browsers, proxies, foreign clients and servers, comparisons. It is a
// module of its own so that none of that reaches a user's go.mod.
//
//	go -C interop test ./...
//
// runs what the machine has the peers for and says what it skipped. With
// INTEROP_REQUIRE=1 a missing peer is a failure.
package interop
