package main

import (
	"fmt"
	"time"
)

// A benchmark is a load, for the contenders that it makes sense for, and what is
// to be compared.
type benchmark struct {
	name       string
	load       load
	contenders []string
	shows      []metric
	goals      []goal
}

// A metric is one of the figures.
type metric struct {
	name   string
	of     func(figures) float64
	format func(float64) string
	less   bool // less is better
}

var (
	perSecond = metric{"messages/s", func(f figures) float64 { return f.Messages }, count, false}
	opened    = metric{"sockets/s", func(f figures) float64 { return f.Messages }, count, false}
	bandwidth = metric{"MB/s", func(f figures) float64 { return f.Bytes / 1e6 }, short, false}
	download  = metric{"download MB/s", func(f figures) float64 { return f.Bulk / 1e6 }, short, false}
	serverCPU = metric{"server CPU µs", func(f figures) float64 { return micros(f.ServerCPU) }, short, true}
	clientCPU = metric{"client CPU µs", func(f figures) float64 { return micros(f.ClientCPU) }, short, true}
	p50       = metric{"p50 µs", func(f figures) float64 { return micros(f.P50) }, short, true}
	p99       = metric{"p99 µs", func(f figures) float64 { return micros(f.P99) }, short, true}
	memory    = metric{"bytes, idle", func(f figures) float64 { return f.Memory }, count, true}
	used      = metric{"bytes, used", func(f figures) float64 { return f.Used }, count, true}
)

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

func count(v float64) string { return grouped(int64(v + 0.5)) }

func short(v float64) string {
	switch {
	case v >= 100:
		return grouped(int64(v + 0.5))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// grouped writes n with commas between its thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A goal is a ratio to be reached: of is compared with the best of to.
type goal struct {
	of     string
	metric metric
	to     []string
	ratio  float64 // at least, or at most if less is better
}

var (
	everybody = order
	h1Peers   = []string{"gorilla", "coder", "gobwas", "gws"}
)

// benchmarks returns all of them. Each measurement takes d.
func benchmarks(d time.Duration) []benchmark {
	var list []benchmark
	for _, size := range []int{32, 1 << 10, 64 << 10, 1 << 20} {
		for _, sockets := range []int{1, 10, 100, 1000} {
			if size*sockets > 64<<20 {
				continue // more than the machines this is for should hold
			}
			b := benchmark{
				name:       fmt.Sprintf("echo, %s, %s", bytesOf(size), socketsOf(sockets)),
				load:       load{Kind: echoing, Size: size, Sockets: sockets, Time: d},
				contenders: everybody,
				shows:      []metric{perSecond, bandwidth, serverCPU, clientCPU, p50, p99},
			}
			b.goals = echoGoals(size, sockets)
			list = append(list, b)
		}
	}
	return append(list, []benchmark{
		{
			name:       "8,000 messages/s of 32 B over 1,000 sockets",
			load:       load{Kind: echoing, Size: 32, Sockets: 1000, Rate: 8000, Time: d},
			contenders: everybody, shows: []metric{perSecond, serverCPU, clientCPU, p50, p99},
			goals: []goal{
				{"h2 handler", serverCPU, h1Peers, 0.5}, {"h2 handler", serverCPU, []string{"x/net h2"}, 0.45},
				{"h2 loop", serverCPU, h1Peers, 0.7}, {"h2 loop", serverCPU, []string{"x/net h2"}, 0.6},
				{"h2 handler", p99, h1Peers, 1},
			},
		},
		{
			name:       "10 active sockets, 32 B, alone",
			load:       load{Kind: echoing, Size: 32, Sockets: 10, Time: d},
			contenders: []string{"h2 loop", "h2 handler", "x/net h2", "gRPC"}, shows: []metric{perSecond, serverCPU, p50, p99},
		},
		{
			name:       "10 active sockets, 32 B, among 10,000 idle ones on one connection",
			load:       load{Kind: echoing, Size: 32, Sockets: 10, Idle: 10_000, Time: d},
			contenders: []string{"h2 loop", "h2 handler", "x/net h2", "gRPC"}, shows: []metric{perSecond, serverCPU, p50, p99},
		},
		{
			name:       "sockets opened, by 32 at once",
			load:       load{Kind: opening, Sockets: 2000},
			contenders: everybody, shows: []metric{opened, serverCPU, clientCPU},
			goals: []goal{{"h2 handler", opened, []string{"x/net h2"}, 4}, {"h2 handler", opened, h1Peers, 50}},
		},
		{
			name:       "memory of idle sockets: 10,000, on 100 connections where they share",
			load:       load{Kind: idling, Sockets: 10_000, Conns: 100},
			contenders: everybody, shows: []metric{memory, used},
		},
		{
			name:       "broadcast of 1 KiB to 1,000 sockets",
			load:       load{Kind: broadcasting, Size: 1 << 10, Sockets: 1000, Time: d},
			contenders: []string{"h1 loop", "h1 handler", "h2 loop", "h2 handler", "h3 loop", "h3 handler", "gorilla", "coder", "gobwas", "gws"},
			shows:      []metric{perSecond, serverCPU, p50, p99},
		},
		{
			name:       "a socket, 64 B, beside one endless download",
			load:       load{Kind: echoing, Size: 64, Sockets: 1, Bulk: 1, Time: d},
			contenders: []string{"h2 loop", "h2 handler", "x/net h2", "h3 loop", "http3"}, shows: []metric{p50, p99, download},
			goals: []goal{{"h2 handler", p99, []string{"x/net h2"}, 0.2}},
		},
		{
			name:       "a socket, 64 B, beside eight endless downloads",
			load:       load{Kind: echoing, Size: 64, Sockets: 1, Bulk: 8, Time: d},
			contenders: []string{"h2 loop", "h2 handler", "x/net h2", "h3 loop", "http3"}, shows: []metric{p50, p99, download},
			goals: []goal{{"h2 handler", p99, []string{"x/net h2"}, 0.2}},
		},
		{
			name:       "1 KiB like JSON, permessage-deflate with context takeover, 100 sockets",
			load:       load{Kind: echoing, Size: 1 << 10, Sockets: 100, Deflate: true, Time: d},
			contenders: []string{"h1 loop", "h2 loop", "h2 handler", "h3 loop", "gws"}, shows: []metric{perSecond, serverCPU, clientCPU},
			goals: []goal{{"h1 loop", perSecond, []string{"gws"}, 1.5}},
		},
	}...)
}

func echoGoals(size, sockets int) []goal {
	xnet, raw := []string{"x/net h2"}, []string{"raw TLS"}
	var g []goal
	switch {
	case size == 32 && sockets >= 100:
		g = append(g, goal{"h2 handler", perSecond, xnet, 15}, goal{"h2 handler", perSecond, h1Peers, 25}, goal{"h2 loop", perSecond, xnet, 6})
	case size == 32 && sockets == 1:
		g = append(g, goal{"h2 handler", p50, raw, 1.1}, goal{"h2 loop", p50, raw, 1.35})
	case size == 64<<10 && sockets == 10:
		g = append(g, goal{"h2 handler", bandwidth, raw, 0.9}, goal{"h2 handler", bandwidth, xnet, 1.3})
	}
	if size <= 1<<10 && sockets != 10 {
		g = append(g, goal{"h1 loop", serverCPU, h1Peers, 1}, goal{"h1 loop", serverCPU, raw, 1.08})
	}
	if size >= 64<<10 {
		g = append(g, goal{"h1 loop", bandwidth, h1Peers, 1}, goal{"h1 loop", bandwidth, raw, 0.9})
	}
	if size == 32 || size == 64<<10 {
		g = append(g, goal{"h3 handler", perSecond, []string{"raw QUIC"}, 0.9}, goal{"h3 handler", perSecond, []string{"http3"}, 1.15})
	}
	return g
}

func bytesOf(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func socketsOf(n int) string {
	if n == 1 {
		return "1 socket"
	}
	return grouped(int64(n)) + " sockets"
}
