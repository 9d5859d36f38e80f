// Package h2spec holds package h2connect against h2spec, the conformance suite
// for HTTP/2 of github.com/summerwind/h2spec, in strict mode, case by case: its
// cases for servers, alone and beside open sockets, and its cases for clients.
//
// The suite is of the time of RFC 7540. Where RFC 9113 has changed a rule its
// case is still right: what the suite demands, RFC 9113 allows.
package h2spec
