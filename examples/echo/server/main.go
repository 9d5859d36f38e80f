// Server echoes what sockets send it: ws:// without flags, over HTTP/1.1 and
// cleartext HTTP/2, and wss:// with a certificate.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"

	"github.com/wsmux/websocket/negotiate"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on")
	cert := flag.String("cert", "", "PEM `file` with a certificate; none: no TLS")
	key := flag.String("key", "", "PEM `file` with its key")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("echoing on %v", l.Addr())
	srv := &negotiate.Server{Handler: http.HandlerFunc(echo)}
	if *cert == "" {
		log.Fatal(srv.Serve(l))
	}
	log.Fatal(srv.ServeTLS(l, nil, *cert, *key))
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
