//go:build !linux || 386

package h2connect

// network would ask TCP about the way to the peer. Here it cannot be asked.
func (r *room) network() (n network, ok bool) { return network{}, false }
