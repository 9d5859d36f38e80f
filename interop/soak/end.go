package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket"
)

// An end is one end of a socket in use: it follows its plan and keeps a record.
type end struct {
	plan *endPlan
	conn *websocket.Conn // nil if the socket did not come about here

	leaving  *atomic.Bool // the server is being shut down; nil on a client
	mu       sync.Mutex
	acts     acts
	closeErr error
	problems []string

	sent    [][]sentMessage // by lane
	got     []message
	written int64                 // calls that wrote a message and returned nil
	final   *websocket.CloseError // how it ended
	read    chan struct{}         // closed when final is known
}

// acts are what an end has done that ends sockets. Each is noted before it is
// done.
type acts struct {
	closed, aborted, cutShort, tooBig, returned, panicked bool
}

// A sentMessage is one that was given to Write, and what came of it.
type sentMessage struct {
	message
	state state
}

// A state is what is known of a message from its writer.
type state int

const (
	accepted state = iota // Write returned nil
	failed                // Write returned an error
	refused               // it must not arrive
)

func newEnd(p *endPlan) *end {
	return &end{plan: p, sent: make([][]sentMessage, len(p.lanes)), read: make(chan struct{})}
}

func (e *end) problem(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problems = append(e.problems, fmt.Sprintf(format, args...))
}

func (e *end) act(set func(*acts)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	set(&e.acts)
}

// run follows the plan on c up to its ending, which is left to the caller where
// it is the handler's to return or to panic.
func (e *end) run(ctx context.Context, c *websocket.Conn) {
	e.conn = c
	go e.readAll(ctx) // ends with the socket
	var lanes sync.WaitGroup
	for i := range e.plan.lanes {
		lanes.Go(func() { e.runLane(ctx, i) })
	}
	lanes.Wait()
	switch e.plan.ending {
	case closes:
		e.close(ctx)
	case aborts:
		e.act(func(a *acts) { a.aborted = true })
		c.CloseNow()
	case tooBig:
		e.act(func(a *acts) { a.tooBig = true })
		e.write(ctx, 0, op{message: messagePlan{typ: websocket.MessageBinary, size: maxMessage + 1, lane: '1', style: noise}}, refused)
	}
}

// maxMessage is Limits.Message of both ends, in bytes.
const maxMessage = 256 << 10

func (e *end) close(ctx context.Context) {
	e.act(func(a *acts) { a.closed = true })
	e.closeErr = e.conn.Close(ctx, e.plan.code, e.plan.reason)
	if err := e.write(ctx, 0, op{message: messagePlan{typ: websocket.MessageText, size: 9, lane: '1'}}, refused); err == nil {
		e.problem("Write after Close returned nil")
	}
	again := e.conn.Close(ctx, e.plan.code, e.plan.reason)
	if (again == nil) != (e.closeErr == nil) {
		e.problem("Close returned %v, and then %v", e.closeErr, again)
	}
}

// runLane runs one lane's operations until the socket has ended.
func (e *end) runLane(ctx context.Context, lane int) {
	for _, o := range e.plan.lanes[lane] {
		var err error
		switch o.kind {
		case ping:
			err = e.conn.Ping(ctx)
		case pause:
			wait(ctx, o.wait)
		case hurry:
			err = e.hurriedWrite(ctx, lane, o)
		default:
			err = e.write(ctx, lane, o, accepted)
		}
		var ce *websocket.CloseError
		if errors.As(err, &ce) {
			return
		}
		if err != nil {
			e.problem("operation %d of lane %d: %v", o.kind, lane, err)
			return
		}
	}
}

// hurriedWrite writes with a context that may end first. Then the socket is as
// it was and the message has not been sent; or it has ended, by our doing.
func (e *end) hurriedWrite(ctx context.Context, lane int, o op) error {
	soon, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	err := e.write(soon, lane, o, accepted)
	var ce *websocket.CloseError
	switch {
	case errors.As(err, &ce):
		if soon.Err() != nil { // perhaps in the middle of a frame
			e.act(func(a *acts) { a.cutShort = true })
		}
		return err
	case err != nil && soon.Err() != nil && ctx.Err() == nil:
		return nil
	}
	return err
}

// write writes a message and records it: as state if Write takes it.
func (e *end) write(ctx context.Context, lane int, o op, s state) error {
	p := o.message.bytes()
	m := digest(o.message.typ, p)
	err := e.send(ctx, o, p)
	if digest(o.message.typ, p) != m {
		e.problem("the writer changed what it was given")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		e.written++
	} else if s == accepted {
		s = failed
	}
	e.sent[lane] = append(e.sent[lane], sentMessage{m, s})
	return err
}

// send writes p in the way that o says.
func (e *end) send(ctx context.Context, o op, p []byte) error {
	t := o.message.typ
	if o.message.secret {
		t = t.Uncompressed()
	}
	switch o.kind {
	case prepared:
		m, err := websocket.NewPreparedMessage(t, p)
		if err != nil {
			return err
		}
		return e.conn.WritePrepared(ctx, m)
	case stream:
		w, err := e.conn.Writer(ctx, t)
		if err != nil {
			return err
		}
		r := rand.New(rand.NewPCG(o.seed, 0))
		for len(p) > 0 && err == nil {
			n := 1 + r.IntN(len(p))
			_, err = w.Write(p[:n])
			p = p[n:]
		}
		return errors.Join(err, w.Close())
	}
	return e.conn.Write(ctx, t, p)
}

// readAll reads until the socket ends, in all the ways there are.
func (e *end) readAll(ctx context.Context) {
	defer close(e.read)
	r := rand.New(rand.NewPCG(e.plan.reader, 0))
	var err error
	var buf []byte
	for err == nil {
		var t websocket.MessageType
		var p []byte
		switch r.IntN(5) {
		case 0:
			t, p, err = e.hurriedRead(ctx, r)
		case 1:
			t, p, err = e.readPieces(ctx, r)
		case 2:
			t, p, err = e.conn.ReadInto(ctx, buf)
			buf = p
		default:
			t, p, err = e.conn.Read(ctx)
		}
		if err == nil {
			e.got = append(e.got, digest(t, p))
		}
		if r.IntN(8) == 0 {
			wait(ctx, upTo(r, 3*time.Millisecond))
		}
	}
	if !errors.As(err, &e.final) {
		e.problem("Read: %v", err)
		e.conn.CloseNow()
		return
	}
	e.checkEnded(ctx)
}

// hurriedRead reads with contexts that end soon, until one does not end first or
// patience with them has.
func (e *end) hurriedRead(ctx context.Context, r *rand.Rand) (websocket.MessageType, []byte, error) {
	for range 20 {
		soon, cancel := context.WithTimeout(ctx, upTo(r, time.Millisecond))
		t, p, err := e.conn.Read(soon)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*websocket.CloseError)) || ctx.Err() != nil {
			return t, p, err
		}
	}
	return e.conn.Read(ctx)
}

// readPieces reads a message through Reader.
func (e *end) readPieces(ctx context.Context, r *rand.Rand) (websocket.MessageType, []byte, error) {
	t, mr, err := e.conn.Reader(ctx)
	if err != nil {
		return 0, nil, err
	}
	var p []byte
	for {
		p = slices.Grow(p, 1+r.IntN(4096))
		n, err := mr.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if err == io.EOF {
			return t, p, nil
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// checkEnded checks that a socket that has ended stays ended.
func (e *end) checkEnded(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // which may have had its part in the end
	_, _, readErr := e.conn.Read(ctx)
	writeErr := e.conn.Write(ctx, websocket.MessageText, []byte("too late"))
	pingErr := e.conn.Ping(ctx)
	for _, err := range []error{readErr, writeErr, pingErr} {
		if err != error(e.final) {
			e.problem("ended with %v, and later with %v", e.final, err)
		}
	}
}

// wait waits for d.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
