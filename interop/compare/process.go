package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/child"
)

// taskFlag is the first argument of a process of a run; a task as JSON follows.
const taskFlag = "-task"

// A task is what a process of a run is told.
type task struct {
	Role string // "server", "client" or "probe"
	Cert []byte // the server's certificate, DER; Key with it for the server
	Key  []byte

	Listen string // server: the address to listen on
	Base   string // client: the server's URL
	Plan   plan   // client: what to measure
	Link   *end   // this end of a link, nil for loopback
}

// What processes say, a line of JSON each.
type (
	// ready is a server's first line.
	ready struct {
		Addr string // where it listens
	}

	// A question is a client's line to the server, which the coordinator passes on.
	question struct {
		Do string // one of the constants
	}

	// usage is the server's answer.
	usage struct {
		CPU         time.Duration // user and system time so far
		RSS         int64         // bytes of memory resident now
		Heap        int64         // bytes of heap in use
		Goroutines  int
		Connections int // accepted so far
		Handshakes  int // of TLS, begun so far
	}

	// event is a client's line: a question, or its result.
	event struct {
		Ask *question   `json:",omitempty"`
		Run *result.Run `json:",omitempty"`
		Err string      `json:",omitempty"`
	}
)

// The questions.
const (
	askUsage   = "usage"
	askMemory  = "memory"  // usage, garbage having gone first
	askRestart = "restart" // shuts the server down; the coordinator starts another one
)

// spawn starts a process of a run.
func spawn(ctx context.Context, t task, files ...*os.File) (*child.Process, error) {
	return child.Start(ctx, t.Role, taskFlag, t, func(cmd *exec.Cmd) {
		cmd.ExtraFiles = files
		if t.Link != nil {
			cmd.SysProcAttr = namespace()
		}
	})
}

// runTask is a process of a run.
func runTask(arg string) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // the coordinator ends its processes
	var t task
	if err := json.Unmarshal([]byte(arg), &t); err != nil {
		return err
	}
	if t.Link != nil {
		if err := t.Link.attach(); err != nil {
			return fmt.Errorf("link: %w", err)
		}
	}
	switch t.Role {
	case "probe":
		return probe()
	case "server":
		return serveTask(t, newControl(nil))
	case "client":
		// Whatever it is waiting for, nobody wants the result any more.
		return clientTask(t, newControl(func() { os.Exit(1) }))
	}
	return fmt.Errorf("no role is called %q", t.Role)
}

// A control is a process's line to the coordinator.
type control struct {
	lines chan []byte // closed when the coordinator wants no more, or has gone
	out   *json.Encoder
}

// newControl returns the control of this process. ended is called, if it is not nil,
// when the coordinator wants no more, or has gone.
func newControl(ended func()) *control {
	c := &control{lines: make(chan []byte), out: json.NewEncoder(os.Stdout)}
	// The goroutine reads standard input until it ends.
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			c.lines <- bytes.Clone(in.Bytes())
		}
		close(c.lines)
		if ended != nil {
			ended()
		}
	}()
	return c
}

// errAbandoned says that the coordinator has gone.
var errAbandoned = errors.New("the coordinator has gone")

func (c *control) next(v any) error {
	line, ok := <-c.lines
	if !ok {
		return errAbandoned
	}
	return json.Unmarshal(line, v)
}

// ask asks the server.
func (c *control) ask(do string) (u usage, err error) {
	if err := c.out.Encode(event{Ask: &question{do}}); err != nil {
		return u, err
	}
	return u, c.next(&u)
}
