package h2connect

//lint:file-ignore SA1019 x/net's server and transport are the peers of these tests

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// foreignServer starts a server with net/http's own HTTP/2, or x/net's.
func foreignServer(t testing.TB, h http.Handler, xnet bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS, _ = wstest.Certificates()
	if xnet {
		require.NoError(t, http2.ConfigureServer(s.Config, nil))
		s.TLS.NextProtos = []string{"h2"}
	}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestOurClientWithForeignServers(t *testing.T) {
	for name, xnet := range map[string]bool{"net/http": false, "x/net": true} {
		t.Run(name, func(t *testing.T) {
			s := foreignServer(t, ordinary(), xnet)
			tr := testTransport(t)
			c := &http.Client{Transport: tr}
			resp, err := c.Get(s.URL + "/hello")
			require.NoError(t, err)
			assert.Equal(t, "<p>hello", readAll(t, resp.Body))
			assert.EqualValues(t, 8, resp.ContentLength)

			content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			resp, err = c.Post(s.URL+"/echo", "x/y", bytes.NewReader(content))
			require.NoError(t, err)
			assert.True(t, string(content) == readAll(t, resp.Body))

			req, _ := http.NewRequest("POST", s.URL+"/trailers", io.NopCloser(strings.NewReader("content")))
			req.Trailer = http.Header{"X-Request": {"ours"}}
			resp, err = c.Do(req)
			require.NoError(t, err)
			assert.Equal(t, "content", readAll(t, resp.Body))
			assert.Equal(t, "request:ours", resp.Trailer.Get("X-Sum"))

			var hints []string
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, h.Get("Link"))
				return nil
			}}
			req, _ = http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", s.URL+"/early", nil)
			resp, err = c.Do(req)
			require.NoError(t, err)
			assert.Equal(t, "after", readAll(t, resp.Body))
			assert.Equal(t, []string{"</style.css>"}, hints)

			resp, err = c.Post(s.URL+"/ignore", "x/y", bytes.NewReader(content))
			require.NoError(t, err)
			assert.Equal(t, 403, resp.StatusCode)
			readAll(t, resp.Body)

			if os.Getenv("GODEBUG") == "" {
				_, _, err = tr.Dial(testContext(t), s.URL+"/", nil)
				require.ErrorIs(t, err, websocket.ErrNotSupported)
			}
		})
	}
}

func TestForeignClientWithOurServer(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	_, config := wstest.Certificates()
	tr := &http2.Transport{TLSClientConfig: config}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	resp, err := c.Post(s.url("/echo"), "x/y", bytes.NewReader(content))
	require.NoError(t, err)
	assert.True(t, string(content) == readAll(t, resp.Body))
	req, _ := http.NewRequest("POST", s.url("/trailers"), io.NopCloser(strings.NewReader("content")))
	req.Trailer = http.Header{"X-Request": {"theirs"}}
	resp, err = c.Do(req)
	require.NoError(t, err)
	readAll(t, resp.Body)
	assert.Equal(t, "request:theirs", resp.Trailer.Get("X-Sum"))
	resp, err = c.Get(s.url("/big"))
	require.NoError(t, err)
	assert.Len(t, readAll(t, resp.Body), 1<<20)
}

// A writer that keeps what is written until the handler has returned cannot carry a
// socket: the client is told so, and not that it has one.
func TestAcceptOnAWriterThatCannotBeFlushed(t *testing.T) {
	var accepted error
	h := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, accepted = Accept(w, r, nil)
	}), time.Minute, "")
	r := httptest.NewRequest(http.MethodConnect, "https://example.com/ws", io.NopCloser(strings.NewReader("")))
	r.Proto, r.ProtoMajor, r.ProtoMinor, r.ContentLength = "HTTP/2.0", 2, 0, -1
	r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r) // under another package's server
	assert.Equal(t, http.StatusNotImplemented, w.Code)
	var refused *websocket.HandshakeError
	require.ErrorAs(t, accepted, &refused)
	assert.Equal(t, http.StatusNotImplemented, refused.Status)
	require.ErrorIs(t, accepted, websocket.ErrNotSupported)

	s := startTLS(t, nil, h)
	_, resp, err := testTransport(t).Dial(testContext(t), s.url("/ws"), nil)
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusNotImplemented, resp.StatusCode)
}

// Under another package's server the Body is all there is to read a socket from.
func TestAcceptOfARequestWithoutBody(t *testing.T) {
	for name, body := range map[string]io.ReadCloser{"nil": nil, "NoBody": http.NoBody} {
		r := httptest.NewRequest(http.MethodConnect, "https://example.com/ws", nil)
		r.Proto, r.ProtoMajor, r.ProtoMinor, r.ContentLength, r.Body = "HTTP/2.0", 2, 0, -1, body
		r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
		w := httptest.NewRecorder()
		c, err := Accept(w, r, nil)
		assert.Nil(t, c, name)
		assert.Equal(t, http.StatusNotImplemented, w.Code, name)
		assert.ErrorIs(t, err, websocket.ErrNotSupported, name)
	}
}

// Extended CONNECT under net/http's server has to be switched on for a whole
// process before it starts; so these tests run in a process of their own.
const xconnect = "http2xconnect=1"

func TestAcceptUnderForeignServers(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestInForeignProcess", "-test.count=1", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "GODEBUG="+xconnect)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "no tests to run")
	require.NotContains(t, string(out), "SKIP")
}

func inForeignProcess(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), xconnect) {
		t.Skip("run by TestAcceptUnderForeignServers")
	}
}

func dialForeign(t *testing.T, h http.HandlerFunc) *websocket.Conn {
	t.Helper()
	s := foreignServer(t, h, false)
	c, _, err := testTransport(t).Dial(testContext(t), s.URL, nil)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func TestInForeignProcessEcho(t *testing.T) {
	inForeignProcess(t)
	c := dialForeign(t, echo)
	for range 100 {
		wantEcho(t, c, "hello")
	}
	wantEcho(t, c, strings.Repeat("large ", 100_000))
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
}

func TestInForeignProcessServerCloses(t *testing.T) {
	inForeignProcess(t)
	closed := make(chan error, 1)
	c := dialForeign(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if assert.NoError(t, err) {
			closed <- c.Close(context.Background(), 4000, "over")
		}
	})
	_, _, err := c.Read(testContext(t))
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.EqualValues(t, 4000, ce.Code)
	require.NoError(t, <-closed)
}

func TestInForeignProcessDeadlinesMayPassAgainAndAgain(t *testing.T) {
	inForeignProcess(t)
	c := dialForeign(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(r.Context(), 10*time.Millisecond)
			_, _, err := c.Read(ctx)
			cancel()
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		}
		_, p, err := c.Read(r.Context())
		assert.NoError(t, err)
		assert.NoError(t, c.Write(r.Context(), websocket.MessageText, p))
		c.Close(r.Context(), websocket.StatusNormalClosure, "")
	})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, _, err := c.Read(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	wantEcho(t, c, "still here")
	// The handler ends the socket: a reset from here could reach it while its
	// Write, whose message has arrived, has not returned.
	_, _, err = c.Read(testContext(t))
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.EqualValues(t, websocket.StatusNormalClosure, ce.Code)
}

func TestInForeignProcessTimeoutsAreLifted(t *testing.T) {
	inForeignProcess(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	s.TLS, _ = wstest.Certificates()
	s.EnableHTTP2 = true
	s.Config.ReadTimeout, s.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
	s.StartTLS()
	defer s.Close()
	c, _, err := testTransport(t).Dial(testContext(t), s.URL, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 1200*time.Millisecond)
	defer cancel()
	_, _, err = c.Read(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	wantEcho(t, c, "still here")
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
}

func TestInForeignProcessUseAfterTheHandlersReturn(t *testing.T) {
	inForeignProcess(t)
	kept := make(chan *websocket.Conn, 1)
	c := dialForeign(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if assert.NoError(t, err) {
			kept <- c
		}
	})
	_, _, err := c.Read(testContext(t))
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	old := <-kept
	require.Eventually(t, func() bool {
		return old.Write(testContext(t), websocket.MessageText, []byte("late")) != nil
	}, 5*time.Second, time.Millisecond, "an error, not a panic")
	_, _, err = old.Read(testContext(t))
	require.Error(t, err)
	old.CloseNow()
}

// A reset by the peer ends the request's context, as the handler's return does; it
// is the peer's nevertheless, also for a socket that nobody reads.
func TestInForeignProcessC5AResetIsThePeers(t *testing.T) {
	inForeignProcess(t)
	for name, await := range map[string]func(c *websocket.Conn, r *http.Request) error{
		"read": func(c *websocket.Conn, _ *http.Request) error {
			_, _, err := c.Read(context.Background())
			return err
		},
		"read with the request's context": func(c *websocket.Conn, r *http.Request) error {
			_, _, err := c.Read(r.Context())
			return err
		},
		"read behind the end": func(c *websocket.Conn, r *http.Request) error {
			<-r.Context().Done()
			_, _, err := c.Read(r.Context())
			return err
		},
		"write": func(c *websocket.Conn, r *http.Request) error {
			<-r.Context().Done()
			for {
				if err := c.Write(context.Background(), websocket.MessageText, nil); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			s := foreignServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := Accept(w, r, nil)
				if assert.NoError(t, err) {
					_ = c.Write(context.Background(), websocket.MessageText, nil) // the reset may overtake its return
					ended <- await(c, r)
				}
			}), false)
			tr := testTransport(t)
			for range 100 {
				c, _, err := tr.Dial(testContext(t), s.URL, nil)
				require.NoError(t, err)
				_, _, err = c.Read(testContext(t))
				require.NoError(t, err, "the server has the socket")
				require.NoError(t, c.CloseNow())
				var ce *websocket.CloseError
				require.ErrorAs(t, <-ended, &ce)
				require.Equal(t, websocket.StatusAbnormalClosure, ce.Code, "%v", ce)
				require.True(t, ce.Remote, "%v", ce)
				require.ErrorContains(t, ce, "stream error", "what net/http says of a reset")
			}
		})
	}
}

func TestInForeignProcessRefusals(t *testing.T) {
	inForeignProcess(t)
	s := foreignServer(t, http.HandlerFunc(echo), false)
	_, resp, err := testTransport(t).Dial(testContext(t), s.URL, &websocket.DialOptions{Header: http.Header{"Origin": {"https://evil.example"}}})
	require.Error(t, err)
	assert.Equal(t, 403, resp.StatusCode)
	resp, err = goClient(t).Get(s.URL)
	require.NoError(t, err)
	assert.Equal(t, 405, resp.StatusCode)
	readAll(t, resp.Body)
}
