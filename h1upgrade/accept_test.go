package h1upgrade

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/sockets"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestAcceptEchoes(t *testing.T) {
	wstest.NoLeaks(t)
	h, results := acceptor(&websocket.AcceptOptions{Subprotocols: []string{"chat"}})
	c := dialTCP(t, serve(t, h))
	resp, p := upgradeRaw(t, c, crlf(strings.Replace(goodRequest, "\n\n", "\nSec-WebSocket-Protocol: a, chat\n\n", 1)))
	require.Equal(t, 101, resp.StatusCode)

	p.Send(t, wstest.Text("hello"))
	p.WantFrame(t, frame.Text, "hello", "the handler echoes")
	big := strings.Repeat("x", 300_000)
	p.Send(t, wstest.Text(big))
	p.WantFrame(t, frame.Text, big, "header and payload go out by one call")
	p.Send(t, wstest.Close(1000, "bye"))
	p.WantClose(t, 1000, "the Close is answered")
	p.WantEOF(t, "the server ends first")

	got := <-results
	require.NoError(t, got.err)
	assert.Equal(t, "chat", got.conn.Subprotocol())
	assert.Equal(t, websocket.HTTP1, got.conn.Bootstrap())
}

func TestH1_12Host(t *testing.T) {
	h, results := acceptor(nil)
	addr := serve(t, h)
	for name, edit := range map[string]string{
		"none":  strings.Replace(goodRequest, "Host: server.example.com\n", "", 1),
		"two":   strings.Replace(goodRequest, "Host: ", "Host: a\nHost: ", 1),
		"empty": strings.Replace(goodRequest, "Host: server.example.com", "Host:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTCP(t, addr)
			resp, _ := upgradeRaw(t, c, crlf(edit))
			assert.Equal(t, 400, resp.StatusCode)
		})
	}
	assert.Error(t, (<-results).err, "the empty one is ours to refuse")
	assert.Empty(t, results, "the others are net/http's")
}

func TestH1_15HeaderTooLarge(t *testing.T) {
	for name, tc := range map[string]struct {
		more string
		ours bool // net/http passes it on, in every release
	}{
		// From Go 1.27 on net/http refuses more than 500 fields itself.
		"10,000 fields": {strings.Repeat("X: y\n", 10_000), false},
		"300 fields":    {strings.Repeat("X: y\n", 300), true},
		"17 KiB":        {"X: " + strings.Repeat("y", 17<<10) + "\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			h, results := acceptor(nil)
			c := dialTCP(t, serve(t, h))
			resp, _ := upgradeRaw(t, c, crlf(strings.TrimSuffix(goodRequest, "\n")+tc.more+"\n"))
			assert.Equal(t, 431, resp.StatusCode)
			assert.True(t, resp.Close)
			if tc.ours {
				assert.Equal(t, 431, handshakeError(t, (<-results).err).Status)
			}
		})
	}
}

// TestH1_16SlowRequest: the package comment tells how to set up the server.
func TestH1_16SlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, results := acceptor(nil)
		l, end := servePipe(&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10})
		defer end()
		c, err := l.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		go io.Copy(io.Discard, c) // whatever the server has to say about it
		began := time.Now()
		for _, b := range []byte(crlf(goodRequest)) {
			if _, err = c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		require.Error(t, err, "the connection is cut")
		assert.InDelta(t, 10, time.Since(began).Seconds(), 1.5)
		assert.Empty(t, results)
		c.Close()
	})
}

func TestH1_17FramesBehindTheRequest(t *testing.T) {
	wstest.NoLeaks(t)
	h, results := acceptor(nil)
	addr := serve(t, h)
	frames := wstest.NewClient(nil).Append(nil, wstest.Text("early"), wstest.Text(strings.Repeat("e", 3000)), wstest.Close(1000, ""))

	t.Run("accepted", func(t *testing.T) {
		c := dialTCP(t, addr)
		resp, p := upgradeRaw(t, c, crlf(goodRequest)+string(frames))
		require.Equal(t, 101, resp.StatusCode)
		p.WantFrame(t, frame.Text, "early", "nothing is lost")
		p.WantFrame(t, frame.Text, strings.Repeat("e", 3000), "nothing is lost")
		p.WantClose(t, 1000, "nothing is lost")
		require.NoError(t, (<-results).err)
	})
	t.Run("refused", func(t *testing.T) {
		c := dialTCP(t, addr)
		resp, p := upgradeRaw(t, c, crlf(strings.Replace(goodRequest, "13", "12", 1))+string(frames))
		require.Equal(t, 426, resp.StatusCode)
		_, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		_, err = p.TryNext()
		require.Error(t, err, "nothing follows the refusal")
		require.Error(t, (<-results).err)
	})
}

func TestH1_18BadOptionsAreA500(t *testing.T) {
	h, results := acceptor(&websocket.AcceptOptions{Header: http.Header{"Set-Cookie": {"a\r\nX-Injected: b"}}})
	c := dialTCP(t, serve(t, h))
	_, err := io.WriteString(c, crlf(goodRequest))
	require.NoError(t, err)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(got), "HTTP/1.1 500 "), "%s", got)
	assert.NotContains(t, string(got), "101")
	assert.NotContains(t, string(got), "Injected")
	e := handshakeError(t, (<-results).err)
	assert.Equal(t, "invalid response header", e.Reason)
}

// TestMiddlewareFields: what middleware has put into the response's header goes
// out with the 101, without becoming fields of its own or of the handshake's.
func TestMiddlewareFields(t *testing.T) {
	h, _ := acceptor(&websocket.AcceptOptions{Header: http.Header{"Set-Cookie": {"c=d"}}})
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=b\r\nX-Injected: c"}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Sec-WebSocket-Accept", "x")
		h.ServeHTTP(w, r)
	}))
	resp, _ := upgradeRaw(t, dialTCP(t, addr), crlf(goodRequest))
	assert.Equal(t, http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Accept": {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		"Set-Cookie":           {"a=b  X-Injected: c", "c=d"},
	}, resp.Header)
}

// A faultyListener gives faults to what it accepts.
type faultyListener struct {
	net.Listener
	faults wstest.Faults
}

func (l faultyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.faults.Wrap(c), nil
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func TestH1_19ResetWhileThe101IsWritten(t *testing.T) {
	wstest.NoLeaks(t)
	h, results := acceptor(nil)
	addr := serveOn(t, faultyListener{loopback(t), wstest.Faults{ResetAfter: 20}}, &http.Server{Handler: h})
	c := dialTCP(t, addr)
	_, err := io.WriteString(c, crlf(goodRequest))
	require.NoError(t, err)
	e := handshakeError(t, (<-results).err)
	assert.Zero(t, e.Status)
	assert.Error(t, e.Err)
	_, err = io.Copy(io.Discard, c)
	assert.Error(t, err, "the connection was reset")
}

// TestH1_19NobodyTakesThe101: the peer that reads nothing is cut.
func TestH1_19NobodyTakesThe101(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, results := acceptor(nil)
		l, end := servePipe(&http.Server{Handler: h})
		defer end()
		c, err := l.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, crlf(goodRequest))
		require.NoError(t, err)
		began := time.Now()
		assert.Error(t, (<-results).err)
		assert.Equal(t, answerTimeout, time.Since(began))
	})
}

func TestH1_20Panics(t *testing.T) {
	wstest.NoLeaks(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/before" {
			panic("before the upgrade")
		}
		c, err := Accept(w, r, nil)
		if err == nil && r.URL.Path == "/after" {
			panic("after the upgrade")
		}
		if err == nil {
			echo(c)
		}
	})
	path := func(p string) string { return crlf(strings.Replace(goodRequest, "/chat", p, 1)) }
	for name, h := range map[string]http.Handler{"plain": h, "tied to the handler": sockets.Handler(h, nil)} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, h)

			c := dialTCP(t, addr)
			_, err := io.WriteString(c, path("/before"))
			require.NoError(t, err)
			wantEnd(t, c)

			resp, p := upgradeRaw(t, dialTCP(t, addr), path("/after"))
			require.Equal(t, 101, resp.StatusCode)
			if name == "plain" {
				// net/http tells nobody of the panic: all that is seen is
				// that the handler is over.
				p.WantClose(t, 1000, "the request's context has ended")
			} else {
				p.WantClose(t, 1011, "the handler panicked")
			}
			p.Send(t, wstest.Close(1000, ""))
			p.WantEOF(t, "the socket is closed")

			resp, p = upgradeRaw(t, dialTCP(t, addr), path("/chat"))
			require.Equal(t, 101, resp.StatusCode, "the server lives")
			p.Send(t, wstest.Text("alive"))
			p.WantFrame(t, frame.Text, "alive", "the server lives")
		})
	}
}

// TestH1_21Timeouts: the server's timeouts are for requests.
func TestH1_21Timeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, results := acceptor(&websocket.AcceptOptions{Limits: websocket.Limits{PingInterval: -1}})
		l, end := servePipe(&http.Server{Handler: h, ReadTimeout: time.Second, WriteTimeout: time.Second})
		defer end()
		c, err := l.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		defer c.Close()
		resp, p := upgradeRaw(t, c, crlf(goodRequest))
		require.Equal(t, 101, resp.StatusCode)
		require.NoError(t, (<-results).err)
		for range 3 {
			time.Sleep(time.Minute)
			p.Send(t, wstest.Text("still here"))
			p.WantFrame(t, frame.Text, "still here", "no deadline is left")
		}
		p.Send(t, wstest.Close(1000, ""))
		p.WantClose(t, 1000, "the Close is answered")
		p.WantEOF(t, "a connection without half-close is closed")
	})
}

// wrapped hides everything of a ResponseWriter but its three methods, and what it
// unwraps to.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// opaque hides everything of a ResponseWriter.
type opaque struct{ http.ResponseWriter }

// unwilling says no in words of its own, as middleware does that has found no
// http.Hijacker inside.
type unwilling struct{ http.ResponseWriter }

func (unwilling) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errUnwilling
}

var errUnwilling = errors.New("no Hijacker")

func TestH1_22Middleware(t *testing.T) {
	h, results := acceptor(nil)

	t.Run("Unwrap", func(t *testing.T) {
		addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(wrapped{wrapped{w}}, r)
		}))
		resp, p := upgradeRaw(t, dialTCP(t, addr), crlf(goodRequest))
		require.Equal(t, 101, resp.StatusCode)
		require.NoError(t, (<-results).err)
		p.Send(t, wstest.Text("through"))
		p.WantFrame(t, frame.Text, "through", "the wrapper is looked into")
	})
	for _, tc := range []struct {
		name string
		wrap func(http.ResponseWriter) http.ResponseWriter
		want error  // wrapped by the refusal
		says string // by the refusal
	}{
		{"neither", func(w http.ResponseWriter) http.ResponseWriter { return opaque{w} }, http.ErrNotSupported, "h1upgrade.opaque"},
		{"unwilling", func(w http.ResponseWriter) http.ResponseWriter { return unwilling{w} }, errUnwilling, "no Hijacker"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(wrapped{tc.wrap(w)}, r)
			}))
			resp, _ := upgradeRaw(t, dialTCP(t, addr), crlf(goodRequest))
			require.Equal(t, 500, resp.StatusCode)
			assert.True(t, resp.Close)
			e := handshakeError(t, (<-results).err)
			assert.Equal(t, 500, e.Status)
			assert.ErrorIs(t, e, tc.want)
			assert.ErrorContains(t, e, tc.says)
		})
	}
	t.Run("twice", func(t *testing.T) {
		errs := make(chan error, 1)
		addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			_, err := Accept(w, r, nil)
			errs <- err
		}))
		resp, p := upgradeRaw(t, dialTCP(t, addr), crlf(goodRequest))
		require.Equal(t, 101, resp.StatusCode)
		p.Send(t, wstest.Close(1000, ""))
		p.WantClose(t, 1000, "the first one closed")
		p.WantEOF(t, "and nothing is written behind it")
		assert.ErrorIs(t, <-errs, http.ErrHijacked)
	})
}

func TestAcceptRefusesOtherVersionsOfHTTP(t *testing.T) {
	for major, pkg := range map[int]string{2: "h2connect", 3: "h3connect"} {
		r := httptest.NewRequest("CONNECT", "/", nil)
		r.ProtoMajor, r.ProtoMinor = major, 0
		w := httptest.NewRecorder()
		_, err := Accept(w, r, nil)
		assert.ErrorIs(t, err, websocket.ErrNotSupported)
		assert.ErrorContains(t, err, pkg)
		assert.Equal(t, 501, w.Code)
		assert.NotContains(t, w.Header(), "Connection")
	}
}

// A hijackSpy keeps what Hijack returned.
type hijackSpy struct {
	http.ResponseWriter
	rw *bufio.ReadWriter
}

func (w *hijackSpy) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.rw = rw
	return c, rw, err
}

// TestBuffersAreGivenUp: net/http's connection lives as long as the handler, and
// must not keep 8 KiB for a socket that reads and writes elsewhere.
func TestBuffersAreGivenUp(t *testing.T) {
	h, results := acceptor(nil)
	spies := make(chan *hijackSpy, 1)
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spy := &hijackSpy{ResponseWriter: w}
		spies <- spy
		h.ServeHTTP(spy, r)
	}))
	_, p := upgradeRaw(t, dialTCP(t, addr), crlf(goodRequest)+string(wstest.NewClient(nil).Append(nil, wstest.Text("early"))))
	p.WantFrame(t, frame.Text, "early", "what was in the buffer is not lost")
	require.NoError(t, (<-results).err)
	rw := (<-spies).rw
	assert.Zero(t, rw.Reader.Size())
	assert.Zero(t, rw.Writer.Size())
	rw.Reader.Reset(strings.NewReader("again"))
	got, err := rw.ReadString('n')
	require.NoError(t, err)
	assert.Equal(t, "again", got)
}

// TestHandlerReturns: the close matrix's C12, and no goroutine stays.
func TestHandlerReturns(t *testing.T) {
	wstest.NoLeaks(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if err == nil {
			c.Write(r.Context(), websocket.MessageText, []byte("bye"))
		}
	})
	for name, h := range map[string]http.Handler{"plain": h, "tied to the handler": sockets.Handler(h, nil)} {
		t.Run(name, func(t *testing.T) {
			_, p := upgradeRaw(t, dialTCP(t, serve(t, h)), crlf(goodRequest))
			p.WantFrame(t, frame.Text, "bye", "written before the handler returned")
			p.WantClose(t, 1000, "the handler returned")
			p.Send(t, wstest.Close(1000, ""))
			p.WantEOF(t, "the server ends first")
		})
	}
}

// TestPeerResetsAfterAccept: the close matrix's C5.
func TestPeerResetsAfterAccept(t *testing.T) {
	wstest.NoLeaks(t)
	ended := make(chan error, 1)
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if err == nil {
			_, _, err = c.Read(context.Background())
		}
		ended <- err
	}))
	c := dialTCP(t, addr)
	upgradeRaw(t, c, crlf(goodRequest))
	require.NoError(t, c.SetLinger(0))
	c.Close()
	var ce *websocket.CloseError
	require.ErrorAs(t, <-ended, &ce)
	assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
	assert.True(t, ce.Remote)
}

// TestRefusalIsWrittenOnce: the handler that goes on after an error does no harm
// to the wire.
func TestRefusalIsWrittenOnce(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := Accept(w, r, nil)
		if err != nil {
			http.Error(w, "mine", http.StatusTeapot)
		}
	}))
	c := dialTCP(t, addr)
	_, err := io.WriteString(c, crlf(strings.Replace(goodRequest, "GET", "POST", 1)))
	require.NoError(t, err)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, 1, bytes.Count(got, []byte("HTTP/1.1")))
	assert.NotContains(t, string(got), "mine")
}
