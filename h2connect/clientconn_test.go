package h2connect

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// request starts a round trip and returns where its result will be.
func request(cc *ClientConn, req *http.Request) <-chan error {
	done := make(chan error, 1)
	go func() {
		resp, err := cc.RoundTrip(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		done <- err
	}()
	return done
}

func getRequest(ctx context.Context) *http.Request {
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://localhost/", nil)
	return req
}

func TestClientWaitsForAFreeStream(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	p.settle()
	first := request(cc, getRequest(t.Context()))
	p.wantHeaders(1, true, "the first request")
	second := request(cc, getRequest(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	third := request(cc, getRequest(ctx))
	cancel()
	require.ErrorIs(t, <-third, context.Canceled, "the wait is bounded by the context")
	assert.False(t, cc.CanTakeNewRequest())
	p.wantAlive("nothing was sent beyond the limit")
	p.headers(1, true, ":status", "200")
	require.NoError(t, <-first)
	p.wantHeaders(3, true, "the second request")
	p.headers(3, true, ":status", "204")
	require.NoError(t, <-second)
}

// What was promised while the server allowed more waits when it allows less.
func TestClientObeysALimitThatIsLowered(t *testing.T) {
	for name, call := range map[string]func(*ClientConn, context.Context) error{
		"a request": func(cc *ClientConn, ctx context.Context) error {
			return <-request(cc, getRequest(ctx))
		},
		"a claim": func(cc *ClientConn, ctx context.Context) error {
			claimed := &claimedConn{ClientConn: cc}
			require.NoError(t, claimed.Reserve())
			resp, err := claimed.RoundTrip(getRequest(ctx))
			if err == nil {
				resp.Body.Close()
			}
			return err
		},
		"a socket": func(cc *ClientConn, ctx context.Context) error {
			_, resp, err := cc.Dial(ctx, "ws://localhost/", nil)
			if resp != nil && resp.StatusCode == http.StatusNoContent {
				return nil
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, cc := serverOf(t, Limits{})
				p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2}, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
				p.settle()
				first := request(cc, getRequest(t.Context()))
				p.wantHeaders(1, true, "the first request")
				promised, lowered := make(chan struct{}), make(chan struct{})
				wait := sync.OnceFunc(func() {
					close(promised)
					<-lowered
				})
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { wait() }})
				second := make(chan error, 1)
				go func() { second <- call(cc, ctx) }() // ends with the answer
				<-promised
				p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
				f, ok := p.next("acknowledged").(*http2.SettingsFrame)
				require.True(t, ok && f.IsAck())
				close(lowered)
				synctest.Wait()
				p.wantAlive("nothing is sent beyond the limit")
				p.headers(1, true, ":status", "200")
				require.NoError(t, <-first)
				p.wantHeaders(3, name != "a socket", "there is a free stream")
				p.headers(3, true, ":status", "204")
				require.NoError(t, <-second)
				assert.Zero(t, cc.reserved)
				assert.Zero(t, cc.sockets)
			})
		})
	}
}

func TestClientCancelsWithReset(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	ctx, cancel := context.WithCancel(t.Context())
	done := request(cc, getRequest(ctx))
	p.wantHeaders(1, true, "the request")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	p.wantReset(1, http2.ErrCodeCancel, "P21")

	resp := make(chan *http.Response, 1)
	go func() {
		r, err := cc.RoundTrip(getRequest(t.Context()))
		assert.NoError(t, err)
		resp <- r
	}()
	p.wantHeaders(3, true, "the request")
	p.headers(3, false, ":status", "200")
	(<-resp).Body.Close()
	p.wantReset(3, http2.ErrCodeCancel, "the content is not wanted")
	p.fr.WriteData(3, true, []byte("late"))
	p.wantAlive("what crosses the reset is ignored")
}

func TestRefusedStreamMayBeSentAgain(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	done := request(cc, getRequest(t.Context()))
	p.wantHeaders(1, true, "the request")
	p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream)
	err := <-done
	assert.True(t, retryable(err), "P28")
	done = request(cc, getRequest(t.Context()))
	p.wantHeaders(3, true, "the request")
	p.fr.WriteRSTStream(3, http2.ErrCodeInternal)
	err = <-done
	assert.False(t, retryable(err), "it may have been processed")
	var se *StreamError
	require.ErrorAs(t, err, &se)
	assert.Equal(t, http2.ErrCodeInternal, se.Code)
	assert.True(t, se.Remote)
}

func TestMalformedResponses(t *testing.T) {
	for name, tt := range map[string]struct {
		fields []string
		data   string
		trail  []string
	}{
		"no status":                  {fields: []string{"a", "b"}},
		"status of two digits":       {fields: []string{":status", "20"}},
		"request field":              {fields: []string{":status", "200", ":path", "/"}},
		"101":                        {fields: []string{":status", "101"}},
		"connection-specific":        {fields: []string{":status", "200", "connection", "close"}},
		"upper case":                 {fields: []string{":status", "200", "Upper", "x"}},
		"longer than content-length": {fields: []string{":status", "200", "content-length", "2"}, data: "123"},
		"pseudo-header in a trailer": {fields: []string{":status", "200"}, data: "1", trail: []string{":status", "200"}},
	} {
		p, cc := serverOf(t, Limits{})
		p.fr.WriteSettings()
		p.settle()
		done := request(cc, getRequest(t.Context()))
		p.wantHeaders(1, true, name)
		p.headers(1, false, tt.fields...)
		if tt.data != "" {
			p.fr.WriteData(1, false, []byte(tt.data))
		}
		if tt.trail != nil {
			p.headers(1, true, tt.trail...)
		}
		p.wantReset(1, http2.ErrCodeProtocol, name)
		require.Error(t, <-done, name)
		p.hangUp()
	}
}

func TestServerMayNotOpenStreams(t *testing.T) {
	p, _ := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	p.headers(2, true, ":status", "200")
	p.wantGoAway(http2.ErrCodeProtocol, "H2-22")
}

func TestPingMakesTheRoundTrip(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	done := make(chan error, 1)
	go func() { done <- cc.Ping(t.Context()) }()
	ping, ok := p.next("PING").(*http2.PingFrame)
	require.True(t, ok)
	p.fr.WritePing(true, [8]byte{1})
	select {
	case <-done:
		t.Error("another's answer is none")
	default:
	}
	p.fr.WritePing(true, ping.Data)
	require.NoError(t, <-done)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, cc.Ping(ctx), context.Canceled)
}

func TestClientShutdownWaitsForItsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{})
		p.fr.WriteSettings()
		p.settle()
		done := request(cc, getRequest(context.Background()))
		p.wantHeaders(1, true, "the request")
		down := make(chan error, 1)
		go func() { down <- cc.Shutdown(context.Background()) }()
		g, ok := p.next("GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.Equal(t, http2.ErrCodeNo, g.ErrCode)
		require.Error(t, <-request(cc, getRequest(context.Background())), "no new streams")
		p.headers(1, true, ":status", "200")
		require.NoError(t, <-done)
		require.NoError(t, <-down)
		p.hangUp()
	})
}

// A connection on which there is nothing says goodbye too: "Endpoints SHOULD always send
// a GOAWAY frame before closing a connection" (RFC 9113 §6.8).
func TestClientShutdownWithoutStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{Linger: time.Minute})
		p.fr.WriteSettings()
		p.settle()
		begin := time.Now()
		down := make(chan error, 1)
		go func() { down <- cc.Shutdown(context.Background()) }()
		g, ok := p.next("GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.Equal(t, http2.ErrCodeNo, g.ErrCode)
		require.NoError(t, <-down)
		assert.Equal(t, time.Minute, time.Since(begin))
		p.hangUp()
	})
}

func TestServerThatNeverSendsSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{})
		begin := time.Now()
		_, err := cc.WaitForSettings(context.Background())
		require.Error(t, err)
		assert.Equal(t, 10*time.Second, time.Since(begin))
		p.hangUp()
	})
}

func TestTransportRetriesOnAnotherConnection(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	tr := testTransport(t)
	client := &http.Client{Transport: tr}
	resp, err := client.Get(s.url("/hello"))
	require.NoError(t, err)
	readAll(t, resp.Body)
	for range 20 {
		tr.CloseIdleConnections()
		resp, err := client.Post(s.url("/echo"), "x/y", strings.NewReader("content"))
		require.NoError(t, err)
		assert.Equal(t, "content", readAll(t, resp.Body))
	}
}

// Whoever answers a request that waits to be asked for its content has either refused
// it or reads it: in no case does the stream stay.
func TestAnswerInPlaceOf100Continue(t *testing.T) {
	for name, status := range map[string]string{"refusal": "417", "success": "200"} {
		synctest.Test(t, func(t *testing.T) {
			p, cc := serverOf(t, Limits{})
			p.fr.WriteSettings()
			p.settle()
			req, _ := http.NewRequest("POST", "http://localhost/", strings.NewReader("content"))
			req.Header.Set("Expect", "100-continue")
			done := request(cc, req)
			p.wantHeaders(1, false, name)
			p.headers(1, true, ":status", status)
			require.NoError(t, <-done, name)
			if status == "200" {
				content := ""
				for ended := false; !ended; {
					d, ok := p.next(name).(*http2.DataFrame)
					require.True(t, ok)
					content, ended = content+string(d.Data()), d.StreamEnded()
				}
				assert.Equal(t, "content", content, name)
			} else {
				p.wantReset(1, http2.ErrCodeCancel, name)
			}
			synctest.Wait()
			cc.c.mu.Lock()
			assert.Zero(t, cc.c.slots, name)
			cc.c.mu.Unlock()
			p.hangUp()
		})
	}
}

// A promised stream that is not opened is another's.
func TestStreamThatIsNotOpenedIsFree(t *testing.T) {
	for name, fail := range map[string]func(cc *claimedConn, t *testing.T){
		"header too large": func(cc *claimedConn, t *testing.T) {
			req := getRequest(t.Context())
			req.Header.Set("Large", strings.Repeat("x", 1000))
			_, err := cc.RoundTrip(req)
			require.ErrorContains(t, err, "larger than the peer allows")
		},
		"context": func(cc *claimedConn, t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(io.ErrNoProgress)
			_, err := cc.RoundTrip(getRequest(ctx))
			require.ErrorIs(t, err, io.ErrNoProgress)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, cc := serverOf(t, Limits{})
			p.fr.WriteSettings(
				http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 500})
			p.settle()
			claimed := &claimedConn{ClientConn: cc}
			require.NoError(t, claimed.Reserve())
			waits := request(cc, getRequest(t.Context()))
			synctest.Wait()
			fail(claimed, t)
			p.wantHeaders(1, true, name+": the one that has waited")
			p.headers(1, true, ":status", "200")
			require.NoError(t, <-waits, name)

			require.NoError(t, claimed.Reserve())
			cc.closeIfIdle()
			fail(claimed, t)
			p.wantGoAway(http2.ErrCodeNo, name)
			p.hangUp()
		})
	}
}

func TestReleasedStreamLetsAnIdleConnectionClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{Idle: time.Hour})
		p.fr.WriteSettings()
		p.settle()
		claimed := &claimedConn{ClientConn: cc}
		require.NoError(t, claimed.Reserve())
		cc.closeIfIdle()
		claimed.Release()
		begin := time.Now()
		p.wantGoAway(http2.ErrCodeNo, "nobody uses it")
		assert.Zero(t, time.Since(begin))
		p.hangUp()
	})
}

func TestRequestWhoseContextHasEndedIsNotSent(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := &watchedBody{Reader: strings.NewReader("content")}
	req, _ := http.NewRequestWithContext(ctx, "POST", "http://localhost/", body)
	_, err := cc.RoundTrip(req)
	require.ErrorIs(t, err, context.Canceled)
	assert.True(t, body.closed.Load())
	p.wantAlive("nothing is sent")
}

// A response is its caller's: what that makes of the status is not what the server has
// said of the request.
func TestStatusThatTheCallerChanges(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	content, w := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://localhost/", content)
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		resp, err := cc.RoundTrip(req)
		if assert.NoError(t, err) {
			resp.StatusCode = http.StatusNotFound
		}
	}()
	p.wantHeaders(1, false, "the request")
	p.headers(1, false, ":status", "200")
	<-changed
	p.fr.WriteData(1, true, nil)
	p.wantAlive("the stream is half-closed")
	go func() {
		io.WriteString(w, "content")
		w.Close()
	}()
	p.wantContent(1, "content", "the rest of the request")
}

// "A client MUST ignore any Content-Length […] header fields received in a successful
// response to CONNECT" (RFC 9110 §9.3.6).
func TestContentLengthOfATunnel(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	req := getRequest(t.Context())
	req.Method = http.MethodConnect
	got := make(chan string, 1)
	go func() {
		resp, err := cc.RoundTrip(req)
		if assert.NoError(t, err) {
			assert.EqualValues(t, -1, resp.ContentLength)
			content, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			got <- string(content)
		}
		close(got)
	}()
	p.wantHeaders(1, true, "the request")
	p.headers(1, false, ":status", "200", "content-length", "0")
	p.fr.WriteData(1, true, []byte("tunnelled"))
	assert.Equal(t, "tunnelled", <-got)
}

// Closing a body ends a Read of it that waits, also where it is unpacked.
func TestCloseOfAPackedBodyThatIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{})
		cc.t = &Transport{}
		p.fr.WriteSettings()
		p.settle()
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		io.WriteString(z, "hello")
		z.Flush()
		result := make(chan error, 1)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			resp, err := cc.RoundTrip(getRequest(t.Context()))
			if !assert.NoError(t, err) || !assert.True(t, resp.Uncompressed) {
				return
			}
			go func() {
				_, err := io.ReadAll(resp.Body)
				result <- err
			}()
			time.Sleep(time.Second)
			resp.Body.Close()
		}()
		p.wantHeaders(1, true, "the request")
		p.headers(1, false, ":status", "200", "content-encoding", "gzip")
		p.fr.WriteData(1, false, packed.Bytes())
		p.wantReset(1, http2.ErrCodeCancel, "the content is not wanted")
		require.ErrorIs(t, <-result, errBodyClosed)
		<-closed
		p.hangUp()
	})
}

// A watchedBody knows whether it has been closed, and cannot be read then.
type watchedBody struct {
	io.Reader
	closed atomic.Bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.Reader.Read(p)
}

func (b *watchedBody) Close() error {
	b.closed.Store(true)
	return nil
}
