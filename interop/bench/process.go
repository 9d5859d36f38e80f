package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/wsmux/websocket/interop/internal/child"
)

// A task is what a process of a measurement is told, as JSON in its last
// argument.
type task struct {
	Role      string // "server" or "client"
	Contender string
	Load      load
	Profile   string // server: the file for a profile of what is measured; "": none
	Addr      string // client: where the server listens
	Cert      []byte // client: the server's certificate, DER
}

// The lines that a server prints and the client's answers are JSON too.
type (
	// ready is a server's first line.
	ready struct {
		Addr string
		Cert []byte
	}

	// usage is a server's answer to each line it reads, which is the mark's name.
	usage struct {
		CPU        time.Duration // user and system time so far
		RSS        int64         // bytes of memory resident now
		Heap       uint64        // bytes of heap in use
		Allocs     uint64        // of heap, so far
		Goroutines int
		Processors int // that the server may use
	}

	// event is a line of a client: it asks for the server's usage, or is its last
	// and has the result.
	event struct {
		Mark   string // a name for the server's usage now
		Result *figures
		Err    string
	}
)

// patience is how long a client may take for everything that is not measured, such
// as opening 10,000 sockets.
const patience = 2 * time.Minute

// start starts this program again with a task. The process ends when ctx does.
func start(ctx context.Context, t task) (*child.Process, error) {
	switch {
	case t.Load.Together, t.Load.Separate && t.Role == "server":
		defer child.OnProcessor(0)()
	case t.Load.Separate:
		defer child.OnProcessor(1)()
	}
	return child.Start(ctx, t.Role, taskFlag, t, func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), contenders[t.Contender].env...)
	})
}

// ask has a server answer to a mark with its usage.
func ask(server *child.Process, mark string) (u usage, err error) {
	if err := server.Line(mark); err != nil {
		return u, err
	}
	return u, server.Next(&u)
}

// measure runs one contender under one load. With a file for it, the server is
// profiled, which costs it some time.
func measure(ctx context.Context, contender string, l load, profile string) (figures, error) {
	server, err := start(ctx, task{Role: "server", Contender: contender, Load: l, Profile: profile})
	if err != nil {
		return figures{}, err
	}
	defer server.End()
	var at ready
	if err := server.Next(&at); err != nil {
		return figures{}, fmt.Errorf("server: %w", err)
	}
	client, err := start(ctx, task{Role: "client", Contender: contender, Load: l, Addr: at.Addr, Cert: at.Cert})
	if err != nil {
		return figures{}, err
	}
	defer client.End()
	marks := make(map[string]usage)
	for {
		var e event
		if err := client.Next(&e); err != nil {
			return figures{}, fmt.Errorf("client: %w", err)
		}
		switch {
		case e.Err != "":
			return figures{}, errors.New("client: " + e.Err)
		case e.Result != nil:
			return e.Result.complete(l, marks), nil
		}
		if marks[e.Mark], err = ask(server, e.Mark); err != nil {
			return figures{}, fmt.Errorf("server: %w", err)
		}
		if err := client.Line(""); err != nil {
			return figures{}, fmt.Errorf("client: %w", err)
		}
	}
}

// runTask is the whole of a process of a measurement.
func runTask(arg string) error {
	var t task
	if err := json.Unmarshal([]byte(arg), &t); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	c := contenders[t.Contender]
	if t.Role == "server" {
		at, err := c.serve(t.Load)
		if err != nil {
			return err
		}
		if err := out.Encode(at); err != nil {
			return err
		}
		for lines.Scan() {
			if err := profileAt(lines.Text(), t.Profile); err != nil {
				return err
			}
			if err := out.Encode(usageNow(lines.Text())); err != nil {
				return err
			}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.Load.Time+patience)
	defer cancel()
	mark := func(name string) error {
		if err := out.Encode(event{Mark: name}); err != nil {
			return err
		}
		if !lines.Scan() {
			return errors.New("the parent process has gone")
		}
		return nil
	}
	var result figures
	client, err := c.clientFor(t)
	if err == nil {
		result, err = t.Load.run(ctx, client, mark)
	}
	if err != nil {
		return out.Encode(event{Err: err.Error()})
	}
	return out.Encode(event{Result: &result})
}

// profileAt writes to a file what the processor, or at the last memory mark the heap,
// is used for.
func profileAt(mark, file string) error {
	if file == "" || mark != markBegin && mark != markEnd && mark != markUsed {
		return nil
	}
	if mark == markEnd {
		pprof.StopCPUProfile()
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if mark == markBegin {
		return pprof.StartCPUProfile(f) // which closes nothing: f ends with the process
	}
	runtime.GC()
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// memoryMark begins the names of marks that are about memory: garbage goes first.
const memoryMark = "memory"

func usageNow(mark string) usage {
	if strings.HasPrefix(mark, memoryMark) {
		runtime.GC()         // a pool's content outlives one collection,
		debug.FreeOSMemory() // and goes with the next
	}
	var u usage
	u.CPU = child.CPUTime()
	u.RSS = child.Resident()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap, u.Allocs = m.HeapInuse, m.Mallocs
	u.Goroutines, u.Processors = runtime.NumGoroutine(), runtime.GOMAXPROCS(0)
	return u
}
