package negotiate

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/tunnel"
)

// A joint is a proxied socket once both handshakes are done: the client's stream
// in front and the backend's behind, each copied to the other by a pump.
//
// Bytes pass as they are. What is looked at are the frames' headers, for two
// things: whether a Close frame has passed, because that is what tells an orderly
// end from a failure, and where a Close frame of ours could stand, if the backend
// fails or the proxy shuts down. How one side's end becomes the other's:
//
//	from        comes                          the other side gets
//	client      Close, END                     the same; END once the backend has ended
//	client      END without Close              END
//	client      reset, lost                    reset
//	backend     Close, END or reset            Close, END: a reset could take the Close with it
//	backend     END without Close, lost        Close 1012, END
//	backend     END in a frame, client closed  END
//	backend     reset                          reset
//	backend     takes no bytes                 Close 1011, END; a reset behind
//	client      takes no bytes                 a reset on both sides
//	the proxy   shuts down, or nothing moves   Close 1001, which the client's answer passes on
//
// A Close of ours that cannot stand where the backend's frames have broken off is
// a reset; its END waits for the client's answer, which there are browsers that
// would not send behind an END. Whatever is not over a CloseTimeout after the
// first Close, END or failure is reset.
type joint struct {
	front, back websocket.Stream
	up, down    pump // client to backend, backend to client

	closeTimeout time.Duration
	idleTimeout  time.Duration // 0: none

	moved atomic.Int64 // when bytes were read or taken last, as time since start
	start time.Time
	done  chan struct{}

	mu      sync.Mutex
	changed sync.Cond
	farewell
	watch  *time.Timer // for idleness, and for buffers and deadlines kept in vain
	ending *time.Timer // from the first sign of the end; nil before
	isCut  bool        // everything was given up
	over   bool        // both streams are released: no timer, and err stays as it is
	err    error       // the first thing that went wrong
}

// A farewell is a Close frame that the client is to get from us.
type farewell struct {
	code   websocket.StatusCode // 0: none
	reason string
}

// newJoint joins two streams; early is what the client has sent already, and
// first what the backend has.
func newJoint(p *ReverseProxy, front, back websocket.Stream, early, first []byte) *joint {
	j := &joint{
		front: front, back: back,
		closeTimeout: orDefault(max(p.CloseTimeout, 0), defaultCloseTimeout),
		idleTimeout:  orDefault(p.IdleTimeout, defaultProxyIdle),
		start:        time.Now(),
		done:         make(chan struct{}),
	}
	stall := orDefault(p.StallTimeout, defaultStall)
	j.changed.L = &j.mu
	j.up = pump{from: front, to: back, pending: early, stall: stall, piece: pieceLeast}
	j.down = pump{from: back, to: front, pending: first, stall: stall, piece: pieceLeast}
	return j
}

// run copies until both directions have ended, and releases both streams. The
// goroutine that it starts ends before it returns: every end of one direction
// sets a timer that ends the other.
func (j *joint) run() {
	j.mu.Lock()
	j.watch = time.AfterFunc(time.Hour, j.look)
	j.mu.Unlock()
	j.rest()
	upward := make(chan struct{})
	go func() { // the client's bytes; ends with them
		defer close(upward)
		j.pumpUp()
	}()
	j.pumpDown()
	<-upward
	j.release(websocket.Stream.Close)
}

// release ends both streams, once, and says that all is over. Nothing may abort them
// from then on: on HTTP/2 what a peer had no room for still waits, and its END with it.
func (j *joint) release(end func(websocket.Stream) error) {
	j.mu.Lock()
	before := j.over
	j.over = true
	for _, t := range [2]*time.Timer{j.watch, j.ending} {
		if t != nil {
			t.Stop()
		}
	}
	j.mu.Unlock()
	if before {
		return
	}
	_ = end(j.front)
	_ = end(j.back)
	close(j.done)
}

// pumpUp copies from the client to the backend.
func (j *joint) pumpUp() {
	p := &j.up
	blame, err := j.copy(p)
	if blame == destination { // the backend takes nothing
		if !j.has(&j.down.closed) {
			j.begin(err)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			j.say(websocket.StatusInternalError, "backend stalled")
			_ = j.back.Abort()
		}
		j.begin(nil)
		err = j.drain(p) // for the client's answer to the end that is coming
	}
	switch {
	case p.frames.closed:
		// The client's Close has passed, and the client has ended: in order, or
		// as browsers do when they have got what they wanted. The server ends
		// first (RFC 6455 §7.1.1).
		j.await(&j.down.ended)
	case err != io.EOF || j.wasReset(p, &j.down, err):
		j.begin(err)
		j.cut()
	}
	j.begin(nil)
	j.set(&p.ended) // before the backend can answer
	_ = j.back.CloseWrite()
}

// pumpDown copies from the backend to the client.
func (j *joint) pumpDown() {
	p := &j.down
	blame, err := j.copy(p)
	if blame == destination { // the client takes nothing
		if errors.Is(err, os.ErrDeadlineExceeded) {
			j.begin(err)
			j.cut()
		}
		j.begin(nil)
		err = j.drain(p)
	}
	switch {
	case p.own:
		_ = j.drain(p) // the backend's part of the closing handshake, unseen
	case p.frames.closed:
	case err == io.EOF && j.has(&j.up.ended):
		// The backend's answer to an END without Close.
	case !j.hasFarewell() && j.wasReset(p, &j.up, err):
		j.begin(err)
		j.cut()
	default:
		j.begin(err)
		j.say(websocket.StatusServiceRestart, "backend lost")
		sent, broken := j.bid()
		if broken == nil && !sent && err == io.EOF && j.has(&j.up.closing) {
			break // a client that has closed gets the END that the backend has left it
		}
		if !sent || broken != nil {
			j.cut()
		}
	}
	j.begin(nil)
	j.set(&p.ended)
	if p.own {
		j.await(&j.up.closed, &j.up.ended)
	}
	_ = j.front.CloseWrite()
}

// begin notes that the end has begun, and gives the rest of it its time. err may
// be nil.
func (j *joint) begin(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return
	}
	if j.err == nil && err != nil {
		j.err = err
	}
	if j.ending == nil {
		j.ending = time.AfterFunc(j.closeTimeout, j.expire)
	}
}

// set sets a flag of the end and tells who waits for it.
func (j *joint) set(flag *bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	*flag = true
	j.changed.Broadcast()
}

// has says whether a flag is set.
func (j *joint) has(flag *bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return *flag
}

// await waits until one of the flags is set, or everything has been given up.
func (j *joint) await(flags ...*bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.isCut && !slices.ContainsFunc(flags, func(f *bool) bool { return *f }) {
		j.changed.Wait()
	}
}

// expire ends what is left when the end has had its time: quietly, if nothing was
// missing but the peers' END.
func (j *joint) expire() {
	if j.result() != nil {
		j.begin(context.DeadlineExceeded)
		j.cut()
		return
	}
	j.set(&j.isCut)
	_ = j.front.Close()
	_ = j.back.Close()
}

// cut resets both streams, unless they are released.
func (j *joint) cut() {
	j.set(&j.isCut)
	if j.has(&j.over) {
		return
	}
	_ = j.front.Abort()
	_ = j.back.Abort()
}

// say has a Close frame sent to the client by the pump that writes to it, as soon
// as one can stand there. The first one counts.
func (j *joint) say(code websocket.StatusCode, reason string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.code == 0 {
		j.farewell = farewell{code, reason}
	}
}

func (j *joint) hasFarewell() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.code != 0
}

// bid sends the farewell to the client if it can stand here, on the goroutine of
// the pump that writes to it. It says whether it has.
func (j *joint) bid() (bool, error) {
	if !j.down.frames.between() {
		return false, nil
	}
	j.mu.Lock()
	body, err := frame.AppendClose(nil, j.code, j.reason)
	j.mu.Unlock()
	if err != nil {
		return false, err
	}
	b := frame.Header{Fin: true, Opcode: frame.Close, Length: int64(len(body))}.Append(nil)
	j.down.frames.closed, j.down.own = true, true
	j.set(&j.down.closed)
	_, err = j.write(&j.down, append(b, body...))
	return true, err
}

// leave asks for the farewell to be sent now: the pump is woken if it waits for
// the backend.
func (j *joint) leave(code websocket.StatusCode, reason string) {
	j.say(code, reason)
	j.begin(nil)
	_ = j.back.SetReadDeadline(longAgo)
}

// Close is for the server that shuts down: a closing handshake with the client,
// and by its answer with the backend. It returns nil if both were completed
// before ctx has ended, also if they had been before.
func (j *joint) Close(ctx context.Context, code websocket.StatusCode, reason string) error {
	select {
	case <-j.done:
		return j.result()
	default:
	}
	j.leave(code, reason)
	select {
	case <-j.done:
		return j.result()
	case <-ctx.Done():
		j.begin(context.Cause(ctx))
		j.cut()
		return context.Cause(ctx)
	}
}

// CloseNow resets both streams.
func (j *joint) CloseNow() error {
	j.cut()
	return nil
}

// result returns nil if a Close frame has passed in both directions.
func (j *joint) result() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.up.closed && j.down.closed:
		return nil
	case j.err != nil:
		return j.err
	}
	return errNoClose
}

var (
	errIdle    = errors.New("negotiate: proxy: nothing moved")
	errNoClose = errors.New("negotiate: proxy: no Close frames in both directions")
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// isReset says whether err, of reading from s, is a reset of the socket by its
// peer, as opposed to the loss of the connection that carried it. On HTTP/1.1,
// where the two are one, a TCP reset is taken for the former: it is what a server
// that gives a socket up sends.
func isReset(s websocket.Stream, err error) bool {
	if s.Bootstrap() == websocket.HTTP1 {
		var ne net.Error
		lost := errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne) && ne.Timeout()
		return !lost
	}
	return errors.Is(err, tunnel.ErrReset)
}
