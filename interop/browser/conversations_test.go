//go:build unix

package browser

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wsmux/websocket"
)

// echo sends every message back until the socket ends.
func echo(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, kind, p); err != nil {
			return err
		}
	}
}

// closeAsAsked closes with the code and the reason of the query.
func closeAsAsked(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil {
		return err
	}
	return c.Close(ctx, websocket.StatusCode(code), r.URL.Query().Get("reason"))
}

// closeAtMessage closes while the page does.
func closeAtMessage(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	if _, _, err := c.Read(ctx); err != nil {
		return err
	}
	return c.Close(ctx, 4002, "server")
}

// cut ends the socket without a word, when it has had one.
func cut(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	if _, _, err := c.Read(ctx); err != nil {
		return err
	}
	return c.CloseNow()
}

// tellQuery sends the query of the handshake.
func tellQuery(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	if err := c.Write(ctx, websocket.MessageText, []byte(r.URL.RawQuery)); err != nil {
		return err
	}
	return c.Close(ctx, websocket.StatusNormalClosure, "")
}

// tellCookies sends the Cookie field of the handshake.
func tellCookies(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	if err := c.Write(ctx, websocket.MessageText, []byte(r.Header.Get("Cookie"))); err != nil {
		return err
	}
	return c.Close(ctx, websocket.StatusNormalClosure, "")
}

// pings sends Pings, each of which returns when its Pong is here.
func pings(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	const n = 10
	start := time.Now()
	for range n {
		if err := c.Ping(ctx); err != nil {
			return err
		}
	}
	took := (time.Since(start) / n).Round(10 * time.Microsecond)
	if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%d pongs, %v each", n, took)); err != nil {
		return err
	}
	return c.Close(ctx, websocket.StatusNormalClosure, "")
}

// fragments sends each message back in fragments of 20,000 bytes and an empty one,
// with Pings between them.
func fragments(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		w, err := c.Writer(ctx, kind)
		if err != nil {
			return err
		}
		for piece := range slices.Chunk(p, 20_000) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
			if err := c.Ping(ctx); err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}

// order sends numbered messages while it reads the page's.
func order(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	n, err := strconv.Atoi(r.URL.Query().Get("messages"))
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { // ends with the socket at the latest
		for i := range n {
			if err := c.Write(ctx, websocket.MessageText, strconv.AppendInt(nil, int64(i), 10)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		_, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if string(p) != strconv.Itoa(i) {
			return c.Close(ctx, websocket.StatusInternalError, fmt.Sprintf("%q in the place of %d", p, i))
		}
	}
	if err := <-sent; err != nil {
		return err
	}
	return c.Close(ctx, websocket.StatusNormalClosure, fmt.Sprintf("%d in order", n))
}

// stalled reads nothing until the page asks for it, then everything.
func (s *site) stalled(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	select {
	case <-s.release:
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	total := 0
	for range 32 {
		_, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		total += len(p)
	}
	if err := c.Write(ctx, websocket.MessageText, strconv.AppendInt(nil, int64(total), 10)); err != nil {
		return err
	}
	return c.Close(ctx, websocket.StatusNormalClosure, "")
}
