//go:build !linux

package h2connect

import "net"

// A room tells whether the kernel takes a small write at once. Here it cannot
// be told, so that every write is made by the flusher's goroutine.
type room struct{}

func (r *room) watch(net.Conn) {}

func (r *room) check() bool { return false }

// more reports whether there is something to read at once.
func (*room) more() bool { return false }

// readable reports whether there is something to read at once.
func (*room) readable() bool { return false }

// takes reports whether n bytes can be written at once.
func (r *room) takes(int) bool { return false }

// written is to be called before a write for which takes was not asked.
func (*room) written() {}

// direct reports whether put can be used.
func (*room) direct() bool { return false }

// put writes as much as can be written at once.
func (*room) put(*volley) (int, error) { return 0, nil }

type systemCall struct{}
