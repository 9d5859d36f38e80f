package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/wsmux/websocket/interop/internal/markers"
)

// A docsRow is one line of the table in the documentation: a figure of a case.
type docsRow struct {
	name string
	in   string // the case
	m    metric
}

func docsRows() []docsRow {
	one, hundred, thousand, large := echoCase(32, 1), echoCase(32, 100), echoCase(32, 1000), echoCase(64<<10, 10)
	return []docsRow{
		{"32 B, 1 socket: messages/s", one, perSecond},
		{"server CPU, µs", one, serverCPU},
		{"p99, µs", one, p99},
		{"32 B, 100 sockets: messages/s", hundred, perSecond},
		{"server CPU, µs", hundred, serverCPU},
		{"32 B, 1,000 sockets: messages/s", thousand, perSecond},
		{"server CPU, µs", thousand, serverCPU},
		{"64 KiB, 10 sockets: MB/s", large, bandwidth},
		{"8,000 messages/s over 1,000 sockets: server CPU, µs", pacedCase, serverCPU},
		{"p99, µs", pacedCase, p99},
		{"sockets opened per second, on one connection where they share", openingCase, opened},
		{idleCase + ": bytes each", idleCase, memory},
		{"the same after traffic", idleCase, used},
	}
}

// docsColumns are the contenders of the table, and what it calls them.
var docsColumns = []struct{ contender, name string }{
	{"h1 loop", "h1, goroutine"}, {"h1 handler", "h1, handler"},
	{"h2 loop", "h2, goroutine"}, {"h2 handler", "h2, handler"},
	{"h3 loop", "h3, goroutine"}, {"h3 handler", "h3, handler"},
	{"gorilla", "gorilla"}, {"coder", "coder"}, {"gobwas", "gobwas"}, {"gws", "gws"},
	{"x/net h2", "x/net h2 stream"}, {"gRPC", "gRPC stream"}, {"raw TLS", "raw TLS"},
}

// docsTable returns the figures that the documentation has, for readers who do not
// want all of the page.
func (r *report) docsTable() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds of one interleaved run on %s: %s; %s.\n", r.Rounds, r.Begun.Format(time.DateOnly), r.Machine, r.Versions)
	b.WriteString("Server and client are processes of their own")
	if r.shared() {
		b.WriteString(", which share a processor where there is one socket")
	}
	b.WriteString("; all servers of a protocol have the same client. “–”: not asked there. What each\ncontender is, all cases, plots and the goals that were not reached: [interop/bench](../interop/bench/README.md).\n\n|")
	for _, c := range docsColumns {
		b.WriteString(" | " + c.name)
	}
	b.WriteString(" |\n|---|" + strings.Repeat("--:|", len(docsColumns)) + "\n")
	for _, row := range docsRows() {
		b.WriteString("| " + row.name)
		for _, c := range docsColumns {
			cell := "–"
			if v, ok := r.get(row.in, c.contender).median(row.m); ok {
				cell = row.m.format(v)
			}
			b.WriteString(" | " + cell)
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// writeDocs brings a page of the documentation up to date: the table between its
// markers.
func (r *report) writeDocs(file string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	page, err := markers.Replace(string(old), "figures", r.docsTable())
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(page), 0o644)
}
