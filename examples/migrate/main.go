// Program migrate is a chat on gorilla/websocket, written for HTTP/1.1 alone, that
// two lines have made multiplexed: a browser's sockets travel on the HTTP/2
// connection that the page came by.
//
//	go run . -cert cert.pem -key key.pem
//
// A certificate for trying it out:
//
//	go run "$(go env GOROOT)/src/crypto/tls/generate_cert.go" -host localhost
//
// chat.go is as it was before. What has changed is in newServer.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/negotiate"
)

func main() {
	addr := flag.String("addr", "localhost:8443", "`host:port` to listen on")
	cert := flag.String("cert", "cert.pem", "file with the certificate")
	key := flag.String("key", "key.pem", "file with its key")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	srv, err := newServer(*addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("chat on https://%s", *addr)
	log.Fatal(srv.ListenAndServeTLS(*cert, *key))
}

// newServer returns the chat's server.
func newServer(addr string) (*http.Server, error) {
	room := newRoom()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /chat", room.serve)
	srv := &http.Server{Addr: addr, Handler: mux}

	// These are the two lines.
	srv.Handler = negotiate.Bridge(srv.Handler)
	return srv, h2connect.ConfigureServer(srv, nil)
}
