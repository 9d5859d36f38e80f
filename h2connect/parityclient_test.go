package h2connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// What :path and :authority are made of, and which requests have no content.
func TestRequestsAsTheyAreSent(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	id := uint32(1)
	for name, tt := range map[string]struct {
		req             *http.Request
		path, authority string
	}{
		"path and query":  {&http.Request{URL: mustURL("https://foo.com/a?q=1")}, "/a?q=1", "foo.com"},
		"no path":         {&http.Request{URL: mustURL("https://foo.com")}, "/", "foo.com"},
		"two slashes":     {&http.Request{URL: &url.URL{Scheme: "https", Host: "foo.com", Path: "//foo"}}, "//foo", "foo.com"},
		"Host":            {&http.Request{Host: "bar.com", URL: mustURL("https://foo.com/a")}, "/a", "bar.com"},
		"opaque, a path":  {&http.Request{URL: &url.URL{Scheme: "https", Host: "foo.com", Opaque: "/path", Path: "/ignored"}}, "/path", "foo.com"},
		"opaque":          {&http.Request{URL: &url.URL{Scheme: "https", Host: "foo.com", Opaque: "//foo.com/path", Path: "/ignored"}}, "/path", "foo.com"},
		"opaque and Host": {&http.Request{Host: "bar.com", URL: &url.URL{Scheme: "https", Host: "foo.com", Opaque: "//bar.com/path"}}, "/path", "bar.com"},
		"CONNECT":         {&http.Request{Method: "CONNECT", URL: mustURL("https://foo.com")}, "", "foo.com"},
		"CONNECT to Host": {&http.Request{Method: "CONNECT", Host: "example.com:123", URL: mustURL("https://foo.com")}, "", "example.com:123"},
		"NoBody":          {&http.Request{Body: http.NoBody, URL: mustURL("https://foo.com/b")}, "/b", "foo.com"},
	} {
		done := request(cc, tt.req)
		h := p.wantHeaders(id, true, name) // the end is on the header: no DATA follows
		assert.Equal(t, tt.path, h[":path"], name)
		assert.Equal(t, tt.authority, h[":authority"], name)
		assert.Equal(t, tt.req.Method == "CONNECT", h[":scheme"] == "", name)
		p.headers(id, true, ":status", "204")
		require.NoError(t, <-done, name)
		id += 2
	}
	_, err := cc.RoundTrip(&http.Request{URL: &url.URL{Scheme: "https", Host: "foo.com", Opaque: "//unknown/path"}})
	assert.Error(t, err, "a path of another host")
	p.wantAlive("nothing was sent")
}

// Content of every size arrives, with its length where that is known; and the
// request is the caller's again when the response has ended.
func TestContentOfEverySize(t *testing.T) {
	type arrived struct {
		length  int64
		content []byte
	}
	got := make(chan arrived, 1)
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		got <- arrived{r.ContentLength, content}
	}))
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		for _, size := range []int{0, 1, maxFrame - 1, maxFrame, maxFrame + 1, 512<<10 - 1, 512 << 10, 512<<10 + 1, 1<<20 + 2} {
			content := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
			for _, known := range []bool{true, false} {
				var body io.Reader = bytes.NewReader(content)
				want := int64(size)
				if !known {
					body, want = io.MultiReader(body), -1
				}
				req, _ := http.NewRequest("POST", s.url("/"), body)
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				readAll(t, resp.Body)
				req.Header = http.Header{} // races with what the client may still do with it
				a := <-got
				assert.Equal(t, want, a.length, "%d bytes", size)
				assert.True(t, bytes.Equal(content, a.content), "%d bytes", size)
			}
		}
	})
}

// Content that waits for its stream's window goes on when SETTINGS open it.
func TestContentGoesOnWhenSettingsOpenTheWindow(t *testing.T) {
	content := strings.Repeat("x", 100)
	req := requestTo("PUT")
	req.Body = io.NopCloser(strings.NewReader(content))
	p, result := asking(t, req, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	p.wantHeaders(1, false, "the request")
	p.wantData(1, content[:10], false, "what the window allows")
	p.wantAlive("and no more")
	p.noAcks = true
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	p.wantContent(1, content[10:], "the rest")
	p.headers(1, true, ":status", "200")
	assert.NoError(t, (<-result).err)
}

// A server that refuses a request before it has all its content gets no more of
// it, and the response can be read. A success says nothing of the kind.
func TestContentThatIsRefusedIsNotSent(t *testing.T) {
	for _, status := range []string{"300", "403", "413"} {
		for name, window := range map[string]uint32{"the content waits for a window": 10, "the content has not ended": 1 << 16} {
			r, w := io.Pipe()
			req := requestTo("PUT")
			req.Body = r
			p, result := asking(t, req, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
			p.wantHeaders(1, false, name)
			written := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					_, err = w.Write(make([]byte, 10))
				}
				written <- err
			}()
			p.next("some content")
			p.headers(1, false, ":status", status)
			p.fr.WriteData(1, true, []byte("why"))
			for {
				if rst, ok := p.next("content, then RST_STREAM").(*http2.RSTStreamFrame); ok {
					assert.Equal(t, http2.ErrCodeCancel, rst.ErrCode, name)
					break
				}
			}
			assert.ErrorIs(t, <-written, io.ErrClosedPipe, name)
			a := <-result
			require.NoError(t, a.err, name)
			assert.Equal(t, "why", a.content, name)
			p.wantAlive("the connection is kept")
			p.hangUp()
		}
	}
}

// Content-Length of a response says how long it is, or the response is malformed.
func TestContentLengthOfAResponse(t *testing.T) {
	for _, tt := range []struct {
		values []string
		good   bool
	}{
		{[]string{"3"}, true},
		{[]string{"3", "3", "3"}, true},
		{nil, true},
		{[]string{"3", "1", "3"}, false},
		{[]string{" 3"}, false},
		{[]string{"3", " 3"}, false},
		{[]string{"+3"}, false},
		{[]string{"-3"}, false},
		{[]string{"abc"}, false},
		{[]string{""}, false},
	} {
		p, result := asking(t, requestTo("GET"))
		p.wantHeaders(1, true, "the request")
		fields := []string{":status", "200"}
		for _, v := range tt.values {
			fields = append(fields, "content-length", v)
		}
		p.headers(1, false, fields...)
		if !tt.good {
			p.wantReset(1, http2.ErrCodeProtocol, fmt.Sprintf("%q", tt.values))
			assert.Error(t, (<-result).err, "%q", tt.values)
			continue
		}
		p.fr.WriteData(1, true, []byte("abc"))
		a := <-result
		require.NoError(t, a.err, "%q", tt.values)
		assert.Equal(t, "abc", a.content)
		want, header := int64(3), []string{"3"}
		if tt.values == nil {
			want, header = -1, nil
		}
		assert.Equal(t, want, a.resp.ContentLength, "%q", tt.values)
		assert.Equal(t, header, a.resp.Header["Content-Length"], "%q", tt.values)
	}
}

// What of a response is not read, comes after it was closed, or is padding, is
// credit that the server gets back.
func TestCreditOfWhatIsNotReadReturns(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	p.noAcks = true
	send, credit := int64(0), int64(cc.c.limits.ConnWindow)
	data := func(id uint32, content, padding int) {
		require.NoError(t, p.fr.WriteDataPadded(id, false, make([]byte, content), make([]byte, padding)))
		send += int64(content + padding + 1)
	}
	for i := range uint32(2 * cc.c.limits.ConnWindow / 30_000) {
		id := 2*i + 1
		got := make(chan *http.Response, 1)
		go func() {
			resp, err := cc.RoundTrip(getRequest(t.Context()))
			assert.NoError(t, err)
			got <- resp
		}()
		await := func(what string, is func(http2.Frame) bool) {
			for {
				f, err := p.fr.ReadFrame()
				require.NoError(t, err, what)
				if wu, ok := f.(*http2.WindowUpdateFrame); ok && wu.StreamID == 0 {
					credit += int64(wu.Increment)
				}
				if is(f) {
					return
				}
			}
		}
		await("the request", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
		p.headers(id, false, ":status", "200")
		data(id, 10_000, 200)
		body := (<-got).Body
		_, err := io.ReadFull(body, make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, body.Close())
		_, err = body.Read(make([]byte, 1))
		require.ErrorIs(t, err, errBodyClosed)
		await("RST_STREAM", func(f http2.Frame) bool { return f.Header().Type == http2.FrameRSTStream })
		data(id, 10_000, 200) // crosses the reset
		data(id, 10_000, 200)
		require.LessOrEqual(t, send, credit, "the window is never passed")
	}
	assert.Greater(t, send, int64(cc.c.limits.ConnWindow), "it has been used more than once")
}

// A net.Conn whose writes do something else.
type writesConn struct {
	net.Conn
	write  func(p []byte) (int, error)
	closed chan struct{}
}

func (c *writesConn) Write(p []byte) (int, error) { return c.write(p) }

func (c *writesConn) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

// A network that takes nothing any more ends the connection, and what waits for it.
func TestWritesThatFailEndTheConnection(t *testing.T) {
	broken := errors.New("broken")
	ours, theirs := wstest.Pipe(wstest.PipeOptions{})
	defer theirs.Abort()
	wc := &writesConn{Conn: ours.NetConn(), write: func([]byte) (int, error) { return 0, broken }, closed: make(chan struct{})}
	cc, err := new(Transport).NewClientConn(wc)
	require.NoError(t, err)
	content := strings.NewReader("content")
	req, _ := http.NewRequest("POST", "http://localhost/", io.NopCloser(content))
	_, err = cc.RoundTrip(req)
	require.ErrorIs(t, err, broken)
	<-cc.Done()
	<-wc.closed
	_, err = cc.RoundTrip(req)
	require.Error(t, err)
}

func TestWritesThatHangEndTheConnectionAndSlowOnesDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOver(t, func(nc net.Conn) net.Conn {
			return &writesConn{Conn: nc, closed: make(chan struct{}), write: func(p []byte) (int, error) {
				time.Sleep(500 * time.Millisecond)
				return nc.Write(p)
			}}
		}, Limits{WriteStall: 2 * time.Second})
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.fr.WriteWindowUpdate(0, 1<<20)
		p.settle()
		req := requestTo("PUT")
		req.Body = io.NopCloser(bytes.NewReader(make([]byte, 500_000)))
		done := request(cc, req)
		p.wantHeaders(1, false, "the request")
		for n := 0; n < 500_000; {
			f := p.next("content")
			d, ok := f.(*http2.DataFrame)
			require.True(t, ok, "got %v", f)
			n += len(d.Data())
		}
		p.headers(1, true, ":status", "204")
		require.NoError(t, <-done)
		p.hangUp()

		p, cc = serverOver(t, func(nc net.Conn) net.Conn {
			closed := make(chan struct{})
			writes := 0
			return &writesConn{Conn: nc, closed: closed, write: func(p []byte) (int, error) {
				if writes++; writes > 1 {
					<-closed
					return 0, net.ErrClosed
				}
				return nc.Write(p)
			}}
		}, Limits{WriteStall: 5 * time.Second})
		p.fr.WriteSettings()
		begin := time.Now()
		err := <-request(cc, requestTo("GET"))
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
		assert.LessOrEqual(t, time.Since(begin), cc.c.limits.WriteStall)
		p.hangUp()
	})
}

// serverOver is serverOf on a network that wrap has changed.
func serverOver(t testing.TB, wrap func(net.Conn) net.Conn, limits Limits) (*peer, *ClientConn) {
	ours, theirs := wstest.Pipe(wstest.PipeOptions{})
	return serverTo(t, theirs, newClientConn(wrap(ours.NetConn()), limits.withDefaults(), nil))
}

// A request that cannot be written does not keep others from another connection;
// nor does content whose Close takes long.
func TestBlockedRequestsKeepNobodyElse(t *testing.T) {
	tr, peers := scripted(t)
	first := make(chan error, 1)
	get := func() {
		resp, err := tr.RoundTrip(getRequest(t.Context()))
		if err == nil {
			resp.Body.Close()
		}
		first <- err
	}
	go get()
	p := <-peers
	p.wantHeaders(1, true, "a request")
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	p.fr.WriteWindowUpdate(0, 1<<30)
	p.wantAlive("the limit has been seen")
	p.headers(1, true, ":status", "204")
	require.NoError(t, <-first)

	ctx, cancel := context.WithCancel(t.Context())
	large, _ := http.NewRequestWithContext(ctx, "POST", "http://localhost/", bytes.NewReader(make([]byte, 8<<20)))
	blocked := make(chan error, 1)
	go func() {
		_, err := tr.RoundTrip(large)
		blocked <- err
	}()
	p.wantHeaders(3, false, "the request; what follows nobody reads")
	go get()
	q := <-peers
	q.wantHeaders(1, true, "on a connection of its own")
	q.headers(1, true, ":status", "204")
	require.NoError(t, <-first)
	cancel()
	require.ErrorIs(t, <-blocked, context.Canceled)
}

func TestContentThatIsSlowToCloseHoldsUpNobody(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	transports(t, func(t *testing.T, rt http.RoundTripper) {
		body := &slowCloser{closing: make(chan struct{}), may: make(chan struct{})}
		posted := make(chan error, 1)
		go func() {
			req, _ := http.NewRequest("POST", s.url("/hello"), body)
			resp, err := rt.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			posted <- err
		}()
		<-body.closing
		req, _ := http.NewRequest("GET", s.url("/hello"), nil)
		resp, err := rt.RoundTrip(req)
		require.NoError(t, err)
		readAll(t, resp.Body)
		close(body.may)
		require.NoError(t, <-posted)
	})
}

type slowCloser struct{ closing, may chan struct{} }

func (*slowCloser) Read([]byte) (int, error) { return 0, io.EOF }

func (c *slowCloser) Close() error {
	close(c.closing)
	<-c.may
	return nil
}

// A connection that breaks before the server's SETTINGS tells who waits for them.
func TestConnectionThatBreaksBeforeSettings(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	waiting := make(chan error, 1)
	go func() {
		_, err := cc.WaitForSettings(context.Background())
		waiting <- err
	}()
	p.hangUp()
	require.Error(t, <-waiting)
	content := strings.NewReader("foo")
	req, _ := http.NewRequest("POST", "http://localhost/", io.NopCloser(content))
	_, err := cc.RoundTrip(req)
	require.Error(t, err)
	assert.Equal(t, 3, content.Len(), "content is not read before there is a stream for it")
}

func TestServerOfHTTP1IsNamedAsOne(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := testTransport(t).RoundTrip(func() *http.Request { r, _ := http.NewRequest("GET", s.URL, nil); return r }())
	require.ErrorContains(t, err, "HTTP/1.1")
}

// A dial whose request is cancelled goes on for those that wait for the same
// connection, or is begun again for those that come later.
func TestDialGoesOnForWhoStillWaits(t *testing.T) {
	s := startCleartext(t, nil, ordinary())
	dialling, release := make(chan struct{}, 9), make(chan struct{})
	tr := &Transport{AllowHTTP: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialling <- struct{}{}
		select {
		case <-release:
			return new(net.Dialer).DialContext(ctx, network, addr)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(func() { closeTransport(tr) })
	get := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.addr+"/hello", nil)
			resp, err := tr.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			done <- err
		}()
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := get(ctx)
	<-dialling
	stays := get(t.Context())
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(release)
	require.NoError(t, <-stays)
}

// A connection that the http.Transport has opened and that breaks before it is
// used costs no more than the request that was to use it.
func TestConnectionThatBreaksAtOnceIsReplaced(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	config, _ := wstest.Certificates()
	config = config.Clone()
	config.NextProtos = []string{nextProto}
	broken, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	defer broken.Close()
	go func() { // ends with the first connection
		if nc, err := broken.Accept(); err == nil {
			nc.(*tls.Conn).Handshake()
			nc.Close()
		}
	}()
	var dials atomic.Int32 // the transport may dial twice at once
	t1, _ := overTransport(t, func(t1 *http.Transport) {
		t1.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			addr := s.addr
			if dials.Add(1) == 1 {
				addr = broken.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	get := func() error {
		resp, err := t1.RoundTrip(func() *http.Request { r, _ := http.NewRequest("GET", s.url("/hello"), nil); return r }())
		if err == nil {
			assert.Equal(t, "<p>hello", readAll(t, resp.Body))
		}
		return err
	}
	get() // an error, unless it was safe to send it again
	require.NoError(t, get())
	assert.Greater(t, dials.Load(), int32(1), "on another connection")
}
