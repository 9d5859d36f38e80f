// Server echoes what sockets send it, over HTTP/1.1 and cleartext HTTP/2.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/wsmux/websocket/negotiate"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("echoing on %v", l.Addr())
	srv := &negotiate.Server{Handler: http.HandlerFunc(echo), UnencryptedHTTP2: true}
	log.Fatal(srv.Serve(l)) // or ServeTLS, with a certificate
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := negotiate.Accept(w, r, nil)
	if err != nil {
		return // refused, and answered with the reason
	}
	defer conn.CloseNow()
	for {
		t, p, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), t, p) != nil {
			return // closed, by either side
		}
	}
}
