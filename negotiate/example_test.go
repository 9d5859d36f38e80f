package negotiate_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

func echoHandler(w http.ResponseWriter, r *http.Request) {
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
}

// A server and a client of its own, without TLS.
func ExampleAccept() {
	srv := &negotiate.Server{Handler: http.HandlerFunc(echoHandler), UnencryptedHTTP2: true}
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(l)

	ctx := context.Background()
	dialer := &negotiate.Dialer{Policy: negotiate.Prefer(websocket.HTTP2)}
	conn, _, err := dialer.Dial(ctx, "ws://"+l.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	_, p, err := conn.Read(ctx)
	fmt.Printf("%s over %v, %v\n", p, conn.Bootstrap(), err)
	fmt.Println(conn.Close(ctx, websocket.StatusNormalClosure, ""))
	// Output:
	// hello over HTTP/2, <nil>
	// <nil>
}
