package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/wsmux/websocket/internal/wstest"
)

// A network is a listener whose connections are made by its own dial, both ends
// at once, so that the faults of either direction belong to the client that
// dialled.
type network struct {
	pair func() (client, server net.Conn, err error)
	addr net.Addr

	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	stop   func() error
}

var _ net.Listener = (*network)(nil)

// loopback returns a network of TCP connections.
func loopback() (*network, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	pair := func() (net.Conn, net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return nil, nil, err
		}
		server, err := ln.Accept()
		if err != nil {
			client.Close()
			return nil, nil, err
		}
		if server.RemoteAddr().String() != client.LocalAddr().String() {
			client.Close()
			server.Close()
			return nil, nil, fmt.Errorf("a stranger at %v", server.RemoteAddr())
		}
		return client, server, nil
	}
	return newNetwork(ln.Addr(), pair, ln.Close), nil
}

// inMemory returns a network of pipes.
func inMemory() *network {
	pair := func() (net.Conn, net.Conn, error) {
		client, server := wstest.Pipe(wstest.PipeOptions{})
		return pipe{client.NetConn(), client}, pipe{server.NetConn(), server}, nil
	}
	return newNetwork(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, pair, func() error { return nil })
}

// A pipe is one end of a connection in memory, with the methods of a TCP
// connection and no more.
type pipe struct {
	net.Conn
	half interface{ CloseWrite() error }
}

// CloseWrite ends the direction of this end.
func (p pipe) CloseWrite() error { return p.half.CloseWrite() }

func newNetwork(addr net.Addr, pair func() (net.Conn, net.Conn, error), stop func() error) *network {
	return &network{pair: pair, addr: addr, conns: make(chan net.Conn), closed: make(chan struct{}), stop: stop}
}

// dial connects a client and hands the server its end. Where nothing is to go
// wrong, both are the connections themselves, with what the bootstraps can do
// with those only.
func (n *network) dial(ctx context.Context, up, down wstest.Faults) (net.Conn, error) {
	client, server, err := n.pair()
	if err != nil {
		return nil, err
	}
	if hasFaults(up) || hasFaults(down) {
		client, server = up.Wrap(client), down.Wrap(server)
	}
	if down.StallAfter > 0 {
		client = hangup{client, server}
	}
	select {
	case n.conns <- server:
		return client, nil
	case <-n.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	client.Close()
	server.Close()
	return nil, err
}

// A hangup is a client's end whose Close ends the stall of what the server
// writes, as the reset would with which the network answers it then.
type hangup struct {
	net.Conn
	server net.Conn
}

// Close closes both ends.
func (h hangup) Close() error { return errors.Join(h.Conn.Close(), h.server.Close()) }

// CloseWrite ends the client's direction.
func (h hangup) CloseWrite() error { return h.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func hasFaults(f wstest.Faults) bool {
	f.Seed = 0
	return f != wstest.Faults{}
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return n.stop()
}

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return n.addr }
