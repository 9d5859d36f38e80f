package h2connect_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
)

// A server whose handlers are served by the engine, and a client whose socket
// and ordinary request share a connection. Without TLS, for the example's sake,
// both sides have to be told that they speak HTTP/2.
func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		c, err := h2connect.Accept(w, r, nil)
		if err != nil {
			return // the refusal has been written
		}
		t, p, err := c.Read(r.Context())
		if err == nil {
			c.Write(r.Context(), t, p)
		}
		// Returning closes the socket with status 1000.
	})
	srv := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	if err := h2connect.ConfigureServer(srv, nil); err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(ln)

	ctx := context.Background()
	t := &h2connect.Transport{AllowHTTP: true}
	c, _, err := t.Dial(ctx, "ws://"+ln.Addr().String()+"/echo", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Write(ctx, websocket.MessageText, []byte("over a stream"))
	_, p, err := c.Read(ctx)
	fmt.Println(string(p), err, c.Bootstrap())

	resp, err := (&http.Client{Transport: t}).Get("http://" + ln.Addr().String() + "/hello")
	if err != nil {
		fmt.Println(err)
		return
	}
	p, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	fmt.Println(string(p), resp.Proto)

	fmt.Println(c.Close(ctx, websocket.StatusNormalClosure, ""))
	t.CloseIdleConnections()
	fmt.Println(srv.Shutdown(ctx))
	// Output:
	// over a stream <nil> HTTP/2
	// hello HTTP/2.0
	// <nil>
	// <nil>
}
