package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/wsmux/websocket/interop/compare/network"
	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/child"
)

// An end is a process's end of a link: the process starts in a network namespace of
// its own, makes a device there, and passes its other side to the coordinator over
// file passOver.
type end struct{ IP net.IP }

const passOver = 3 // the first of a process's extra files

func (e *end) attach() error {
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

// A wire is the link of one run: a cable, laid when both its ends are there, or a
// proxy where there is no right to network namespaces.
type wire struct {
	link    network.Link
	imitate bool

	mu    sync.Mutex
	ends  []*os.File
	cable *network.Cable
	proxy *network.Proxy
}

func lay(l link, imitate bool) *wire {
	return &wire{link: network.Link{Delay: l.RTT / 2, Loss: l.Loss, Rate: l.Rate}, imitate: imitate}
}

// at gives the tasks their places at the link.
func (w *wire) at(server, client *task) {
	if !w.imitate {
		server.Listen = net.JoinHostPort(serverIP.String(), "443")
		server.Link, client.Link = &end{IP: serverIP}, &end{IP: clientIP}
	}
}

// front returns where clients reach a server that listens at addr.
func (w *wire) front(addr string) (string, error) {
	if !w.imitate {
		return addr, nil
	}
	var err error
	if w.proxy, err = network.NewProxy(addr, w.link); err != nil {
		return "", err
	}
	return w.proxy.Addr(), nil
}

// spawn starts a process, at an end of the cable if there is one.
func (w *wire) spawn(ctx context.Context, t task) (*child.Process, error) {
	if t.Link == nil {
		return spawn(ctx, t)
	}
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
		if e := c.Next(&none); e != nil {
			err = e // why it has gone
		}
		c.End()
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
	switch {
	case w.proxy != nil:
		w.proxy.Close()
	case w.cable != nil:
		w.cable.Close()
	default:
		for _, f := range w.ends {
			f.Close()
		}
	}
}

// probe finds out whether links can be had. If not, they are imitated.
func (c *coordinator) probe(ctx context.Context) {
	if c.imitate != "" {
		return
	}
	w := lay(link{}, false)
	defer w.cut()
	p, err := w.spawn(ctx, task{Role: "probe", Link: &end{IP: clientIP}})
	if err == nil {
		defer p.End()
		var works ready
		err = p.Next(&works)
	}
	if err != nil && ctx.Err() == nil {
		c.imitate = err.Error()
	}
}

// describe says what a link is made of.
func (c *coordinator) describe(l link) result.Network {
	if c.imitate != "" {
		return result.Network{
			Kind: result.Shaped,
			Detail: fmt.Sprintf("An imitation in one process, for want of network namespaces (%s): a proxy delays datagrams and the bytes of TCP by half the round trip time each way, and lets through %g Mbit/s each way. A share of the datagrams is lost, as for QUIC on a true network. Of TCP the same share of pieces of 1448 bytes, and all behind them, come a round trip later, as after a fast retransmission; its congestion control sees no loss. Figures for TCP are therefore better than on a true network.",
				c.imitate, float64(l.Rate)/1e6),
		}
	}
	return result.Network{
		Kind: result.Namespaces,
		Detail: fmt.Sprintf("Two network namespaces, with a TUN device each; between them this tool delays packets by half the round trip time each way, drops some at random, and lets through %g Mbit/s each way with a queue of 50 ms, at least 32 KiB. Congestion control is %s, TCP's as quic-go's.",
			float64(l.Rate)/1e6, network.Congestion),
	}
}

// probe is a probe's process: it has attached already, and looks whether a TCP
// connection can have the congestion control.
func probe() error {
	l, err := (&net.ListenConfig{Control: network.SetCongestion}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	return json.NewEncoder(os.Stdout).Encode(ready{l.Addr().String()})
}
