package carry

import (
	"context"
	"net/url"
	"strings"
	"time"
)

// A Channel carries messages both ways. Its methods may be called from any
// goroutine.
type Channel interface {
	// Send sends a text message without newlines. It returns when the message is
	// on its way, or waits behind others that are; a failure later on ends the
	// channel. p is not used afterwards.
	Send(ctx context.Context, p []byte) error

	// Ping makes a round trip at once where the transport has a frame for that,
	// and returns false where it has none: then the server sends heartbeats.
	Ping(ctx context.Context) (bool, error)

	// Close ends the channel in an orderly way, if it has not ended. Messages that
	// were sent and have not come back may be lost.
	Close(ctx context.Context) error
}

// Options say how to open a channel.
type Options struct {
	// Name tells the channel from the client's and server's others. A socket
	// without a name is opened at the client's URL itself, of whatever server.
	Name string

	// Room is where its messages go. Empty: back to this channel.
	Room string

	// Received is called with each message, one at a time; p is valid until it
	// returns. Ended is called once if the channel ends before Close is called;
	// it must not call Close.
	Received func(p []byte)
	Ended    func(err error)

	// Heartbeat is the interval at which a server says something if there is
	// nothing to say, where Ping says false: by a comment in the event stream, or
	// an answer without messages to a poll. Zero: no comments, and polls of 25 s.
	Heartbeat time.Duration

	// Beat is called when such a heartbeat has come. It may be nil.
	Beat func()
}

func (o *Options) query() url.Values {
	q := url.Values{"channel": {o.Name}}
	if o.Room != "" {
		q.Set("room", o.Room)
	}
	return q
}

// Open opens a channel: it returns when the server has accepted it.
func (c *Client) Open(ctx context.Context, o Options) (Channel, error) {
	switch {
	case strings.HasPrefix(c.transport, "ws-"):
		return c.openSocket(ctx, &o)
	case strings.HasPrefix(c.transport, "sse-"):
		return c.openEvents(ctx, &o)
	}
	return c.openPolling(ctx, &o)
}
