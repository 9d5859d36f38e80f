// The server of the README.
package main

import (
	"log"
	"net/http"

	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/negotiate"
)

func main() {
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := negotiate.Accept(w, r, nil)
		if err != nil {
			return // refused; the response is written
		}
		defer conn.CloseNow()
		for {
			t, p, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			conn.Write(r.Context(), t, p)
		}
	})
	srv := &negotiate.Server{Addr: ":8443", HTTP3: &h3connect.Server{}}
	log.Fatal(srv.ListenAndServeTLS("cert.pem", "key.pem"))
}
