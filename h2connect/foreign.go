package h2connect

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/sockets"
)

// A foreign stream is a socket's stream under an HTTP/2 server that is not ours:
// net/http's or x/net's. All it has is a request body and a response writer,
// with these limits:
//
//   - their deadlines work once only, and one for writing that passes resets the
//     stream even if nothing was being written; so ours are our own, around two
//     goroutines that block in their place, and theirs are lifted;
//   - the writer must not be used when the handler has returned: it panics, or
//     worse belongs to another request by then. The request's context tells, a
//     moment before; so every use of the writer looks there first, under the
//     lock that also guards the flag, and what still slips through is caught;
//   - END_STREAM is sent by the handler's return and by nothing else. So after
//     CloseWrite nothing more is expected of the peer, or both would wait;
//   - the only reset there is has INTERNAL_ERROR.
type foreign struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	body     io.ReadCloser
	done     <-chan struct{} // the handler has returned, or the stream has ended
	local    net.Addr
	remote   net.Addr
	tlsState *tls.ConnectionState

	mu       sync.Mutex
	readable sync.Cond
	in       buffer
	inErr    error
	inLimit  deadline

	writable sync.Cond
	out      buffer
	outErr   error
	outEnd   bool
	outLimit deadline
	writing  sync.Mutex // held around every use of w
	over     bool       // w must not be used any more; guarded by writing
}

var _ websocket.Stream = (*foreign)(nil)

// foreignBuffer is how much waits in each direction.
const foreignBuffer = 16 << 10

var errForeignDone = errors.New("h2connect: the stream ended with its handler")

// acceptForeign accepts a socket under a server that is not ours.
func acceptForeign(w http.ResponseWriter, r *http.Request, params websocket.Params) (*websocket.Conn, error) {
	rc := http.NewResponseController(w)
	w.Header().Del("Content-Length")
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		return nil, &websocket.HandshakeError{Reason: "the stream cannot become a socket", Err: err}
	}
	// A server that cannot do this has no timeouts to lift.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	f := &foreign{w: w, rc: rc, body: r.Body, done: r.Context().Done(), tlsState: r.TLS, remote: textAddr(r.RemoteAddr)}
	f.local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if f.local == nil {
		f.local = textAddr("")
	}
	f.readable.L, f.writable.L = &f.mu, &f.mu
	go f.readLoop()
	go f.writeLoop()
	go f.watch()
	return sockets.Accepted(r, f, params), nil
}

// watch is the goroutine that notices the end of the handler, which it waits
// for.
func (f *foreign) watch() {
	<-f.done
	f.writing.Lock()
	f.over = true
	f.writing.Unlock()
	f.fail(errForeignDone)
}

// readLoop is the goroutine that blocks in reading the request's content in
// place of Read. It ends with the content, which the handler's return ends at
// the latest.
func (f *foreign) readLoop() {
	chunk := make([]byte, 4<<10)
	for {
		n, err := f.body.Read(chunk)
		f.mu.Lock()
		f.in.append(chunk[:n])
		if err != nil && f.inErr == nil {
			f.inErr = err
		}
		f.readable.Broadcast()
		for f.inErr == nil && f.in.len() >= foreignBuffer {
			f.readable.Wait()
		}
		ended := f.inErr != nil
		f.mu.Unlock()
		if ended {
			return
		}
	}
}

// writeLoop is the goroutine that blocks in writing the response in place of
// Write. It ends when everything has been written after CloseWrite, or with the
// stream.
func (f *foreign) writeLoop() {
	chunk := make([]byte, 0, foreignBuffer)
	for {
		f.mu.Lock()
		for f.out.len() == 0 && f.outErr == nil && !f.outEnd {
			f.writable.Wait()
		}
		if f.outErr != nil || f.out.len() == 0 {
			f.mu.Unlock()
			return
		}
		chunk = chunk[:min(f.out.len(), cap(chunk))]
		f.out.read(chunk)
		f.writable.Broadcast()
		f.mu.Unlock()
		if err := f.use(func() error {
			if _, err := f.w.Write(chunk); err != nil {
				return err
			}
			return f.rc.Flush()
		}); err != nil {
			f.fail(err)
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
		return errForeignDone
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
	f.writable.Broadcast()
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

// Write implements websocket.Stream.
func (f *foreign) Write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.outErr != nil:
			return n, f.outErr
		case f.outEnd:
			return n, errWriteEnded
		case f.outLimit.passed():
			return n, os.ErrDeadlineExceeded
		}
		m := min(len(p), foreignBuffer-f.out.len())
		f.out.append(p[:m])
		p, n = p[m:], n+m
		f.writable.Broadcast()
		if len(p) == 0 {
			return n, nil
		}
		f.outLimit.wait(&f.writable)
	}
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
	f.writable.Broadcast()
	return nil
}

// Close implements websocket.Stream.
func (f *foreign) Close() error { return f.CloseWrite() }

// Abort implements websocket.Stream: a write deadline that has passed resets
// the stream.
func (f *foreign) Abort() error {
	f.mu.Lock()
	orderly := f.outEnd && f.inErr == io.EOF
	f.mu.Unlock()
	if orderly {
		return nil
	}
	f.fail(net.ErrClosed)
	past := time.Unix(1, 0)
	// Not by use: a blocked write is what it has to end, and deadlines may be
	// set from any goroutine while the handler runs.
	go func() {
		defer func() { _ = recover() }()
		select {
		case <-f.done:
		default:
			_ = f.rc.SetWriteDeadline(past)
			_ = f.rc.SetReadDeadline(past)
		}
	}()
	return nil
}

// SetReadDeadline implements websocket.Stream.
func (f *foreign) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inLimit.set(t, &f.readable)
	return nil
}

// SetWriteDeadline implements websocket.Stream.
func (f *foreign) SetWriteDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outLimit.set(t, &f.writable)
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
