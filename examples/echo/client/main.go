// Client sends its arguments to an echo server and prints what comes back.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

func main() {
	url := flag.String("url", "ws://127.0.0.1:8080", "the server's `URL`")
	flag.Parse()
	if err := talk(context.Background(), *url, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func talk(ctx context.Context, url string, messages []string) error {
	conn, _, err := new(negotiate.Dialer).Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	for _, m := range messages {
		if err := conn.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
			return err
		}
		_, p, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%v: %s\n", conn.Bootstrap(), p)
	}
	return conn.Close(ctx, websocket.StatusNormalClosure, "")
}
