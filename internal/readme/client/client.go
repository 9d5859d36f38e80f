// Package client is the clients of the README, and its one-line switch.
package client

import (
	"context"
	"fmt"
	"net/http"

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
