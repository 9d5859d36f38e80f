package negotiate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/wsmux/websocket"
)

// Bounds on what a handler may write before it is certain what it says.
const (
	maxBridgedHead    = 16 << 10
	maxBridgedRefusal = 256 << 10
)

var (
	errBridgedHead    = errors.New("negotiate: bridge: the answer's header is too large")
	errBridgedRefusal = errors.New("negotiate: bridge: the refusal is too large")
	errBridgedStatus  = errors.New("negotiate: bridge: an informational response cannot be passed on")
	errBridgedFailed  = errors.New("negotiate: bridge: there is no socket")
)

// A bridgeConn is a hijacked connection: first, for writing, the HTTP/1.1
// connection on which the handler's library answers, and when that has accepted
// the socket the stream itself. Its methods may be called from any goroutine, as
// a net.Conn's.
type bridgeConn struct {
	b *bridge

	reading sync.Mutex // held by Read
	writing sync.Mutex // held by Write, and by who sends an answer

	decided chan struct{} // closed when stream or err is set
	over    chan struct{} // closed when the connection is the handler's no longer

	// Set before decided is closed, not changed afterwards.
	stream websocket.Stream
	err    error

	early  []byte // from the client, not yet read; once decided guarded by reading
	answer []byte // of the handler, not yet whole; guarded by writing

	mu           sync.Mutex
	closed       bool
	abrupt       bool          // Close resets
	replied      bool          // the client has been answered
	readLimit    time.Time     // while undecided
	writeLimit   time.Time     // while undecided
	limitChanged chan struct{} // closed and replaced when readLimit is moved
}

var _ net.Conn = (*bridgeConn)(nil)

func newBridgeConn(b *bridge) *bridgeConn {
	return &bridgeConn{
		b:            b,
		decided:      make(chan struct{}),
		over:         make(chan struct{}),
		limitChanged: make(chan struct{}),
	}
}

// Read reads from the stream. Before the handler has accepted the socket there
// is nothing to read but that the client has gone.
func (c *bridgeConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.waitToRead(); err != nil {
		return 0, err
	}
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	n, err := c.stream.Read(p)
	if err != nil && err != io.EOF && c.isClosed() {
		err = net.ErrClosed
	}
	return n, err
}

// InputEnded reports whether the client's direction has ended: see package
// websocket.
func (c *bridgeConn) InputEnded() bool {
	e, ok := c.socket().(interface{ InputEnded() bool })
	return ok && e.InputEnded()
}

func (c *bridgeConn) waitToRead() error {
	gone := c.b.r.Context()
	for {
		c.mu.Lock()
		limit, changed, closed := c.readLimit, c.limitChanged, c.closed
		c.mu.Unlock()
		if closed {
			return net.ErrClosed
		}
		select {
		case <-c.decided:
			return c.err
		default:
		}
		late := time.NewTimer(time.Hour)
		if !limit.IsZero() {
			late.Reset(time.Until(limit))
		}
		select {
		case <-c.decided:
		case <-c.over:
		case <-changed:
		case <-gone.Done():
			late.Stop()
			select {
			case <-c.decided: // at the same moment: what came with the socket is not lost
				return c.err
			default:
			}
			return fmt.Errorf("negotiate: bridge: the request has ended: %w", context.Cause(gone))
		case <-late.C:
			if !limit.IsZero() {
				return os.ErrDeadlineExceeded
			}
		}
		late.Stop()
	}
}

// Write writes to the stream; before that, the answer.
func (c *bridgeConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	select {
	case <-c.decided:
		if c.err != nil {
			return 0, c.err
		}
		n, err := c.stream.Write(p)
		if err != nil && c.isClosed() {
			err = net.ErrClosed // and not the deadline that Close has set
		}
		return n, err
	default:
	}
	c.answer = append(c.answer, p...)
	rest, err := c.readAnswer(false)
	if err != nil {
		c.fail(err)
		return 0, err
	}
	if len(rest) > 0 { // the library's first frames, in one piece with its 101
		if c.isClosed() {
			return 0, net.ErrClosed // who closes waits for us, and not for the client
		}
		if _, err := c.stream.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// headLength returns how long the header of an answer is with the empty line behind
// it, -1 if that has not come. Lines may end as http.ReadResponse lets them.
func headLength(answer []byte) int {
	for at := 0; ; {
		end := bytes.IndexByte(answer[at:], '\n')
		if end < 0 {
			return -1
		}
		at += end + 1
		switch next := answer[at:]; {
		case bytes.HasPrefix(next, []byte("\r\n")):
			return at + 2
		case bytes.HasPrefix(next, []byte("\n")):
			return at + 1
		}
	}
}

// readAnswer looks whether the answer is whole, and acts upon it if it is: atEnd
// says that nothing follows. It returns what stands behind a 101.
func (c *bridgeConn) readAnswer(atEnd bool) (rest []byte, err error) {
	head := headLength(c.answer)
	switch {
	case head < 0 && len(c.answer) > maxBridgedHead:
		return nil, errBridgedHead
	case head < 0 && atEnd && len(c.answer) > 0:
		return nil, io.ErrUnexpectedEOF
	case head < 0:
		return nil, nil
	}
	asked := &http.Request{Method: http.MethodGet}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.answer)), asked)
	if err != nil {
		return nil, fmt.Errorf("negotiate: bridge: the handler's answer: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		rest = c.answer[head:]
		c.answer = nil
		return rest, c.accept(resp.Header)
	case resp.StatusCode < 200:
		return nil, errBridgedStatus
	case len(c.answer) > maxBridgedRefusal:
		return nil, errBridgedRefusal
	case resp.ContentLength < 0 && resp.TransferEncoding == nil && !atEnd:
		return nil, nil // content that only the end of the connection ends
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		if atEnd {
			return nil, fmt.Errorf("negotiate: bridge: the handler's answer: %w", err)
		}
		return nil, nil // it is not all there
	}
	c.answer = nil
	c.setReplied()
	c.b.writeRefusal(resp, body)
	c.decide(nil, errBridgedFailed)
	return nil, nil
}

// accept makes the connection the stream's.
func (c *bridgeConn) accept(h http.Header) error {
	c.setReplied() // by Accept, which also answers when it fails
	stream, early, err := c.b.accept(h)
	if err != nil {
		c.decide(nil, err)
		return err
	}
	c.early = early
	c.decide(stream, nil)
	return nil
}

// decide says what has become of the answer, once.
func (c *bridgeConn) decide(s websocket.Stream, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.decided:
		return
	default:
	}
	c.stream, c.err = s, err
	if s != nil {
		if !c.readLimit.IsZero() {
			_ = s.SetReadDeadline(c.readLimit)
		}
		if !c.writeLimit.IsZero() {
			_ = s.SetWriteDeadline(c.writeLimit)
		}
	}
	close(c.decided)
}

// Close releases the stream: what was written before still goes out. If there is
// no stream, a refusal that was written goes out, or the request is given up.
func (c *bridgeConn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	stream := c.stream
	c.mu.Unlock()
	defer close(c.over)
	if stream != nil {
		if !c.writing.TryLock() { // a Write that may be blocked: a Close ends it
			_ = stream.SetWriteDeadline(time.Unix(1, 0))
		} else {
			c.writing.Unlock()
		}
		return c.release(stream)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.stream != nil { // accepted at this very moment
		return c.release(c.stream)
	}
	if c.err != nil {
		return nil
	}
	return c.endAnswer(net.ErrClosed)
}

// endAnswer takes what was written for all of the answer. If that is nothing, later
// calls get the error otherwise. c.writing is held, and nothing is decided.
func (c *bridgeConn) endAnswer(otherwise error) error {
	_, err := c.readAnswer(true)
	if err != nil {
		c.fail(err)
	}
	c.decide(nil, otherwise)
	return err
}

func (c *bridgeConn) release(s websocket.Stream) error {
	c.mu.Lock()
	abrupt := c.abrupt
	c.mu.Unlock()
	if abrupt {
		return s.Abort()
	}
	return s.Close()
}

// SetLinger is *net.TCPConn's: with 0, Close resets the stream and lets unsent
// bytes be lost. Other values do nothing.
func (c *bridgeConn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abrupt = sec == 0
	return nil
}

// fail gives up what cannot be passed on.
func (c *bridgeConn) fail(err error) {
	if !c.answered() {
		c.setReplied()
		c.b.fail()
	}
	c.decide(nil, err)
}

// abort ends the connection without order. No answer is sent when it has returned.
func (c *bridgeConn) abort() {
	c.mu.Lock()
	stream, closed := c.stream, c.closed
	c.closed = true
	c.mu.Unlock()
	if stream == nil {
		c.writing.Lock()
		stream = c.stream // accepted at this very moment
		c.writing.Unlock()
	}
	if stream != nil {
		_ = stream.Abort()
	}
	if !closed {
		close(c.over)
	}
}

// CloseWrite ends our direction, as a *net.TCPConn's does. Before the handler has
// accepted the socket that is the end of a refusal.
func (c *bridgeConn) CloseWrite() error {
	if s := c.socket(); s != nil {
		return s.CloseWrite()
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	switch {
	case c.isClosed():
		return net.ErrClosed
	case c.stream != nil: // accepted at this very moment
		return c.stream.CloseWrite()
	case c.err == errBridgedFailed:
		return nil
	case c.err != nil:
		return c.err
	}
	return c.endAnswer(errBridgedFailed)
}

// socket returns the stream, nil if there is none.
func (c *bridgeConn) socket() websocket.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream
}

func (c *bridgeConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *bridgeConn) setReplied() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replied = true
}

// answered says whether the client has got an answer.
func (c *bridgeConn) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replied
}

// LocalAddr implements net.Conn.
func (c *bridgeConn) LocalAddr() net.Addr {
	if s := c.socket(); s != nil {
		return s.LocalAddr()
	}
	if a, ok := c.b.r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a
	}
	return textAddr("")
}

// RemoteAddr implements net.Conn.
func (c *bridgeConn) RemoteAddr() net.Addr {
	if s := c.socket(); s != nil {
		return s.RemoteAddr()
	}
	return textAddr(c.b.r.RemoteAddr)
}

// SetDeadline implements net.Conn.
func (c *bridgeConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *bridgeConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.stream != nil:
		return c.stream.SetReadDeadline(t)
	}
	c.readLimit = t
	close(c.limitChanged)
	c.limitChanged = make(chan struct{})
	return nil
}

// SetWriteDeadline implements net.Conn. Before the socket is accepted nothing
// that is written waits for the client.
func (c *bridgeConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.stream != nil:
		return c.stream.SetWriteDeadline(t)
	}
	c.writeLimit = t
	return nil
}

// A textAddr is an address of which only the text is known.
type textAddr string

// Network returns "tcp".
func (textAddr) Network() string { return "tcp" }

// String returns the text.
func (a textAddr) String() string { return string(a) }
