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
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
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
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		started, ended := make(chan struct{}, 1), make(chan struct{}, 1)
		s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/headers" {
				w.(http.Flusher).Flush()
			}
			started <- struct{}{}
			<-r.Context().Done()
			ended <- struct{}{}
		}))
		for _, path := range []string{"/", "/headers"} {
			cancel := make(chan struct{})
			req, _ := http.NewRequest("GET", s.url(path), nil)
			req.Cancel = cancel
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
			resp, err = c.Get(s.url(path))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			require.ErrorContains(t, err, "Client.Timeout")
			<-started
			<-ended

			cause := errors.New("the caller's reason")
			ctx, stop := context.WithCancelCause(t.Context())
			go func() {
				<-started
				stop(cause)
			}()
			req, _ = http.NewRequestWithContext(ctx, "GET", s.url(path), nil)
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
	release := make(chan struct{})
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
			return
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done() // the content may take its time
	}))
	t1, _ := overTransport(t, func(t1 *http.Transport) { t1.ResponseHeaderTimeout = 50 * time.Millisecond })
	for _, content := range []io.Reader{nil, strings.NewReader("content")} {
		req, _ := http.NewRequest("POST", s.url("/slow"), content)
		_, err := t1.RoundTrip(req)
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		assert.True(t, ne.Timeout())
		require.ErrorContains(t, err, "timeout awaiting response headers")
	}
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.url("/"), nil)
	resp, err := t1.RoundTrip(req)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	resp.Body.Close()
	require.ErrorIs(t, err, context.DeadlineExceeded, "the limit is the header's only")
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

func TestRequestsShareAConnectionUnlessTheySayClose(t *testing.T) {
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		s := startTLS(t, nil, ordinary())
		var mu sync.Mutex
		conns := make(map[string]bool)
		do := func(change func(*http.Request)) {
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
				mu.Lock()
				defer mu.Unlock()
				conns[i.Conn.LocalAddr().String()] = true
			}})
			req, _ := http.NewRequestWithContext(ctx, "GET", s.url("/hello"), nil)
			change(req)
			resp, err := rt.RoundTrip(req)
			if assert.NoError(t, err) {
				readAll(t, resp.Body)
			}
		}
		nothing := func(*http.Request) {}
		do(nothing)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { do(nothing) })
		}
		all.Wait()
		assert.Len(t, conns, 1)
		do(func(req *http.Request) { req.Close = true })
		assert.Len(t, conns, 1, "the last one on it")
		do(func(req *http.Request) { req.Header.Set("Connection", "Close") })
		assert.Len(t, conns, 2)
		do(nothing)
		assert.Len(t, conns, 3)
	})
}

func TestDisableKeepAlivesIsAConnectionEach(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	var dials atomic.Int32
	t1, t2 := overTransport(t, func(t1 *http.Transport) {
		t1.DisableKeepAlives = true
		t1.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	t2.Limits.Linger = time.Millisecond
	for range 3 {
		resp, err := (&http.Client{Transport: t1}).Get(s.url("/hello"))
		require.NoError(t, err)
		assert.Equal(t, "<p>hello", readAll(t, resp.Body))
	}
	assert.EqualValues(t, 3, dials.Load())
}

func TestRequestsThatStartTogetherKeepOneConnection(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	t1, t2 := overTransport(t)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			resp, err := (&http.Client{Transport: t1}).Get(s.url("/hello"))
			if assert.NoError(t, err) {
				readAll(t, resp.Body)
			}
		})
	}
	all.Wait()
	t2.mu.Lock()
	defer t2.mu.Unlock()
	assert.Len(t, t2.conns[keyOf(mustURL(s.url("/")))], 1)
}

func TestStrictMaxConcurrentRequestsWait(t *testing.T) {
	release := make(chan struct{})
	var running, most atomic.Int32
	s := startTLS(t, &Server{Limits: Limits{ConcurrentStreams: 2}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if r.URL.Path == "/wait" {
			<-release
		}
	}))
	var dials atomic.Int32
	t1, _ := overTransport(t, func(t1 *http.Transport) {
		t1.HTTP2 = &http.HTTP2Config{StrictMaxConcurrentRequests: true}
		t1.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	c := &http.Client{Transport: t1}
	resp, err := c.Get(s.url("/"))
	require.NoError(t, err)
	readAll(t, resp.Body)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			resp, err := c.Get(s.url("/wait"))
			if assert.NoError(t, err) {
				readAll(t, resp.Body)
			}
		})
	}
	require.Eventually(t, func() bool { return running.Load() == 2 }, 5*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.url("/wait"), nil)
	_, err = c.Do(req)
	require.ErrorIs(t, err, context.DeadlineExceeded, "the wait is bounded by the context")
	close(release)
	all.Wait()
	assert.EqualValues(t, 2, most.Load())
	assert.EqualValues(t, 1, dials.Load())
}

func TestRequestsAreSentAgainWhereThatIsSafe(t *testing.T) {
	for name, tt := range map[string]struct {
		refuse  func(p *peer)
		body    func() *http.Request
		again   bool
		another bool // on another connection
	}{
		"REFUSED_STREAM": {
			refuse: func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) },
			body:   func() *http.Request { return getRequest(context.Background()) }, again: true,
		},
		"GOAWAY below": {
			refuse: func(p *peer) { p.fr.WriteGoAway(0, http2.ErrCodeNo, nil) },
			body:   func() *http.Request { return getRequest(context.Background()) }, again: true, another: true,
		},
		"content with GetBody": {
			refuse: func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) },
			body: func() *http.Request {
				req, _ := http.NewRequest("POST", "http://localhost/", strings.NewReader("content"))
				return req
			}, again: true,
		},
		"content without": {
			refuse: func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) },
			body: func() *http.Request {
				req, _ := http.NewRequest("POST", "http://localhost/", io.NopCloser(strings.NewReader("content")))
				return req
			},
		},
		"another error": {
			refuse: func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeInternal) },
			body:   func() *http.Request { return getRequest(context.Background()) },
		},
		"PROTOCOL_ERROR": {
			refuse: func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeProtocol) },
			body:   func() *http.Request { return getRequest(context.Background()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr, peers := scripted(t)
			done := make(chan error, 1)
			go func() {
				resp, err := tr.RoundTrip(tt.body())
				if err == nil {
					resp.Body.Close()
				}
				done <- err
			}()
			request := func(p *peer, id uint32) {
				f, ok := p.next("the request").(*http2.HeadersFrame)
				require.True(t, ok)
				content, ended := "", f.StreamEnded()
				for !ended {
					d := p.next("the content").(*http2.DataFrame)
					assert.Equal(t, id, d.StreamID)
					content += string(d.Data())
					if ended = d.StreamEnded(); ended {
						assert.Equal(t, "content", content)
					}
				}
			}
			p := <-peers
			request(p, 1)
			tt.refuse(p)
			if !tt.again {
				require.Error(t, <-done)
				return
			}
			id := uint32(3)
			if tt.another {
				p, id = <-peers, 1
			}
			request(p, id)
			p.headers(id, true, ":status", "200")
			require.NoError(t, <-done)
		})
	}
}

func TestRetriesHaveALimit(t *testing.T) {
	tr, peers := scripted(t)
	result := make(chan error, 1)
	go func() {
		_, err := tr.RoundTrip(getRequest(t.Context()))
		result <- err
	}()
	p := <-peers
	for i := range uint32(maxTries) {
		p.wantHeaders(2*i+1, true, "the request")
		p.fr.WriteRSTStream(2*i+1, http2.ErrCodeRefusedStream)
	}
	require.ErrorContains(t, <-result, "REFUSED_STREAM")
}

func TestIdleTimeoutOfTheHTTPTransport(t *testing.T) {
	t1, t2 := overTransport(t, func(t1 *http.Transport) {
		t1.IdleConnTimeout = 7 * time.Second
		t1.MaxResponseHeaderBytes = 5000
		t1.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Second, MaxReceiveBufferPerStream: 1 << 20}
	})
	l := t2.limits()
	assert.Equal(t, 7*time.Second, l.Idle)
	assert.Equal(t, 5000, l.HeaderBytes)
	assert.Equal(t, time.Second, l.ReadIdle)
	assert.Equal(t, 1<<20, l.StreamWindow)
	t2.Limits.Idle = time.Second
	assert.Equal(t, time.Second, t2.limits().Idle, "a field of Limits goes before")
	t1.DisableCompression = true
	assert.Equal(t, rules{keepAlive: true}, t2.rules())
}

func TestIdleClientConnectionCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{Idle: 5 * time.Second})
		p.fr.WriteSettings()
		p.settle()
		done := request(cc, getRequest(context.Background()))
		p.wantHeaders(1, true, "the request")
		p.headers(1, true, ":status", "200")
		require.NoError(t, <-done)
		begin := time.Now()
		p.wantGoAway(http2.ErrCodeNo, "the end")
		assert.Equal(t, 5*time.Second, time.Since(begin))
		assert.False(t, cc.CanTakeNewRequest())
		<-cc.Done()
		p.hangUp()
	})
}

func TestCloseIdleConnectionsRightAfterASocketsEnd(t *testing.T) {
	for _, over := range []bool{false, true} {
		s := startTLS(t, nil, socketHandler())
		tr, closeIdle := testTransport(t), func() {}
		if closeIdle = tr.CloseIdleConnections; over {
			t1, t2 := overTransport(t)
			tr, closeIdle = t2, t1.CloseIdleConnections
			resp, err := (&http.Client{Transport: t1}).Get(s.url("/hello")) // t1 learns of t2 with its first request
			require.NoError(t, err)
			readAll(t, resp.Body)
		}
		tr.Limits = Limits{Linger: 10 * time.Millisecond, Idle: time.Hour}
		c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
		require.NoError(t, err)
		cc := tr.conns[keyOf(mustURL(s.url("/")))][0]
		closeIdle()
		wantEcho(t, c, "a connection in use stays")
		require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
		closeIdle()
		select {
		case <-cc.Done():
		case <-testContext(t).Done():
			t.Error("the connection stays")
		}
	}
}

func TestProxyAndDialHooksOfTheHTTPTransport(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	var tunnels atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !assert.Equal(t, "CONNECT", r.Method) {
			return
		}
		tunnels.Add(1)
		to, err := net.Dial("tcp", s.addr)
		if !assert.NoError(t, err) {
			return
		}
		from, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(to, from)
			to.Close()
		}()
		io.Copy(from, to)
		from.Close()
	}))
	defer proxy.Close()
	var dials atomic.Int32
	t1, t2 := overTransport(t, func(t1 *http.Transport) {
		u, _ := url.Parse(proxy.URL)
		t1.Proxy = http.ProxyURL(u)
		t1.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	c, _, err := t2.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	wantEcho(t, c, "through the proxy")
	resp, err := (&http.Client{Transport: t1}).Get(s.url("/hello"))
	require.NoError(t, err)
	assert.Equal(t, 2, resp.ProtoMajor)
	readAll(t, resp.Body)
	assert.EqualValues(t, 1, tunnels.Load(), "they share the connection")
	assert.EqualValues(t, 1, dials.Load())
	require.NoError(t, c.Close(testContext(t), websocket.StatusNormalClosure, ""))
}

func TestHTTPTransportWithoutTLS(t *testing.T) {
	s := startCleartext(t, nil, ordinary())
	t1, _ := overTransport(t, func(t1 *http.Transport) {
		t1.Protocols = new(http.Protocols)
		t1.Protocols.SetUnencryptedHTTP2(true)
	})
	for range 2 {
		resp, err := (&http.Client{Transport: t1}).Post("http://"+s.addr+"/echo", "x/y", strings.NewReader("content"))
		require.NoError(t, err)
		assert.Equal(t, 2, resp.ProtoMajor)
		assert.Equal(t, "content", readAll(t, resp.Body))
	}
}

func TestHTTPClientConnReservations(t *testing.T) {
	s := startTLS(t, &Server{Limits: Limits{ConcurrentStreams: 2}}, ordinary())
	t1, _ := overTransport(t)
	hc, err := t1.NewClientConn(testContext(t), "https", s.addr)
	require.NoError(t, err)
	defer hc.Close()
	get := func() {
		req, _ := http.NewRequest("GET", s.url("/hello"), nil)
		resp, err := hc.RoundTrip(req)
		require.NoError(t, err)
		assert.Equal(t, "<p>hello", readAll(t, resp.Body))
	}
	get()
	changed := make(chan struct{}, 100)
	hc.SetStateHook(func(*http.ClientConn) { changed <- struct{}{} })
	assert.Equal(t, 2, hc.Available())
	require.NoError(t, hc.Reserve())
	require.NoError(t, hc.Reserve())
	require.Error(t, hc.Reserve())
	assert.Equal(t, 0, hc.Available())
	assert.Equal(t, 2, hc.InFlight())
	get() // uses a claim
	<-changed
	hc.Release()
	assert.Equal(t, 2, hc.Available())
	assert.Equal(t, 0, hc.InFlight())
	hc.Release() // there is none
	assert.Equal(t, 2, hc.Available())
	require.NoError(t, hc.Err())
	hc.Close()
	require.Error(t, hc.Err())
	require.Error(t, hc.Reserve())
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
