package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/wsmux/websocket/internal/wstest"
)

// A contender is something to measure: a server that echoes messages, and the
// client that sends them.
type contender struct {
	about     string // for the report
	transport string // "h1", "h2", "h3", or "raw" without HTTP
	shared    bool   // many sockets share a connection
	websocket bool   // it is a WebSocket: text, compression and broadcasts exist
	env       []string

	// serve starts the server in this process, for as long as that lives.
	serve func(load) (ready, error)

	// client makes the client of a task, which takes as little as possible: what
	// is measured is the server.
	client func(task) client

	// library makes one of this module's public API, for what the other does not
	// do; nil where there is none.
	library func(task) client
}

// clientFor makes the client of a task.
func (c *contender) clientFor(t task) (client, error) {
	switch {
	case t.Load.Reading != "":
		return newNeutral(t), nil
	case !t.Load.Library && !t.Load.Deflate && !t.Load.Compress && t.Load.Bulk == 0:
		return c.client(t), nil
	case c.library == nil:
		return nil, errors.New("no client for this load")
	}
	return c.library(t), nil
}

// A client opens sockets to a contender's server.
type client interface {
	// open opens n sockets, all on one connection if the contender shares
	// connections and conns is 1, else evenly on so many. It calls got with the
	// messages that arrive.
	open(ctx context.Context, n, conns int, got received) ([]socket, error)

	// fetch requests the endless /bulk on a connection that has sockets; nil
	// without error where there is no such thing.
	fetch(ctx context.Context) (io.ReadCloser, error)
}

// A received takes the messages of sockets, each in one or more pieces, of which last
// ends it. i is the socket's number, counted from the first, and p is valid until
// the call returns. Calls for one socket come one at a time.
type received func(i int, p []byte, last bool)

// A socket sends messages. It may be called from within a received.
type socket interface {
	send(p []byte) error
}

// contenders are by name; the files of the families add theirs.
var contenders = make(map[string]*contender)

func add(name string, c *contender) { contenders[name] = c }

// order is that of the report: ours first.
var order = []string{
	"h1 loop", "h1 handler", "h2 loop", "h2 handler", "h3 loop", "h3 handler",
	"gorilla", "coder", "gobwas", "gws",
	"x/net h2", "gRPC", "http3",
	"raw TLS", "raw QUIC",
}

// serverTLS returns the configuration of a server for the given protocols, and
// the certificate to tell the client.
func serverTLS(protocols ...string) (*tls.Config, []byte) {
	config, _ := wstest.Certificates()
	config.NextProtos = protocols
	return config, config.Certificates[0].Certificate[0]
}

// clientTLS returns the configuration of a client that trusts a certificate.
func clientTLS(t task, protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	if cert, err := x509.ParseCertificate(t.Cert); err == nil {
		roots.AddCert(cert)
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: slices.Clone(protocols)}
}

// serveTLS serves h on a port of its own; configure prepares the server.
func serveTLS(h http.Handler, configure func(*http.Server) error, protocols ...string) (ready, error) {
	return serveTLSOn(h, configure, func(l net.Listener) net.Listener { return l }, protocols...)
}

// serveTLSOn is serveTLS with what beneath makes of the listener.
func serveTLSOn(h http.Handler, configure func(*http.Server) error, beneath func(net.Listener) net.Listener, protocols ...string) (ready, error) {
	config, cert := serverTLS(protocols...)
	srv := &http.Server{Handler: h, TLSConfig: config}
	if err := configure(srv); err != nil {
		return ready{}, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ready{}, err
	}
	go srv.ServeTLS(beneath(l), "", "") // ends with the process
	return ready{Addr: l.Addr().String(), Cert: cert}, nil
}

// serveBulk writes until the client has gone: what a download looks like that
// does not end.
func serveBulk(w http.ResponseWriter, r *http.Request) {
	b := make([]byte, 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}
