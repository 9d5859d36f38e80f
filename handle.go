package websocket

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
)

// A Handler gets what happens on a socket by calls: see [Conn.Handle].
type Handler interface {
	// OnMessage is called with each message, in order, one at a time. p is
	// valid until OnMessage returns, and may be changed until then.
	//
	// OnMessage may take its time, block, and call any method of c but those
	// that read: it holds up the messages of its own socket, and those of others
	// over the same connection of h2connect for a few milliseconds at most. They
	// wait, and when as many wait as flow control allows, so does the peer. So a
	// Ping whose Pong lies behind more than 64 KiB of messages waits for its
	// context: give it one that ends.
	//
	// A panic ends the socket with status 1011, and no other.
	OnMessage(c *Conn, t MessageType, p []byte)

	// OnClose is called once, after the last OnMessage has returned, when the
	// socket has ended, whoever ended it. err is the [*CloseError] that c's
	// methods return from then on; it wraps a [*PanicError] if a panic of
	// OnMessage was the reason. OnClose may block. If it panics nothing more
	// happens.
	OnClose(c *Conn, err error)
}

// Handle makes h receive the messages of the socket, instead of a loop of Reads,
// and returns. Messages that arrived before are not lost; what a [Conn.Reader]
// has left of its message is skipped. From then on the reading methods (Read,
// ReadInto, Reader, ReadJSON, and those of a net.Conn made by NetConn) return an
// error, and every other method works as before.
//
// A handled socket outlives the HTTP handler that accepted it, which returns as
// soon as it has called Handle: the socket ends when the peer, the program or
// the server's Shutdown ends it. (The request's context ends with the HTTP
// handler all the same.) Where a stream cannot outlive its handler, as under
// another package's HTTP/2 server, the error wraps [ErrNotSupported] and h is
// not called.
//
// While nothing arrives a socket over h2connect has neither goroutine nor
// buffer, and messages are handled by whichever goroutine reads their
// connection, for as long as OnMessage is quick: then what the OnMessages of
// many sockets write goes out together. When one is not, another goroutine takes
// over the connection. A socket over any other stream has one goroutine, which
// ends with the socket, and no buffer for messages while nothing arrives.
//
// Handle may be called once. A Read that is in progress on another goroutine
// goes first. If the socket has already been ended on this side, Handle returns
// why and h is not called.
func (c *Conn) Handle(h Handler) error {
	x := &handling{conn: c, handler: h}
	p, pushes := c.stream.(pusher)
	x.pushes = pushes
	x.state.Store(pushServing)
	if !c.handling.CompareAndSwap(nil, x) {
		return errHandledTwice
	}
	if ce := c.err.Load(); c.closedHere(ce) {
		return ce
	}
	if c.onHandle != nil {
		if err := c.onHandle(); err != nil {
			c.handling.Store(nil)
			return err
		}
		c.onHandle = nil // and what it holds
	}
	if pushes {
		x.push(p)
	} else {
		go x.loop()
	}
	return nil
}

var (
	errHandledTwice = errors.New("websocket: the socket has a Handler already")
	errHandled      = errors.New("websocket: read: messages go to the socket's Handler")
)

// A PanicError is the cause in a [CloseError] for a socket that was ended, with
// status 1011, because its Handler's OnMessage panicked or called
// runtime.Goexit.
type PanicError struct {
	// Value is what was passed to panic, nil for runtime.Goexit.
	Value any

	// Stack is the goroutine's stack at the panic, as by runtime.Stack.
	Stack []byte
}

// Error tells the value; it does not print the stack.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "OnMessage called runtime.Goexit"
	}
	return fmt.Sprintf("OnMessage panicked: %v", e.Value)
}

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// A handling is the part of a Conn that serves its Handler: loop does, or what is
// in push.go where the stream pushes.
type handling struct {
	conn    *Conn
	handler Handler

	state     atomic.Int32
	pushes    bool        // the stream is a pusher
	owed      bool        // Resume finds the state serving; of the one who serves, where the stream pushes
	overtaken atomic.Bool // somebody else has read since Resume last took the reading gate, or is about to
}

// loop is the goroutine of a handled socket whose stream does not push. Handle
// starts it; it ends with the socket, after OnClose. It does what an application
// would do that calls ReadInto again and again, but takes a buffer for a message
// only when something has arrived.
func (x *handling) loop() {
	defer x.close()
	c, h := x.conn, x.handler
	for {
		t, b, err := c.nextMessage()
		if err != nil {
			return
		}
		c.callHandler(h, t, *b)
		putMessageBuffer(b)
	}
}

// nextMessage returns the next message, in a message buffer.
func (c *Conn) nextMessage() (MessageType, *[]byte, error) {
	ctx := context.Background()
	if ce := c.err.Load(); c.closedHere(ce) {
		return 0, nil, ce
	}
	c.lockInput(ctx, nil)
	defer c.unlockRead()
	if err := c.awaitFirst(ctx); err != nil {
		return 0, nil, err
	}
	if err := c.awaitInput(ctx); err != nil {
		return 0, nil, err
	}
	if err := c.skipRest(ctx); err != nil {
		return 0, nil, err
	}
	t, p, ok, err := c.readFrame(ctx)
	if err != nil {
		return 0, nil, err
	}
	if ok {
		b := getMessageBuffer(len(p))
		*b = append(*b, p...)
		return t, b, nil
	}
	var g gathering
	t, err = c.gather(ctx, &g)
	if err != nil {
		return 0, nil, err
	}
	return t, g.buffer(), nil
}

// callHandler calls OnMessage. If that panics the socket ends.
func (c *Conn) callHandler(h Handler, t MessageType, p []byte) {
	returned := false
	defer func() {
		if !returned {
			c.panicked(recover())
		}
	}()
	h.OnMessage(c, t, p)
	returned = true
}

// close calls OnClose.
func (x *handling) close() {
	defer func() { recover() }()
	x.handler.OnClose(x.conn, x.conn.err.Load())
}

// maxStack bounds, in bytes, what a PanicError keeps of a stack.
const maxStack = 64 << 10

// panicked ends the Conn because OnMessage panicked with v: Close with status
// 1011, then END, as for a rule that the peer broke.
func (c *Conn) panicked(v any) {
	stack := make([]byte, maxStack)
	stack = stack[:runtime.Stack(stack, false)]
	ce := &CloseError{Code: StatusInternalError, Err: &PanicError{Value: v, Stack: stack}}
	if c.fail(ce) {
		c.setOver(ce)
		c.finishAfter(ce.Code, "", true)
	}
}
