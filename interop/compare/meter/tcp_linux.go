package meter

import (
	"net"

	"golang.org/x/sys/unix"
)

// tcpiTimestamps is TCPI_OPT_TIMESTAMPS of linux/tcp.h.
const tcpiTimestamps = 1

// segmentsOf asks the kernel (TCP_INFO).
func segmentsOf(c *net.TCPConn) (s segments) {
	raw, err := c.SyscallConn()
	if err != nil {
		return s
	}
	_ = raw.Control(func(fd uintptr) {
		i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		s = segments{
			out:        int64(i.Segs_out),
			in:         int64(i.Segs_in),
			again:      int64(i.Bytes_retrans),
			timestamps: i.Options&tcpiTimestamps != 0,
		}
	})
	return s
}
