//go:build !linux

package h2connect

// arrivals would be how many bytes the kernel has received that have not been read.
// Here that cannot be told.
type arrivals struct{}

// yield reports whether a read of the connection, which has TLS, brings something
// without waiting.
func (*arrivals) yield(*room) bool { return false }
