// Package child runs the processes of a measurement, which are this program again:
// they are told what to do by their arguments and talk with who has started them by
// lines of JSON. What a process uses of the machine it says of itself.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A Process is one that was started.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	err  strings.Builder
}

// maxLine bounds a line that a process says, in bytes.
const maxLine = 16 << 20

// Start starts this program again with a flag and a task, which goes as JSON; name is
// what errors call it. prepare, if not nil, may change the command. The process ends
// when ctx does, or when its standard input does, which the death of this process is
// enough for.
func Start(ctx context.Context, name, flag string, task any, prepare func(*exec.Cmd)) (*Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	p := &Process{name: name, cmd: exec.CommandContext(ctx, exe, flag, string(arg))}
	p.cmd.Stderr = &p.err
	if prepare != nil {
		prepare(p.cmd)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	p.out.Buffer(nil, maxLine)
	return p, p.cmd.Start()
}

// Next reads the process's next line into v.
func (p *Process) Next(v any) error {
	if !p.out.Scan() {
		if err := p.out.Err(); err != nil {
			return err
		}
		_ = p.cmd.Wait() // for the rest of what it has to say
		text := strings.TrimSpace(p.err.String())
		return fmt.Errorf("the %s ended early: %s", p.name, text[max(0, len(text)-2000):])
	}
	return json.Unmarshal(p.out.Bytes(), v)
}

// Say writes a line to the process.
func (p *Process) Say(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return p.Line(string(b))
}

// Line writes a line to the process that is no JSON.
func (p *Process) Line(s string) error {
	_, err := io.WriteString(p.in, s+"\n")
	return err
}

// End makes the process end, by the end of its standard input, and waits for it.
func (p *Process) End() {
	p.in.Close()
	gone := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer gone.Stop()
	for p.out.Scan() {
	}
	_ = p.cmd.Wait()
}
