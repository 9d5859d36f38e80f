package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/interop/compare/carry"
	"github.com/wsmux/websocket/interop/compare/network"
	"github.com/wsmux/websocket/interop/internal/child"
	"github.com/wsmux/websocket/negotiate"
)

// shutdownTime is how long a server that is shut down waits for its clients.
const shutdownTime = 250 * time.Millisecond

// A census is what a server counts of its connections.
type census struct {
	connections, handshakes atomic.Int64
}

func (c *census) hello(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.handshakes.Add(1)
	return nil, nil
}

// A countingListener counts the connections it accepts.
type countingListener struct {
	net.Listener
	census *census
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.census.connections.Add(1)
	}
	return c, err
}

// serveTask is a server process: it serves until it is told to shut down, or its
// standard input ends.
func serveTask(t task, control *control) error {
	key, err := x509.ParseECPrivateKey(t.Key)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	if t.Link != nil {
		lc.Control = network.SetCongestion
	}
	l, pc, err := listen(lc, t.Listen)
	if err != nil {
		return err
	}
	census := new(census)
	srv := &negotiate.Server{
		Handler: carry.NewServer().Handler(),
		TLSConfig: &tls.Config{
			Certificates:       []tls.Certificate{{Certificate: [][]byte{t.Cert}, PrivateKey: key}},
			GetConfigForClient: census.hello,
		},
		HTTP3: &h3connect.Server{ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
			census.connections.Add(1)
			return ctx
		}},
	}
	served := make(chan error, 1)
	// The goroutine serves until the server is shut down; it owns l and pc.
	go func() { served <- srv.ServeTLS(countingListener{l, census}, pc, "", "") }()
	if err := control.out.Encode(ready{l.Addr().String()}); err != nil {
		return err
	}
	for {
		var q question
		if err := control.next(&q); err != nil {
			srv.Close()
			<-served
			return nil // the run is over
		}
		if q.Do == askRestart {
			ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
			defer cancel()
			_ = srv.Shutdown(ctx) // who has not gone by then is cut
			<-served
			return nil
		}
		if err := control.out.Encode(usageNow(q.Do == askMemory, census)); err != nil {
			return err
		}
	}
}

// listen listens on TCP and UDP ports of the same number.
func listen(lc net.ListenConfig, addr string) (l net.Listener, pc net.PacketConn, err error) {
	for range 8 { // a port that is free for one may not be for the other
		if l, err = lc.Listen(context.Background(), "tcp", addr); err != nil {
			return nil, nil, err
		}
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, pc, nil
		}
		l.Close()
	}
	return nil, nil, errors.Join(errors.New("no port is free for both TCP and UDP"), err)
}

func usageNow(collect bool, c *census) usage {
	if collect {
		debug.FreeOSMemory()
	}
	u := usage{CPU: child.CPUTime(), RSS: child.Resident(), Goroutines: runtime.NumGoroutine()}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap = int64(m.HeapInuse)
	u.Connections, u.Handshakes = int(c.connections.Load()), int(c.handshakes.Load())
	return u
}
