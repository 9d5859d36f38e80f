package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// NetConn returns c as a net.Conn that carries a stream of bytes. Each Write is
// one message of type t; Read yields the payloads of the messages that arrive,
// of either type, one after the other. Close closes the socket with status
// 1000, and the peer's Close with status 1000 or 1001 is Read's io.EOF.
//
// Deadlines follow net.Conn's rules: they may be moved at any time, and a Read
// that has timed out may be repeated. A Write that has timed out in the middle
// of a message has ended the socket. The addresses are those of the connection
// that carries the socket, which on HTTP/2 and HTTP/3 carries others too.
func (c *Conn) NetConn(t MessageType) net.Conn {
	return &netConn{conn: c, messageType: t, read: newDeadline(), write: newDeadline()}
}

type netConn struct {
	conn        *Conn
	messageType MessageType
	read, write *deadline

	mu     sync.Mutex // held by Read
	reader io.Reader  // the message in progress
}

var _ net.Conn = (*netConn)(nil)

func (n *netConn) Read(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx := n.read.context()
	for {
		if ctx.Err() != nil {
			return 0, os.ErrDeadlineExceeded
		}
		if len(p) == 0 { // nothing to wait for
			return 0, nil
		}
		if n.reader == nil {
			_, r, err := n.conn.Reader(ctx)
			if err != nil {
				return 0, readError(ctx, err)
			}
			n.reader = r
		}
		// The message outlives the deadline it was begun under.
		n.reader.(*messageReader).ctx = ctx
		k, err := n.reader.Read(p)
		if err == io.EOF {
			n.reader = nil
			err = nil
			if k == 0 {
				continue
			}
		}
		return k, readError(ctx, err)
	}
}

func (n *netConn) Write(p []byte) (int, error) {
	ctx := n.write.context()
	if err := n.conn.Write(ctx, n.messageType, p); err != nil {
		return 0, timedOut(ctx, err)
	}
	return len(p), nil
}

// readError turns an error of a Conn into one of a net.Conn's Read.
func readError(ctx context.Context, err error) error {
	var ce *CloseError
	if errors.As(err, &ce) && ce.Remote && (ce.Code == StatusNormalClosure || ce.Code == StatusGoingAway) {
		return io.EOF
	}
	return timedOut(ctx, err)
}

// timedOut returns err, or net.Conn's error for a call that ended by the
// deadline behind ctx.
func timedOut(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return err
}

func (n *netConn) Close() error {
	return n.conn.Close(context.Background(), StatusNormalClosure, "")
}

func (n *netConn) LocalAddr() net.Addr  { return n.conn.stream.LocalAddr() }
func (n *netConn) RemoteAddr() net.Addr { return n.conn.stream.RemoteAddr() }

func (n *netConn) SetDeadline(t time.Time) error {
	n.read.set(t)
	n.write.set(t)
	return nil
}

func (n *netConn) SetReadDeadline(t time.Time) error {
	n.read.set(t)
	return nil
}

func (n *netConn) SetWriteDeadline(t time.Time) error {
	n.write.set(t)
	return nil
}

// A deadline is a time that can be moved, as a context: the context in force
// ends at the time, and is replaced when the time is moved after that.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ctx   context.Context
	end   context.CancelCauseFunc
}

func newDeadline() *deadline {
	d := new(deadline)
	d.renew()
	return d
}

func (d *deadline) renew() {
	ctx, end := context.WithCancelCause(context.Background())
	d.ctx, d.end = deadlineContext{ctx}, end
}

// context returns the context in force.
func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ctx
}

// set moves the deadline to t; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.ctx.Err() != nil {
		d.renew()
	}
	if t.IsZero() {
		return
	}
	if left := time.Until(t); left > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			d.mu.Lock() // once set has let go of it, timer is known
			defer d.mu.Unlock()
			if d.timer == timer { // the deadline has not been moved meanwhile
				d.timer = nil
				d.end(os.ErrDeadlineExceeded)
			}
		})
		d.timer = timer
		return
	}
	d.end(os.ErrDeadlineExceeded)
}

// deadlineContext is a context that ends with os.ErrDeadlineExceeded.
type deadlineContext struct{ context.Context }

func (c deadlineContext) Err() error {
	if c.Context.Err() == nil {
		return nil
	}
	return os.ErrDeadlineExceeded
}
