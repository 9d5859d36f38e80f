package h1upgrade

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tunnel"
)

// What a server can make a client read before there is a socket.
const (
	maxAnswer        = 16 << 10 // bytes of one response's header
	maxInformational = 5        // responses of class 1xx before the final one
	refusalPatience  = 2 * time.Second
)

var (
	errAnswerTooLarge = errors.New("the answer's header is too large")
	errInformational  = errors.New("too many responses of class 1xx")
	errAnswerVersion  = errors.New("101 in a version of HTTP that does not have it")
)

// open runs the client's side of the handshake on nc, which it owns.
//
// ctx interrupts it by a deadline in the past, set by a goroutine of ctx that
// ends at once. Whoever gets to know that this goroutine has run gives the
// connection up, so that no deadline is left on a socket.
func open(ctx context.Context, nc net.Conn, req *http.Request, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	interrupt := func() { nc.SetDeadline(time.Unix(1, 0)) }
	stop := context.AfterFunc(ctx, interrupt)
	c, resp, err := exchange(ctx, nc, req, o, stop)
	if err == nil {
		return c, resp, nil
	}
	stop()
	newStream(nc, nil).Close()
	var e *websocket.HandshakeError
	if errors.As(err, &e) {
		return nil, resp, err
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return nil, resp, fmt.Errorf("websocket: opening handshake: %w", err)
}

// exchange sends the request, reads the answer, and makes the socket if that is
// what the answer says. Not a byte of a frame is sent before (RFC 9931). It calls
// stop, to end the hold of the context over nc, before it makes the socket.
func exchange(ctx context.Context, nc net.Conn, req *http.Request, o *websocket.DialOptions, stop func() bool) (*websocket.Conn, *http.Response, error) {
	state, err := tlsState(ctx, nc)
	if err != nil {
		return nil, nil, err
	}
	trace := httptrace.ContextClientTrace(ctx)
	_, err = nc.Write(appendRequest(nil, req))
	traceWrote(trace, err)
	if err != nil {
		return nil, nil, err
	}
	in := newAnswerReader(nc)
	if _, err := in.buffer.Peek(1); err == nil && trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	resp, err := in.next(req)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		limitRefusal(ctx, nc)
	}
	agreed, err := handshake.CheckResponse(resp, req, o)
	resp.Body = http.NoBody
	if err != nil {
		var e *websocket.HandshakeError
		if errors.As(err, &e) && len(e.Body) > 0 {
			resp.Body = io.NopCloser(bytes.NewReader(e.Body))
		}
		return nil, resp, err
	}
	if !stop() {
		return nil, resp, context.Cause(ctx)
	}
	params := agreed.Params(true, o.Compression, o.Limits)
	if params.Buffered, err = in.buffer.Peek(in.buffer.Buffered()); err != nil {
		return nil, resp, err
	}
	return tunnel.NewConn(ctx, newStream(nc, state), params), resp, nil
}

// traceWrote tells a trace that the request has been written, or that this has
// failed.
func traceWrote(trace *httptrace.ClientTrace, err error) {
	if trace != nil && trace.WroteHeaders != nil && err == nil {
		trace.WroteHeaders()
	}
	if trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

// tlsState returns the state of nc's TLS, once its handshake is complete. It is
// nil without TLS.
func tlsState(ctx context.Context, nc net.Conn) (*tls.ConnectionState, error) {
	if tc, ok := nc.(*tls.Conn); ok {
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, err
		}
	}
	tc, ok := nc.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil, nil
	}
	state := tc.ConnectionState()
	return &state, nil
}

// appendRequest appends the request as it goes on the wire (RFC 9112 §3).
func appendRequest(b []byte, req *http.Request) []byte {
	b = append(b, "GET "+req.URL.RequestURI()+" HTTP/1.1\r\n"...)
	h := req.Header.Clone()
	h["Host"] = []string{req.Host}
	return appendFields(b, h)
}

// limitRefusal bounds the wait for the content of a refusal, which is nice to
// have and may never end. If ctx has ended, its deadline stays.
func limitRefusal(ctx context.Context, nc net.Conn) {
	nc.SetReadDeadline(time.Now().Add(refusalPatience))
	if ctx.Err() != nil {
		nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// An answerReader reads the responses to one request, and no more of the
// connection than they may have.
type answerReader struct {
	conn   io.Reader
	left   int // bytes that may still be read for this response
	buffer *bufio.Reader
}

func newAnswerReader(conn io.Reader) *answerReader {
	a := &answerReader{conn: conn, left: maxAnswer}
	a.buffer = bufio.NewReader(a)
	return a
}

// Read is for the buffer.
func (a *answerReader) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errAnswerTooLarge
	}
	n, err := a.conn.Read(p[:min(len(p), a.left)])
	a.left -= n
	return n, err
}

// next reads the final response:
//
//	"A client MUST be able to parse one or more 1xx responses received prior
//	to a final response, even if the client does not expect one."
//
// https://www.rfc-editor.org/rfc/rfc9110#section-15.2
//
// Behind its header the reader may go on for as long as a header may be: that is
// enough for a refusal's content as far as it is wanted.
func (a *answerReader) next(req *http.Request) (*http.Response, error) {
	for range maxInformational + 1 {
		a.left = maxAnswer - a.buffer.Buffered()
		resp, err := http.ReadResponse(a.buffer, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			if resp.ProtoMajor != 1 || resp.ProtoMinor < 1 {
				return nil, errAnswerVersion
			}
			return resp, nil
		}
		if resp.StatusCode >= 200 {
			a.left = maxAnswer
			if d := tunnel.DialingOf(req.Context()); d != nil {
				a.left += int(d.RefusalLimit)
			}
			return resp, nil
		}
	}
	return nil, errInformational
}
