package h2connect

import (
	"context"
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
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) { strictRequestsWait(t, secure) })
	}
}

func strictRequestsWait(t *testing.T, secure bool) {
	release := make(chan struct{})
	var running, most atomic.Int32
	s := start(t, secure, &Server{Limits: Limits{ConcurrentStreams: 2}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if r.URL.Path == "/wait" {
			<-release
		}
	}))
	var dials atomic.Int32
	t1, _ := overTransport(t, func(t1 *http.Transport) {
		t1.HTTP2 = &http.HTTP2Config{StrictMaxConcurrentRequests: true}
		t1.Protocols = new(http.Protocols)
		t1.Protocols.SetHTTP2(secure)
		t1.Protocols.SetUnencryptedHTTP2(!secure)
		t1.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	c := &http.Client{Transport: t1}
	at := s.url("")
	if !secure {
		at = "http://" + s.addr
	}
	resp, err := c.Get(at + "/")
	require.NoError(t, err)
	readAll(t, resp.Body)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			resp, err := c.Get(at + "/wait")
			if assert.NoError(t, err) {
				readAll(t, resp.Body)
			}
		})
	}
	require.Eventually(t, func() bool { return running.Load() == 2 }, 5*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", at+"/wait", nil)
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

// A client has asked for what comes: its windows are not a server's.
func TestWindowsOfAClient(t *testing.T) {
	l := new(Transport).limits()
	assert.Equal(t, [2]int{1 << 20, 4 << 20}, [2]int{l.StreamWindow, l.ConnWindow})
	tr := &Transport{Limits: Limits{StreamWindow: 100 << 10, ConnWindow: 200 << 10}}
	assert.Equal(t, [2]int{100 << 10, 200 << 10}, [2]int{tr.limits().StreamWindow, tr.limits().ConnWindow})
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
		tr := testTransport(t)
		closeIdle := tr.CloseIdleConnections
		if over {
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

// The zone of an IPv6 literal says to this machine where to dial, and stays here (RFC
// 6874 §4).
func TestZoneOfAnIPv6Literal(t *testing.T) {
	hosts := make(chan string, 2)
	s := startCleartext(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts <- r.Host
		if r.Method == http.MethodConnect {
			c, err := Accept(w, r, nil)
			if assert.NoError(t, err) {
				c.Read(r.Context())
			}
		}
	}))
	dialled := make(chan string, 2)
	tr := &Transport{AllowHTTP: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled <- addr
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}}
	t.Cleanup(func() { closeTransport(tr) })
	c, _, err := tr.Dial(testContext(t), "ws://[fe80::1%25Lo]:81/", nil)
	require.NoError(t, err)
	defer c.CloseNow()
	assert.Equal(t, "[fe80::1%Lo]:81", <-dialled)
	assert.Equal(t, "[fe80::1]:81", <-hosts)
	resp, err := (&http.Client{Transport: tr}).Get("http://[fe80::1%25Lo]:81/")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, "[fe80::1]:81", <-hosts)
	assert.Empty(t, dialled, "one connection")
	assert.Equal(t, "fe80::1", clientTLS(nil, "fe80::1%Lo").ServerName, "what a certificate is for")
}

// refusers returns an http.Transport whose connections, without TLS, end at servers
// that refuse so many requests each. They say 100 (Continue) to the others, and 200
// when they have the content; dials counts them.
func refusers(t *testing.T, refusals int) (t1 *http.Transport, t2 *Transport, dials, requests *atomic.Int32) {
	dials, requests = new(atomic.Int32), new(atomic.Int32)
	t1, t2 = overTransport(t, func(t1 *http.Transport) {
		t1.Protocols = new(http.Protocols)
		t1.Protocols.SetUnencryptedHTTP2(true)
		t1.ExpectContinueTimeout = time.Minute
		t1.DialContext = func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			client, server := wstest.Pipe(wstest.PipeOptions{})
			p := newPeer(t, server.NetConn())
			go func() {
				io.ReadFull(p.nc, make([]byte, len(http2.ClientPreface)))
				p.fr.WriteSettings()
				left := refusals
				for f, err := p.fr.ReadFrame(); err == nil; f, err = p.fr.ReadFrame() {
					switch f := f.(type) {
					case *http2.SettingsFrame:
						if !f.IsAck() {
							p.fr.WriteSettingsAck()
						}
					case *http2.HeadersFrame:
						requests.Add(1)
						if left--; left >= 0 {
							p.fr.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
							continue
						}
						if !f.StreamEnded() {
							p.headers(f.StreamID, false, ":status", "100")
							continue
						}
						p.headers(f.StreamID, true, ":status", "200")
					case *http2.DataFrame:
						if f.StreamEnded() {
							p.headers(f.StreamID, true, ":status", "200")
						}
					}
				}
			}()
			return client.NetConn(), nil
		}
	})
	return t1, t2, dials, requests
}

// limitedDial connects to servers that allow so many streams, one number after the
// other: the first server those of the first list, and so on, and all others those of
// the last one. What is sent to them arrives late, and the first number is said then,
// each other one a second later. Streams beyond it are refused, the others are answered
// after so long.
func limitedDial(t *testing.T, late, answer time.Duration, servers ...[]uint32) (dial dialFunc, dials *atomic.Int32) {
	dials = new(atomic.Int32)
	return func(context.Context, string, string) (net.Conn, error) {
		dial := int(dials.Add(1))
		if dial > 300 {
			return nil, errors.New("too many connections")
		}
		limits := servers[min(dial, len(servers))-1]
		client, server := wstest.Pipe(wstest.PipeOptions{})
		p := newPeer(t, server.NetConn())
		var mu sync.Mutex
		var most, open uint32
		allow := func(n uint32) {
			mu.Lock()
			defer mu.Unlock()
			most = n
			p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n})
		}
		go func() {
			io.ReadFull(p.nc, make([]byte, len(http2.ClientPreface)))
			time.Sleep(late)
			for i, n := range limits {
				if i == 0 {
					allow(n)
				} else {
					time.AfterFunc(time.Duration(i)*time.Second, func() { allow(n) })
				}
			}
			for f, err := p.fr.ReadFrame(); err == nil; f, err = p.fr.ReadFrame() {
				id := f.Header().StreamID
				mu.Lock()
				if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
					p.fr.WriteSettingsAck()
				} else if id == 0 {
				} else if open >= most {
					p.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
				} else {
					open++
					time.AfterFunc(answer, func() {
						mu.Lock()
						defer mu.Unlock()
						open--
						p.headers(id, true, ":status", "200")
					})
				}
				mu.Unlock()
			}
		}()
		return client.NetConn(), nil
	}, dials
}

// limited has requests start together, or one a second after the other, at servers of
// limitedDial's, by one of both ways to use the client, and returns how many connections
// it took and how long until all had been answered.
func limited(t *testing.T, over bool, requests int, apart, late, answer time.Duration, servers ...[]uint32) (dials int, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		dial, dialled := limitedDial(t, late, answer, servers...)
		tr := &Transport{AllowHTTP: true, DialContext: dial}
		rt := http.RoundTripper(tr)
		if over {
			rt, tr = overTransport(t, func(t1 *http.Transport) {
				t1.Protocols = new(http.Protocols)
				t1.Protocols.SetUnencryptedHTTP2(true)
				t1.DialContext = dial
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		var all sync.WaitGroup
		for range requests {
			all.Go(func() {
				resp, err := rt.RoundTrip(getRequest(ctx))
				if assert.NoError(t, err, "over an http.Transport: %v", over) {
					resp.Body.Close()
				}
			})
			time.Sleep(apart)
		}
		all.Wait()
		dials, took = int(dialled.Load()), time.Since(begun)
		closeTransport(tr)
	})
	return dials, took
}

// Requests that were too many for a server that had not said how many it allows go
// where that is known.
func TestRequestsThatStartTogetherAreNotTooMany(t *testing.T) {
	for _, over := range []bool{false, true} {
		limited(t, over, 30, 0, 500*time.Millisecond, time.Second, []uint32{1})
	}
}

// A server that allows no streams for now is waited for: each further connection would
// allow none either. An http.Transport opens one for each request that finds none yet.
func TestServerThatAllowsNoStreamsForNow(t *testing.T) {
	const requests = 5
	for _, over := range []bool{false, true} {
		dials, _ := limited(t, over, requests, 0, 0, time.Second, []uint32{0, 0, 0, 10})
		assert.LessOrEqual(t, dials, requests)
	}
}

// Who has had to wait goes where there is room, or is to be.
func TestRequestsDoNotWaitForOneConnection(t *testing.T) {
	const late, answer = 100 * time.Millisecond, 10 * time.Second
	for name, c := range map[string]struct {
		requests int
		apart    time.Duration
		servers  [][]uint32
		took     time.Duration // less than that and half an answer
	}{
		"a limit that was not known":              {12, 0, [][]uint32{{1}}, answer},
		"no streams, and then too few":            {3, 0, [][]uint32{{0, 0, 1}, {10}}, answer},
		"no streams on the second connection":     {2, time.Second, [][]uint32{{1}, {0}}, 2 * answer},
		"no streams on the second, but for later": {3, time.Second, [][]uint32{{1}, {0, 0, 10}}, answer},
	} {
		t.Run(name, func(t *testing.T) {
			for _, over := range []bool{false, true} {
				dials, took := limited(t, over, c.requests, c.apart, late, answer, c.servers...)
				assert.Less(t, took, c.took+answer/2, "over an http.Transport: %v", over)
				if !over {
					assert.LessOrEqual(t, dials, c.requests)
				}
			}
		})
	}
}

// http.Transport would go on for ever.
func TestRetriesOfTheHTTPTransportHaveALimit(t *testing.T) {
	t1, _, dials, requests := refusers(t, 1<<30)
	c := &http.Client{Transport: t1}
	for i := range int32(2) { // the second one on a connection that is there
		_, err := c.Get("http://localhost/")
		require.ErrorContains(t, err, "REFUSED_STREAM")
		assert.EqualValues(t, 1, dials.Load())
		assert.Equal(t, (i+1)*maxTries, requests.Load())
	}
}

// What is sent again is the whole content, and nobody uses that of the first try any
// more.
func TestContentOfARequestThatIsSentAgain(t *testing.T) {
	for range 20 {
		t1, _, _, requests := refusers(t, 1)
		var bodies []*watchedBody
		body := func() (io.ReadCloser, error) {
			for _, b := range bodies {
				assert.True(t, b.closed.Load())
			}
			b := &watchedBody{Reader: strings.NewReader("content")}
			bodies = append(bodies, b)
			return b, nil
		}
		first, _ := body()
		req, _ := http.NewRequestWithContext(testContext(t), "POST", "http://localhost/", first)
		req.GetBody = body
		req.Header.Set("Expect", "100-continue")
		resp, err := (&http.Client{Transport: t1}).Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		assert.EqualValues(t, 2, requests.Load())
	}
}

func TestHTTPTransportOverOneThatIsClosed(t *testing.T) {
	t1, t2, dials, _ := refusers(t, 0)
	c := &http.Client{Transport: t1}
	for range 2 {
		resp, err := c.Get("http://localhost/")
		require.NoError(t, err)
		resp.Body.Close()
	}
	require.NoError(t, t2.Close())
	req, _ := http.NewRequestWithContext(testContext(t), "GET", "http://localhost/", nil)
	_, err := c.Do(req)
	require.ErrorIs(t, err, net.ErrClosed)
	assert.LessOrEqual(t, dials.Load(), int32(2))
}

func TestHostsInCapitalsShareConnections(t *testing.T) {
	t1, t2, dials, _ := refusers(t, 0)
	t2.AllowHTTP = true
	resp, err := (&http.Client{Transport: t1}).Get("http://LocalHost/")
	require.NoError(t, err)
	resp.Body.Close()
	resp, err = t2.RoundTrip(getRequest(testContext(t)))
	require.NoError(t, err)
	resp.Body.Close()
	assert.EqualValues(t, 1, dials.Load())
}
