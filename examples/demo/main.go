// Demo serves WebSockets over HTTP/1.1, HTTP/2 and HTTP/3 on one port, beside
// ordinary requests, and shows what they share.
//
//	go run ./examples/demo
//
// It first checks its own server with the library's client: for each bootstrap
// it opens sockets, echoes messages while ordinary requests go through the same
// client, compares every byte, and prints how many transport connections and
// handshakes that took by the server's count. Then it serves a page on which a
// browser does the same by hand and, in a second tab, compares what sockets cost
// there with what they cost by HTTP/1.1 alone, which the server has on a further
// port. Its certificate is made at each start and never leaves memory.
//
// With -once it ends after the check, with status 1 if anything failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The limits of the flags. HTTP/3 clients of this library open a second
// connection for more sockets than maxSockets and the requests beside them.
const (
	maxSockets  = 64
	maxMessages = 100_000
	maxRequests = 100_000
)

// options are the command line.
type options struct {
	addr string
	once bool
	json bool
	plan plan
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.addr, "addr", "127.0.0.1:8443", "`host:port` to listen on, TCP and UDP; port 0 for a free one")
	f.IntVar(&o.plan.sockets, "sockets", 8, fmt.Sprintf("sockets opened at once for each bootstrap, 1 to %d", maxSockets))
	f.IntVar(&o.plan.messages, "messages", 48, "messages echoed on each socket")
	f.IntVar(&o.plan.requests, "requests", 64, "ordinary requests sent beside them")
	f.BoolVar(&o.once, "once", false, "end after the check, with status 1 if anything failed")
	f.BoolVar(&o.json, "json", false, "print the check's figures as JSON, and everything else on stderr")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	err := errors.Join(
		within("sockets", o.plan.sockets, maxSockets),
		within("messages", o.plan.messages, maxMessages),
		within("requests", o.plan.requests, maxRequests),
	)
	if f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		f.Usage()
	}
	return o, err
}

func within(name string, n, limit int) error {
	if n < 1 || n > limit {
		return fmt.Errorf("-%s must be from 1 to %d, not %d", name, limit, n)
	}
	return nil
}

// run is the program: it returns the exit status. ctx ends with Ctrl-C.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	ok, err := demonstrate(ctx, o, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
	}
	if err != nil || !ok {
		return 1
	}
	return 0
}

// demonstrate serves, checks and reports, and then serves on until ctx ends,
// unless o says once. ok is the outcome of the check if o says once.
func demonstrate(ctx context.Context, o *options, stdout, stderr io.Writer) (ok bool, err error) {
	host, _, err := net.SplitHostPort(o.addr)
	if err != nil {
		return false, fmt.Errorf("-addr must be host:port, such as 127.0.0.1:0: %w", err)
	}
	cert, err := newCertificate(host)
	if err != nil {
		return false, err
	}
	s, err := serve(o.addr, cert, routes)
	if err != nil {
		return false, err
	}
	defer s.close()

	c := &checker{server: s, cert: cert, plan: o.plan, progress: newProgress(stderr)}
	r := c.check(ctx)
	if ctx.Err() != nil {
		return false, errors.New("interrupted")
	}
	notes := stdout
	if o.json {
		notes = stderr
		err = r.writeJSON(stdout)
	} else {
		err = r.writeTable(stdout)
	}
	if err != nil || o.once {
		return r.OK, err
	}
	if err := writeInvitation(notes, s, cert); err != nil {
		return false, err
	}
	return true, s.serveUntil(ctx, notes)
}

// farewell is how long closing may take after Ctrl-C.
const farewell = 10 * time.Second

// serveUntil waits for ctx to end, or the server, and closes the server.
func (s *server) serveUntil(ctx context.Context, notes io.Writer) error {
	select {
	case <-s.ended:
		return fmt.Errorf("the server has ended: %w", s.err)
	case <-ctx.Done():
	}
	open := s.census.now()
	fmt.Fprintf(notes, "\nclosing: status 1001 (going away) to %d sockets, GOAWAY on %d TCP and %d QUIC connections\n",
		open.Sockets, open.TCP, open.QUIC)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := s.shutdown(ctx); err != nil {
		fmt.Fprintf(notes, "closed, though not everybody answered: %v\n", err)
		return nil
	}
	fmt.Fprintln(notes, "closed")
	return nil
}
