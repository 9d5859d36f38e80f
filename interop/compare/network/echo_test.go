package network

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// An echo is a server that returns what it gets, by TCP and UDP.
type echo struct {
	l       net.Listener
	pc      net.PacketConn
	running sync.WaitGroup
}

func newEcho() (*echo, error) {
	e := new(echo)
	var err error
	for range 8 {
		if e.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		if e.pc, err = net.ListenPacket("udp", e.l.Addr().String()); err == nil {
			break
		}
		e.l.Close()
	}
	if err != nil {
		return nil, err
	}
	e.running.Go(func() {
		for {
			c, err := e.l.Accept()
			if err != nil {
				return
			}
			e.running.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	e.running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := e.pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = e.pc.WriteTo(buf[:n], from)
		}
	})
	return e, nil
}

func (e *echo) addr() string { return e.l.Addr().String() }

func (e *echo) close() {
	e.l.Close()
	e.pc.Close()
	e.running.Wait()
}

// exchange sends bytes by TCP, ends its direction and returns what comes back.
func exchange(addr string, p []byte) ([]byte, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	sent := make(chan error, 1)
	go func() { // ends with the connection
		_, err := c.Write(p)
		sent <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	return got, errors.Join(err, <-sent)
}

// datagrams sends n datagrams, one at a time, and returns how many come back.
func datagrams(addr string, n int) (back int, err error) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for range n {
		if _, err := c.Write([]byte("datagram")); err != nil {
			return back, err
		}
	}
	buf := make([]byte, 64)
	for {
		// What has not come for this long was lost.
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return back, err
		}
		if _, err := c.Read(buf); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil
			}
			return back, err
		}
		back++
	}
}
