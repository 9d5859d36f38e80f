package negotiate_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/altsvc"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A scriptedHTTP3 is an HTTP3Dialer that does what it is told, one after the other.
// It is connected at once if it has no connect; a Dialer with a HeadStart of -1 does
// not let the machine's load decide whether that was before TCP.
type scriptedHTTP3 struct {
	connect func(ctx context.Context) (extendedConnect bool, err error)
	answers []answer

	headStart time.Duration // of the last request
}

// An answer is that to a socket or to an ordinary request.
type answer struct {
	resp   *http.Response
	err    error  // a socket's, and a request's without resp
	before func() // called first, if not nil
}

func (s *scriptedHTTP3) next() answer {
	a := s.answers[0]
	s.answers = s.answers[1:]
	if a.before != nil {
		a.before()
	}
	return a
}

func (s *scriptedHTTP3) Dial(context.Context, string, *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	a := s.next()
	return nil, a.resp, a.err
}

func (s *scriptedHTTP3) RoundTrip(r *http.Request) (*http.Response, error) {
	s.headStart, _ = altsvc.HeadStart(r.Context())
	a := s.next()
	if a.resp == nil {
		return nil, a.err
	}
	return a.resp, nil
}

func (s *scriptedHTTP3) Connect(ctx context.Context, _ string) (bool, error) {
	if s.connect == nil {
		return true, nil
	}
	return s.connect(ctx)
}

func (s *scriptedHTTP3) Connected(string) bool { return false }
func (s *scriptedHTTP3) CloseIdleConnections() {}

// refusal is a server's.
func refusal(status int, h http.Header) answer {
	return answer{
		resp: &http.Response{StatusCode: status, ProtoMajor: 3, Header: h, Body: http.NoBody},
		err:  &websocket.HandshakeError{Status: status, Remote: true, Header: h},
	}
}

// notProcessed is what h3connect says of a stream that was rejected.
func notProcessed() answer {
	reset := &websocket.HandshakeError{Reason: "the stream was reset", Remote: true}
	return answer{err: errors.Join(reset, websocket.ErrNotSupported)}
}

// announcing serves h on TCP, and says that it is also to be had over HTTP/3.
func announcing(t *testing.T, h http.Handler) *server {
	return start(t, &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", `h3="alt.example:7"`)
		h.ServeHTTP(w, r)
	})}, true)
}

// "An Alt-Svc header field in a 421 (Misdirected Request) response MUST be ignored"
// (RFC 7838 §6): the origin is asked all the same, and what was tried is known.
func TestAltSvcOfAMisdirectedRequestIsIgnored(t *testing.T) {
	wstest.NoLeaks(t)
	for _, value := range []string{"clear", `h3="other.example:7"`} {
		s := announcing(t, handler(t))
		misdirected := refusal(http.StatusMisdirectedRequest, http.Header{"Alt-Svc": {value}})
		for _, ask := range []func(d *negotiate.Dialer){
			func(d *negotiate.Dialer) {
				c, resp, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
				require.NoError(t, err)
				c.CloseNow()
				if attempts := negotiate.Attempts(resp); assert.Len(t, attempts, 2) {
					assert.Equal(t, "alt.example:7", attempts[0].Addr)
				}
			},
			func(d *negotiate.Dialer) {
				assert.Equal(t, "HTTP/2.0 ", get(t, d, "GET", "https://"+s.addr+"/", ""))
			},
		} {
			h3 := &scriptedHTTP3{answers: []answer{notProcessed(), misdirected}}
			d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, HTTP3: h3, HeadStart: -1, Policy: negotiate.Prefer(websocket.HTTP3)}
			c, _, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil) // the alternative is announced
			require.NoError(t, err)
			c.CloseNow()
			ask(d)
			assert.Empty(t, h3.answers)
			require.NoError(t, d.Close())
		}
	}
}

// Sockets that are misdirected at the same time all ask the origin, though all but
// one find the alternative forgotten.
func TestMisdirectedAtTheSameTime(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/announce" {
			w.Header().Set("Alt-Svc", `h3="alt.example:7"`)
		}
		accepting(t, nil)(w, r)
	})}, true)
	h3 := new(scriptedHTTP3)
	d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, HTTP3: h3, HeadStart: -1, Policy: negotiate.Prefer(websocket.HTTP3)}
	defer d.Close()
	misdirected := refusal(http.StatusMisdirectedRequest, http.Header{})
	meanwhile := misdirected
	meanwhile.before = func() { dialOnce(t, d, "wss://"+s.addr+"/ws", nil) }
	h3.answers = []answer{notProcessed(), meanwhile, misdirected}
	dialOnce(t, d, "wss://"+s.addr+"/announce", nil)
	dialOnce(t, d, "wss://"+s.addr+"/ws", nil)
	assert.Empty(t, h3.answers)
}

// A request that HTTP/3 has not had processed goes by TCP, with its content, and HTTP/3
// knows how long it is waited for.
func TestRequestBehindARejectedStream(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{Handler: handler(t)}, true)
	h3 := &scriptedHTTP3{answers: []answer{notProcessed()}}
	d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, HTTP3: h3, HeadStart: time.Hour, Policy: negotiate.Prefer(websocket.HTTP3)}
	defer d.Close()
	assert.Equal(t, "HTTP/2.0 hello", get(t, d, "POST", "https://"+s.addr+"/", "hello"))
	assert.Empty(t, h3.answers)
	assert.Equal(t, time.Hour, h3.headStart)
}

// A refusal is returned with its response, also where another bootstrap would have
// been tried if there were one.
func TestResponseOfAMisdirectedSocket(t *testing.T) {
	wstest.NoLeaks(t)
	announced := refusal(http.StatusForbidden, http.Header{"Alt-Svc": {`h3="alt.example:7"`}})
	h3 := &scriptedHTTP3{answers: []answer{announced, refusal(http.StatusMisdirectedRequest, http.Header{})}}
	d := &negotiate.Dialer{HTTP3: h3, Policy: negotiate.Only(websocket.HTTP3)}
	defer d.Close()
	for _, status := range []int{http.StatusForbidden, http.StatusMisdirectedRequest} {
		_, resp, err := d.Dial(t.Context(), "wss://server.example/ws", nil)
		require.Error(t, err)
		if assert.NotNil(t, resp) {
			assert.Equal(t, status, resp.StatusCode)
		}
	}
}

// What counts is how the last attempt ended: a redirect is followed after a
// bootstrap whose stream was rejected.
func TestRedirectBehindARejectedStream(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/here" {
			w.Header().Set("Location", "/there")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		accepting(t, nil)(w, r)
	})}, true)
	h3 := &scriptedHTTP3{answers: []answer{notProcessed(), notProcessed()}}
	d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, HTTP3: h3, HeadStart: -1, Policy: negotiate.Prefer(websocket.HTTP3), Redirects: 1}
	defer d.Close()
	dialOnce(t, d, "wss://"+s.addr+"/here", nil)
}

// So are a refusal for good, and how long a server wants its clients to wait.
func TestReconnectorBehindARejectedStream(t *testing.T) {
	wstest.NoLeaks(t)
	status := http.StatusServiceUnavailable
	s := start(t, &negotiate.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1000")
		w.WriteHeader(status)
	})}, true)
	for _, tt := range []struct {
		status int
		again  bool
	}{{http.StatusServiceUnavailable, true}, {http.StatusForbidden, false}} {
		status = tt.status
		h3 := &scriptedHTTP3{answers: []answer{notProcessed()}}
		d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP2Limits: hasty, HTTP3: h3, HeadStart: -1, Policy: negotiate.Prefer(websocket.HTTP3)}
		ctx, cancel := context.WithCancel(t.Context())
		r := &negotiate.Reconnector{URL: "wss://" + s.addr + "/", Dialer: d, After: func(_ int, err error, wait time.Duration) {
			cancel()
			assert.Error(t, err)
			assert.Equal(t, tt.again, wait >= 1000*time.Second, "%d: %v", tt.status, wait)
			assert.Equal(t, tt.again, wait > 0, "%d: %v", tt.status, wait)
		}}
		err := r.Run(ctx, func(context.Context, *websocket.Conn) error { t.Error("no socket"); return nil })
		require.Error(t, err)
		cancel()
		require.NoError(t, d.Close())
	}
}

// HTTP/3 that is connected when TCP has just won is given up as one that was
// slower: it is no attempt that has succeeded.
func TestHTTP3IsConnectedJustBehindTCP(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{}, true)
	h3 := &scriptedHTTP3{connect: func(ctx context.Context) (bool, error) {
		<-ctx.Done()
		return true, nil
	}}
	var fallbacks []negotiate.Fallback
	d := &negotiate.Dialer{
		TLSClientConfig: s.client, HTTP2Limits: hasty, HTTP3: h3, HeadStart: time.Nanosecond,
		Policy: negotiate.Prefer(websocket.HTTP3),
		Observer: &negotiate.Observer{FellBack: func(_ context.Context, f negotiate.Fallback) {
			fallbacks = append(fallbacks, f)
		}},
	}
	defer d.Close()
	c, resp, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
	require.NoError(t, err)
	defer c.CloseNow()
	attempts := negotiate.Attempts(resp)
	require.Len(t, attempts, 2)
	assert.EqualError(t, attempts[0].Err, "TCP was faster")
	require.Len(t, fallbacks, 1)
	assert.Equal(t, attempts[0].Err, fallbacks[0].Err)
}

// A Dial or a request whose time is up between two attempts says so, beside what failed.
func TestTimeIsUpBetweenTwoAttempts(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{Handler: handler(t)}, true)
	dial := func(ctx context.Context, d *negotiate.Dialer) error {
		_, _, err := d.Dial(ctx, "wss://"+s.addr+"/ws", nil)
		failed, ok := errors.AsType[*negotiate.DialError](err)
		require.True(t, ok)
		require.Len(t, failed.Attempts, 2)
		assert.ErrorIs(t, failed.Attempts[0].Err, websocket.ErrNotSupported)
		assert.Equal(t, negotiate.Attempt{Addr: s.addr, Duration: failed.Attempts[1].Duration, Err: context.Canceled}, failed.Attempts[1])
		return err
	}
	request := func(ctx context.Context, d *negotiate.Dialer) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.addr+"/", nil)
		require.NoError(t, err)
		_, err = d.RoundTrip(r)
		return err
	}
	for name, use := range map[string]func(context.Context, *negotiate.Dialer) error{"Dial": dial, "RoundTrip": request} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			h3 := &scriptedHTTP3{answers: []answer{{err: websocket.ErrNotSupported, before: cancel}}}
			d := &negotiate.Dialer{
				TLSClientConfig: s.client, HTTP3: h3, HeadStart: -1, Policy: negotiate.Prefer(websocket.HTTP3),
				Observer: &negotiate.Observer{FellBack: func(_ context.Context, f negotiate.Fallback) {
					assert.Fail(t, "there was no other bootstrap", "%+v", f)
				}},
			}
			defer d.Close()
			assert.ErrorIs(t, use(ctx, d), context.Canceled)
		})
	}
}
