package negotiate_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
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

// A handler that knows HTTP/1.1 only, as those of older libraries do, with a client
// that comes by HTTP/2.
func ExampleBridge() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("the handler sees", r.Method, "by", r.Proto, "with Upgrade:", r.Header.Get("Upgrade"))
		conn, err := h1upgrade.Accept(w, r, nil) // or gorilla's Upgrade, coder's Accept, …
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.Write(r.Context(), websocket.MessageText, []byte("hello"))
		conn.Close(r.Context(), websocket.StatusNormalClosure, "")
	})
	srv := &negotiate.Server{Handler: negotiate.Bridge(mux), UnencryptedHTTP2: true}
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(l)

	ctx := context.Background()
	dialer := &negotiate.Dialer{Policy: negotiate.Only(websocket.HTTP2)}
	defer dialer.Close()
	conn, _, err := dialer.Dial(ctx, "ws://"+l.Addr().String()+"/ws", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	_, p, err := conn.Read(ctx)
	fmt.Printf("the client reads %s over %v, %v\n", p, conn.Bootstrap(), err)
	// Output:
	// the handler sees GET by HTTP/1.1 with Upgrade: websocket
	// the client reads hello over HTTP/2, <nil>
}

// A proxy with HTTP/1.1 and HTTP/2 in front, whose clients share a connection to a
// backend over HTTP/2.
func ExampleReverseProxy() {
	backend := &negotiate.Server{Handler: http.HandlerFunc(echoHandler), UnencryptedHTTP2: true}
	defer backend.Close()
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go backend.Serve(behind)

	target := &url.URL{Scheme: "http", Host: behind.Addr().String()}
	toBackend := &negotiate.Dialer{Policy: negotiate.Prefer(websocket.HTTP2)}
	defer toBackend.Close()
	ended := make(chan negotiate.ProxyEvent, 1)
	proxy := &negotiate.Server{UnencryptedHTTP2: true, Handler: &negotiate.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			pr.SetXForwarded()
		},
		Dialer: toBackend,
		Observer: func(e negotiate.ProxyEvent) {
			if e.Ended {
				ended <- e
			}
		},
	}}
	defer proxy.Close()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go proxy.Serve(front)

	ctx := context.Background()
	client := &negotiate.Dialer{Policy: negotiate.Only(websocket.HTTP1)}
	conn, _, err := client.Dial(ctx, "ws://"+front.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	conn.Write(ctx, websocket.MessageText, []byte("hello"))
	_, p, err := conn.Read(ctx)
	fmt.Printf("%s, %v\n", p, err)
	fmt.Println(conn.Close(ctx, websocket.StatusNormalClosure, ""))
	e := <-ended
	fmt.Println(e.Front, "in front,", e.Back, "behind, ended with", e.Err)
	// Output:
	// hello, <nil>
	// <nil>
	// HTTP/1.1 in front, HTTP/2 behind, ended with <nil>
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
