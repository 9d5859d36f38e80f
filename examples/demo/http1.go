package main

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wsmux/websocket/negotiate"
)

// An http1Server is a second origin, on a port of its own, that serves the same
// routes by HTTP/1.1 alone: with it a page can compare what its browser does
// there with what it does on the page's origin.
type http1Server struct {
	*http.Server
	port     int
	shutdown func(context.Context) error
	ended    chan struct{} // closed when serving has ended
}

// serveHTTP1 listens on a free port of host and serves h until shutdown or
// Close.
func serveHTTP1(host string, cert *certificate, c *census, h http.Handler) (*http1Server, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	s := &http1Server{
		Server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       3 * time.Minute,
			ConnContext:       c.connContext,
			Protocols:         new(http.Protocols),
			TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert.tls}},
			ErrorLog:          log.New(io.Discard, "", 0), // browsers that do not trust the certificate
		},
		port:  l.Addr().(*net.TCPAddr).Port,
		ended: make(chan struct{}),
	}
	s.Protocols.SetHTTP1(true)
	s.shutdown = negotiate.Drain(s.Server)
	// The goroutine ends with the server, which owns l.
	go func() {
		defer close(s.ended)
		_ = s.ServeTLS(countingListener{l.(*net.TCPListener), c}, "", "") // ends by shutdown or Close
	}()
	return s, nil
}

// close cuts what is left and waits for the server's end. Sockets are not the
// http.Server's: shutdown with a context that has ended cuts them.
func (s *http1Server) close() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.shutdown(ended)
	_ = s.Server.Close()
	<-s.ended
}

// origin returns the origin of a port on the host by which r came.
func origin(r *http.Request, port int) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return "https://" + net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}
