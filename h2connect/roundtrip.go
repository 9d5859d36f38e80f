package h2connect

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An exchange is a request that a client has sent and what has come of it.
type exchange struct {
	req    *http.Request
	rules  rules
	trace  *httptrace.ClientTrace
	socket bool // an extended CONNECT
	packed bool // gzip has been asked for on the caller's behalf

	// The connection's reader owns these.
	begun    bool   // something has come
	final    bool   // the response's header block has come
	informs  int    // informational responses before it
	informed uint64 // their size

	closeContent func()        // closes req.Body, once; nil without content
	contentOver  chan struct{} // closed when nobody uses req.Body any more; nil without content

	proceed chan struct{} // closed when the peer wants the content (RFC 9110 §10.1.1)
	asked   bool          // proceed is closed; the reader's

	done   chan struct{} // closed when resp or err is set
	resp   *http.Response
	status int // of resp, which is the caller's then
	err    error

	// The connection's lock guards these.
	stop  func() bool   // ends the watch over the request's context
	over  chan struct{} // closed when the stream has ended; nil if nobody waits
	timer *time.Timer   // of the response's header block
}

// maxInforms is how many informational responses a request may get whose caller
// does not look at them, with httptrace.ClientTrace.Got1xxResponse.
const maxInforms = 64

// roundTrip sends req on a stream of its own and waits for the response's header
// block. The caller has reserved the stream. If begun is false nothing has been
// sent, and req's body is as it was; otherwise it will be closed.
func (cc *ClientConn) roundTrip(req *http.Request) (resp *http.Response, begun bool, err error) {
	st, err := cc.open(req, "")
	if err != nil {
		return nil, false, err
	}
	x := st.exchange
	if hasContent(req) {
		go st.sendContent(req)
	} else {
		x.requestSent(st, nil)
	}
	resp, err = x.wait(st, req.Context())
	if x.contentOver != nil && req.GetBody != nil && retryable(err) {
		// Whoever sends the request again has its content again, perhaps from
		// the same source.
		select {
		case <-x.contentOver:
		case <-req.Context().Done():
			err = context.Cause(req.Context())
		}
	}
	return resp, true, err
}

// requestSent says that a request has been sent to its end, or as far as err let
// it. From here the response may take its time and no more.
func (x *exchange) requestSent(st *stream, err error) {
	if x.trace != nil && x.trace.WroteRequest != nil {
		x.trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
	d := x.rules.responseHeader
	if d <= 0 || err != nil {
		return
	}
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.gone || x.answered() {
		return
	}
	x.timer = time.AfterFunc(d, func() {
		if !x.answered() {
			st.abort(http2.ErrCodeCancel, errResponseHeader)
		}
	})
}

const errResponseHeader = timeoutError("h2connect: timeout awaiting response headers")

var errContentRefused = errors.New("h2connect: the server has refused the request without the rest of its content")

// refused reports whether the server has answered a request with something other
// than a success. The connection's lock is held.
func (x *exchange) refused() bool {
	return x != nil && !x.socket && x.status >= 300
}

// answered reports whether resp or err is set.
func (x *exchange) answered() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// wait waits for the response's header block.
func (x *exchange) wait(st *stream, ctx context.Context) (*http.Response, error) {
	select {
	case <-x.done:
	case <-ctx.Done():
		x.giveUp(st, ctx)
		<-x.done
		if x.resp == nil {
			return nil, context.Cause(ctx)
		}
	}
	// What the caller's own side gave up for, such as the error of its
	// content, is returned as it is.
	var reset *StreamError
	if errors.As(x.err, &reset) && !reset.Remote && reset.Err != nil && reset.Code == http2.ErrCodeCancel {
		if _, ok := reset.Err.(*violation); !ok {
			return nil, reset.Err
		}
	}
	return x.resp, x.err
}

// giveUp resets a stream whose context has ended. http.Client.Timeout ends the
// context and closes Request.Cancel by two timers of the same length; only with
// the second http.Client knows that it was its Timeout, so that one is given the
// time to come.
func (x *exchange) giveUp(st *stream, ctx context.Context) {
	//lint:ignore SA1019 http.Client.Timeout sets it
	cancel := x.req.Cancel
	if cancel != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		late := time.NewTimer(cancelTime)
		defer late.Stop()
		select {
		case <-cancel:
		case <-late.C:
		}
	}
	st.abort(http2.ErrCodeCancel, context.Cause(ctx))
}

const cancelTime = 20 * time.Millisecond

// open opens a stream with req. protocol is what :protocol says, "" for an
// ordinary request.
func (cc *ClientConn) open(req *http.Request, protocol string) (*stream, error) {
	fields, err := requestFields(req, protocol)
	if err != nil {
		cc.release(protocol != "")
		return nil, err
	}
	x := &exchange{
		req: req, rules: cc.t.rules(), socket: protocol != "", trace: httptrace.ContextClientTrace(req.Context()),
		proceed: make(chan struct{}), done: make(chan struct{}),
	}
	if protocol == "" && x.rules.compress && asksForGzip(req) {
		x.packed = true
		fields = append(fields, hpack.HeaderField{Name: "accept-encoding", Value: "gzip"})
	}
	cc.traceConn(x.trace)
	st, err := cc.openStream(x, fields)
	if err != nil {
		return nil, err
	}
	if x.trace != nil && x.trace.WroteHeaderField != nil {
		for _, f := range fields {
			x.trace.WroteHeaderField(f.Name, []string{f.Value})
		}
	}
	if x.trace != nil && x.trace.WroteHeaders != nil {
		x.trace.WroteHeaders()
	}
	return st, nil
}

// traceConn tells a request's trace which connection it has got.
func (cc *ClientConn) traceConn(trace *httptrace.ClientTrace) {
	c := cc.c
	c.mu.Lock()
	info := httptrace.GotConnInfo{Conn: c.nc, Reused: cc.used, WasIdle: cc.used && c.slots == 0}
	if info.WasIdle {
		info.IdleTime = time.Since(c.idleSince)
	}
	cc.used = true
	c.mu.Unlock()
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(info)
	}
}

// openStream sends a request's header block.
func (cc *ClientConn) openStream(x *exchange, fields []hpack.HeaderField) (*stream, error) {
	req, ctx := x.req, x.req.Context()
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.reserved--
	if err := cc.mayOpen(ctx, fields); err != nil {
		if x.socket {
			cc.sockets--
		}
		cc.slotsChanged()
		c.flush()
		return nil, err
	}
	cc.tidyUntil = time.Time{}
	st := c.newStream(c.nextOut)
	c.watchHealth()
	c.nextOut += 2
	st.exchange = x
	end := !x.socket && !hasContent(req)
	if !x.socket && !end {
		x.closeContent = sync.OnceFunc(func() { req.Body.Close() })
		x.contentOver = make(chan struct{})
	}
	c.writeHeaders(st.id, fields, end)
	if end {
		st.send.endWanted, st.send.ended, st.send.err = true, true, errWriteEnded
	}
	// A socket outlives the context of its dial, whose caller watches it.
	x.stop = func() bool { return true }
	if !x.socket {
		x.stop = context.AfterFunc(ctx, func() { x.giveUp(st, ctx) })
		x.watchCancel(st)
		if !x.rules.keepAlive || wantsClose(req) {
			c.goAway() // the connection closes when its streams have ended
		}
	}
	c.flush()
	return st, nil
}

// errLowered is of a stream that was promised before the server allowed fewer:
// "Endpoints MUST NOT exceed the limit set by their peer" (RFC 9113 §5.1.2).
var errLowered = errors.New("h2connect: the server has lowered its limit of streams")

// mayOpen returns why no stream can be opened with these fields. c.mu is held.
func (cc *ClientConn) mayOpen(ctx context.Context, fields []hpack.HeaderField) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := cc.usable(); err != nil {
		return notProcessed{err}
	}
	if cc.c.slots >= cc.limit() {
		return notProcessed{errLowered}
	}
	if size := listSize(fields); size > uint64(cc.c.peer.headerList) {
		return errors.New("h2connect: the request's header is larger than the peer allows")
	}
	return nil
}

// watchCancel watches over the channel that requests had before they had
// contexts, and that http.Client.Timeout still uses. c.mu is held.
func (x *exchange) watchCancel(st *stream) {
	//lint:ignore SA1019 http.Client.Timeout sets it
	cancel := x.req.Cancel
	if cancel == nil {
		return
	}
	x.over = make(chan struct{})
	over := x.over
	// This goroutine ends with the stream.
	go func() {
		select {
		case <-cancel:
			st.abort(http2.ErrCodeCancel, errRequestCanceled)
		case <-over:
		}
	}()
}

var errRequestCanceled = errors.New("h2connect: request canceled")
