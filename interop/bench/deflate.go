package main

import "time"

// compressed is messages that are compressed.
func compressed(d time.Duration) []benchmark {
	return []benchmark{{
		name:       "1 KiB like JSON, permessage-deflate with context takeover, 100 sockets",
		load:       load{Kind: echoing, Size: 1 << 10, Sockets: 100, Deflate: true, Time: d},
		contenders: []string{"h1 loop", "h1 handler", "h2 loop", "h2 handler", "h3 loop", "gws"}, shows: []metric{perSecond, serverCPU, clientCPU},
		goals: []goal{{"h1 loop", perSecond, []string{"gws"}, 1.5}},
	}}
}
