package h1upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestH1_C1AnswersAgainstTheRules(t *testing.T) {
	wstest.NoLeaks(t)
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	for name, answer := range map[string]func(r *http.Request) string{
		"wrong Accept":          func(*http.Request) string { return upgrade + accept + "\r\n\r\n" },
		"missing Accept":        func(*http.Request) string { return upgrade + "\r\n" },
		"duplicate Accept":      func(r *http.Request) string { return switching(r, accept) },
		"unoffered subprotocol": func(r *http.Request) string { return switching(r, "Sec-WebSocket-Protocol: other") },
		"unoffered extension":   func(r *http.Request) string { return switching(r, "Sec-WebSocket-Extensions: permessage-deflate") },
		"no Upgrade":            func(r *http.Request) string { return strings.Replace(switching(r), "Upgrade: websocket\r\n", "", 1) },
		"no Connection":         func(r *http.Request) string { return strings.Replace(switching(r), "Connection: Upgrade\r\n", "", 1) },
		"HTTP/1.0":              func(r *http.Request) string { return strings.Replace(switching(r), "1.1", "1.0", 1) },
		"HTTP/2.0":              func(r *http.Request) string { return strings.Replace(switching(r), "1.1", "2.0", 1) },
		"not HTTP":              func(*http.Request) string { return "SSH-2.0-OpenSSH\r\n" },
		"nothing":               func(*http.Request) string { return "" },
		"cut short":             func(r *http.Request) string { return strings.TrimSuffix(switching(r), "\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			rest := make(chan []byte, 1)
			url := script(t, func(c net.Conn, r *http.Request) {
				io.WriteString(c, answer(r))
				if name == "nothing" || name == "cut short" {
					c.(bufferedConn).Conn.(*net.TCPConn).CloseWrite()
				}
				p, _ := io.ReadAll(c)
				rest <- p
			})
			c, _, err := Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"chat"}})
			require.Error(t, err)
			assert.Nil(t, c)
			assert.Empty(t, <-rest, "the connection is closed, without a frame")
			var e *websocket.HandshakeError
			if errors.As(err, &e) {
				assert.False(t, e.Remote)
			}
		})
	}
}

func TestH1_C2Refusals(t *testing.T) {
	wstest.NoLeaks(t)
	long := strings.Repeat("x", 5000)
	for _, tc := range []struct {
		answer string
		status int
		body   string
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
		{"HTTP/1.1 200 OK\r\n\r\n" + long, 200, long[:1024]},
		{"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=a\r\nContent-Length: 5000\r\n\r\n" + long, 401, long[:1024]},
		{"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, ""},
		{"HTTP/1.0 403 Forbidden\r\n\r\nno", 403, "no"},
		{"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n", 426, ""},
	} {
		t.Run(fmt.Sprint(tc.status), func(t *testing.T) {
			requests := 0
			rest := make(chan []byte, 1)
			url := script(t, func(c net.Conn, r *http.Request) {
				requests++
				io.WriteString(c, tc.answer)
				c.(bufferedConn).Conn.(*net.TCPConn).CloseWrite()
				p, _ := io.ReadAll(c)
				rest <- p
			})
			c, resp, err := Dial(t.Context(), url, &websocket.DialOptions{Header: http.Header{"Authorization": {"secret"}}})
			assert.Nil(t, c)
			e := handshakeError(t, err)
			assert.Equal(t, tc.status, e.Status)
			assert.True(t, e.Remote)
			assert.Equal(t, tc.body, string(e.Body))
			assert.Equal(t, resp.Header, e.Header)
			assert.Equal(t, tc.status, resp.StatusCode)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, tc.body, string(body))
			assert.Empty(t, <-rest, "no frame and no second request on this connection")
			assert.Equal(t, 1, requests, "nor on another")
		})
	}
}

// TestH1_C2ContentThatDoesNotEnd: a refusal is reported though its content stops
// in the middle.
func TestH1_C2ContentThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, end := pipeServer(func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nbusy")
			io.Copy(io.Discard, c)
		})
		defer end()
		began := time.Now()
		_, _, err := NewClient(t.Context(), nc, "ws://a", nil)
		e := handshakeError(t, err)
		assert.Equal(t, 503, e.Status)
		assert.Equal(t, "busy", string(e.Body))
		assert.Equal(t, refusalPatience, time.Since(began))
	})
}

// pipeServer returns the client's end of an in-memory connection whose other end
// play serves, and a function that waits for play's end.
func pipeServer(play func(c net.Conn)) (net.Conn, func()) {
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer there.Close()
		play(there)
	}()
	return here, func() { here.Close(); <-done }
}

func readRequest(c net.Conn) *http.Request {
	r, _ := http.ReadRequest(bufio.NewReader(c))
	return r
}

// A countingConn counts what is read.
type countingConn struct {
	net.Conn
	n atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestH1_C3EndlessAnswers(t *testing.T) {
	wstest.NoLeaks(t)
	endless := func(c net.Conn, piece string) {
		for {
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
		}
	}
	for _, tc := range []struct {
		name  string
		play  func(c net.Conn)
		want  error
		bytes int64
	}{
		{"fields", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n")
			endless(c, "X: "+strings.Repeat("x", 1000)+"\r\n")
		}, errAnswerTooLarge, maxAnswer},
		{"one line", func(c net.Conn) { endless(c, strings.Repeat("x", 1000)) }, errAnswerTooLarge, maxAnswer},
		{"1xx", func(c net.Conn) { endless(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") }, errInformational, maxAnswer},
		{"1xx, each almost too large", func(c net.Conn) {
			endless(c, "HTTP/1.1 100 Continue\r\nX: "+strings.Repeat("x", maxAnswer-100)+"\r\n\r\n")
		}, errInformational, (maxInformational + 2) * maxAnswer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc, end := pipeServer(func(c net.Conn) { readRequest(c); tc.play(c) })
			defer end()
			counting := &countingConn{Conn: nc}
			_, _, err := NewClient(t.Context(), counting, "ws://a", nil)
			assert.ErrorIs(t, err, tc.want)
			assert.LessOrEqual(t, counting.n.Load(), tc.bytes)
		})
	}
	t.Run("a few 1xx are passed over", func(t *testing.T) {
		nc, end := pipeServer(func(c net.Conn) {
			r := readRequest(c)
			io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", maxInformational)+switching(r))
			io.Copy(io.Discard, c)
		})
		defer end()
		c, _, err := NewClient(t.Context(), nc, "ws://a", nil)
		require.NoError(t, err)
		c.CloseNow()
	})
}
