package h3connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tunnel"
)

var (
	errGoneAway = errors.New("the server is going away")
	errFull     = errors.New("the server allows no further stream")

	// errTurnedAway is errGoneAway for a request that has been sent, perhaps, and that
	// GOAWAY says will not be processed.
	errTurnedAway = errors.New("the server is going away and does not process the request")
)

// An unprocessed error is a failure of a request that the server has certainly
// not acted upon: it may be sent again (RFC 9114 §4.1.1, §5.2). The opening of a
// socket on a connection that has died is as good: nobody has seen anything of it
// yet.
type unprocessed struct{ error }

func (e unprocessed) Unwrap() error { return e.error }

// openSocket opens a socket on the connection, which has been reserved for it
// and is released with the socket or the error. The response belongs to the
// error if there is one.
func (c *clientConn) openSocket(ctx context.Context, req *http.Request, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	qs, err := c.openStream(ctx)
	if err != nil {
		c.release(forSocket)
		return nil, nil, err
	}
	resp, agreement, err := c.shakeHands(ctx, qs, req, o)
	if err != nil {
		c.release(forSocket)
		return nil, resp, err
	}
	s := &stream{qs: qs, link: link{
		local:    c.qc.LocalAddr(),
		remote:   c.qc.RemoteAddr(),
		tls:      c.tls,
		fail:     c.fail,
		released: func() { c.release(forSocket) },
	}}
	return tunnel.NewConn(ctx, s, agreement.Params(true, o.Compression, o.Limits)), resp, nil
}

// openStream opens a stream once the server is known to take extended CONNECT:
//
//	"A client […] MUST NOT use the :protocol pseudo-header field in a request
//	unless it has received [the setting] from the server"
//
// is what RFC 8441 §3 comes to, which RFC 9220 §3 takes over.
func (c *clientConn) openStream(ctx context.Context) (*quic.Stream, error) {
	if err := c.awaitSettings(ctx); err != nil {
		return nil, err
	}
	if !c.settings.extendedConnect {
		return nil, fmt.Errorf("the server does not offer extended CONNECT: %w", websocket.ErrNotSupported)
	}
	qs, err := c.qc.OpenStream()
	if _, limited := errors.AsType[*quic.StreamLimitReachedError](err); limited {
		if !c.onlySocket() {
			return nil, errFull
		}
		wait, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(c.gone, func() { cancel(errGoneAway) })()
		qs, err = c.qc.OpenStreamSync(wait)
		switch cause := context.Cause(wait); {
		case err == nil || cause == nil:
		case cause == errGoneAway:
			return nil, unprocessed{cause}
		default:
			return nil, fmt.Errorf("waiting for a stream: %w", cause)
		}
	}
	if err != nil {
		return nil, neverSent(err)
	}
	c.countStream()
	return qs, nil
}

// neverSent returns the error for a connection that has ended before the request
// was sent. If it was the server that broke a rule of HTTP/3 it will do so again.
func neverSent(err error) error {
	err = mapError(err)
	ce, ok := err.(*ConnError)
	if ok && !ce.Remote && ce.Code != uint64(http3.ErrCodeNoError) && !socketFailed(ce.Err) {
		return err
	}
	return unprocessed{err}
}

func (c *clientConn) onlySocket() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets == 1 && c.requests == 0
}

// shakeHands does the opening handshake on qs, and resets it if that fails.
func (c *clientConn) shakeHands(ctx context.Context, qs *quic.Stream, req *http.Request, o *websocket.DialOptions) (*http.Response, handshake.Agreement, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := c.announce(qs.StreamID(), cancel); err != nil {
		cancel(err)
		return nil, handshake.Agreement{}, c.abandon(ctx, qs, err)
	}
	defer c.settle(qs.StreamID())
	defer c.expectLife(cancel)()
	// From here on the end of ctx is a deadline of the stream that has passed.
	stop := context.AfterFunc(ctx, func() { _ = qs.SetDeadline(longAgo) })
	resp, err := c.exchange(ctx, qs, req)
	var agreement handshake.Agreement
	if err == nil {
		agreement, err = checkAnswer(ctx, qs, resp, req, o)
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return resp, agreement, c.abandon(ctx, qs, err)
	}
	_ = qs.SetDeadline(time.Time{})
	return resp, agreement, nil
}

// announce makes GOAWAY end the handshake if the server will not process it. Behind
// GOAWAY there is none to begin:
//
//	"Endpoints MUST NOT initiate new requests or promise new pushes on the
//	connection after receipt of a GOAWAY frame from the peer."
//
// https://www.rfc-editor.org/rfc/rfc9114#section-5.2
func (c *clientConn) announce(id quic.StreamID, cancel context.CancelCauseFunc) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Err() != nil {
		return errGoneAway
	}
	c.opening[id] = cancel
	return nil
}

// answerTime is how long nothing at all may come after a socket has been asked for,
// not even an acknowledgement, which a live peer sends within milliseconds (RFC
// 9000 §13.2.1). QUIC itself takes until its idle timeout to find out that a path
// is dead.
const answerTime = 2 * time.Second

var errSilent = errors.New("the server has fallen silent")

// expectLife passes the connection over, and ends the handshake, if nothing comes
// in answerTime. The function that it returns ends the watch.
func (c *clientConn) expectLife(cancel context.CancelCauseFunc) (stop func() bool) {
	before := c.qc.ConnectionStats().PacketsReceived
	return time.AfterFunc(answerTime, func() {
		if c.qc.ConnectionStats().PacketsReceived == before {
			c.endAfterUse() // what is on it may find out more
			cancel(errSilent)
		}
	}).Stop
}

func (c *clientConn) settle(id quic.StreamID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.opening, id)
}

// maxInformational bounds the 1xx responses before the final one.
const maxInformational = 5

// exchange sends the request and returns the final response, without its body.
func (c *clientConn) exchange(ctx context.Context, qs *quic.Stream, req *http.Request) (*http.Response, error) {
	frame, size := connectFrame(req)
	// "An HTTP implementation […] SHOULD NOT send an HTTP message header that
	// exceeds the indicated size"
	// https://www.rfc-editor.org/rfc/rfc9114#section-4.2.2
	if limit := c.settings.maxFieldSection; limit > 0 && size > limit {
		return nil, &websocket.HandshakeError{Reason: "the request is larger than the server takes"}
	}
	_, cut := qs.Write(frame)
	if cut != nil {
		// "Clients MUST NOT discard complete responses as a result of having
		// their request terminated abruptly"
		// https://www.rfc-editor.org/rfc/rfc9114#section-4.1
		if se, ok := errors.AsType[*quic.StreamError](cut); !ok || !se.Remote {
			return nil, cut
		}
		readWithin(ctx, qs, refusalTime)
	}
	for range maxInformational + 1 {
		resp, err := readAnswer(qs)
		if err != nil {
			if fe, _ := errors.AsType[*frameError](err); cut != nil && (fe == nil || !fe.conn) {
				err = cut
			}
			return nil, err
		}
		if cut != nil && resp.StatusCode/100 == 2 {
			return nil, cut // nothing can be written to such a socket
		}
		informational := resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols
		if !informational {
			resp.Request, resp.TLS, resp.Body = req, c.tls, http.NoBody
			return resp, nil
		}
	}
	return nil, &frameError{code: http3.ErrCodeExcessiveLoad, text: "too many informational responses"}
}

// refusalTime is how long the content of a refusal is waited for, and the answer to a
// request of which the server did not want to read all.
const refusalTime = time.Second

// readWithin gives the reads of qs the time of limit. Where the end of ctx is a
// deadline that has passed it stays one.
func readWithin(ctx context.Context, qs *quic.Stream, limit time.Duration) {
	_ = qs.SetReadDeadline(time.Now().Add(limit))
	if ctx.Err() != nil {
		_ = qs.SetReadDeadline(longAgo)
	}
}

// checkAnswer decides whether resp accepts the socket. Of a refusal it reads the
// beginning of the content, which becomes the response's body.
func checkAnswer(ctx context.Context, qs *quic.Stream, resp *http.Response, req *http.Request, o *websocket.DialOptions) (handshake.Agreement, error) {
	if resp.StatusCode/100 == 2 {
		if atEnd(qs) {
			return handshake.Agreement{}, &websocket.HandshakeError{
				Reason: "the server accepted and ended the stream", Header: resp.Header,
			}
		}
	} else {
		resp.Body = io.NopCloser(&stream{qs: qs, in: deframer{trailers: true}})
		readWithin(ctx, qs, refusalTime)
	}
	agreement, err := handshake.CheckResponse(resp, req, o)
	resp.Body = http.NoBody
	if he, ok := errors.AsType[*websocket.HandshakeError](err); ok && len(he.Body) > 0 {
		resp.Body = io.NopCloser(bytes.NewReader(he.Body))
	}
	return agreement, err
}

// atEnd says whether the stream's FIN came with the last byte read. With the
// deadline in the past a read takes no byte.
func atEnd(qs *quic.Stream) bool {
	_ = qs.SetReadDeadline(longAgo)
	_, err := qs.Read(make([]byte, 1))
	_ = qs.SetReadDeadline(time.Time{})
	return err == io.EOF
}

// abandon resets the stream, and closes the connection if a rule demands it. It
// returns err as Dial returns it.
func (c *clientConn) abandon(ctx context.Context, qs *quic.Stream, err error) error {
	code := cancelled
	fe, broken := errors.AsType[*frameError](err)
	if broken {
		code = quic.StreamErrorCode(fe.code)
	}
	qs.CancelWrite(code)
	qs.CancelRead(code)
	if broken {
		cause := error(&StreamError{Code: uint64(fe.code), Err: fe})
		if fe.conn {
			c.fail(fe.code, fe.text)
			cause = &ConnError{Code: uint64(fe.code), Err: fe}
		}
		return &websocket.HandshakeError{Reason: fe.text, Err: cause}
	}
	if cause := context.Cause(ctx); cause == errGoneAway || cause == errSilent {
		return unprocessed{cause}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for the server's answer: %w", context.Cause(ctx))
	}
	err = mapError(err)
	if se, ok := err.(*StreamError); ok {
		he := &websocket.HandshakeError{Reason: "the stream was reset", Remote: true, Err: se}
		switch http3.ErrCode(se.Code) {
		case http3.ErrCodeRequestRejected:
			return unprocessed{he}
		case http3.ErrCodeVersionFallback: // "retry over HTTP/1.1" (RFC 9114 §8.1)
			he.Err = errors.Join(se, websocket.ErrNotSupported)
		}
		return he
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return unprocessed{err} // by somebody who knows nothing of the connection
	}
	if closedInOrder(err) && c.wasUsed() {
		return unprocessed{err} // as a rule it was idle, and closed before it was asked
	}
	return err
}

// closedInOrder says whether err is the end of a connection that the server has closed
// without an error.
func closedInOrder(err error) bool {
	e, ok := errors.AsType[*quic.ApplicationError](err)
	return ok && e.Remote && e.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError)
}
