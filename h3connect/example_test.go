package h3connect_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
)

func Example() {
	ctx := context.Background()
	serverTLS, clientTLS := wstest.Certificates() // yours come from files

	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := new(h3connect.Server)
	go server.Serve(pc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := h3connect.Accept(w, r, nil)
		if err != nil {
			return // the refusal has been sent
		}
		defer c.CloseNow()
		typ, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		_ = c.Write(r.Context(), typ, message)
		_ = c.Close(r.Context(), websocket.StatusNormalClosure, "")
	}), serverTLS)
	defer server.Shutdown(ctx)

	transport := &h3connect.Transport{TLSClientConfig: clientTLS}
	defer transport.Close()
	c, _, err := transport.Dial(ctx, "wss://"+pc.LocalAddr().String()+"/", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	_, message, err := c.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Bootstrap(), string(message))
	// Output: HTTP/3 hello
}
