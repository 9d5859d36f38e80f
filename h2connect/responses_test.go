package h2connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// ask has a scripted client send one request to h, and returns its end.
func ask(t *testing.T, h http.HandlerFunc, fields ...string) *peer {
	p := clientOf(t, nil, h)
	p.greet()
	p.headers(1, true, fields...)
	return p
}

func head(path string) []string {
	return []string{":method", "HEAD", ":scheme", "http", ":authority", "localhost", ":path", path}
}

func TestHeadHasTheHeaderOfGet(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		length  string
		content string
	}{
		"small":    {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<p>small") }, "8", "text/html; charset=utf-8"},
		"large":    {func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("x"), 1<<20)) }, "", "text/plain; charset=utf-8"},
		"empty":    {func(w http.ResponseWriter, r *http.Request) {}, "", ""},
		"explicit": {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "77") }, "77", ""},
		"flushed": {func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "x")
		}, "", ""},
	} {
		p := ask(t, tt.handler, head("/")...)
		h := p.wantStatus(1, "200", true, name)
		assert.Equal(t, tt.length, h["content-length"], name)
		assert.Equal(t, tt.content, h["content-type"], name)
		p.wantAlive(name)
		p.hangUp()
	}
}

func TestContentLengthCanBeDisabled(t *testing.T) {
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Length"] = nil
		w.Header()["Date"] = nil
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "x")
	}, get("/")...)
	h := p.wantStatus(1, "200", false, "the response")
	assert.Equal(t, map[string]string{":status": "200"}, h, "what the handler has set to nil is not added")
	p.wantData(1, "x", true, "the content")
}

func TestLengthsOfTheHandlersAreChecked(t *testing.T) {
	errs := make(chan error, 1)
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		io.WriteString(w, "123")
		_, err := io.WriteString(w, "4")
		errs <- err
	}, get("/")...)
	h := p.wantStatus(1, "200", false, "the response")
	assert.Equal(t, "3", h["content-length"])
	p.wantData(1, "123", true, "what was promised")
	require.ErrorIs(t, <-errs, http.ErrContentLength)

	p = ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		io.WriteString(w, "12")
	}, get("/")...)
	p.wantStatus(1, "200", false, "the response")
	p.wantData(1, "12", false, "what there is")
	p.wantReset(1, http2.ErrCodeInternal, "and no more")

	for _, wrong := range []string{"+3", "-3", "three", ""} {
		p = ask(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", wrong)
			w.(http.Flusher).Flush()
		}, get("/")...)
		h = p.wantStatus(1, "200", false, wrong)
		assert.NotContains(t, h, "content-length", wrong)
		p.hangUp()
	}
}

func TestResponsesThatMayHaveNoContent(t *testing.T) {
	for _, status := range []int{204, 304} {
		errs := make(chan error, 1)
		p := ask(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, err := io.WriteString(w, "x")
			errs <- err
		}, get("/")...)
		h := p.wantHeaders(1, true, "no content")
		assert.NotContains(t, h, "content-length")
		assert.NotContains(t, h, "content-type")
		require.ErrorIs(t, <-errs, http.ErrBodyNotAllowed)
		p.hangUp()
	}
}

// "A server MUST NOT send a Content-Length header field in any response with a status
// code of 1xx (Informational) or 204 (No Content)" (RFC 9110 §8.6).
func TestNoContentHasNoLength(t *testing.T) {
	for status, length := range map[string]string{"204": "", "304": "5"} {
		p := ask(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			n, _ := strconv.Atoi(status)
			w.WriteHeader(n)
		}, get("/")...)
		assert.Equal(t, length, p.wantStatus(1, status, true, "no content")["content-length"], status)
		p.hangUp()
	}
}

func TestInformationalResponsesHaveNoLength(t *testing.T) {
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1")
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusProcessing)
		w.Header().Add("Link", "</b>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusSwitchingProtocols) // does not exist in HTTP/2
		io.WriteString(w, "x")
	}, get("/")...)
	h := p.wantStatus(1, "102", false, "the first")
	assert.NotContains(t, h, "content-length")
	p.wantStatus(1, "103", false, "the second")
	h = p.wantStatus(1, "200", false, "the response")
	assert.Equal(t, "1", h["content-length"])
	p.wantData(1, "x", true, "the content")
}

func TestContinueIsSentForWhoReads(t *testing.T) {
	expect := append([]string{":method", "POST"}, get("/", "expect", "100-continue")[2:]...)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("Expect"))
		p, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		w.Write(p)
	}))
	p.greet()
	p.headers(1, false, expect...)
	p.wantStatus(1, "100", false, "the handler reads")
	p.fr.WriteData(1, true, []byte("content"))
	p.wantStatus(1, "200", false, "the response")
	p.wantData(1, "content", true, "the content")

	errs := make(chan error, 1)
	p = clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		w.(http.Flusher).Flush()
		go func() { errs <- nil }()
	}))
	p.greet()
	p.headers(1, false, expect...)
	p.wantStatus(1, "403", false, "the handler does not want the content")
	<-errs
	p.wantData(1, "", true, "the end")
	p.wantReset(1, http2.ErrCodeNo, "the client is asked to stop")
}

func TestHeaderIsThatOfTheFirstWrite(t *testing.T) {
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("A", "before")
		w.Header().Set("Transfer-Encoding", "chunked")
		w.Header().Set("Connection", "keep-alive")
		w.Header().Set("Bad Name", "x")
		w.Header().Set("Bad-Value", "x\r\ny")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(201)
		w.WriteHeader(202)
		w.Header().Set("A", "after")
		io.WriteString(w, "<p>")
	}, get("/")...)
	h := p.wantStatus(1, "201", false, "the response")
	assert.Equal(t, "before", h["a"])
	for _, name := range []string{"transfer-encoding", "connection", "bad name", "bad-value", "content-type"} {
		assert.NotContains(t, h, name)
	}
	p.wantData(1, "<p>", true, "the content")
}

func TestTrailersOfAResponse(t *testing.T) {
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Trailer", "A, B")
		w.Header().Add("Trailer", "Content-Length") // may not be one
		io.WriteString(w, "x")
		w.Header().Set("A", "1") // B is missing
		w.Header().Set(http.TrailerPrefix+"C", "3")
	}, get("/")...)
	h := p.wantStatus(1, "200", false, "the response")
	assert.Equal(t, "1", h["content-length"])
	p.wantData(1, "x", false, "the content")
	assert.Equal(t, map[string]string{"a": "1", "c": "3"}, p.wantHeaders(1, true, "the trailer"))
}

func TestStatusCodesThatAreNone(t *testing.T) {
	panics := make(chan any, 1)
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { panics <- recover() }()
		w.WriteHeader(0)
	}, get("/")...)
	p.wantStatus(1, "200", true, "the handler has caught it")
	assert.Contains(t, <-panics, "invalid WriteHeader code 0")
}

func TestRequestsAsHandlersSeeThem(t *testing.T) {
	got := make(chan *http.Request, 1)
	see := func(w http.ResponseWriter, r *http.Request) { got <- r }
	fields := get("//a%2fb?q", "cookie", "a=1", "cookie", "b=2", "x", "1", "x", "2", "te", "trailers", "trailer", "Sum")
	ask(t, see, fields...)
	r := <-got
	assert.Equal(t, "//a%2fb?q", r.RequestURI)
	assert.Equal(t, "//a/b", r.URL.Path)
	assert.Equal(t, "q", r.URL.RawQuery)
	assert.Equal(t, "localhost", r.Host)
	assert.Equal(t, "HTTP/2.0", r.Proto)
	assert.EqualValues(t, 0, r.ContentLength)
	assert.Equal(t, http.NoBody, r.Body)
	assert.Equal(t, http.Header{"Cookie": {"a=1; b=2"}, "X": {"1", "2"}, "Te": {"trailers"}}, r.Header)
	assert.Equal(t, http.Header{"Sum": nil}, r.Trailer)

	ask(t, see, ":method", "GET", ":scheme", "http", ":path", "/", "host", "other")
	assert.Equal(t, "other", (<-got).Host, "Host stands in for :authority")
	ask(t, see, ":method", "OPTIONS", ":scheme", "http", ":authority", "localhost", ":path", "*")
	r = <-got
	assert.Equal(t, "*", r.RequestURI)
	assert.Equal(t, "*", r.URL.Path)

	p := clientOf(t, nil, http.HandlerFunc(see))
	p.greet()
	p.headers(1, false, get("/")...)
	assert.EqualValues(t, -1, (<-got).ContentLength, "unknown")
}

func TestContextOfARequestEnds(t *testing.T) {
	started, ended := make(chan context.Context, 1), make(chan error, 1)
	wait := func(w http.ResponseWriter, r *http.Request) {
		gone := w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
		started <- r.Context()
		<-r.Context().Done()
		<-gone
		ended <- context.Cause(r.Context())
	}
	p := ask(t, wait, get("/")...)
	<-started
	p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	var se *StreamError
	require.ErrorAs(t, <-ended, &se, "with a reset")

	p = ask(t, wait, get("/")...)
	<-started
	p.nc.Close()
	var ce *ConnError
	require.ErrorAs(t, <-ended, &ce, "with the connection")
	assert.True(t, ce.Remote)

	p = ask(t, wait, get("/")...)
	<-started
	p.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, []byte{0, 0, 0, 0})
	require.ErrorAs(t, <-ended, &se, "with an error of the stream's")
	assert.False(t, se.Remote)

	p = ask(t, func(w http.ResponseWriter, r *http.Request) { started <- r.Context() }, get("/")...)
	p.wantStatus(1, "200", true, "the response")
	require.Error(t, (<-started).Err(), "with the handler, before the end of the response")
}

func TestBlockedHandlersAreWokenByAReset(t *testing.T) {
	errs := make(chan error, 2)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			_, err := r.Body.Read(make([]byte, 1))
			errs <- err
			return
		}
		_, err := w.Write(make([]byte, 1<<20))
		errs <- err
	}))
	p.greet()
	for i, path := range []string{"/read", "/write"} {
		id := uint32(2*i + 1)
		p.headers(id, path == "/write", get(path)...)
		if path == "/write" {
			p.wantHeaders(id, false, "the response begins")
			for n := 0; n < 65535; {
				f := p.next("up to the window")
				n += len(f.(*http2.DataFrame).Data())
			}
		}
		p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		var se *StreamError
		require.ErrorAs(t, <-errs, &se, path)
		assert.True(t, se.Remote)
	}
}

func TestUseAfterTheHandlersReturn(t *testing.T) {
	type late struct {
		w http.ResponseWriter
		r *http.Request
	}
	got := make(chan late, 1)
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- late{w, r} }))
	resp, err := (&http.Client{Transport: testTransport(t)}).Post(s.url("/"), "x/y", strings.NewReader("content"))
	require.NoError(t, err)
	readAll(t, resp.Body)
	l := <-got
	<-l.r.Context().Done()
	_, err = io.WriteString(l.w, "x")
	require.Error(t, err)
	rc := http.NewResponseController(l.w)
	require.Error(t, rc.Flush())
	require.Error(t, rc.SetReadDeadline(time.Now()))
	require.Error(t, rc.SetWriteDeadline(time.Now()))
	l.w.WriteHeader(500)
	_, _, err = rc.Hijack()
	require.ErrorIs(t, err, http.ErrNotSupported)
}

func TestContextsOfTheServer(t *testing.T) {
	type key string
	var r *http.Request
	s := startTLS(t, nil, http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) { r = got }), func(srv *http.Server) {
		srv.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), key("base"), 1) }
		srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key("conn"), 2) }
	})
	resp, err := (&http.Client{Transport: testTransport(t)}).Get(s.url("/"))
	require.NoError(t, err)
	readAll(t, resp.Body)
	assert.Equal(t, 1, r.Context().Value(key("base")))
	assert.Equal(t, 2, r.Context().Value(key("conn")))
	assert.Same(t, s.Server, r.Context().Value(http.ServerContextKey))
	assert.Equal(t, s.addr, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	assert.NotEmpty(t, r.RemoteAddr)
	require.NotNil(t, r.TLS)
	assert.Equal(t, "h2", r.TLS.NegotiatedProtocol)
	assert.True(t, r.TLS.HandshakeComplete)
}

func TestMaxBytesReaderBoundsTheContent(t *testing.T) {
	s := startTLS(t, nil, http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}), 1000))
	c := &http.Client{Transport: testTransport(t)}
	for size, status := range map[int]int{1000: 200, 1001: 413, 1 << 20: 413} {
		resp, err := c.Post(s.url("/"), "x/y", bytes.NewReader(make([]byte, size)))
		require.NoError(t, err)
		assert.Equal(t, status, resp.StatusCode, size)
		readAll(t, resp.Body)
	}
}

func TestLimitsTheServerSaysItself(t *testing.T) {
	serve := func(srv *http.Server, l Limits) Limits { return serverLimits(l, srv) }
	l := serve(&http.Server{}, Limits{})
	assert.Equal(t, Limits{}.withDefaults(), l)
	l = serve(&http.Server{
		MaxHeaderBytes: 100 << 10, ReadTimeout: time.Minute, ReadHeaderTimeout: 3 * time.Second,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 7, MaxReceiveBufferPerConnection: 2 << 20, MaxReceiveBufferPerStream: 1 << 20,
			WriteByteTimeout: 5 * time.Second, SendPingTimeout: time.Minute, PingTimeout: 4 * time.Second,
		},
	}, Limits{})
	assert.Equal(t, 100<<10, l.HeaderBytes)
	assert.Equal(t, 3*time.Second, l.Preface)
	assert.Equal(t, time.Minute, l.Idle)
	assert.Equal(t, 7, l.ConcurrentStreams)
	assert.Equal(t, 2<<20, l.ConnWindow)
	assert.Equal(t, 1<<20, l.StreamWindow)
	assert.Equal(t, 5*time.Second, l.WriteStall)
	assert.Equal(t, time.Minute, l.ReadIdle)
	assert.Equal(t, 4*time.Second, l.PingTimeout)
	l = serve(&http.Server{MaxHeaderBytes: 1 << 10, IdleTimeout: time.Hour, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 7}},
		Limits{HeaderBytes: 8 << 10, Idle: time.Minute, ConcurrentStreams: 9})
	assert.Equal(t, 1<<10, l.HeaderBytes, "the smaller one")
	assert.Equal(t, time.Minute, l.Idle, "a field of Limits goes before")
	assert.Equal(t, 9, l.ConcurrentStreams)
}

func TestReadAndWriteTimeoutsAreEachRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 1)
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				_, err := io.ReadAll(r.Body)
				errs <- err
				return
			}
			_, err := w.Write(make([]byte, 1<<20))
			errs <- err
		}))
		p.srv.srv.ReadTimeout, p.srv.srv.WriteTimeout = 50*time.Millisecond, 70*time.Millisecond
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		timesOut := func(after time.Duration) {
			t.Helper()
			start := time.Now()
			err := <-errs
			assert.Equal(t, after, time.Since(start))
			var ne net.Error
			require.ErrorAs(t, err, &ne)
			assert.True(t, ne.Timeout(), "%v", err)
		}
		for id := uint32(1); id < 8; id += 4 { // on one connection
			p.headers(id, false, with(get("/"), ":method", "POST")...)
			timesOut(50 * time.Millisecond) // nothing comes
			p.headers(id+2, true, get("/")...)
			timesOut(70 * time.Millisecond) // no window
			for reset := false; !reset; {
				f := p.next("the end of what has timed out")
				_, reset = f.(*http2.RSTStreamFrame)
				reset = reset && f.Header().StreamID == id+2
			}
		}
		p.wantAlive("it is the requests' time that is over")
	})
}

func TestConnectionCloseSaysGoodbye(t *testing.T) {
	limits := Limits{Linger: 10 * time.Millisecond}
	s := startTLS(t, &Server{Limits: limits}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "content")
	}))
	tr := testTransport(t)
	tr.Limits = limits
	seen := make(map[string]bool)
	for range 3 {
		var cc *ClientConn
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			seen[info.Conn.LocalAddr().String()] = true
			tr.mu.Lock()
			defer tr.mu.Unlock()
			for _, conns := range tr.conns {
				cc = conns[0]
			}
		}})
		req, _ := http.NewRequestWithContext(ctx, "GET", s.url("/"), nil)
		resp, err := (&http.Client{Transport: tr}).Do(req)
		require.NoError(t, err)
		assert.Equal(t, "content", readAll(t, resp.Body))
		<-cc.Done()
	}
	assert.Len(t, seen, 3, "a connection each")
}

func TestConnStateHearsOfStreamsThatOutliveTheirHandlers(t *testing.T) {
	states := make(chan http.ConnState, 10)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 62000)) }))
	p.srv.srv.ConnState = func(_ net.Conn, s http.ConnState) { states <- s }
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 60000})
	for _, want := range []http.ConnState{http.StateActive, http.StateIdle} {
		assert.Equal(t, want, <-states)
	}
	p.headers(1, true, get("/")...)
	assert.Equal(t, http.StateActive, <-states)
	p.wantHeaders(1, false, "the response")
	read := func(want int) {
		for n := 0; n < want; {
			n += len(p.next("content").(*http2.DataFrame).Data())
		}
	}
	read(60000)
	assert.Empty(t, states, "the handler has returned, its content is not through")
	p.fr.WriteWindowUpdate(1, 1<<20)
	read(2000)
	assert.Equal(t, http.StateIdle, <-states)
}

func TestGot1xxResponseMayRefuse(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	refused := errors.New("refused")
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { return refused },
	})
	req, _ := http.NewRequestWithContext(ctx, "GET", s.url("/early"), nil)
	_, err := testTransport(t).RoundTrip(req)
	require.ErrorIs(t, err, refused)
}

func TestContentMayBeReadWhileTheResponseIsWritten(t *testing.T) {
	for range 20 {
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}()
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			r.Body.Close()
			<-done
		}))
		p.greet()
		p.headers(1, false, append([]string{":method", "POST"}, get("/", "expect", "100-continue")[2:]...)...)
		h := p.wantHeaders(1, false, "a response")
		if h[":status"] == "100" {
			h = p.wantHeaders(1, false, "the response follows")
		}
		assert.Equal(t, "200", h[":status"])
		_, ok := p.next("nothing comes between").(*http2.DataFrame)
		assert.True(t, ok)
		p.hangUp()
	}
}

// A field section of any size goes out, in as many frames as it takes.
func TestLargeResponseHeadersGoOutInContinuations(t *testing.T) {
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 5000 {
			w.Header().Set(fmt.Sprintf("X-Header-%d", i), fmt.Sprintf("value %d", i))
		}
	}, get("/")...)
	h, ok := p.next("HEADERS").(*http2.HeadersFrame)
	require.True(t, ok)
	assert.True(t, h.StreamEnded())
	assert.False(t, h.HeadersEnded())
	block := bytes.Clone(h.HeaderBlockFragment())
	for ended := false; !ended; {
		c, ok := p.next("CONTINUATION").(*http2.ContinuationFrame)
		require.True(t, ok)
		assert.LessOrEqual(t, c.Length, uint32(maxFrame))
		block, ended = append(block, c.HeaderBlockFragment()...), c.HeadersEnded()
	}
	fields, err := p.dec.DecodeFull(block)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(fields), 5000)
	p.wantAlive("and nothing else")
}

// The end of a response needs no window (RFC 9113 §6.9.1).
func TestEndOfAResponseNeedsNoWindow(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
	}))
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	p.headers(1, true, get("/")...)
	p.wantStatus(1, "200", false, "flushed")
	p.wantData(1, "", true, "the end")
}

// A handler whose client has gone learns it from its next writes.
func TestWritesToAClientThatHasGoneFail(t *testing.T) {
	failed := make(chan error, 1)
	p := ask(t, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		_, err := w.Write(make([]byte, 1<<20))
		failed <- err
	}, get("/")...)
	p.wantAlive("the request has been taken")
	p.nc.Close()
	_, ok := errors.AsType[*ConnError](<-failed)
	assert.True(t, ok)
}
