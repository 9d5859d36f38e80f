package h3connect

import (
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/sockets"
)

// A guard is the ResponseWriter of an extended CONNECT for websocket. Any 2xx to it
// would open a socket (RFC 9220 §3, RFC 9110 §9.3.6), so that only those pass that
// are known to be an acceptance; in place of others it refuses, and ends the stream.
// Like http3's it is for the handler's goroutine.
type guard struct {
	http.ResponseWriter // http3's
	r                   *http.Request

	decided bool // there is a status, or the stream was taken over
	refused bool
}

var (
	_ http.Flusher           = (*guard)(nil)
	_ sockets.StreamRejecter = (*guard)(nil)
)

// Unwrap is what http.ResponseController looks for.
func (g *guard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (g *guard) WriteHeader(status int) {
	switch {
	case g.refused:
		return
	case status >= 200:
		g.decided = true
	}
	if status/100 == 2 && !handshake.MarkedAccepted(g.Header()) {
		g.refuse()
		return
	}
	g.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (g *guard) Write(p []byte) (int, error) {
	if !g.decided {
		g.WriteHeader(http.StatusOK)
	}
	if g.refused {
		return 0, handshake.ErrNotAccepted
	}
	return g.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (g *guard) Flush() { _ = g.FlushError() }

// FlushError is what http.ResponseController looks for.
func (g *guard) FlushError() error {
	if !g.decided {
		g.WriteHeader(http.StatusOK)
	}
	if g.refused {
		return handshake.ErrNotAccepted
	}
	return http.NewResponseController(g.ResponseWriter).Flush()
}

// HTTPStream implements http3.HTTPStreamer.
func (g *guard) HTTPStream() (*http3.Stream, error) {
	if g.refused || !handshake.MarkedAccepted(g.Header()) {
		return nil, handshake.ErrNotAccepted
	}
	hs, err := streamer{g.ResponseWriter}.take()
	g.decided = g.decided || err == nil
	return hs, err
}

// returned is called when the handler has returned. Of one that has written nothing
// http3 would say 200.
func (g *guard) returned() {
	if !g.decided {
		g.WriteHeader(http.StatusOK)
	}
}

// refuse answers in place of a handler that knows nothing of sockets. Nothing of
// its response goes out, and it is told by its writes and by its context, which
// ends with the stream, so that a response without end, an event stream, does not
// go on for nobody.
func (g *guard) refuse() {
	g.refused = true
	clear(g.Header())
	w := &refusalWriter{ResponseWriter: g.ResponseWriter}
	handshake.Refuse(w, g.r, handshake.NotAccepted())
	if w.stream == nil {
		return // http3 does what is left when the handler has returned
	}
	_ = w.stream.Close()
	w.stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
}

// RejectStream is what package sockets wants of a server that is shutting down:
//
//	"When the server cancels a request without performing any application
//	processing, the request is considered "rejected". The server SHOULD abort its
//	response stream with the error code H3_REQUEST_REJECTED."
//
// https://www.rfc-editor.org/rfc/rfc9114#section-4.1.1
func (g *guard) RejectStream() bool {
	if g.decided {
		return false
	}
	resetStream(g.ResponseWriter, http3.ErrCodeRequestRejected)
	g.decided = true
	return true
}

// A refusalWriter writes a response with its content and keeps the stream, so that
// it can be ended before the handler returns.
type refusalWriter struct {
	http.ResponseWriter
	stream *http3.Stream
}

func (w *refusalWriter) WriteHeader(status int) {
	w.ResponseWriter.WriteHeader(status)
	if s, ok := streamerOf(w.ResponseWriter); ok {
		w.stream, _ = s.take() // sends the header section
	}
}

func (w *refusalWriter) Write(p []byte) (int, error) {
	if w.stream == nil {
		return w.ResponseWriter.Write(p)
	}
	return w.stream.Write(p)
}
