package negotiate

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/tunnel"
)

// A bridge is the ResponseWriter of a bridged request. Like net/http's it is for
// the goroutine of the handler. Nothing goes to the client's ResponseWriter
// before it is certain what is to be sent.
type bridge struct {
	w   http.ResponseWriter // the client's
	r   *http.Request       // the client's
	key string              // what the 101 has to answer

	header   http.Header // of w, as h makes it
	status   int         // by WriteHeader; 0 before
	snapshot http.Header // of header at WriteHeader(101)
	refusing bool        // content goes to w
	conn     *bridgeConn // once hijacked
	native   bool        // Accept has taken the client's request over
}

var (
	_ http.Hijacker = (*bridge)(nil)
	_ http.Flusher  = (*bridge)(nil)
)

// Header implements http.ResponseWriter.
func (b *bridge) Header() http.Header { return b.header }

// WriteHeader implements http.ResponseWriter. A 101 waits for Hijack, as
// net/http's does; other informational responses are not passed on.
func (b *bridge) WriteHeader(status int) {
	switch {
	case b.status != 0 || b.conn != nil || b.native:
		return
	case status == http.StatusSwitchingProtocols:
		b.snapshot = b.header.Clone()
	case status < 200:
		return
	}
	b.status = status
	if status != http.StatusSwitchingProtocols {
		b.dropFields()
		b.refusing = b.refuse(status, b.header)
	}
}

// dropFields takes from the client's header what h has taken from its own, which
// began as the same.
func (b *bridge) dropFields() {
	maps.DeleteFunc(b.w.Header(), func(name string, _ []string) bool {
		_, kept := b.header[name]
		return !kept || name != http.CanonicalHeaderKey(name) // as which it is set
	})
}

// refuse sends the head of a refusal, and says whether its content is to follow.
func (b *bridge) refuse(status int, h http.Header) bool {
	code := refusalStatus(status, b.r.ProtoMajor)
	if code == 0 {
		handshake.Refuse(b.w, b.r, &websocket.HandshakeError{
			Status: http.StatusNotImplemented,
			Reason: "the handler does not open a socket",
		})
		return false
	}
	copyEndToEnd(b.w.Header(), h)
	b.w.WriteHeader(code)
	return true
}

// Write implements http.ResponseWriter.
func (b *bridge) Write(p []byte) (int, error) {
	if b.conn != nil || b.native {
		return 0, http.ErrHijacked
	}
	if b.status == 0 {
		b.WriteHeader(http.StatusOK)
	}
	switch {
	case b.status == http.StatusSwitchingProtocols:
		return 0, http.ErrBodyNotAllowed
	case b.refusing:
		return b.w.Write(p)
	}
	return len(p), nil // content of a 2xx, which there is no place for
}

// Flush implements http.Flusher.
func (b *bridge) Flush() { _ = b.FlushError() }

// FlushError is what http.ResponseController looks for.
func (b *bridge) FlushError() error {
	if b.conn != nil || b.native {
		return http.ErrHijacked
	}
	if b.status == 0 {
		b.WriteHeader(http.StatusOK)
	}
	if !b.refusing {
		return nil
	}
	return http.NewResponseController(b.w).Flush()
}

// SetReadDeadline and SetWriteDeadline are what http.ResponseController looks
// for.
func (b *bridge) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(b.w).SetReadDeadline(t)
}

func (b *bridge) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(b.w).SetWriteDeadline(t)
}

// EnableFullDuplex does nothing: HTTP/2 and HTTP/3 are.
func (b *bridge) EnableFullDuplex() error { return nil }

// Hijack implements http.Hijacker. If the 101 has been written by WriteHeader it
// is sent now. As with net/http, deadlines that were set for the response end.
func (b *bridge) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch {
	case b.conn != nil || b.native:
		return nil, nil, http.ErrHijacked
	case b.status != 0 && b.status != http.StatusSwitchingProtocols:
		return nil, nil, errors.New("negotiate: the socket has been refused")
	}
	_ = b.SetReadDeadline(time.Time{}) // who cannot do this has none
	_ = b.SetWriteDeadline(time.Time{})
	b.conn = newBridgeConn(b)
	if b.status == http.StatusSwitchingProtocols {
		if err := b.conn.accept(b.snapshot); err != nil {
			b.conn.abort()
			return nil, nil, err
		}
	}
	return b.conn, bufio.NewReadWriter(bufio.NewReader(b.conn), bufio.NewWriter(b.conn)), nil
}

// accept answers the client as the 101 with the header h says, and returns the
// stream and what the client has sent already.
func (b *bridge) accept(h http.Header) (stream websocket.Stream, buffered []byte, err error) {
	answer, err := b.check(h)
	accepting := &tunnel.Accepting{
		Agree: func() (tunnel.Answer, *websocket.HandshakeError) {
			if err == nil {
				if b.status == http.StatusSwitchingProtocols {
					clear(b.w.Header()) // the answer has all of it
				}
				return answer, nil
			}
			return answer, &websocket.HandshakeError{
				Status: http.StatusInternalServerError, Reason: "the handler's answer cannot be passed on", Err: err,
			}
		},
		Take: func(s websocket.Stream, b []byte) tunnel.Socket {
			stream, buffered = s, b
			return nil
		},
	}
	_, acceptErr := Accept(b.w, b.r.WithContext(tunnel.WithAccepting(b.r.Context(), accepting)), nil)
	if acceptErr != nil {
		return nil, nil, fmt.Errorf("negotiate: bridge: %w", acceptErr)
	}
	return stream, buffered, nil
}

// check checks a 101 as a client that spoke HTTP/1.1 would.
func (b *bridge) check(h http.Header) (tunnel.Answer, error) {
	if err := handshake.CheckSwitch(h, b.key); err != nil {
		return tunnel.Answer{}, err
	}
	return handshake.PassOn(h, b.r.Header)
}

// finish is called when the handler has returned.
func (b *bridge) finish() {
	switch {
	case b.native:
	case b.conn != nil:
		<-b.conn.over
		if !b.conn.answered() {
			panic(http.ErrAbortHandler) // a connection that was closed without an answer
		}
	case b.status == 0:
		b.WriteHeader(http.StatusOK)
	case b.status == http.StatusSwitchingProtocols:
		b.fail()
	}
}

// abandon is called when the handler has panicked.
func (b *bridge) abandon() {
	if b.conn != nil {
		b.conn.abort()
	}
}

// goNative lets Accept answer the client itself, which a handler inside a bridge
// has called: it returns what Accept is to use.
func (b *bridge) goNative(r *http.Request) (http.ResponseWriter, *http.Request) {
	b.native = true
	b.dropFields()
	maps.Copy(b.w.Header(), b.header)
	return b.w, b.own(r)
}

// fail answers a client whose socket has come to nothing by the handler's fault.
func (b *bridge) fail() {
	handshake.Refuse(b.w, b.r, &websocket.HandshakeError{Status: http.StatusInternalServerError})
}

// writeRefusal sends a refusal that was written onto the hijacked connection.
func (b *bridge) writeRefusal(resp *http.Response, body []byte) {
	h := resp.Header.Clone()
	if resp.Header["Content-Length"] != nil || len(body) > 0 {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	if b.refuse(resp.StatusCode, h) {
		_, _ = b.w.Write(body) // a client that has gone needs no refusal
	}
}
