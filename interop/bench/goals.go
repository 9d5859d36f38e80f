package main

import "slices"

// A goal is a ratio to be reached: of is compared with the best of to. Without
// to it is the figure itself.
type goal struct {
	of     string
	metric metric
	to     []string
	ratio  float64 // at least, or at most if less is better
}

// A target is something to be reached: a row of the table of goals, which may be
// many cells.
type target struct {
	text  string
	cases []string
	goals []goal
}

// targets is the table of goals. Where it says nothing else, a ratio is one of
// server CPU time per message; rates are as they are seen, with the server's CPU
// time beside them.
var targets = []target{
	{
		"HTTP/2, 32 B, 100 and 1,000 sockets, handler: messages/s ≥ 15 × x/net's server, ≥ 25 × the best HTTP/1.1 peer",
		[]string{echoCase(32, 100), echoCase(32, 1000)},
		[]goal{{"h2 handler", perSecond, xnet, 15}, {"h2 handler", perSecond, h1Peers, 25}},
	},
	{
		"HTTP/2, 32 B, 100 and 1,000 sockets, loop: messages/s ≥ 6 × x/net's server",
		[]string{echoCase(32, 100), echoCase(32, 1000)},
		[]goal{{"h2 loop", perSecond, xnet, 6}},
	},
	{
		"HTTP/2, 8,000 messages/s of 32 B over 1,000 sockets: ≤ 0.5 × the best HTTP/1.1 peer and ≤ 0.45 × x/net (handler), ≤ 0.7 × and ≤ 0.6 × (loop)",
		[]string{pacedCase},
		[]goal{
			{"h2 handler", serverCPU, h1Peers, 0.5}, {"h2 handler", serverCPU, xnet, 0.45},
			{"h2 loop", serverCPU, h1Peers, 0.7}, {"h2 loop", serverCPU, xnet, 0.6},
		},
	},
	{
		"the same: p99 no worse than theirs",
		[]string{pacedCase},
		both(h2Ours, goal{metric: p99, to: h1Peers, ratio: 1}, goal{metric: p99, to: xnet, ratio: 1}),
	},
	{
		"HTTP/2, 32 B, 1 socket: p50 ≤ 1.1 × raw TLS (handler), ≤ 1.35 × (loop)",
		[]string{echoCase(32, 1)},
		[]goal{{"h2 handler", p50, rawTLSOnly, 1.1}, {"h2 loop", p50, rawTLSOnly, 1.35}},
	},
	{
		"HTTP/2, 64 KiB, 10 sockets: MB/s ≥ 0.9 × raw TLS, ≥ 1.3 × x/net",
		[]string{echoCase(64<<10, 10)},
		both(h2Ours, goal{metric: bandwidth, to: rawTLSOnly, ratio: 0.9}, goal{metric: bandwidth, to: xnet, ratio: 1.3}),
	},
	{
		"HTTP/1.1, 32 B and 1 KiB, 1, 100 and 1,000 sockets: ≤ the best peer, ≤ 1.08 × raw TLS",
		[]string{echoCase(32, 1), echoCase(32, 100), echoCase(32, 1000), echoCase(1<<10, 1), echoCase(1<<10, 100), echoCase(1<<10, 1000)},
		both(h1Ours, goal{metric: serverCPU, to: h1Peers, ratio: 1}, goal{metric: serverCPU, to: rawTLSOnly, ratio: 1.08}),
	},
	{
		"the same: no allocation for a message beyond the one of crypto/tls, which raw TLS has too (1 % is what else the process allocates)",
		[]string{echoCase(32, 1), echoCase(32, 100), echoCase(32, 1000), echoCase(1<<10, 1), echoCase(1<<10, 100), echoCase(1<<10, 1000)},
		both(h1Ours, goal{metric: allocs, to: rawTLSOnly, ratio: 1.01}),
	},
	{
		"HTTP/1.1, 64 KiB and 1 MiB: MB/s ≥ the best peer, ≥ 0.9 × raw TLS",
		[]string{echoCase(64<<10, 1), echoCase(64<<10, 10), echoCase(64<<10, 100), echoCase(64<<10, 1000), echoCase(1<<20, 1), echoCase(1<<20, 10)},
		both(h1Ours, goal{metric: bandwidth, to: h1Peers, ratio: 1}, goal{metric: bandwidth, to: rawTLSOnly, ratio: 0.9}),
	},
	{
		"HTTP/3, 32 B and 64 KiB: messages/s ≥ 0.9 × a raw quic-go stream, ≥ 1.15 × a plain quic-go/http3 stream",
		[]string{echoCase(32, 1), echoCase(32, 100), echoCase(32, 1000), echoCase(64<<10, 1), echoCase(64<<10, 10)},
		both(h3Ours, goal{metric: perSecond, to: []string{"raw QUIC"}, ratio: 0.9}, goal{metric: perSecond, to: []string{"http3"}, ratio: 1.15}),
	},
	{
		"sockets opened per second on an existing HTTP/2 connection: ≥ 4 × x/net, ≥ 50 × HTTP/1.1 over TLS",
		[]string{openingCase},
		both(h2Ours, goal{metric: opened, to: xnet, ratio: 4}, goal{metric: opened, to: slices.Concat(h1Ours, h1Peers), ratio: 50}),
	},
	{
		"memory per idle socket, 10,000 on 100 HTTP/2 connections, handler: ≤ 1 KiB, ≤ 2.5 KiB after traffic",
		[]string{idleCase},
		[]goal{{"h2 handler", memory, nil, 1 << 10}, {"h2 handler", used, nil, 2.5 * (1 << 10)}},
	},
	{
		"the same, loop: ≤ 4.5 KiB, ≤ 8 KiB after traffic",
		[]string{idleCase},
		[]goal{{"h2 loop", memory, nil, 4.5 * (1 << 10)}, {"h2 loop", used, nil, 8 * (1 << 10)}},
	},
	{
		"memory per idle socket, HTTP/1.1 over TLS: ≤ 14.5 KiB",
		[]string{idleCase},
		both(h1Ours, goal{metric: memory, ratio: 14.5 * (1 << 10)}),
	},
	{
		"memory per idle compressed socket, no context takeover: nothing more (1 % is what two measurements of the same may differ by)",
		[]string{idleCase},
		[]goal{
			{compressing("h1 loop"), memory, []string{"h1 loop"}, 1.01}, {compressing("h1 loop"), used, []string{"h1 loop"}, 1.01},
			{compressing("h2 loop"), memory, []string{"h2 loop"}, 1.01}, {compressing("h2 loop"), used, []string{"h2 loop"}, 1.01},
			{compressing("h2 handler"), memory, []string{"h2 handler"}, 1.01}, {compressing("h2 handler"), used, []string{"h2 handler"}, 1.01},
		},
	},
	{
		"1,000,000 idle sockets on 10,000 HTTP/2 connections in one process of ≤ 1.8 GiB, which all answer a Ping afterwards",
		[]string{holdingCase},
		[]goal{{"h2 handler", memory, nil, 1.8 * (1 << 30) / 1e6}},
	},
	{
		"10 active sockets among 10,000 idle ones on one HTTP/2 connection: ≤ 1.1 × the cost of 10 alone",
		[]string{amongCase},
		[]goal{
			{crowded("h2 handler"), serverCPU, []string{"h2 handler"}, 1.1},
			{crowded("h2 loop"), serverCPU, []string{"h2 loop"}, 1.1},
		},
	},
}

// unmeasured is what there is to reach and no case for.
const unmeasured = "Not measured here: 1,000,000 idle sockets on 10,000 HTTP/2 connections in 1.8 GiB."

var (
	xnet       = []string{"x/net h2"}
	rawTLSOnly = []string{"raw TLS"}
)

// both sets the same goals to several.
func both(of []string, goals ...goal) []goal {
	var list []goal
	for _, name := range of {
		for _, g := range goals {
			g.of = name
			list = append(list, g)
		}
	}
	return list
}

// goalsOf returns what the table asks of a case.
func goalsOf(name string) []goal {
	var list []goal
	for _, t := range targets {
		if slices.Contains(t.cases, name) {
			list = append(list, t.goals...)
		}
	}
	return list
}
