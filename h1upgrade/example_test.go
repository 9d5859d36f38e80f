package h1upgrade_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
)

// An echo server, and a client that says one thing to it.
func Example() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := h1upgrade.Accept(w, r, nil)
		if err != nil {
			return // the client has been told why
		}
		defer c.CloseNow()
		for {
			typ, p, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), typ, p); err != nil {
				return
			}
		}
	}))
	defer srv.Close()

	ctx := context.Background()
	c, _, err := h1upgrade.Dial(ctx, strings.Replace(srv.URL, "http", "ws", 1), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	typ, p, err := c.Read(ctx)
	fmt.Println(typ, string(p), err)
	fmt.Println(c.Close(ctx, websocket.StatusNormalClosure, ""))
	// Output:
	// text hello <nil>
	// <nil>
}

// A server's refusal is an error that says what it was.
func ExampleDial_refused() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h1upgrade.Accept(w, r, nil)
	}))
	defer srv.Close()

	_, _, err := h1upgrade.Dial(context.Background(), srv.URL, &websocket.DialOptions{
		Header: http.Header{"Origin": {"https://another.example"}},
	})
	fmt.Println(err)
	// Output: websocket: handshake refused by peer with 403 Forbidden
}
