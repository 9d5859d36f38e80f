//go:build unix

package foreign

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

// A curl is a socket whose opening handshake and connection are curl's: it sends
// what comes from its standard input behind the request and prints what comes
// back. Frames are made here.
type curl struct {
	*wstest.Peer
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *os.File
	status string // the line with the response's status
	header string // the response's fields
}

// pipes are the ends of curl's standard input and output.
type pipes struct {
	*os.File // its output
	stdin    io.Writer
}

func (p pipes) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// dialCurl starts curl and returns when it has got a response.
func dialCurl(t *testing.T, s *site, path string, fields ...string) *curl {
	key := make([]byte, 16)
	rand.Read(key)
	args := []string{
		"--silent", "--verbose", "--no-buffer", "--http1.1", "--cacert", file(t, "authority.pem", s.id.authority),
		"--request", "GET", "--upload-file", ".", // that is standard input, without waiting for it
		"--header", "Transfer-Encoding:", "--header", "Expect:",
		"--header", "Connection: Upgrade", "--header", "Upgrade: websocket",
		"--header", "Sec-WebSocket-Version: 13", "--header", "Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(key),
	}
	for _, field := range fields {
		args = append(args, "--header", field)
	}
	c := &curl{cmd: command(t, "curl", append(args, s.origin+path)...)}
	stdin, err := c.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := c.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	c.stdin, c.stdout = stdin, stdout.(*os.File)
	c.Peer = wstest.NewClient(pipes{c.stdout, stdin})
	c.readResponse(t, stderr)
	return c
}

// readResponse reads the trace up to the end of the response's header section,
// and lets the rest pass.
func (c *curl) readResponse(t *testing.T, trace io.Reader) {
	lines := bufio.NewReader(trace)
	for {
		l, err := lines.ReadString('\n')
		require.NoError(t, err, "curl ended without a response")
		l, ok := strings.CutPrefix(strings.TrimSpace(l), "<")
		switch {
		case !ok:
		case l == "":
			go io.Copy(io.Discard, lines) // ends with curl
			return
		case c.status == "":
			c.status = strings.TrimSpace(l)
		default:
			c.header += l + "\n"
		}
	}
}

// end waits for the server's end of the connection, ends curl's input, and checks
// that curl is content.
func (c *curl) end(t *testing.T) {
	t.Helper()
	require.NoError(t, c.stdin.Close())
	c.WantEOF(t, "both Close frames have passed")
	assert.NoError(t, c.cmd.Wait())
}

// closeNormally closes with 1000.
func (c *curl) closeNormally(t *testing.T) {
	t.Helper()
	c.Send(t, wstest.Close(1000, ""))
	c.WantClose(t, 1000, "the answer")
	c.end(t)
}

// TestCurlSocket takes curl for a WebSocket client over HTTP/1.1, the one
// bootstrap that it can do.
func TestCurlSocket(t *testing.T) {
	matrix.Program(t, "curl", "curl")
	row := matrix.Row{Peer: "curl", Role: matrix.Client, Transport: "h1"}
	s := newSite(t, true)
	for _, c := range []struct {
		feature matrix.Feature
		talk    func(t *testing.T, s *site)
	}{
		{matrix.Echo, curlEcho},
		{matrix.Fragments, curlFragments},
		{matrix.Ping, curlPing},
		{matrix.Deflate, curlDeflate},
		{matrix.CloseClient, curlCloses},
		{matrix.CloseServer, curlIsClosed},
		{matrix.ResetClient, curlIsKilled},
		{matrix.ResetServer, curlIsReset},
		{matrix.Twenty, curlTwenty},
		{refusal, curlIsRefused},
	} {
		row.Run(t, c.feature, func(t *testing.T) {
			c.talk(t, s)
			if !t.Failed() && c.feature != matrix.ResetClient && c.feature != matrix.ResetServer {
				checks[c.feature](t, s, s.of(t, string(c.feature)))
			}
		})
	}
	row.Run(t, matrix.Bootstrap, func(t *testing.T) { checkBootstrap(t, s, row.Transport) })
}

func curlEcho(t *testing.T, s *site) {
	c := dialCurl(t, s, "/echo?case=echo")
	assert.Equal(t, "HTTP/1.1 101 Switching Protocols", c.status)
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		random := make([]byte, size)
		rand.Read(random)
		for _, f := range []wstest.Frame{wstest.Text(strings.Repeat("x", size)), wstest.Binary(random)} {
			sent := make(chan error, 1)
			go func() { sent <- c.TrySend(f) }() // ends when curl has taken it, or with curl
			c.Want(t, f, "the echo")
			require.NoError(t, <-sent)
		}
	}
	c.closeNormally(t)
}

func curlFragments(t *testing.T, s *site) {
	c := dialCurl(t, s, "/fragments?case=fragments")
	c.Send(t, wstest.Text("a ").Fragment(), wstest.Continuation("").Fragment(), wstest.Ping("between"),
		wstest.Continuation("fragmented ").Fragment(), wstest.Continuation("message"))
	c.WantFrame(t, frame.Pong, "between", "a Ping between fragments")
	c.WantFrame(t, frame.Text, "a fragmented message", "the whole")
	var got []byte
	frames := 0
	for more := true; more; {
		f := c.Next(t, "fragments and Pings")
		if f.Opcode == frame.Ping {
			c.Send(t, wstest.Pong(string(f.Payload)))
			continue
		}
		got = append(got, f.Payload...)
		more = f.More
		frames++
	}
	assert.Equal(t, make([]byte, 300000), got)
	assert.Greater(t, frames, 1)
	c.closeNormally(t)
}

func curlPing(t *testing.T, s *site) {
	c := dialCurl(t, s, "/ping?case=ping")
	for _, payload := range []string{"", "ping", strings.Repeat("x", 125)} {
		c.Send(t, wstest.Ping(payload))
		c.WantFrame(t, frame.Pong, payload, "each Ping is answered")
	}
	c.Send(t, wstest.Text("now you"))
	for range 3 {
		f := c.Next(t, "a Ping")
		require.Equal(t, frame.Ping, f.Opcode)
		c.Send(t, wstest.Pong(string(f.Payload)))
	}
	c.WantFrame(t, frame.Text, "3 pongs", "all have arrived")
	c.closeNormally(t)
}

func curlDeflate(t *testing.T, s *site) {
	c := dialCurl(t, s, "/deflate?case=deflate", "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover")
	assert.Contains(t, strings.ToLower(c.header), "sec-websocket-extensions: permessage-deflate")
	for _, text := range []string{"Hello", strings.Repeat("to be or not to be, ", 500)} {
		c.Send(t, wstest.Text(deflate(t, text)).Compressed())
		f := c.Next(t, "the echo")
		assert.True(t, f.RSV1, "compressed")
		assert.Equal(t, text, inflate(t, string(f.Payload)))
	}
	c.closeNormally(t)
}

// tail ends a flushed deflate stream and is not sent (RFC 7692 §7.2.1).
const tail = "\x00\x00\xff\xff"

func deflate(t *testing.T, text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	require.NoError(t, err)
	io.WriteString(w, text)
	require.NoError(t, w.Flush())
	return strings.TrimSuffix(b.String(), tail)
}

func inflate(t *testing.T, payload string) string {
	const final = "\x01\x00\x00\xff\xff" // an empty last block
	p, err := io.ReadAll(flate.NewReader(strings.NewReader(payload + tail + final)))
	require.NoError(t, err)
	return string(p)
}

func curlCloses(t *testing.T, s *site) {
	c := dialCurl(t, s, "/echo?case=close+by+client")
	c.Send(t, wstest.Close(4000, longReason))
	c.WantClose(t, 4000, "the answer")
	c.end(t)
	c = dialCurl(t, s, "/echo?case=close+by+client+without+code")
	c.Send(t, wstest.Frame{Opcode: frame.Close})
	c.WantFrame(t, frame.Close, "", "an empty Close for an empty Close")
	c.end(t)
}

func curlIsClosed(t *testing.T, s *site) {
	c := dialCurl(t, s, "/close?case=close+by+server")
	assert.Equal(t, longReason, c.WantClose(t, 4000, "as the handler says"))
	c.Send(t, wstest.Close(4000, ""))
	c.end(t)
}

func curlIsKilled(t *testing.T, s *site) {
	c := dialCurl(t, s, "/echo?case=reset+by+client")
	c.Send(t, wstest.Text("before"))
	c.WantFrame(t, frame.Text, "before", "it is open")
	require.NoError(t, c.cmd.Cancel())
	all := s.of(t, "reset by client")
	require.Len(t, all, 1)
	assertClosed(t, all[0], 1006, "")
}

func curlIsReset(t *testing.T, s *site) {
	c := dialCurl(t, s, "/cut?case=reset+by+server")
	c.Send(t, wstest.Text("cut"))
	c.WantEOF(t, "no Close frame")
	var failed *exec.ExitError
	require.ErrorAs(t, c.cmd.Wait(), &failed)
	assert.Equal(t, 56, failed.ExitCode(), "curl's code for a failure to receive: a reset, not an end")
}

func curlTwenty(t *testing.T, s *site) {
	var all []*curl
	for range 20 {
		all = append(all, dialCurl(t, s, "/echo?case=20+sockets"))
	}
	assert.Equal(t, "hello", output(t, "curl", "--silent", "--cacert", file(t, "authority.pem", s.id.authority), s.origin+"/hello"))
	for i, c := range all {
		c.Send(t, wstest.Text(strings.Repeat("x", i*100)))
	}
	for i, c := range all {
		c.WantFrame(t, frame.Text, strings.Repeat("x", i*100), "its own message")
		c.Send(t, wstest.Close(1000, ""))
	}
	for _, c := range all { // one after the other would take curl a second each
		c.WantClose(t, 1000, "the answer")
		c.end(t)
	}
}

func curlIsRefused(t *testing.T, s *site) {
	c := dialCurl(t, s, "/forbidden?case=refusal")
	assert.Equal(t, "HTTP/1.1 403 Forbidden", c.status)
	require.NoError(t, c.stdin.Close())
	said, err := io.ReadAll(c.stdout)
	require.NoError(t, err)
	assert.Equal(t, "no\n", string(said))
}
