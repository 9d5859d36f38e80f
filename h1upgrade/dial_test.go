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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/wstest"
)

// script starts a server on loopback that answers each connection's request by
// play, and then closes the connection. It returns a URL.
func script(t *testing.T, play func(c net.Conn, r *http.Request)) string {
	t.Helper()
	l := loopback(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			br := bufio.NewReader(c)
			if r, err := http.ReadRequest(br); err == nil {
				play(bufferedConn{c, br}, r)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "ws://" + l.Addr().String()
}

// switching is the answer that accepts r, with more lines.
func switching(r *http.Request, more ...string) string {
	lines := append([]string{
		"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: " + handshake.AcceptKey(r.Header.Get("Sec-WebSocket-Key")),
	}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func TestDialEchoes(t *testing.T) {
	wstest.NoLeaks(t)
	compression := &websocket.Compression{}
	h, results := acceptor(&websocket.AcceptOptions{Subprotocols: []string{"chat"}, Compression: compression})
	forServer, forClient := wstest.Certificates()
	forServer.NextProtos = []string{"http/1.1"}

	socket := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", socket)
	require.NoError(t, err)
	serveOn(t, unix, &http.Server{Handler: h})

	for _, tc := range []struct {
		name string
		url  string
		dial func(ctx context.Context, network, addr string) (net.Conn, error)
	}{
		{name: "ws", url: "ws://" + serve(t, h)},
		{name: "wss", url: "wss://" + serveOn(t, nil, &http.Server{Handler: h, TLSConfig: forServer})},
		{name: "unix", url: "ws://example.com", dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, resp, err := Dial(t.Context(), tc.url, &websocket.DialOptions{
				Subprotocols:    []string{"superchat", "chat"},
				Compression:     compression,
				TLSClientConfig: forClient,
				DialContext:     tc.dial,
			})
			require.NoError(t, err)
			defer c.CloseNow()
			assert.Equal(t, 101, resp.StatusCode)
			assert.Equal(t, http.NoBody, resp.Body)
			assert.Equal(t, "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
				resp.Header.Get("Sec-WebSocket-Extensions"))
			assert.Equal(t, "chat", c.Subprotocol())
			assert.Equal(t, websocket.HTTP1, c.Bootstrap())
			for _, size := range []int{0, 1, 1000, 100_000} {
				want := bytes.Repeat([]byte("message "), size/8)
				require.NoError(t, c.Write(t.Context(), websocket.MessageBinary, want))
				typ, got, err := c.Read(t.Context())
				require.NoError(t, err)
				assert.Equal(t, websocket.MessageBinary, typ)
				assert.True(t, bytes.Equal(want, got))
			}
			assert.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, "done"))
			require.NoError(t, (<-results).err)
			_, _, err = c.Read(t.Context())
			assert.ErrorIs(t, err, net.ErrClosed)
		})
	}
	assert.Nil(t, forClient.NextProtos, "the configuration is cloned")
	assert.Empty(t, forClient.ServerName, "the configuration is cloned")
}

// TestNewClientOverAPipe: a connection that has no half-close and no buffer.
func TestNewClientOverAPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := acceptor(nil)
		l, end := servePipe(&http.Server{Handler: h})
		defer end()
		nc, err := l.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		c, _, err := NewClient(t.Context(), nc, "ws://example.com", nil)
		require.NoError(t, err)
		require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte("hello")))
		_, got, err := c.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got))
		began := time.Now()
		assert.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
		synctest.Wait()
		assert.Zero(t, time.Since(began), "nobody waits for an end that cannot be shown")
	})
}

// TestNewClientOverTLS: the case it is made for.
func TestNewClientOverTLS(t *testing.T) {
	wstest.NoLeaks(t)
	h, _ := acceptor(nil)
	forServer, forClient := wstest.Certificates()
	addr := serveOn(t, nil, &http.Server{Handler: h, TLSConfig: forServer})
	for _, handshaken := range []bool{true, false} {
		forClient.ServerName = "localhost"
		tc := tls.Client(dialTCP(t, addr), forClient)
		if handshaken {
			require.NoError(t, tc.Handshake())
		}
		c, _, err := NewClient(t.Context(), tc, "wss://localhost", nil)
		require.NoError(t, err)
		require.NoError(t, c.Ping(t.Context()))
		require.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
	}
}

// TestDialRequestGolden: the bytes of the request, but for the key.
func TestDialRequestGolden(t *testing.T) {
	got := make(chan []byte, 1)
	here, there := net.Pipe()
	go func() { // ends with the connection
		raw, _ := io.ReadAll(there)
		got <- raw
	}()
	_, _, err := NewClient(t.Context(), writeOnly{here}, "ws://user:pass@server.example.com:80/chat?room=1", &websocket.DialOptions{
		Header:       http.Header{"origin": {"http://example.com"}, "Cookie": {"a=b; c=d"}, "User-Agent": {"test"}},
		Subprotocols: []string{"chat", "superchat"},
		Compression:  &websocket.Compression{},
	})
	require.ErrorIs(t, err, errWriteOnly)
	raw := string(<-got)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	require.NoError(t, err)
	raw = strings.Replace(raw, r.Header.Get("Sec-WebSocket-Key"), "<key>", 1)
	require.Equal(t, strings.Count(raw, "\n"), strings.Count(raw, "\r\n"))
	raw = strings.ReplaceAll(raw, "\r\n", "\n")
	const file = "testdata/dial/request.http"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(raw), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), raw)
}

// A writeOnly connection ends when it is read.
type writeOnly struct{ net.Conn }

var errWriteOnly = errors.New("write only")

func (c writeOnly) Read([]byte) (int, error) { return 0, errWriteOnly }

func TestDialAddresses(t *testing.T) {
	for url, want := range map[string]string{
		"ws://example.com":             "example.com:80",
		"wss://example.com":            "example.com:443",
		"http://example.com:8080":      "example.com:8080",
		"https://[::1]":                "[::1]:443",
		"ws://[fe80::1%25eth0]:81":     "[fe80::1%eth0]:81",
		"ws://bücher.example":          "xn--bcher-kva.example:80",
		"ws://user:pass@example.com:1": "example.com:1",
	} {
		refused := errors.New("refused")
		_, resp, err := Dial(t.Context(), url, &websocket.DialOptions{
			DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
				assert.Equal(t, "tcp", network)
				assert.Equal(t, want, addr)
				return nil, refused
			},
		})
		assert.ErrorIs(t, err, refused)
		assert.Nil(t, resp)
	}
}

// TestDialHostOverride: Host goes to the server, the URL's host to the network and
// to TLS.
func TestDialHostOverride(t *testing.T) {
	forServer, forClient := wstest.Certificates()
	names := make(chan [2]string, 1)
	addr := serveOn(t, nil, &http.Server{
		TLSConfig: forServer,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			names <- [2]string{r.Host, r.TLS.ServerName}
			w.WriteHeader(http.StatusNoContent)
		}),
	})
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	_, resp, err := Dial(t.Context(), "wss://localhost:"+port, &websocket.DialOptions{
		Header:          http.Header{"Host": {"virtual.example"}},
		TLSClientConfig: forClient,
	})
	assert.Equal(t, 204, handshakeError(t, err).Status)
	assert.Equal(t, http.NoBody, resp.Body)
	assert.Equal(t, [2]string{"virtual.example", "localhost"}, <-names)
}

func TestDialChecksTheCertificate(t *testing.T) {
	forServer, _ := wstest.Certificates()
	addr := serveOn(t, nil, &http.Server{TLSConfig: forServer})
	_, _, err := Dial(t.Context(), "wss://"+addr, nil)
	var unknown *tls.CertificateVerificationError
	assert.ErrorAs(t, err, &unknown)
}

// TestDialOffersHTTP1Only: to a server that would rather speak h2.
func TestDialOffersHTTP1Only(t *testing.T) {
	h, _ := acceptor(nil)
	forServer, forClient := wstest.Certificates()
	forServer.NextProtos = []string{"h2", "http/1.1"}
	forClient.NextProtos = []string{"h2"}
	addr := serveOn(t, nil, &http.Server{Handler: h, TLSConfig: forServer})
	c, _, err := Dial(t.Context(), "wss://"+addr, &websocket.DialOptions{TLSClientConfig: forClient})
	require.NoError(t, err)
	assert.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
}

func TestH1_C4NothingIsDialled(t *testing.T) {
	o := func(o websocket.DialOptions) *websocket.DialOptions {
		o.DialContext = func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialled")
			return nil, errors.New("dialled")
		}
		return &o
	}
	for name, dial := range map[string]func() error{
		"URL": func() error {
			_, _, err := Dial(t.Context(), "ws://a/\r\nX: y", o(websocket.DialOptions{}))
			return err
		},
		"credentials": func() error {
			_, _, err := Dial(t.Context(), "ws://a\r\nX:y@b/", o(websocket.DialOptions{}))
			return err
		},
		"header": func() error {
			_, _, err := Dial(t.Context(), "ws://a", o(websocket.DialOptions{Header: http.Header{"X": {"a\r\nY: z"}}}))
			return err
		},
		"subprotocol": func() error {
			_, _, err := Dial(t.Context(), "ws://a", o(websocket.DialOptions{Subprotocols: []string{"a\r\nb"}}))
			return err
		},
	} {
		assert.ErrorContains(t, dial(), "websocket: ", name)
	}
	here, there := net.Pipe()
	_, _, err := NewClient(t.Context(), here, "ws://a\r\n", nil)
	require.Error(t, err)
	_, err = there.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err, "the connection is closed all the same")
}

// TestFramesBehindTheAnswer: what the server sends in one segment with the 101 is
// not lost.
func TestFramesBehindTheAnswer(t *testing.T) {
	wstest.NoLeaks(t)
	long := strings.Repeat("x", 20_000)
	url := script(t, func(c net.Conn, r *http.Request) {
		p := wstest.NewServer(c)
		c.Write(p.Append([]byte(switching(r)), wstest.Text("early"), wstest.Text(long), wstest.Close(1000, "")))
		p.TryNext()
	})
	c, _, err := Dial(t.Context(), url, nil)
	require.NoError(t, err)
	for _, want := range []string{"early", long} {
		_, got, err := c.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
	_, _, err = c.Read(t.Context())
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, websocket.StatusNormalClosure, ce.Code)
	assert.True(t, ce.Remote)
	c.Close(t.Context(), websocket.StatusNormalClosure, "")
}

// TestNoFrameBeforeTheAnswer: the request is all that is sent until the 101 is
// there (RFC 9931), and the close matrix's C1 holds for what follows.
func TestNoFrameBeforeTheAnswer(t *testing.T) {
	wstest.NoLeaks(t)
	steps := make(chan error, 1)
	url := script(t, func(c net.Conn, r *http.Request) {
		buf := make([]byte, 1)
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			steps <- fmt.Errorf("%d bytes before the answer: %w", n, err)
			return
		}
		c.SetReadDeadline(time.Now().Add(patience))
		io.WriteString(c, switching(r))
		p := wstest.NewServer(c)
		f, err := p.TryNext()
		if err == nil && f.Opcode != frame.Close {
			err = fmt.Errorf("%v instead of a Close frame", f)
		}
		if err == nil {
			err = p.TrySend(wstest.Close(1000, ""))
		}
		steps <- err
	})
	c, _, err := Dial(t.Context(), url, nil)
	require.NoError(t, err)
	require.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
	require.NoError(t, <-steps)
}
