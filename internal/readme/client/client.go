// Package client is the README's code but for its server.
package client

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/negotiate"
)

// Hello is the README's client.
func Hello(ctx context.Context) error {
	dialer := &negotiate.Dialer{}
	conn, _, err := dialer.Dial(ctx, "wss://example.com/ws", nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return err
	}
	_, p, err := conn.Read(ctx)
	if err == nil {
		fmt.Printf("%s\n", p)
	}
	return err
}

// Share is the README's page and socket on one connection.
func Share(ctx context.Context, dialer *negotiate.Dialer) error {
	client := &http.Client{Transport: dialer}
	resp, err := client.Get("https://example.com/page")
	if err != nil {
		return err
	}
	resp.Body.Close()
	conn, _, err := dialer.Dial(ctx, "wss://example.com/ws", nil) // no new connection
	if err == nil {
		conn.CloseNow()
	}
	return err
}

// Choose is the README's Dialer with a policy.
func Choose() *negotiate.Dialer {
	dialer := &negotiate.Dialer{
		HTTP3:  &h3connect.Transport{},
		Policy: negotiate.Prefer(websocket.HTTP3), // or Only(websocket.HTTP2, websocket.HTTP1)
	}
	return dialer
}

// Reconnect is the README's socket that comes back.
func Reconnect(ctx context.Context, dialer *negotiate.Dialer, handle func([]byte)) error {
	r := &negotiate.Reconnector{URL: "wss://example.com/ws", Dialer: dialer}
	return r.Run(ctx, func(ctx context.Context, conn *websocket.Conn) error {
		for {
			_, p, err := conn.Read(ctx)
			if err != nil {
				return err // dials again; nil would end Run
			}
			handle(p)
		}
	})
}

// Switch puts the HTTP/2 engine into an http.Server.
func Switch(srv *http.Server) error {
	err := h2connect.ConfigureServer(srv, nil)
	return err
}

// Migrate serves handlers written for HTTP/1.1 over HTTP/2 too.
func Migrate(srv *http.Server) {
	srv.Handler = negotiate.Bridge(srv.Handler)
}

// Drain returns what ends a server with its sockets.
func Drain(srv *http.Server) func(context.Context) error {
	shutdown := negotiate.Drain(srv)
	return shutdown
}

// Proxy is the README's reverse proxy.
func Proxy(backend *url.URL) http.Handler {
	proxy := &negotiate.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(backend) },
	}
	return proxy
}

type echo struct{}

func (echo) OnMessage(conn *websocket.Conn, t websocket.MessageType, p []byte) {
	conn.Write(context.Background(), t, p)
}

func (echo) OnClose(*websocket.Conn, error) {}

// Handle is the README's socket without a goroutine.
func Handle(conn *websocket.Conn) error {
	err := conn.Handle(echo{}) // OnMessage(conn, t, p) and OnClose(conn, err)
	return err
}
