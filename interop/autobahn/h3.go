package autobahn

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// An h3Stream is a request stream of HTTP/3 behind its header sections: what is
// written goes into DATA frames.
type h3Stream struct {
	h3Request
}

// h3Request is what a client's and a server's stream of quic-go have in common.
type h3Request interface {
	io.ReadWriteCloser
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
}

const h3Cancelled = quic.StreamErrorCode(http3.ErrCodeRequestCanceled)

func (s h3Stream) CloseWrite() error { return s.h3Request.Close() }

func (s h3Stream) Close() error {
	s.CancelRead(h3Cancelled) // nothing, if the peer has ended
	return s.h3Request.Close()
}

func (s h3Stream) Abort() error {
	s.CancelRead(h3Cancelled)
	s.CancelWrite(h3Cancelled)
	return nil
}

// H3Opener opens sockets on one QUIC connection that they share.
type H3Opener struct {
	addr      string
	config    *tls.Config
	transport http3.Transport

	mu   sync.Mutex
	conn *http3.ClientConn
}

// OpenHTTP3 returns an H3Opener for the server at addr.
func OpenHTTP3(addr string, config *tls.Config) *H3Opener {
	config = config.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	return &H3Opener{addr: addr, config: config}
}

// Open is an Opener: by extended CONNECT (RFC 9220).
func (o *H3Opener) Open(ctx context.Context, h Hello) (Stream, string, error) {
	conn, err := o.connection(ctx)
	if err != nil {
		return nil, "", err
	}
	select {
	case <-conn.ReceivedSettings():
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	if !conn.Settings().EnableExtendedConnect {
		return nil, "", fmt.Errorf("the server does not take extended CONNECT")
	}
	s, err := conn.OpenRequestStream(ctx)
	if err != nil {
		return nil, "", err
	}
	stop := context.AfterFunc(ctx, func() { h3Stream{s}.Abort() })
	answer, err := shakeHands(s, o.addr, h)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		h3Stream{s}.Abort()
		return nil, "", err
	}
	return h3Stream{s}, answer, nil
}

// shakeHands does the opening handshake as a client.
func shakeHands(s *http3.RequestStream, addr string, h Hello) (string, error) {
	r := &http.Request{
		Method: http.MethodConnect, Proto: "websocket", Host: addr,
		URL:    &url.URL{Scheme: "https", Host: addr, Path: pathPrefix + h.Case},
		Header: http.Header{"Sec-Websocket-Version": {"13"}},
	}
	if h.Offer != "" {
		r.Header.Set("Sec-WebSocket-Extensions", h.Offer)
	}
	if err := s.SendRequestHeader(r); err != nil {
		return "", err
	}
	resp, err := s.ReadResponse()
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %s", resp.Status)
	}
	return strings.Join(resp.Header.Values("Sec-WebSocket-Extensions"), ", "), nil
}

// connection returns the connection, a new one if there is none or it has ended.
func (o *H3Opener) connection(ctx context.Context) (*http3.ClientConn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn != nil && o.conn.Context().Err() == nil {
		return o.conn, nil
	}
	qc, err := quic.DialAddr(ctx, o.addr, o.config, h3Config())
	if err != nil {
		return nil, err
	}
	o.conn = o.transport.NewClientConn(qc)
	return o.conn, nil
}

// h3Config lets a socket send a good deal before its reader is there.
func h3Config() *quic.Config {
	return &quic.Config{InitialStreamReceiveWindow: 2 << 20, InitialConnectionReceiveWindow: 8 << 20}
}

// Close ends the connection.
func (o *H3Opener) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn != nil {
		o.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
}

// HTTP3 returns a server for clients under test. The caller gives it a
// certificate, serves with it and closes it.
func (l *Lobby) HTTP3() *http3.Server {
	return &http3.Server{QUICConfig: h3Config(), Handler: http.HandlerFunc(l.serveHTTP3)}
}

func (l *Lobby) serveHTTP3(w http.ResponseWriter, r *http.Request) {
	g, err := l.admit(r.URL.Path, strings.Join(r.Header.Values("Sec-WebSocket-Extensions"), ", "))
	if err != nil || r.Method != http.MethodConnect || r.Proto != "websocket" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if g.answer != "" {
		w.Header().Set("Sec-WebSocket-Extensions", g.answer)
	}
	w.WriteHeader(http.StatusOK)
	s, err := w.(http3.HTTPStreamer).HTTPStream()
	if err != nil {
		return
	}
	l.enter(g, h3Stream{s})
}
