package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A progress tells a person how far the self-check has come: by a line that
// changes on a terminal, and otherwise by one line for each bootstrap.
type progress struct {
	w        io.Writer
	terminal bool

	opened, echoed, answered atomic.Int64

	name string
	plan plan
	stop chan struct{}
	done sync.WaitGroup
}

// refresh is how often the line on a terminal is written anew.
const refresh = 80 * time.Millisecond

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return p
}

// begin begins with a bootstrap, and end must follow.
func (p *progress) begin(name string, plan plan) {
	p.name, p.plan = name, plan
	p.opened.Store(0)
	p.echoed.Store(0)
	p.answered.Store(0)
	if !p.terminal {
		fmt.Fprintf(p.w, "checking %s: %d sockets, %s messages, %d requests\n",
			name, plan.sockets, thousands(int64(plan.sockets*plan.messages)), plan.requests)
		return
	}
	p.stop = make(chan struct{})
	// The goroutine owns the line on the terminal, from here to end.
	p.done.Go(p.show)
}

func (p *progress) show() {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		fmt.Fprintf(p.w, "\r\x1b[Kchecking %s: %d/%d sockets, %s/%s messages, %d/%d requests", p.name,
			p.opened.Load(), p.plan.sockets,
			thousands(p.echoed.Load()), thousands(int64(p.plan.sockets*p.plan.messages)),
			p.answered.Load(), p.plan.requests)
		select {
		case <-tick.C:
		case <-p.stop:
			fmt.Fprint(p.w, "\r\x1b[K")
			return
		}
	}
}

func (p *progress) end() {
	if p.terminal {
		close(p.stop)
		p.done.Wait()
	}
}
