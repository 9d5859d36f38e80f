//go:build !linux

package meter

import "net"

// segmentsOf knows nothing where the system does not tell: packets and their
// headers count as none.
func segmentsOf(*net.TCPConn) segments { return segments{timestamps: true} }
