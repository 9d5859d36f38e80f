//go:build !linux

package h1upgrade

import "net"

// A cork would hold the records of one write together. This system's TCP has none
// that is used here.
type cork struct{}

func corkOf(net.Conn) cork { return cork{} }

func (cork) hold()    {}
func (cork) release() {}
