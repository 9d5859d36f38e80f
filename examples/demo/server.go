package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/negotiate"
)

// A server is a negotiate.Server that listens, and the census of who talks to
// it.
type server struct {
	*negotiate.Server
	census *census
	addr   *net.TCPAddr
	noUDP  error // why there is no HTTP/3, nil if there is
	http1  *http1Server

	ended chan struct{} // closed when serving has ended,
	err   error         // with this error
}

// serve listens on addr, TCP and UDP, and serves what routes returns until
// shutdown or close, by HTTP/1.1 alone on a port of its own too. Where UDP is not to be had it serves without HTTP/3.
func serve(addr string, cert *certificate, routes func(*census) http.Handler) (*server, error) {
	l, pc, udpErr, err := listen(addr)
	if err != nil {
		return nil, err
	}
	c := newCensus()
	handler := routes(c)
	c.port = l.Addr().(*net.TCPAddr).Port
	http1, err := serveHTTP1(l.Addr().(*net.TCPAddr).IP.String(), cert, c, handler)
	if err != nil {
		l.Close()
		if pc != nil {
			pc.Close()
		}
		return nil, err
	}
	c.http1Port = http1.port
	s := &server{
		Server: &negotiate.Server{
			TLSConfig: &tls.Config{
				Certificates:       []tls.Certificate{cert.tls},
				GetConfigForClient: c.handshake,
			},
			Handler:     handler,
			ConnContext: c.connContext,
		},
		census: c,
		addr:   l.Addr().(*net.TCPAddr),
		noUDP:  udpErr,
		http1:  http1,
		ended:  make(chan struct{}),
	}
	if pc != nil {
		s.HTTP3 = &h3connect.Server{ConnContext: c.quicContext}
	}
	// The goroutine ends with the server, which owns l and pc.
	go func() {
		defer close(s.ended)
		s.err = s.ServeTLS(countingListener{l, c}, pc, "", "")
	}()
	return s, nil
}

// freePorts is how often a port that is free on TCP, but not on UDP, is given
// back for another one.
const freePorts = 8

// listen opens a TCP listener on addr and a UDP socket on the same port, or says
// in udpErr why it has none.
func listen(addr string) (l *net.TCPListener, pc net.PacketConn, udpErr, err error) {
	for range freePorts {
		nl, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, nil, explainListen(addr, err)
		}
		l = nl.(*net.TCPListener)
		pc, udpErr = net.ListenPacket("udp", l.Addr().String())
		if udpErr == nil || !isPortZero(addr) {
			break
		}
		l.Close()
		l = nil
	}
	if l == nil {
		return nil, nil, nil, fmt.Errorf("found no port that is free for both TCP and UDP: %w", udpErr)
	}
	return l, pc, udpErr, nil
}

func isPortZero(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && (port == "0" || port == "")
}

// explainListen adds to the error of a listener what to do about it.
func explainListen(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use, perhaps by another run of this demo.\n"+
			"End that, or choose a free port with -addr 127.0.0.1:0", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s needs rights that this user does not have.\n"+
			"Choose a free port with -addr 127.0.0.1:0", addr)
	}
	return fmt.Errorf("%w\nGive -addr a host and a port of this machine, such as 127.0.0.1:0", err)
}

// host returns the host and port under which this machine's programs reach the
// server.
func (s *server) host() string {
	a := *s.addr
	if a.IP.IsUnspecified() {
		a.IP = net.IPv4(127, 0, 0, 1)
	}
	return a.String()
}

// close cuts what is left and waits for the server's end.
func (s *server) close() {
	s.Close()
	s.http1.close()
	<-s.ended
}

// shutdown closes the server in an orderly way: 1001 to every socket.
func (s *server) shutdown(ctx context.Context) error {
	http1 := make(chan error, 1)
	go func() { http1 <- s.http1.shutdown(ctx) }() // ends with ctx at the latest
	err := errors.Join(s.Shutdown(ctx), <-http1)
	<-s.http1.ended
	<-s.ended
	if !errors.Is(s.err, http.ErrServerClosed) {
		err = errors.Join(err, s.err)
	}
	return err
}
