package main

import (
	"fmt"
	"time"
)

// besideBulk is a socket that shares its connection with large responses.
func besideBulk(d time.Duration) []benchmark {
	var list []benchmark
	for _, downloads := range []int{1, 8} {
		list = append(list, benchmark{
			name:       fmt.Sprintf("a socket, 64 B, beside endless downloads: %d", downloads),
			load:       load{Kind: echoing, Size: 64, Sockets: 1, Bulk: downloads, Time: d},
			contenders: []string{"h2 loop", "h2 handler", "x/net h2", "h3 loop", "http3"}, shows: []metric{p50, p99, download},
			goals: []goal{{"h2 handler", p99, []string{"x/net h2"}, 0.2}},
		})
	}
	return list
}
