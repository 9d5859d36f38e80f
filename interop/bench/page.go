package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// method is what a reader has to know about the figures.
const method = "Server and client are processes of their own on one machine, started for each measurement, over loopback and TLS 1.3. " +
	"In each round every contender is measured once in a case before the next case begins, each round beginning with another one. " +
	"Tables give medians over the rounds. CPU times are the operating system's (getrusage), of a process between the first message and the last, divided by messages. " +
	"Every byte that came back was compared with what had been sent; a difference ends the measurement.\n\n" +
	"All servers of a protocol have the same client, which does as little as can talk to them: frames on TLS connections, on the streams of an HTTP/2 connection with Chromium's windows, on QUIC streams. " +
	"It sends a socket's next message when the answer is there, and joins what it sends while it handles what came in one read; at a fixed rate it sends what is due every millisecond, each message by a write of its own. " +
	"Only cases that say so, those with compression, and a socket beside endless downloads without another word have this module's own clients. " +
	"Servers have no limit, check or deadline switched off. This module's over TCP accept their connections through negotiate.BeneathTLS, as negotiate.Server does. Other libraries are used as their documentation shows, with their buffers kept from one message to the next and their pools.\n\n" +
	"Memory is what is resident after a garbage collection, less what was with one socket, or with none in runs of commits before 4a1ff97. With 1,000,000 sockets it is all of the server's process, and it is looked at again when each has answered a Ping of the client's with the right Pong; " +
	"the server's own Pings are sent after five minutes of silence there, not after half a minute.\n"

// together is what a reader has to know beside that of cases with one processor.
const together = "In cases with one socket, server and client have one processor between them. One of them always waits for the other, and where the kernel puts them, on one processor or on two, it decides anew in each round and within it: " +
	"then the same server used between 7 and 44 µs for a message of 32 B, whichever it was, and the order of the servers was chance. On two processors, 35 of 42 µs are waking a processor that sleeps. " +
	"On one nothing has to be woken up, rounds differ by a few per cent, and what is left is the servers' work. Round trips are that much shorter than between two machines.\n"

// alternating is what a reader has to know of what downloads keep.
const alternating = "What downloads keep beside a socket was measured in slices of 50 ms on one connection, which alternate: without a socket, with one that talks, and so on, it being opened before its slice and reset after it. Each slice with the socket is compared with the two next to it, and the median of these ratios is the figure.\n"

// separate is what a reader has to know beside that of cases with one processor each.
const separate = "In cases with a client that drops, hashes or reads 1 Gbit/s, server and client have one processor each: where their threads go from one to the other, such a download is now a third faster and now slower, for tens of milliseconds each time.\n"

// shared reports whether there are results of processes that shared one processor.
func (r *report) shared() bool {
	return r.has(func(f figures) bool { return f.Processors == 1 })
}

// has reports whether there are results that are so.
func (r *report) has(so func(figures) bool) bool {
	return slices.ContainsFunc(r.Results, func(res *result) bool { return slices.ContainsFunc(res.Rounds, so) })
}

// markdown returns the page, with plots if there are drawings.
func (r *report) markdown(plots []drawing) []byte {
	var b strings.Builder
	b.WriteString("# What a socket costs\n\n")
	b.WriteString("Measured by `go -C interop run ./bench -rounds 3 -time 400ms -json bench/results.json` and, apart, `go -C interop run ./bench -rounds 1 -case '1,000,000 idle' -json bench/million.json`; " +
		"made from [results.json](results.json) and [million.json](million.json) by `go -C interop run ./bench -from bench/results.json,bench/million.json -page bench`.\n\n")
	r.writeMethod(&b)
	r.writeGoals(&b)
	if len(plots) > 0 {
		b.WriteString("\n## In pictures\n\nThin lines reach from the least to the most of the rounds. " + colors + "\n")
		for _, d := range plots {
			b.WriteString("\n" + d.markdown())
		}
	}
	b.WriteString("\n## All figures\n")
	for i := range r.cases {
		r.writeCase(&b, &r.cases[i])
	}
	return []byte(b.String())
}

func (r *report) writeMethod(b *strings.Builder) {
	fmt.Fprintf(b, "## How it was measured\n\n%s, in %v.\nMachine: %s.\nVersions: %s", r.Begun.Format(time.DateOnly), r.Took.Round(time.Second), r.Machine, r.Versions)
	if r.Commit != "" {
		fmt.Fprintf(b, ", this module at %s", r.Commit)
	}
	fmt.Fprintf(b, ".\nAt most %d rounds, of %v for each measurement.\n\n", r.Rounds, r.Each)
	for _, x := range r.apart {
		for _, c := range x.cases {
			fmt.Fprintf(b, "Measured apart, %s, in %v", x.Begun.Format(time.DateOnly), x.Took.Round(time.Second))
			if x.Commit != "" {
				fmt.Fprintf(b, ", this module at %s", x.Commit)
			}
			fmt.Fprintf(b, ": %s.\n\n", c.name)
		}
	}
	b.WriteString(method + "\n")
	if r.shared() {
		b.WriteString(together + "\n")
	}
	if r.has(func(f figures) bool { return f.Kept > 0 }) {
		b.WriteString(alternating + "\n")
	}
	if r.has(func(f figures) bool { return f.Own == 1 }) {
		b.WriteString(separate + "\n")
	}
	b.WriteString("| contender | what it is |\n|---|---|\n")
	for _, name := range order {
		fmt.Fprintf(b, "| %s | %s |\n", name, contenders[name].about)
	}
}

func (r *report) writeGoals(b *strings.Builder) {
	rows := r.rows()
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n## What was to be reached\n\nRatios are of medians; beside them the least and the most of single rounds. " +
		"Where rates are compared, the last column compares the server's CPU time for a message, less being better.\n\n")
	b.WriteString("| to reach | cells reached |\n|---|---:|\n")
	for _, w := range rows {
		fmt.Fprintf(b, "| %s | %d of %d |\n", w.text, w.reached(), len(w.verdicts))
	}
	if r.get(holdingCase, "h2 handler") == nil {
		fmt.Fprintf(b, "\n%s\n", unmeasured)
	}
	for _, w := range rows {
		fmt.Fprintf(b, "\n**%s**\n\n| case | contender | figure | measured | rounds | to reach | | server CPU |\n|---|---|---|---:|---:|---:|---|---:|\n", w.text)
		for _, v := range w.verdicts {
			cpu := ""
			if v.cpu > 0 {
				cpu = fmt.Sprintf("%.2f ×", v.cpu)
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", v.in, v.of, v.metric.name, v.value(), v.rounds(), v.limit(), v.state(), cpu)
		}
	}
	r.writeReasons(b, rows)
}

// writeReasons says why cells were not reached.
func (r *report) writeReasons(b *strings.Builder, rows []row) {
	var texts []string
	cells := make(map[string][]string)
	for _, w := range rows {
		for _, v := range w.verdicts {
			if v.reached {
				continue
			}
			text := reasonFor(v)
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
			cells[text] = append(cells[text], fmt.Sprintf("%s: %s, %s %s, %s", v.in, v.of, v.metric.name, v.value(), v.limit()))
		}
	}
	if len(texts) == 0 {
		return
	}
	b.WriteString("\n## Cells that were not reached, and why\n")
	for _, text := range texts {
		fmt.Fprintf(b, "\n%s\n\n", text)
		for _, cell := range cells[text] {
			fmt.Fprintf(b, "- %s\n", cell)
		}
	}
}

func (r *report) writeCase(b *strings.Builder, c *benchmark) {
	fmt.Fprintf(b, "\n### %s\n\n| |", c.name)
	for _, m := range c.shows {
		fmt.Fprintf(b, " %s |", m.name)
	}
	b.WriteString(" rounds |\n|---|" + strings.Repeat("---:|", len(c.shows)+1) + "\n")
	for _, res := range r.of(c) {
		fmt.Fprintf(b, "| %s | %s | %d |\n", res.Contender, strings.Join(res.cells(c), " | "), len(res.Rounds))
	}
}

// writePage writes the page and its plots into a directory.
func (r *report) writePage(dir string) error {
	plots := r.draw()
	for _, d := range plots {
		if err := os.WriteFile(filepath.Join(dir, d.file), d.svg, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), r.markdown(plots), 0o644)
}
