// Package client is the client of the README, and its one-line switch.
package client

import (
	"context"
	"fmt"
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
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

// Switch puts the HTTP/2 engine into an http.Server.
func Switch(srv *http.Server) error {
	err := h2connect.ConfigureServer(srv, nil)
	return err
}
