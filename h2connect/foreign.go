package h2connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/sockets"
	"golang.org/x/net/http2"
)

// A foreign stream is a socket's stream under an HTTP/2 server that is not ours:
// net/http's or x/net's. All it has is a request body and a response writer,
// with these limits:
//
//   - their deadlines work once only, and one for writing that passes resets the
//     stream even if nothing was being written; so ours are our own. Reading has
//     a goroutine that blocks in its place; a write that is late is ended by
//     resetting the stream, which is all that can be done;
//   - the writer must not be used when the handler has returned: it panics, or
//     worse belongs to another request by then. So it is used only by those who
//     write, never by a goroutine of ours; and each use looks first, under the
//     lock that guards the flag, whether the request's context has ended, which
//     it does a moment before the writer is taken away;
//   - END_STREAM is sent by the handler's return and by nothing else. So after
//     CloseWrite nothing more is expected of the peer, or both would wait;
//   - the only reset there is has INTERNAL_ERROR.
type foreign struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	body     io.ReadCloser
	done     <-chan struct{} // the handler has returned, or the stream has ended
	bodyOver chan struct{}   // readLoop has ended
	ended    chan struct{}   // it is known how the stream has ended
	byPeer   bool            // that was the peer, or the network; written before ended is closed
	local    net.Addr
	remote   net.Addr
	tlsState *tls.ConnectionState

	mu       sync.Mutex
	readable sync.Cond
	in       buffer
	inErr    error
	inLimit  deadline
	leaving  bool // done: nobody waits for room any more

	outErr   error
	outEnd   bool
	busy     bool      // a write is in progress
	outLimit time.Time // zero: none
	outTimer *time.Timer

	writing sync.Mutex // held around every use of w
	over    bool       // w must not be used any more; guarded by writing
}

var _ websocket.Stream = (*foreign)(nil)

// foreignBuffer is how much waits in each direction.
const foreignBuffer = 16 << 10

var errForeignDone = errors.New("h2connect: the stream ended with its handler")

// acceptForeign accepts a socket under a server that is not ours.
func acceptForeign(w http.ResponseWriter, r *http.Request, params websocket.Params) (*websocket.Conn, error) {
	rc := http.NewResponseController(w)
	handshake.MarkAccepted(w.Header()) // it may be our server, behind a writer without Unwrap
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		handshake.UnmarkAccepted(w.Header())
		return nil, &websocket.HandshakeError{Reason: "the stream cannot become a socket", Err: err}
	}
	// A server that cannot do this has no timeouts to lift.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	f := &foreign{w: w, rc: rc, body: r.Body, done: r.Context().Done(), tlsState: r.TLS, remote: textAddr(r.RemoteAddr)}
	f.bodyOver, f.ended = make(chan struct{}), make(chan struct{})
	f.local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if f.local == nil {
		f.local = textAddr("")
	}
	f.readable.L = &f.mu
	go f.readLoop()
	go f.watch()
	params.OnHandle = func() error { return errForeignHandler }
	return sockets.Accepted(r, f, params), nil
}

// flushes says whether w can be flushed, itself or through Unwrap: a 200 that a
// writer such as http.TimeoutHandler's keeps until the handler has returned cannot be
// taken back.
func flushes(w http.ResponseWriter) bool {
	for {
		switch x := w.(type) {
		case http.Flusher, interface{ FlushError() error }:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return false
		}
	}
}

// errForeignHandler: the server ends a stream when its handler returns.
var errForeignHandler = fmt.Errorf("h2connect: under this HTTP server a socket ends with its HTTP handler and cannot have a websocket.Handler: %w", websocket.ErrNotSupported)

// contentPatience is how long the content may take to end behind the request's
// context: where that has ended for reasons of a program's own it does not.
const contentPatience = time.Second

// watch is the goroutine that notices the end of the handler or of the stream,
// which it waits for. The context does not say which of them it was, but the
// content ends as well, a moment later, and says so.
func (f *foreign) watch() {
	defer close(f.ended)
	<-f.done
	f.mu.Lock()
	f.leaving = true
	f.readable.Broadcast()
	f.mu.Unlock()
	select {
	case <-f.bodyOver:
	case <-time.After(contentPatience):
	}
	f.mu.Lock()
	why := f.inErr
	f.byPeer = why != nil && why != io.EOF && !handlersEnd(why)
	f.mu.Unlock()
	if !f.byPeer {
		why = errForeignDone
	}
	f.fail(why)
}

// Ended waits until the stream has ended, which it does soon after the request's
// context has, and reports whether the peer or the network ended it.
func (f *foreign) Ended() (byPeer bool) {
	<-f.ended
	return f.byPeer
}

// handlersEnd says whether the content ended with err because the handler has
// returned: the server resets the stream behind it, or has no type for it.
func handlersEnd(err error) bool {
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		return se.Cause == nil && (se.Code == http2.ErrCodeNo || se.Code == http2.ErrCodeInternal)
	}
	return strings.Contains(err.Error(), "handler exiting")
}

// readLoop is the goroutine that blocks in reading the request's content in
// place of Read. It ends with the content, which the handler's return ends at
// the latest.
func (f *foreign) readLoop() {
	defer close(f.bodyOver)
	chunk := make([]byte, 4<<10)
	for {
		n, err := f.body.Read(chunk)
		f.mu.Lock()
		f.in.append(chunk[:n])
		if err != nil && f.inErr == nil {
			f.inErr = err
		}
		f.readable.Broadcast()
		for f.inErr == nil && !f.leaving && f.in.len() >= foreignBuffer {
			f.readable.Wait()
		}
		ended := f.inErr != nil
		f.mu.Unlock()
		if ended {
			return
		}
	}
}

// use calls what uses the response writer, unless it must not be used any more.
func (f *foreign) use(call func() error) (err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	select {
	case <-f.done:
		f.over = true
	default:
	}
	if f.over {
		<-f.ended
		return errForeignDone // unless more is known: endWrite prefers that
	}
	defer func() {
		if recover() != nil {
			f.over, err = true, errForeignDone
		}
	}()
	return call()
}

// fail ends both directions with err, unless they have ended.
func (f *foreign) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inErr == nil {
		f.inErr = err
	}
	if f.outErr == nil {
		f.outErr = err
	}
	f.readable.Broadcast()
}

// Read implements websocket.Stream.
func (f *foreign) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.inLimit.passed():
			return 0, os.ErrDeadlineExceeded
		case f.in.len() > 0:
			n := f.in.read(p)
			f.readable.Broadcast()
			return n, nil
		case f.inErr != nil:
			return 0, f.inErr
		case len(p) == 0:
			return 0, nil
		}
		f.inLimit.wait(&f.readable)
	}
}

// InputEnded reports whether the peer's direction has ended: see package websocket.
func (f *foreign) InputEnded() bool {
	select {
	case <-f.done:
		<-f.ended
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inErr != nil
}

// Write implements websocket.Stream.
func (f *foreign) Write(p []byte) (int, error) {
	if err := f.beginWrite(); err != nil {
		return 0, err
	}
	n := 0
	err := f.use(func() (err error) {
		if n, err = f.w.Write(p); err != nil {
			return err
		}
		return f.rc.Flush()
	})
	return n, f.endWrite(err)
}

// beginWrite says that a write begins, and has its deadline watched.
func (f *foreign) beginWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.outErr != nil:
		return f.outErr
	case f.outEnd:
		return errWriteEnded
	case !f.outLimit.IsZero() && !time.Now().Before(f.outLimit):
		return os.ErrDeadlineExceeded
	}
	f.busy = true
	f.armTimer()
	return nil
}

func (f *foreign) endWrite(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
	if f.outTimer != nil {
		f.outTimer.Stop()
	}
	if err != nil && f.outErr == nil {
		f.outErr = err
	}
	return f.outErr
}

// armTimer has a write in progress ended at the deadline. f.mu is held.
func (f *foreign) armTimer() {
	if f.outTimer != nil {
		f.outTimer.Stop()
	}
	if f.outLimit.IsZero() || !f.busy {
		return
	}
	f.outTimer = time.AfterFunc(time.Until(f.outLimit), func() {
		f.mu.Lock()
		late := f.busy && !f.outLimit.IsZero() && !time.Now().Before(f.outLimit)
		if late && f.outErr == nil {
			f.outErr = os.ErrDeadlineExceeded
		}
		f.mu.Unlock()
		if late {
			f.reset()
		}
	})
}

// CloseWrite implements websocket.Stream as far as it can be done.
func (f *foreign) CloseWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outEnd = true
	if f.inErr == nil {
		f.inErr = io.EOF
	}
	f.readable.Broadcast()
	return nil
}

// Close implements websocket.Stream.
func (f *foreign) Close() error { return f.CloseWrite() }

// Abort implements websocket.Stream: a write deadline that has passed resets
// the stream. One that has ended already, in both directions or by a reset, is left
// to its server.
func (f *foreign) Abort() error {
	f.mu.Lock()
	_, wasReset := errors.AsType[http2.StreamError](f.inErr)
	over := wasReset || f.outEnd && f.inErr == io.EOF
	f.mu.Unlock()
	if !over {
		f.reset() // first: who is told returns from the handler, perhaps
	}
	f.fail(net.ErrClosed)
	return nil
}

// reset resets the stream, and ends a write that is blocked, by a deadline that
// has passed.
func (f *foreign) reset() {
	// Not by use: a blocked write is what it has to end. Deadlines may be set
	// from any goroutine while the handler runs; that it may have returned this
	// very moment is what the recover is for.
	defer func() { _ = recover() }()
	select {
	case <-f.done:
	default:
		_ = f.rc.SetWriteDeadline(longAgo)
	}
}

// SetReadDeadline implements websocket.Stream.
func (f *foreign) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inLimit.set(t)
	f.readable.Broadcast()
	return nil
}

// SetWriteDeadline implements websocket.Stream.
func (f *foreign) SetWriteDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outLimit = t
	f.armTimer()
	return nil
}

// Bootstrap implements websocket.Stream.
func (f *foreign) Bootstrap() websocket.Bootstrap { return websocket.HTTP2 }

// LocalAddr implements websocket.Stream.
func (f *foreign) LocalAddr() net.Addr { return f.local }

// RemoteAddr implements websocket.Stream.
func (f *foreign) RemoteAddr() net.Addr { return f.remote }

// TLS implements websocket.Stream.
func (f *foreign) TLS() *tls.ConnectionState { return f.tlsState }

// A textAddr is an address of which only the text is known.
type textAddr string

// Network returns "tcp".
func (textAddr) Network() string { return "tcp" }

// String returns the text.
func (a textAddr) String() string { return string(a) }
