package h2connect

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// overTransport returns an http.Transport that ConfigureTransport has changed.
func overTransport(t *testing.T, change ...func(*http.Transport)) (*http.Transport, *Transport) {
	_, config := wstest.Certificates()
	t1, t2 := &http.Transport{TLSClientConfig: config}, &Transport{}
	for _, f := range change {
		f(t1)
	}
	require.NoError(t, ConfigureTransport(t1, t2))
	t.Cleanup(func() {
		t1.CloseIdleConnections()
		closeTransport(t2)
	})
	return t1, t2
}

// Both ways to use the client keep the same promises.
func transports(t *testing.T, test func(t *testing.T, rt http.RoundTripper)) {
	t.Run("Transport", func(t *testing.T) { test(t, testTransport(t)) })
	t.Run("http.Transport", func(t *testing.T) {
		t1, _ := overTransport(t)
		test(t, t1)
	})
}

// transportsInMemory is transports in bubbles: serve serves a handler in memory, at
// https://localhost, and returns what sends requests to it.
func transportsInMemory(t *testing.T, test func(t *testing.T, serve func(http.Handler) http.RoundTripper)) {
	t.Run("Transport", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(h http.Handler) http.RoundTripper {
				tr := testTransport(t)
				tr.DialContext = serveInMemory(t, &http.Server{Handler: h})
				return tr
			})
		})
	})
	t.Run("http.Transport", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(h http.Handler) http.RoundTripper {
				t1, _ := overTransport(t, func(t1 *http.Transport) {
					t1.DialContext = serveInMemory(t, &http.Server{Handler: h})
				})
				return t1
			})
		})
	})
}

// scripted returns a Transport whose connections end at peers, in the order of
// the channel. A peer has greeted.
func scripted(t *testing.T) (*Transport, <-chan *peer) {
	peers := make(chan *peer, 10)
	tr := &Transport{AllowHTTP: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := wstest.Pipe(wstest.PipeOptions{})
		p := newPeer(t, server.NetConn())
		go func() {
			io.ReadFull(p.nc, make([]byte, len(http2.ClientPreface)))
			p.noAcks = true // they come between whatever the client sends
			p.fr.WriteSettings()
			if _, ok := p.next("SETTINGS come first").(*http2.SettingsFrame); assert.True(t, ok) {
				p.fr.WriteSettingsAck()
				peers <- p
			}
		}()
		return client.NetConn(), nil
	}}
	t.Cleanup(func() { closeTransport(tr) })
	return tr, peers
}

func TestGzipIsAskedForAndUndone(t *testing.T) {
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		asked := make(chan string, 1)
		s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Header.Get("Accept-Encoding")
			w.Header().Set("Content-Encoding", r.URL.Query().Get("as"))
			if r.URL.Path == "/cut" {
				io.WriteString(w, "\x1f\x8b")
				return
			}
			z := gzip.NewWriter(w)
			io.WriteString(z, "content")
			z.Close()
		}))
		get := func(path, name, value string) *http.Response {
			req, _ := http.NewRequest("GET", s.url(path), nil)
			if name != "" {
				req.Header.Set(name, value)
			}
			resp, err := rt.RoundTrip(req)
			require.NoError(t, err)
			return resp
		}
		resp := get("/?as=GZIP", "", "")
		assert.Equal(t, "gzip", <-asked)
		assert.True(t, resp.Uncompressed)
		assert.EqualValues(t, -1, resp.ContentLength)
		assert.Empty(t, resp.Header.Get("Content-Encoding"))
		assert.Empty(t, resp.Header.Get("Content-Length"))
		assert.Equal(t, "content", readAll(t, resp.Body))
		_, err := resp.Body.Read(make([]byte, 1))
		require.Error(t, err, "after Close")

		for name, value := range map[string]string{"Accept-Encoding": "gzip", "Range": "bytes=0-"} {
			resp = get("/?as=gzip", name, value)
			<-asked
			assert.False(t, resp.Uncompressed, name)
			assert.Equal(t, "gzip", resp.Header.Get("Content-Encoding"), name)
			assert.NotEqual(t, "content", readAll(t, resp.Body), name)
		}
		resp = get("/cut?as=gzip", "", "")
		<-asked
		_, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		resp.Body.Close()
		req, _ := http.NewRequest("HEAD", s.url("/"), nil)
		resp, err = rt.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Empty(t, <-asked, "there is nothing to compress")

		switch rt := rt.(type) {
		case *Transport:
			rt.DisableCompression = true
		case *http.Transport:
			rt.DisableCompression = true
		}
		resp = get("/?as=gzip", "", "")
		assert.Empty(t, <-asked)
		assert.NotEqual(t, "content", readAll(t, resp.Body))
	})
}

func TestTraceTellsEverything(t *testing.T) {
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		s := startTLS(t, nil, ordinary())
		var mu sync.Mutex
		var events []string
		say := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprintf(format, args...))
		}
		requests := 0
		fields := make(map[string]bool)
		trace := &httptrace.ClientTrace{
			GetConn:           func(hostPort string) { say("get %s", hostPort) },
			ConnectDone:       func(string, string, error) { say("connected") },
			TLSHandshakeStart: func() { say("handshake") },
			TLSHandshakeDone:  func(state tls.ConnectionState, err error) { say("tls %v %v", state.NegotiatedProtocol, err) },
			GotConn: func(i httptrace.GotConnInfo) {
				say("got %v %v %v", i.Conn != nil, i.Reused, i.WasIdle)
			},
			WroteHeaderField: func(name string, _ []string) { mu.Lock(); fields[name] = true; mu.Unlock() },
			WroteHeaders:     func() { say("headers") },
			Wait100Continue:  func() { say("wait") },
			Got100Continue:   func() { say("continue") },
			WroteRequest: func(i httptrace.WroteRequestInfo) {
				say("request %v", i.Err)
				mu.Lock()
				defer mu.Unlock()
				requests++
			},
			GotFirstResponseByte: func() { say("byte") },
		}
		ctx := httptrace.WithClientTrace(t.Context(), trace)
		for i := range 2 {
			req, _ := http.NewRequestWithContext(ctx, "POST", s.url("/trailers"), strings.NewReader("content"))
			req.Header.Set("Expect", "100-continue")
			if t1, ok := rt.(*http.Transport); ok && i == 0 {
				t1.ExpectContinueTimeout = time.Second
			}
			resp, err := rt.RoundTrip(req)
			require.NoError(t, err)
			readAll(t, resp.Body)
			require.Eventually(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return requests == i+1 // the response does not wait for it
			}, 5*time.Second, time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		want := []string{"get " + s.addr, "connected", "handshake", "tls h2 <nil>", "got true false false",
			"headers", "wait", "byte", "continue", "request <nil>",
			"get " + s.addr, "got true true true", "headers", "wait", "byte", "continue", "request <nil>"}
		assert.ElementsMatch(t, want, events)
		assert.Equal(t, want[:5], events[:5])
		assert.True(t, fields[":path"] && fields["expect"] && fields["content-length"], "%v", fields)
	})
}

func TestCancelOfEveryKind(t *testing.T) {
	transportsInMemory(t, func(t *testing.T, serve func(http.Handler) http.RoundTripper) {
		started, ended := make(chan struct{}, 1), make(chan struct{}, 1)
		rt := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/headers" {
				w.(http.Flusher).Flush()
			}
			started <- struct{}{}
			<-r.Context().Done()
			ended <- struct{}{}
		}))
		for _, path := range []string{"/", "/headers"} {
			cancel := make(chan struct{})
			req, _ := http.NewRequest("GET", "https://localhost"+path, nil)
			req.Cancel = cancel //lint:ignore SA1019 what http.Client.Timeout sets
			go func() {
				<-started
				close(cancel)
			}()
			resp, err := rt.RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			require.ErrorContains(t, err, "request canceled")
			<-ended

			c := &http.Client{Transport: rt, Timeout: 50 * time.Millisecond}
			resp, err = c.Get("https://localhost" + path)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			// It says Client.Timeout if, of net/http's two clocks, the Client's own
			// was before that of the request's context.
			var late net.Error
			require.ErrorAs(t, err, &late)
			require.True(t, late.Timeout(), "%v", err)
			<-started
			<-ended

			cause := errors.New("the caller's reason")
			ctx, stop := context.WithCancelCause(t.Context())
			go func() {
				<-started
				stop(cause)
			}()
			req, _ = http.NewRequestWithContext(ctx, "GET", "https://localhost"+path, nil)
			resp, err = rt.RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			require.ErrorIs(t, err, cause)
			<-ended
		}
	})
}

func TestResponseHeaderTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-release
				return
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done() // the content may take its time
		})
		t1, _ := overTransport(t, func(t1 *http.Transport) {
			t1.ResponseHeaderTimeout = 50 * time.Millisecond
			t1.DialContext = serveInMemory(t, &http.Server{Handler: h})
		})
		for _, content := range []io.Reader{nil, strings.NewReader("content")} {
			begin := time.Now()
			req, _ := http.NewRequest("POST", "https://localhost/slow", content)
			_, err := t1.RoundTrip(req)
			var ne net.Error
			require.ErrorAs(t, err, &ne)
			assert.True(t, ne.Timeout())
			require.ErrorContains(t, err, "timeout awaiting response headers")
			assert.Equal(t, 50*time.Millisecond, time.Since(begin))
		}
		close(release)
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://localhost/", nil)
		resp, err := t1.RoundTrip(req)
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		require.ErrorIs(t, err, context.DeadlineExceeded, "the limit is the header's only")
	})
}

func TestContentsErrorIsReturnedAsItIs(t *testing.T) {
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		s := startTLS(t, nil, ordinary())
		broken := errors.New("the content is broken")
		r, w := io.Pipe()
		w.CloseWithError(broken)
		req, _ := http.NewRequest("POST", s.url("/trailers"), r)
		_, err := rt.RoundTrip(req)
		assert.Equal(t, broken, err)
	})
}

func TestResponseThatEndsEarlyIsReadAsFarAsItGoes(t *testing.T) {
	tr, peers := scripted(t)
	got := make(chan *http.Response, 1)
	go func() {
		resp, err := tr.RoundTrip(getRequest(t.Context()))
		assert.NoError(t, err)
		got <- resp
	}()
	p := <-peers
	p.wantHeaders(1, true, "the request")
	p.headers(1, false, ":status", "200", "content-length", "10")
	p.fr.WriteData(1, true, []byte("1234"))
	resp := <-got
	content, err := io.ReadAll(resp.Body)
	assert.Equal(t, io.ErrUnexpectedEOF, err)
	assert.Equal(t, "1234", string(content))
	p.wantReset(1, http2.ErrCodeProtocol, "the response was malformed")
}

func TestInformationalResponsesAreLimited(t *testing.T) {
	for name, field := range map[string]string{"by number": "x", "by size": strings.Repeat("x", 4000)} {
		tr, peers := scripted(t)
		result := make(chan error, 1)
		go func() {
			_, err := tr.RoundTrip(getRequest(t.Context()))
			result <- err
		}()
		p := <-peers
		p.wantHeaders(1, true, name)
		for range maxInforms + 1 {
			p.headers(1, false, ":status", "103", "field", field)
		}
		require.ErrorContains(t, <-result, "too many 1xx", name)
	}
}

func TestUserAgentIsOne(t *testing.T) {
	got := make(chan []string, 1)
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.Header["User-Agent"] }))
	for _, tt := range [][2][]string{
		{nil, {"Go-http-client/2.0"}},
		{{}, nil},
		{{""}, nil},
		{{"one"}, {"one"}},
		{{"one", "two"}, {"one"}},
	} {
		req, _ := http.NewRequest("GET", s.url("/"), nil)
		if tt[0] != nil {
			req.Header["User-Agent"] = tt[0]
		}
		resp, err := testTransport(t).RoundTrip(req)
		require.NoError(t, err)
		readAll(t, resp.Body)
		assert.Equal(t, tt[1], <-got)
	}
}

func TestContentIsClosedOnEveryWay(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	for name, tt := range map[string]struct {
		path   string
		method string
		scheme string
	}{
		"sent":           {"/trailers", "POST", "https"},
		"not wanted":     {"/ignore", "POST", "https"},
		"no such scheme": {"/", "POST", "ftp"},
		"bad method":     {"/", "PO ST", "https"},
	} {
		body := &closeCounter{Reader: bytes.NewReader(make([]byte, 100<<10)), closed: make(chan struct{}, 9)}
		req, _ := http.NewRequest("POST", s.url(tt.path), body)
		req.Method, req.URL.Scheme = tt.method, tt.scheme
		resp, err := testTransport(t).RoundTrip(req)
		if err == nil {
			readAll(t, resp.Body)
		}
		<-body.closed
		assert.Empty(t, body.closed, name)
	}
}

type closeCounter struct {
	io.Reader
	closed chan struct{}
}

func (c *closeCounter) Close() error {
	c.closed <- struct{}{}
	return nil
}

func TestContentThatHangsIsClosedWithTheRequest(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", s.url("/echo"), r)
	resp, err := testTransport(t).RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.WriteString(w, "x")
	require.NoError(t, err)
	cancel() // its next Read hangs
	require.Eventually(t, func() bool {
		_, err := w.Write(nil)
		return errors.Is(err, io.ErrClosedPipe)
	}, 5*time.Second, time.Millisecond)
}

func TestResponseWithoutTheContentIsReadInFull(t *testing.T) {
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Millisecond))
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "the server has waited long enough")
	}))
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		for range 10 {
			r, w := io.Pipe() // whose Read hangs
			resp, err := (&http.Client{Transport: rt}).Post(s.url("/"), "x/y", r)
			require.NoError(t, err)
			_, err = w.Write([]byte("x"))
			for err == nil { // the stream ends, and the content is closed with it
				_, err = w.Write([]byte("x"))
			}
			require.ErrorIs(t, err, io.ErrClosedPipe)
			assert.Equal(t, "the server has waited long enough", readAll(t, resp.Body))
		}
	})
}
