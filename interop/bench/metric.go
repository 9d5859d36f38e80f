package main

import (
	"fmt"
	"time"
)

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
	allocs    = metric{"server allocs", func(f figures) float64 { return f.Allocs }, short, true}
	wire      = metric{"wire bytes", func(f figures) float64 { return f.Wire }, short, true}
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
