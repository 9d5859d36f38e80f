// Package e2e holds the tests of behaviour that is the same on every
// transport. Each case is written once and run over HTTP/1.1 in the clear and
// over TLS, HTTP/2 over TLS and by prior knowledge, and HTTP/3, so that a
// difference between two bootstraps shows as one failing row of a table.
//
// There is no code here but tests, and nothing imports this package.
package e2e
