package carry

import (
	"context"
	"sync/atomic"

	"github.com/wsmux/websocket"
)

// A socket is a channel that is a WebSocket.
type socket struct {
	client  *Client
	options *Options
	conn    *websocket.Conn
	closing atomic.Bool
	ended   chan struct{} // closed by OnClose
}

func (c *Client) openSocket(ctx context.Context, o *Options) (Channel, error) {
	at := c.base.String()
	if o.Name != "" {
		at = c.at("/socket", o.query())
	}
	conn, _, err := c.dial(ctx, at, &websocket.DialOptions{
		Limits: websocket.Limits{PingInterval: -1}, // what is measured pings itself
	})
	if err != nil {
		return nil, err
	}
	s := &socket{client: c, options: o, conn: conn, ended: make(chan struct{})}
	c.account.opened(conn)
	if err := conn.Handle(s); err != nil {
		conn.CloseNow()
		return nil, err
	}
	return s, nil
}

func (s *socket) Send(ctx context.Context, p []byte) error {
	// What the socket counts are frames with their payload: see account.tallies.
	s.client.account.up.add(len(p), -len(p))
	return s.conn.Write(ctx, websocket.MessageText, p)
}

func (s *socket) Ping(ctx context.Context) (bool, error) { return true, s.conn.Ping(ctx) }

func (s *socket) Close(ctx context.Context) error {
	s.closing.Store(true)
	err := s.conn.Close(ctx, websocket.StatusNormalClosure, "")
	<-s.ended
	return err
}

// OnMessage and OnClose make it a websocket.Handler.
func (s *socket) OnMessage(_ *websocket.Conn, _ websocket.MessageType, p []byte) {
	s.client.account.down.add(len(p), -len(p))
	s.options.Received(p)
}

func (s *socket) OnClose(_ *websocket.Conn, err error) {
	close(s.ended)
	if !s.closing.Load() {
		s.options.Ended(err)
	}
}
