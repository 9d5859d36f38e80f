package main

import (
	"fmt"
	"strings"

	"github.com/wsmux/websocket/interop/internal/plot"
)

// A drawing is a plot of the page.
type drawing struct {
	file  string
	title string
	svg   []byte
}

// draw draws what was measured.
func (r *report) draw() []drawing {
	var list []drawing
	add := func(file, title string, d interface{ SVG() []byte }, any bool) {
		if any {
			list = append(list, drawing{file, title, d.SVG()})
		}
	}
	for _, p := range []struct {
		file, title, note string
		metric            metric
		unit              plot.Unit
		scale             float64
		groups            []string // cases
	}{
		{
			"messages.svg", "Messages of 32 bytes echoed per second", "As many as go; one client for all servers of a protocol. More is better.",
			perSecond, "msg/s", 1, []string{echoCase(32, 100), echoCase(32, 1000)},
		},
		{
			"cpu.svg", "Server CPU time for a message of 32 bytes", "The operating system's figure. Less is better.",
			serverCPU, plot.Seconds, 1e-6, []string{echoCase(32, 1), echoCase(32, 100), echoCase(32, 1000)},
		},
		{
			"paced-cpu.svg", "Server CPU time for a message at a fixed rate", pacedCase + ". Less is better.",
			serverCPU, plot.Seconds, 1e-6, []string{pacedCase},
		},
		{
			"bulk.svg", "Large messages echoed", "Payload, counted one way. More is better.",
			bandwidth, "MB/s", 1, []string{echoCase(64<<10, 10), echoCase(1<<20, 1)},
		},
		{
			"opened.svg", "Sockets opened per second", "32 at a time; on one connection where sockets share it. More is better.",
			opened, "per s", 1, []string{openingCase},
		},
		{
			"memory.svg", "Server memory for an idle socket", "Resident bytes; 10,000 sockets, on 100 connections where they share. Less is better.",
			memory, plot.Bytes, 1, []string{idleCase},
		},
		{
			"memory-used.svg", "Server memory for a socket that was used", "The same after each has echoed one message of 1 KiB. Less is better.",
			used, plot.Bytes, 1, []string{idleCase},
		},
	} {
		b := &plot.Bars{Head: plot.Head{ID: strings.TrimSuffix(p.file, ".svg"), Title: p.title, Note: p.note}, Unit: p.unit}
		for _, in := range p.groups {
			if g := r.bars(in, p.metric, p.scale); len(g.Bars) > 0 {
				b.Groups = append(b.Groups, g)
			}
		}
		if len(b.Groups) == 1 {
			b.Groups[0].Label = ""
		}
		add(p.file, p.title, b, len(b.Groups) > 0)
	}
	latency := r.latencies()
	add("paced-latency.svg", latency.Title, latency, len(latency.Groups[0].Rows) > 0)
	growth := r.growth()
	add("sockets.svg", growth.Title, growth, len(growth.Series) > 0)
	return list
}

// bars shows a figure of all contenders in a case.
func (r *report) bars(in string, m metric, scale float64) plot.BarGroup {
	g := plot.BarGroup{Label: in}
	for _, name := range order {
		res := r.get(in, name)
		v, ok := res.median(m)
		if !ok {
			continue
		}
		low, high := res.span(m)
		g.Bars = append(g.Bars, plot.Bar{
			Label: name, Values: []float64{max(0, v*scale)}, Color: color(name), Low: max(0, low*scale), High: max(0, high*scale),
		})
	}
	return g
}

// latencies shows round trips at a fixed rate.
func (r *report) latencies() *plot.Percentiles {
	p := &plot.Percentiles{
		Head: plot.Head{ID: "paced-latency", Title: "Round trips at a fixed rate", Note: pacedCase + ". Less is better."},
		Unit: plot.Seconds, Groups: make([]plot.PercentileGroup, 1),
	}
	for _, name := range order {
		res := r.get(pacedCase, name)
		if res == nil {
			continue
		}
		d := plot.Distribution{Label: name, Color: color(name)}
		for _, q := range []struct {
			to *float64
			of func(figures) float64
		}{
			{&d.P50, func(f figures) float64 { return f.P50.Seconds() }},
			{&d.P90, func(f figures) float64 { return f.P90.Seconds() }},
			{&d.P99, func(f figures) float64 { return f.P99.Seconds() }},
			{&d.Max, func(f figures) float64 { return f.Max.Seconds() }},
		} {
			*q.to, _ = res.median(metric{of: q.of})
		}
		p.Groups[0].Rows = append(p.Groups[0].Rows, d)
	}
	return p
}

// growth shows what a message costs as there are more sockets.
func (r *report) growth() *plot.Lines {
	l := &plot.Lines{
		Head: plot.Head{ID: "sockets", Title: "A message's cost as sockets grow in number", Note: "Server CPU time for a message of 32 bytes. Less is better."},
		X:    plot.Axis{Label: "Sockets", Log: true},
		Y:    plot.Axis{Label: "Server CPU time", Unit: plot.Seconds, Log: true},
	}
	for _, name := range []string{"h1 handler", "h2 handler", "h3 handler", "gws", "x/net h2", "gRPC", "raw TLS"} {
		s := plot.Series{Name: name, Color: color(name)}
		for _, sockets := range []int{1, 10, 100, 1000} {
			if v, ok := r.get(echoCase(32, sockets), name).median(serverCPU); ok && v > 0 {
				s.Points = append(s.Points, plot.Point{X: float64(sockets), Y: v * 1e-6})
			}
		}
		if len(s.Points) > 1 {
			l.Series = append(l.Series, s)
		}
	}
	return l
}

// color is the same for all of a kind.
func color(name string) plot.Color {
	c := contenders[name]
	ours := strings.HasPrefix(name, c.transport+" ")
	switch {
	case c.transport == "raw":
		return plot.Navy
	case c.transport == "h1" && ours:
		return plot.Blue
	case c.transport == "h1":
		return plot.Grey
	case c.transport == "h2" && ours:
		return plot.Orange
	case c.transport == "h2":
		return plot.Teal
	case ours:
		return plot.Purple
	}
	return plot.Brick
}

// colors says what they mean.
const colors = "Of this module: HTTP/1.1 blue, HTTP/2 orange, HTTP/3 purple. Others: HTTP/1.1 grey, HTTP/2 teal, HTTP/3 brick, without HTTP navy."

func (d drawing) markdown() string { return fmt.Sprintf("![%s](%s)\n", d.title, d.file) }
