package main

import (
	"fmt"
	"slices"
	"time"
)

// A benchmark is a load, for the contenders that it makes sense for, and what is
// to be compared.
type benchmark struct {
	name       string
	load       load
	contenders []string // or names of variants
	variants   map[string]variant
	shows      []metric
	goals      []goal // to be reached in this case
	most       int    // rounds that are enough; 0: as many as there are
	apart      bool   // it is measured only when it is named
}

// A variant is a contender with a load of its own.
type variant struct {
	contender string
	load      load
}

// entry returns what a name in b.contenders stands for.
func (b *benchmark) entry(name string) variant {
	if v, ok := b.variants[name]; ok {
		return v
	}
	return variant{name, b.load}
}

// vary adds a variant of a contender.
func (b *benchmark) vary(name, contender string, change func(*load)) {
	if b.variants == nil {
		b.variants = make(map[string]variant)
	}
	v := variant{contender, b.load}
	change(&v.load)
	b.variants[name] = v
	if !slices.Contains(b.contenders, name) {
		b.contenders = append(slices.Clone(b.contenders), name)
	}
}

var (
	everybody = order
	h1Ours    = []string{"h1 loop", "h1 handler"}
	h1Peers   = []string{"gorilla", "coder", "gobwas", "gws"}
	h2Ours    = []string{"h2 loop", "h2 handler"}
	h3Ours    = []string{"h3 loop", "h3 handler"}
)

// What cases are called that goals name.
const (
	pacedCase   = "8,000 messages/s of 32 B over 1,000 sockets"
	amongCase   = "10 active sockets, 32 B, on one connection: alone, and among 10,000 idle ones"
	openingCase = "sockets opened, 32 at a time, on one connection where they share"
	idleCase    = "memory of idle sockets: 10,000, on 100 connections where they share"
)

func echoCase(size, sockets int) string {
	return fmt.Sprintf("echo, %s, %s", bytesOf(size), socketsOf(sockets))
}

// benchmarks returns all of them. Each measurement takes d.
func benchmarks(d time.Duration) []benchmark {
	list := echoes(d)
	list = append(list, benchmark{
		name:       pacedCase,
		load:       load{Kind: echoing, Size: 32, Sockets: 1000, Rate: 8000, Time: 2 * d},
		contenders: everybody, shows: []metric{perSecond, serverCPU, clientCPU, p50, p99},
	}, among(d), openings(), idlers())
	list = append(list, broadcasts(d)...)
	list = append(list, ownClients(d)...)
	list = append(list, compressed(d)...)
	list = append(list, besideBulk(d)...)
	list = append(list, holding())
	for i := range list {
		list[i].goals = append(list[i].goals, goalsOf(list[i].name)...)
	}
	return list
}

func echoes(d time.Duration) []benchmark {
	var list []benchmark
	for _, size := range []int{32, 1 << 10, 64 << 10, 1 << 20} {
		for _, sockets := range []int{1, 10, 100, 1000} {
			if size*sockets > 64<<20 {
				continue // more than the machines this is for should hold
			}
			b := benchmark{
				name:       echoCase(size, sockets),
				load:       load{Kind: echoing, Size: size, Sockets: sockets, Time: d, Together: sockets == 1},
				contenders: everybody,
				shows:      []metric{perSecond, bandwidth, serverCPU, clientCPU, allocs, p50, p99},
			}
			switch {
			case sockets == 10 && size <= 1<<10:
				b.most = 2 // to see what is between the others
			case sockets == 1000 && size > 1<<10:
				b.most = 1 // takes as long as all others of its size
			}
			list = append(list, b)
		}
	}
	return list
}

// among measures sockets that have idle ones beside them.
func among(d time.Duration) benchmark {
	b := benchmark{
		name:  amongCase,
		load:  load{Kind: echoing, Size: 32, Sockets: 10, Time: 2 * d},
		shows: []metric{perSecond, serverCPU, p50, p99},
	}
	for _, name := range []string{"h2 loop", "h2 handler", "h3 loop", "h3 handler", "x/net h2", "gRPC", "http3"} {
		b.contenders = append(b.contenders, name)
		b.vary(crowded(name), name, func(l *load) { l.Idle = 10_000 })
	}
	return b
}

func crowded(name string) string { return name + ", 10,000 idle" }

// visible is all but raw QUIC, whose streams no server knows of before they carry
// something.
var visible = slices.DeleteFunc(slices.Clone(everybody), func(name string) bool { return name == "raw QUIC" })

// openings measures how fast sockets open. A handshake takes as long as hundreds of
// streams.
func openings() benchmark {
	b := benchmark{
		name:       openingCase,
		load:       load{Kind: opening, Sockets: 1000},
		contenders: visible, shows: []metric{opened, serverCPU, clientCPU, allocs},
	}
	for _, name := range visible {
		if contenders[name].shared {
			b.vary(name, name, func(l *load) { l.Sockets = 15_000 })
		}
	}
	return b
}

// idlers measures memory, which differs little from round to round: once, since
// opening so many connections takes minutes.
func idlers() benchmark {
	b := benchmark{
		name:       idleCase,
		load:       load{Kind: idling, Sockets: 10_000, Conns: 100},
		contenders: visible, shows: []metric{memory, used},
		most: 1,
	}
	for _, name := range []string{"h1 loop", "h2 loop", "h2 handler"} {
		b.vary(compressing(name), name, func(l *load) { l.Compress = true })
	}
	return b
}

func compressing(name string) string { return name + ", compressing" }

func broadcasts(d time.Duration) []benchmark {
	var list []benchmark
	for _, sockets := range []int{1000, 10_000} {
		b := benchmark{
			name:       fmt.Sprintf("broadcast of 1 KiB to %s", socketsOf(sockets)),
			load:       load{Kind: broadcasting, Size: 1 << 10, Sockets: sockets, Time: d},
			contenders: slices.Concat(h1Ours, h2Ours, h3Ours, h1Peers),
			shows:      []metric{perSecond, serverCPU, p50, p99},
			most:       2,
		}
		if sockets > 1000 {
			b.most = 1 // opening them takes a minute and more
		}
		list = append(list, b)
	}
	return list
}

// ownClients has this module's clients talk to its servers: in all other cases the
// client is one that does as little as possible.
func ownClients(d time.Duration) []benchmark {
	var list []benchmark
	for _, sockets := range []int{1, 100} {
		list = append(list, benchmark{
			name:       fmt.Sprintf("echo, 32 B, %s, by this module's client", socketsOf(sockets)),
			load:       load{Kind: echoing, Size: 32, Sockets: sockets, Library: true, Time: d, Together: sockets == 1},
			contenders: slices.Concat(h1Ours, h2Ours, h3Ours),
			shows:      []metric{perSecond, serverCPU, clientCPU, p50, p99},
			most:       2,
		})
	}
	return list
}
