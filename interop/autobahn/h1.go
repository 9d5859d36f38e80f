package autobahn

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// An h1Stream is a connection after its Upgrade.
type h1Stream struct {
	net.Conn
	br *bufio.Reader // may hold what came behind the handshake
}

func (s *h1Stream) Read(p []byte) (int, error) { return s.br.Read(p) }

// tcp returns the connection below TLS, if there is TLS.
func (s *h1Stream) tcp() *net.TCPConn {
	if t, ok := s.Conn.(*tls.Conn); ok {
		return t.NetConn().(*net.TCPConn)
	}
	return s.Conn.(*net.TCPConn)
}

func (s *h1Stream) CloseWrite() error {
	if t, ok := s.Conn.(*tls.Conn); ok {
		t.CloseWrite()
	}
	return s.tcp().CloseWrite()
}

func (s *h1Stream) Abort() error {
	s.tcp().SetLinger(0)
	return s.tcp().Close()
}

// acceptOf returns Sec-WebSocket-Accept for a key (RFC 6455 §4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// OpenHTTP1 returns an Opener for the server at addr: by a GET with Upgrade on a
// connection of its own (RFC 6455 §4.1), over TLS if config is not nil.
func OpenHTTP1(addr string, config *tls.Config) Opener {
	return func(ctx context.Context, h Hello) (Stream, string, error) {
		conn, err := dialTCP(ctx, addr, config)
		if err != nil {
			return nil, "", err
		}
		s := &h1Stream{conn, bufio.NewReader(conn)}
		answer, err := s.upgrade(ctx, addr, h)
		if err != nil {
			conn.Close()
			return nil, "", err
		}
		return s, answer, nil
	}
}

// dialTCP connects, with TLS if config is not nil. A protocol that config offers
// must be the one chosen.
func dialTCP(ctx context.Context, addr string, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	chosen := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol
	if len(config.NextProtos) > 0 && chosen != config.NextProtos[0] {
		conn.Close()
		return nil, fmt.Errorf("the server chose the protocol %q", chosen)
	}
	return conn, nil
}

// upgrade does the opening handshake as a client.
func (s *h1Stream) upgrade(ctx context.Context, host string, h Hello) (string, error) {
	if t, ok := ctx.Deadline(); ok {
		s.SetDeadline(t)
		defer s.SetDeadline(time.Time{})
	}
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", pathPrefix, h.Case, host)
	fmt.Fprintf(&b, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", key)
	if h.Offer != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", h.Offer)
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(s.Conn, b.String()); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(s.br, nil)
	if err != nil {
		return "", err
	}
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return "", fmt.Errorf("the server answered %s", resp.Status)
	case resp.Header.Get("Sec-WebSocket-Accept") != acceptOf(key):
		return "", fmt.Errorf("the server's Sec-WebSocket-Accept is %q", resp.Header.Get("Sec-WebSocket-Accept"))
	}
	return strings.Join(resp.Header.Values("Sec-WebSocket-Extensions"), ", "), nil
}

// ServeHTTP1 accepts clients on ln until it is closed. Each connection has a
// goroutine for the handshake.
func (l *Lobby) ServeHTTP1(ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go l.serveHTTP1(conn)
	}
}

func (l *Lobby) serveHTTP1(conn net.Conn) {
	s := &h1Stream{conn, bufio.NewReader(conn)}
	conn.SetDeadline(time.Now().Add(openLimit))
	r, err := http.ReadRequest(s.br)
	if err != nil {
		conn.Close()
		return
	}
	g, err := l.admit(r.URL.Path, strings.Join(r.Header.Values("Sec-WebSocket-Extensions"), ", "))
	key := r.Header.Get("Sec-WebSocket-Key")
	if err != nil || key == "" {
		io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		conn.Close()
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", acceptOf(key))
	if g.answer != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", g.answer)
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		conn.Close()
		return
	}
	conn.SetDeadline(time.Time{})
	l.enter(g, s)
}
