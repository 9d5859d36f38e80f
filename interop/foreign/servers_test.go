//go:build unix

package foreign

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/matrix"
	proc "github.com/wsmux/websocket/interop/internal/program"
	"github.com/wsmux/websocket/negotiate"
)

// A report is what a server program says of a socket that has ended.
type report struct {
	Port     int
	Path     string
	Method   string
	Protocol string // :protocol
	Version  string // of HTTP
	Session  int    // the number of the HTTP/2 connection, 0 over HTTP/1.1
	Fields   []string
	End      string
}

// A server is a program that our client dials.
type server struct {
	url    string
	dialer *negotiate.Dialer

	mu      sync.Mutex
	reports []report
	changed chan struct{} // closed when there is another report
}

// startServer starts a program that prints its port and then its reports.
func startServer(t *testing.T, b websocket.Bootstrap, program ...string) *server {
	id, err := newIdentity()
	require.NoError(t, err)
	args := append(program[1:], file(t, "certificate.pem", id.leaf), file(t, "key.pem", id.key))
	cmd := command(t, program[0], args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	watch, err := proc.Watch(cmd.Process.Pid)
	t.Cleanup(func() {
		if err := cmd.Cancel(); err == nil {
			cmd.Wait()
			watch.Wait()
		}
		if t.Failed() {
			t.Log(stderr.String())
		}
	})
	require.NoError(t, err)
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "the program says nothing")
	var first report
	require.NoError(t, json.Unmarshal(lines.Bytes(), &first))
	s := &server{
		url:     fmt.Sprintf("wss://127.0.0.1:%d", first.Port),
		dialer:  &negotiate.Dialer{TLSClientConfig: &tls.Config{RootCAs: id.roots}, Policy: negotiate.Only(b)},
		changed: make(chan struct{}),
	}
	t.Cleanup(s.dialer.CloseIdleConnections)
	go func() { // ends with the program
		for lines.Scan() {
			s.add(lines.Bytes())
		}
	}()
	return s
}

func (s *server) add(text []byte) {
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		r.End = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, r)
	close(s.changed)
	s.changed = make(chan struct{})
}

// of waits for n reports of a path and returns them.
func (s *server) of(t *testing.T, path string, n int) []report {
	t.Helper()
	for {
		s.mu.Lock()
		var list []report
		for _, r := range s.reports {
			if r.Path == path {
				list = append(list, r)
			}
		}
		changed := s.changed
		s.mu.Unlock()
		if len(list) >= n {
			return list
		}
		select {
		case <-changed:
		case <-time.After(endPatience):
			require.FailNow(t, "the server has not seen the end", "%s: %v", path, list)
		}
	}
}

func (s *server) dial(t *testing.T, path string, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := s.dialer.Dial(t.Context(), s.url+path, o)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// dialled returns a context with an end for what is done to a socket.
func dialled(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func exchange(t *testing.T, c *websocket.Conn, kind websocket.MessageType, p []byte) {
	t.Helper()
	ctx := dialled(t)
	require.NoError(t, c.Write(ctx, kind, p))
	got, back, err := c.Read(ctx)
	require.NoError(t, err)
	assert.Equal(t, kind, got)
	assert.True(t, bytes.Equal(p, back), "%d bytes came back as %d others", len(p), len(back))
}

func closeNormally(t *testing.T, c *websocket.Conn) {
	t.Helper()
	assert.NoError(t, c.Close(dialled(t), websocket.StatusNormalClosure, ""))
}

func TestNodeServer(t *testing.T) {
	node := matrix.Program(t, "Node http2", "node", "nodejs")
	for _, v := range []struct {
		bootstrap websocket.Bootstrap
		row       matrix.Row
	}{
		{websocket.HTTP1, matrix.Row{Peer: "Node https", Role: matrix.Server, Transport: "h1"}},
		{websocket.HTTP2, matrix.Row{Peer: "Node http2", Role: matrix.Server, Transport: "h2"}},
	} {
		t.Run(v.row.Transport, func(t *testing.T) {
			s := startServer(t, v.bootstrap, node, "node/server.js")
			testServer(t, v.row, s)
			v.row.Run(t, matrix.Bootstrap, func(t *testing.T) { checkReports(t, s, v.bootstrap) })
		})
	}
}

// checkReports checks how the sockets of a run were opened, by what the server
// saw.
func checkReports(t *testing.T, s *server, b websocket.Bootstrap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NotEmpty(t, s.reports)
	for _, r := range s.reports {
		assert.Contains(t, r.Fields, "sec-websocket-version")
		if b == websocket.HTTP1 {
			assert.Equal(t, "GET", r.Method)
			assert.Zero(t, r.Session)
			continue
		}
		assert.Equal(t, "CONNECT", r.Method)
		assert.Equal(t, "websocket", r.Protocol)
		assert.Equal(t, 1, r.Session, "one connection for all")
		for _, name := range []string{"sec-websocket-key", "connection", "upgrade", "host"} {
			assert.NotContains(t, r.Fields, name)
		}
	}
}

// testServer takes our client through the short matrix at a server program.
func testServer(t *testing.T, row matrix.Row, s *server) {
	run := func(feature matrix.Feature, talk func(t *testing.T, s *server)) {
		row.Run(t, feature, func(t *testing.T) { talk(t, s) })
	}
	run(matrix.Echo, echoAtServer)
	run(matrix.Fragments, fragmentsAtServer)
	run(matrix.Ping, pingServer)
	run(matrix.Deflate, deflateAtServer)
	run(matrix.CloseClient, func(t *testing.T, s *server) {
		before := len(s.of(t, "/echo", 0))
		c := s.dial(t, "/echo", nil)
		require.NoError(t, c.Close(dialled(t), 4000, longReason))
		assert.Equal(t, fmt.Sprintf("Close 4000 %q", longReason), s.of(t, "/echo", before+1)[before].End)
	})
	run(matrix.CloseServer, func(t *testing.T, s *server) {
		c := s.dial(t, "/close", nil)
		assertClosedByServer(t, c, 4000, longReason)
		assert.Equal(t, `Close 4000 ""`, s.of(t, "/close", 1)[0].End, "our answer, and the orderly end")
	})
	run(matrix.ResetClient, func(t *testing.T, s *server) {
		before := len(s.of(t, "/echo", 0))
		c := s.dial(t, "/echo", nil)
		exchange(t, c, websocket.MessageText, []byte("before"))
		require.NoError(t, c.CloseNow())
		end := s.of(t, "/echo", before+1)[before].End
		if row.Transport == "h2" {
			assert.Equal(t, "gone with code 8", end, "RST_STREAM CANCEL")
		} else {
			assert.Contains(t, end, "gone")
		}
	})
	run(matrix.ResetServer, func(t *testing.T, s *server) {
		c := s.dial(t, "/cut", nil)
		require.NoError(t, c.Write(dialled(t), websocket.MessageText, []byte("cut")))
		assertClosedByServer(t, c, websocket.StatusAbnormalClosure, "")
		c = s.dial(t, "/echo", nil)
		exchange(t, c, websocket.MessageText, []byte("after"))
		closeNormally(t, c)
	})
	run(matrix.Twenty, twentyAtServer)
	run(refusal, refusedAtServer)
}

func refusedAtServer(t *testing.T, s *server) {
	_, _, err := s.dialer.Dial(t.Context(), s.url+"/forbidden", nil)
	refused, ok := errors.AsType[*websocket.HandshakeError](err)
	if assert.True(t, ok, "%v", err) {
		assert.Equal(t, 403, refused.Status)
	}
}

// assertClosedByServer reads to the end and checks how the server put it.
func assertClosedByServer(t *testing.T, c *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	_, _, err := c.Read(dialled(t))
	ce, ok := errors.AsType[*websocket.CloseError](err)
	if assert.True(t, ok, "%v", err) {
		assert.Equal(t, code, ce.Code, "%v", err)
		assert.Equal(t, reason, ce.Reason)
		assert.True(t, ce.Remote)
	}
}

func echoAtServer(t *testing.T, s *server) {
	c := s.dial(t, "/echo", nil)
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		random := make([]byte, size)
		rand.Read(random)
		exchange(t, c, websocket.MessageText, bytes.Repeat([]byte{'x'}, size))
		exchange(t, c, websocket.MessageBinary, random)
	}
	closeNormally(t, c)
}

func fragmentsAtServer(t *testing.T, s *server) {
	c := s.dial(t, "/fragments", nil)
	ctx := dialled(t)
	w, err := c.Writer(ctx, websocket.MessageText)
	require.NoError(t, err)
	half := strings.Repeat("x", 100_000)
	for range 2 {
		_, err := io.WriteString(w, half)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	frames, content, _ := strings.Cut(string(p), " frames: ")
	assert.NotEqual(t, "1", frames)
	assert.Equal(t, half+half, content)
	_, p, err = c.Read(ctx)
	require.NoError(t, err)
	assert.Equal(t, "a fragmented Grüße, 𝄞", string(p))
	closeNormally(t, c)
	assert.Equal(t, `Close 1000 ""`, s.of(t, "/fragments", 1)[0].End, "it has got the Pong too")
}

func pingServer(t *testing.T, s *server) {
	c := s.dial(t, "/ping", nil)
	ctx := dialled(t)
	for range 3 {
		require.NoError(t, c.Ping(ctx))
	}
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	assert.Equal(t, "3 pongs", string(p))
	closeNormally(t, c)
}

func deflateAtServer(t *testing.T, s *server) {
	c := s.dial(t, "/deflate", &websocket.DialOptions{Compression: &websocket.Compression{
		ServerContextTakeover: true, ClientContextTakeover: true, Threshold: -1,
	}})
	for _, text := range []string{"Hello", "Hello", strings.Repeat("to be or not to be, ", 5000)} {
		exchange(t, c, websocket.MessageText, []byte(text))
	}
	closeNormally(t, c)
	stats := c.Stats()
	assert.Greater(t, stats.InflatedRead, stats.CompressedRead)
	assert.Greater(t, stats.DeflatedWritten, stats.CompressedWritten)
}

func twentyAtServer(t *testing.T, s *server) {
	var all []*websocket.Conn
	for range 20 {
		all = append(all, s.dial(t, "/echo", nil))
	}
	var group sync.WaitGroup
	for i, c := range all {
		group.Go(func() {
			ctx := dialled(t)
			for j := range 20 {
				sent := bytes.Repeat([]byte{byte('a' + i)}, i*j*10)
				if !assert.NoError(t, c.Write(ctx, websocket.MessageBinary, sent)) {
					return
				}
				_, got, err := c.Read(ctx)
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(sent, got))
			}
		})
	}
	group.Wait()
	for _, c := range all {
		closeNormally(t, c)
	}
}

// TestHypercorn takes our client to a server with a WebSocket layer of its own
// (wsproto), over HTTP/1.1 and HTTP/2.
func TestHypercorn(t *testing.T) {
	python := pythonWith(t, "Hypercorn", "hypercorn")
	for _, v := range []struct {
		bootstrap          websocket.Bootstrap
		transport, version string
	}{
		{websocket.HTTP1, "h1", "1.1"}, {websocket.HTTP2, "h2", "2"},
	} {
		t.Run(v.transport, func(t *testing.T) {
			row := matrix.Row{Peer: "Hypercorn", Role: matrix.Server, Transport: v.transport}
			s := startServer(t, v.bootstrap, python, "python/hypercorn_app.py")
			row.Run(t, matrix.Echo, func(t *testing.T) { echoAtServer(t, s) })
			row.Run(t, matrix.Deflate, func(t *testing.T) { deflateAtServer(t, s) })
			row.Run(t, matrix.CloseClient, func(t *testing.T) {
				c := s.dial(t, "/echo", nil)
				require.NoError(t, c.Close(dialled(t), 4000, longReason))
				// Our client has got its answer, but Hypercorn keeps the code from
				// the application.
				require.Equal(t, "Close 1006", s.of(t, "/echo", 2)[1].End)
				row.Record(t, matrix.CloseClient, "code not passed on")
			})
			row.Run(t, matrix.CloseServer, func(t *testing.T) {
				// On a connection of its own, which Hypercorn may drop when it
				// gets our answer (interop/NOTES.md).
				s := startServer(t, v.bootstrap, python, "python/hypercorn_app.py")
				assertClosedByServer(t, s.dial(t, "/close", nil), 4000, longReason)
			})
			row.Run(t, matrix.Twenty, func(t *testing.T) { twentyAtServer(t, s) })
			row.Run(t, refusal, func(t *testing.T) { refusedAtServer(t, s) })
			for _, f := range []matrix.Feature{matrix.Fragments, matrix.Ping, matrix.ResetServer} {
				row.Record(t, f, matrix.None) // an application behind ASGI has no such thing
			}
			row.Run(t, matrix.Bootstrap, func(t *testing.T) {
				s.mu.Lock()
				defer s.mu.Unlock()
				require.NotEmpty(t, s.reports)
				for _, r := range s.reports {
					assert.Equal(t, v.version, r.Version)
					assert.Equal(t, "websocket", r.Protocol)
				}
			})
		})
	}
}
