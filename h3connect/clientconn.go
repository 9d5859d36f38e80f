package h3connect

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A clientConn is one QUIC connection of a Transport's. Ordinary requests go
// through http3; sockets have streams of their own beside it, because http3 does
// not hand out the stream of a request. The server's control stream is read here
// and not by http3, which would close the connection at GOAWAY when its own last
// request is over.
//
// Its goroutines: acceptStreams, from the start to the end of the connection,
// accepts the server's unidirectional streams; one for each of those, of which
// there are at most as many as the QUIC configuration allows, reads it to its
// end.
type clientConn struct {
	qc   *quic.Conn
	h3   *http3.RawClientConn
	tls  *tls.ConnectionState
	idle time.Duration // after which it closes without requests; negative: never

	alternative bool // it leads to an alternative service

	controlled bool // the control stream has come; of acceptStreams' goroutines, under mu

	settled  chan struct{}  // closed when SETTINGS have come
	settings serverSettings // to be read after that

	gone   context.Context // ends when nothing new may be begun, with mu held
	goAway context.CancelFunc

	mu       sync.Mutex
	sockets  int // open, or being opened
	requests int
	waiting  int  // requests that have no stream yet
	full     bool // the server allows no further stream for now
	retired  bool // closed by us, because nothing used it
	timer    *time.Timer
	opening  map[quic.StreamID]context.CancelCauseFunc   // handshakes in progress
	streams  int64                                       // that have been opened, at least
	asked    map[*watchedRequest]context.CancelCauseFunc // ordinary requests without a response
}

// maxSockets is how many sockets share a connection. Servers commonly allow 100
// streams; the rest is for ordinary requests, which must not starve behind
// sockets that live for hours.
const maxSockets = 80

// maxResponseHeaderBytes bounds the header section of the response to an
// ordinary request.
const maxResponseHeaderBytes = 1 << 20

func newClientConn(qc *quic.Conn, idle time.Duration) *clientConn {
	state := qc.ConnectionState().TLS
	c := &clientConn{
		qc:      qc,
		tls:     &state,
		idle:    idle,
		settled: make(chan struct{}),
		opening: make(map[quic.StreamID]context.CancelCauseFunc),
		asked:   make(map[*watchedRequest]context.CancelCauseFunc),
	}
	c.gone, c.goAway = context.WithCancel(context.Background())
	t := http3.Transport{MaxResponseHeaderBytes: maxResponseHeaderBytes}
	c.h3 = t.NewRawClientConn(qc)
	c.timer = timerOf(c, (*clientConn).retire)
	c.rearm()
	context.AfterFunc(qc.Context(), c.over)
	go c.acceptStreams()
	return c
}

// over stops the timer when the connection has ended. It holds mu, so that it
// comes behind a release that has seen the connection open and starts the timer.
func (c *clientConn) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
}

func (c *clientConn) acceptStreams() {
	for {
		str, err := c.qc.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		go c.readStream(str)
	}
}

func (c *clientConn) readStream(str *quic.ReceiveStream) {
	t, n, err := peekStreamType(str)
	if err != nil {
		return // a stream that ends before its type means nothing (RFC 9114 §6.2)
	}
	if t != streamControl {
		c.h3.HandleUnidirectionalStream(str)
		return
	}
	c.mu.Lock()
	second := c.controlled
	c.controlled = true
	c.mu.Unlock()
	if second {
		// "Only one control stream per peer is permitted; receipt of a second
		// stream claiming to be a control stream MUST be treated as a
		// connection error of type H3_STREAM_CREATION_ERROR."
		// https://www.rfc-editor.org/rfc/rfc9114#section-6.2.1
		c.fail(http3.ErrCodeStreamCreationError, "a second control stream")
		return
	}
	if _, err := io.ReadFull(str, make([]byte, n)); err != nil {
		return
	}
	if fe, ok := errors.AsType[*frameError](readControl(str, c)); ok {
		c.fail(fe.code, fe.text)
	}
}

func (c *clientConn) gotSettings(s serverSettings) {
	c.settings = s
	close(c.settled)
}

// gotGoAway ends the handshakes and requests that the server will not answer, and
// lets the connection end behind its last stream.
func (c *clientConn) gotGoAway(id quic.StreamID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAway()
	for stream, cancel := range c.opening {
		if stream >= id {
			cancel(errGoneAway)
		}
	}
	for w, cancel := range c.asked {
		if w.first >= id {
			cancel(errTurnedAway)
		}
	}
	c.rearm()
}

// fail closes the connection.
func (c *clientConn) fail(code http3.ErrCode, reason string) {
	_ = c.qc.CloseWithError(quic.ApplicationErrorCode(code), reason)
}

func (c *clientConn) close() { c.fail(http3.ErrCodeNoError, "") }

// A use is what somebody wants a connection for.
type use uint8

const (
	forRequest use = iota
	forSocket
)

// reserve says whether the connection can take one more, and counts it if so.
func (c *clientConn) reserve(u use) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone.Err() != nil || c.full || c.qc.Context().Err() != nil:
		return false
	case u == forSocket && c.sockets >= maxSockets:
		return false
	case u == forSocket:
		c.sockets++
	default:
		c.requests++
	}
	c.timer.Stop()
	return true
}

// release undoes reserve.
func (c *clientConn) release(u use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u == forSocket {
		c.sockets--
	} else {
		c.requests--
	}
	c.full = false
	if c.qc.Context().Err() == nil {
		c.rearm()
	}
}

// rearm starts the timer that closes the connection when nothing uses it. It is
// called with mu held, or before c is shared.
func (c *clientConn) rearm() {
	switch {
	case c.sockets+c.requests > 0:
		c.timer.Stop()
	case c.gone.Err() != nil:
		c.timer.Reset(linger(c.qc)) // closing drops what has not been sent or was lost
	case c.idle > 0:
		c.timer.Reset(c.idle)
	default:
		c.timer.Stop()
	}
}

// endAfterUse lets the connection end behind its last stream.
func (c *clientConn) endAfterUse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAway()
	c.rearm()
}

// heed passes the connection over if it leads to an alternative service that says
// in resp that it is not the origin (RFC 7838 §6): others would hear the same.
func (c *clientConn) heed(resp *http.Response) {
	if c.alternative && resp != nil && resp.StatusCode == http.StatusMisdirectedRequest {
		c.endAfterUse()
	}
}

// retire closes the connection if nothing uses it, and nothing will.
func (c *clientConn) retire() {
	c.mu.Lock()
	unused := c.sockets+c.requests == 0
	if unused {
		c.retired = c.retired || c.gone.Err() == nil && c.qc.Context().Err() == nil
		c.goAway()
	}
	c.mu.Unlock()
	if unused {
		c.close()
	}
}

// ended returns why the connection takes nothing new for good, nil if it may, or if
// it was we who closed it because nothing used it.
func (c *clientConn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return nil
	}
	if c.qc.Context().Err() != nil {
		return context.Cause(c.qc.Context())
	}
	if c.gone.Err() != nil {
		return errGoneAway
	}
	return nil
}

// setFull records that the server allows no further stream until one ends, unless the
// last one just has.
func (c *clientConn) setFull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = c.sockets+c.requests > 0
}

// countStream is called when a stream has been opened.
func (c *clientConn) countStream() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams++
}

// wasUsed says whether more has been asked for on the connection than one thing.
func (c *clientConn) wasUsed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams > 1
}

// ask makes GOAWAY end a request that is to be sent if the server will certainly not
// process it. http3 does not say which stream a request gets: it is none of those
// that have been opened. The function that it returns ends the watch.
func (c *clientConn) ask(w *watchedRequest, cancel context.CancelCauseFunc) (answered func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.first = quic.StreamID(4 * c.streams)
	c.asked[w] = cancel
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asked, w)
	}
}

// roundTrip sends an ordinary request. The connection is released when the
// response's body has been read or closed, or with the error. That is errFull or
// errGoneAway where the request was given up for want of a stream: before it was sent,
// but for one that got its stream at that very moment; and errTurnedAway where it was
// sent and will not be processed.
func (c *clientConn) roundTrip(w *watchedRequest) (*http.Response, error) {
	ctx := w.request.Context()
	if err := ctx.Err(); err != nil {
		c.release(forRequest)
		return nil, err
	}
	// http3 knows one context for the wait and for all that follows. This one must
	// not end with the response: there may be content of the request to send still.
	both, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer c.ask(w, cancel)()
	stop, err := c.awaitStream(cancel)
	if err != nil {
		c.release(forRequest)
		return nil, err
	}
	untie := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	w.begun = sync.OnceFunc(func() { stop(); c.countStream() })
	resp, err := c.h3.RoundTrip(w.request.WithContext(both))
	stop()
	if err == nil {
		resp.Body = &countedBody{resp.Body, sync.OnceFunc(func() { untie(); c.release(forRequest) })}
		return resp, nil
	}
	untie()
	c.release(forRequest)
	switch cause := context.Cause(both); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case cause == errFull || cause == errGoneAway || cause == errTurnedAway:
		return nil, cause
	}
	return nil, err
}

// streamTime is how long an ordinary request waits for a stream before it goes to
// another connection: for one that a short response gives back it is worth waiting.
const streamTime = 250 * time.Millisecond

// awaitStream ends the wait for a stream, by cancel, with GOAWAY, and after
// streamTime if it is for others to end: on a connection on which nobody has a stream
// the server has allowed none yet. The function that it returns ends the watch, and
// what is cancelled has been by then. Behind GOAWAY there is nothing to wait for.
func (c *clientConn) awaitStream(cancel context.CancelCauseFunc) (stop func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Err() != nil {
		return nil, errGoneAway
	}
	c.waiting++
	waits := true // guarded by mu
	giveUp := func(why error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if waits && (why == errGoneAway || c.sockets+c.requests > c.waiting) {
			cancel(why)
		}
	}
	late := time.AfterFunc(streamTime, func() { giveUp(errFull) })
	going := context.AfterFunc(c.gone, func() { giveUp(errGoneAway) })
	return sync.OnceFunc(func() {
		late.Stop()
		going()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting--
		waits = false
	}), nil
}

// A countedBody says when it is done with.
type countedBody struct {
	io.ReadCloser
	done func()
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.done()
	}
	return n, err
}

func (b *countedBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
