package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/wsmux/websocket/interop/compare/network"
	"github.com/wsmux/websocket/interop/compare/result"
)

// An end is a process's end of a link: the process starts in a network namespace of
// its own, makes a device there, and passes its other side to the coordinator over
// file passOver.
type end struct{ IP net.IP }

const passOver = 3 // the first of a process's extra files

// congestion is TCP's congestion control on links where the kernel has it: what
// most kernels use, and quic-go.
const congestion = "cubic"

func (e *end) attach() error {
	network.Congestion(congestion)
	f, err := network.Attach(e.IP)
	if err != nil {
		return err
	}
	defer f.Close() // the coordinator has it then
	over := os.NewFile(passOver, "pair")
	defer over.Close()
	return network.Pass(over, f)
}

func namespace() *syscall.SysProcAttr { return network.Namespace() }

// A wire is the cable of one run. It is laid when both its ends are there.
type wire struct {
	link  network.Link
	mu    sync.Mutex
	ends  []*os.File
	cable *network.Cable
}

// lay returns a wire without ends.
func lay(l link) (*wire, error) {
	return &wire{link: network.Link{Delay: l.RTT / 2, Loss: l.Loss, Rate: l.Rate}}, nil
}

// spawn starts a process at an end of the wire.
func (w *wire) spawn(ctx context.Context, t task) (*child, error) {
	ours, theirs, err := network.Pair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	c, err := spawn(ctx, t, theirs)
	theirs.Close()
	if err != nil {
		return nil, err
	}
	f, err := network.Receive(ours)
	if err != nil {
		var none ready
		if e := c.next(&none); e != nil {
			err = e // why it has gone
		}
		c.end()
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, f)
	if len(w.ends) == 2 {
		w.cable = network.Connect(w.ends[0], w.ends[1], w.link)
	}
	return c, nil
}

// cut takes the wire away.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cable != nil {
		w.cable.Close()
		return
	}
	for _, f := range w.ends {
		f.Close()
	}
}

// describe says what a link is made of.
func (c *coordinator) describe(l link) result.Network {
	return result.Network{
		Kind: result.Namespaces,
		Detail: fmt.Sprintf("Two network namespaces, with a TUN device each; between them this tool delays packets by half the round trip time each way, drops some at random, and lets through %g Mbit/s each way with a queue of 50 ms or 32 KiB. TCP's congestion control is %s where the kernel has it, quic-go's always.",
			float64(l.Rate)/1e6, congestion),
	}
}
