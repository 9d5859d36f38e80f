package negotiate_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

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

// A page, and a socket on the connection that the page came by.
func ExampleDialer_RoundTrip() {
	srv := &negotiate.Server{UnencryptedHTTP2: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			echoHandler(w, r)
			return
		}
		fmt.Fprint(w, "the page came by ", r.Proto)
	})}
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(l)

	dialer := &negotiate.Dialer{Policy: negotiate.Prefer(websocket.HTTP2)}
	defer dialer.Close()
	client := &http.Client{Transport: dialer}
	resp, err := client.Get("http://" + l.Addr().String() + "/page")
	if err != nil {
		fmt.Println(err)
		return
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	fmt.Printf("%s\n", page)
	conn, resp, err := dialer.Dial(context.Background(), "ws://"+l.Addr().String()+"/ws", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	for _, a := range negotiate.Attempts(resp) {
		fmt.Println("the socket by", a.Bootstrap, a.Err)
	}
	// Output:
	// the page came by HTTP/2.0
	// the socket by HTTP/2 <nil>
}

// A socket that comes back after the server has closed it.
func ExampleReconnector() {
	srv := &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := negotiate.Accept(w, r, nil)
		if err != nil {
			return
		}
		conn.Write(r.Context(), websocket.MessageText, []byte("hello"))
		conn.Close(r.Context(), websocket.StatusServiceRestart, "")
	})}
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(l)

	sockets := 0
	r := &negotiate.Reconnector{URL: "ws://" + l.Addr().String(), MinDelay: time.Millisecond}
	err = r.Run(context.Background(), func(ctx context.Context, conn *websocket.Conn) error {
		sockets++
		for {
			_, p, err := conn.Read(ctx)
			if err != nil && sockets == 3 {
				return nil // enough
			}
			if err != nil {
				return err
			}
			fmt.Printf("socket %d: %s\n", sockets, p)
		}
	})
	fmt.Println(err)
	// Output:
	// socket 1: hello
	// socket 2: hello
	// socket 3: hello
	// <nil>
}

// A plain http.Server that says goodbye to its sockets, and an Observer that hears
// of it.
func ExampleDrain() {
	closed := make(chan string, 1)
	observer := &negotiate.Observer{
		Closed: func(_ context.Context, s negotiate.SocketInfo, e negotiate.SocketEnd) {
			closed <- fmt.Sprint(s.Bootstrap, " closed with ", e.Err.Code, " after ", e.Stats.MessagesRead, " message")
		},
	}
	srv := &http.Server{Handler: negotiate.Observe(http.HandlerFunc(echoHandler), observer)}
	shutdown := negotiate.Drain(srv)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(l)

	ctx := context.Background()
	conn, _, err := new(negotiate.Dialer).Dial(ctx, "ws://"+l.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	conn.Write(ctx, websocket.MessageText, []byte("hello"))
	conn.Read(ctx)
	down := make(chan error)
	go func() { down <- shutdown(ctx) }()
	_, _, err = conn.Read(ctx)
	fmt.Println(err)
	fmt.Println(<-down)
	fmt.Println(<-closed)
	// Output:
	// websocket: closed by peer with status 1001
	// <nil>
	// HTTP/1.1 closed with 1001 after 1 message
}
