package h2connect

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// with returns fields with the value of one replaced, or the field left out if
// value is "-".
func with(fields []string, name, value string) []string {
	var out []string
	for i := 0; i < len(fields); i += 2 {
		switch {
		case fields[i] != name:
			out = append(out, fields[i], fields[i+1])
		case value != "-":
			out = append(out, name, value)
		}
	}
	return out
}

// Each malformed request costs its stream and nothing else.
func TestXC01ToXC07MalformedRequests(t *testing.T) {
	cases := []struct {
		name   string
		fields []string
	}{
		{"XC-01 method other than CONNECT", with(connect(), ":method", "GET")},
		{"XC-02 no :scheme", with(connect(), ":scheme", "-")},
		{"XC-02 no :path", with(connect(), ":path", "-")},
		{"XC-02 no :authority", with(connect(), ":authority", "-")},
		{"XC-02 empty :scheme", with(connect(), ":scheme", "")},
		{"XC-02 empty :path", with(connect(), ":path", "")},
		{"XC-02 empty :authority", with(connect(), ":authority", "")},
		{"XC-03 :path is *", with(connect(), ":path", "*")},
		{"XC-03 :path without a slash", with(connect(), ":path", "ws")},
		{"XC-03 :path with a space", with(connect(), ":path", "/w s")},
		{"XC-03 :path with a fragment", with(connect(), ":path", "/ws#f")},
		{"XC-04 method not a token", with(get("/hello"), ":method", "GET /smug HTTP/1.1")},
		{"XC-05 host and :authority differ", connect("host", "elsewhere")},
		{"XC-05 duplicate :path", append(connect()[:10:10], ":path", "/other")},
		{"XC-05 duplicate :protocol", append([]string{":protocol", "websocket"}, connect()...)},
		{"XC-05 pseudo after regular", append([]string{"x", "y"}, connect()...)},
		{"XC-05 unknown pseudo", append([]string{":nonsense", "y"}, connect()...)},
		{"XC-06 empty :protocol", with(connect(), ":protocol", "")},
		{"P6 :protocol not a token", with(connect(), ":protocol", "web socket")},
		{"XC-07 content-length", connect("content-length", "0")},
		{"XC-07 transfer-encoding", connect("transfer-encoding", "chunked")},
		{"XC-07 expect", connect("expect", "100-continue")},
		{"XC-07 trailer", connect("trailer", "x")},
		{"P12 upgrade", connect("upgrade", "websocket")},
		{"P12 connection", connect("connection", "upgrade")},
	}
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/hello" {
			t.Error("a malformed request must not reach a handler")
		}
		ordinary().ServeHTTP(w, r)
	}))
	p.greet()
	id := uint32(1)
	for _, tt := range cases {
		p.headers(id, false, tt.fields...)
		p.wantReset(id, http2.ErrCodeProtocol, tt.name)
		p.served(id + 2)
		id += 4
	}
}

func TestXCRequestsThatAreAnswered(t *testing.T) {
	cases := []struct {
		name   string
		fields []string
		end    bool
		status string
	}{
		{"XC-03 another :scheme", with(connect(), ":scheme", "ftp"), false, "400"},
		{"XC-06 another protocol", with(connect(), ":protocol", "connect-udp"), false, "501"},
		{"XC-08 no version", with(connect(), "sec-websocket-version", "-"), false, "400"},
		{"XC-08 version 8", with(connect(), "sec-websocket-version", "8"), false, "400"},
		{"XC-10 another origin", connect("origin", "http://evil.example"), false, "403"},
		{"XC-10 two origins", connect("origin", "http://localhost", "origin", "http://localhost"), false, "400"},
		{"XC-11 END_STREAM on the request", connect(), true, "400"},
		{"XC-19 plain CONNECT", []string{":method", "CONNECT", ":authority", "localhost:80"}, false, "404"},
	}
	p := clientOf(t, nil, socketHandler())
	p.greet()
	id := uint32(1)
	for _, tt := range cases {
		p.headers(id, tt.end, tt.fields...)
		h := p.answer(id, tt.end, tt.name)
		assert.Equal(t, tt.status, h[":status"], tt.name)
		if strings.Contains(tt.name, "XC-08") {
			assert.Equal(t, "13", h["sec-websocket-version"], tt.name)
		}
		p.served(id + 2)
		id += 4
	}
}

// answer reads a refusal to its end. A request whose own end is open is asked to
// stop: P23, and RFC 9113 §8.1.
func (p *peer) answer(id uint32, ended bool, why string) map[string]string {
	p.t.Helper()
	f, ok := p.next(why).(*http2.HeadersFrame)
	require.True(p.t, ok, why)
	fields, err := p.dec.DecodeFull(f.HeaderBlockFragment())
	require.NoError(p.t, err)
	got := make(map[string]string)
	for _, f := range fields {
		got[f.Name] = f.Value
	}
	for over := f.StreamEnded(); !over; {
		d, ok := p.next(why).(*http2.DataFrame)
		require.True(p.t, ok, why)
		over = d.StreamEnded()
	}
	if !ended {
		p.wantReset(id, http2.ErrCodeNo, why)
	}
	return got
}

func TestXC06AndXC09AcceptedRequests(t *testing.T) {
	p := clientOf(t, nil, socketHandler())
	p.greet()
	for i, tt := range []struct {
		name   string
		fields []string
		accept string
	}{
		{"as browsers ask", connect("origin", "http://localhost"), ""},
		{"XC-03 :scheme https, from a proxy that ends TLS", with(connect(), ":scheme", "https"), ""},
		{"XC-06 in another case", with(connect(), ":protocol", "WebSocket"), ""},
		{"XC-09 with a key", connect("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"XC-09 with a malformed key", connect("sec-websocket-key", "short"), ""},
		{"P16 query", with(connect(), ":path", "/ws?a=b"), ""},
	} {
		id := uint32(2*i + 1)
		p.headers(id, false, tt.fields...)
		h := p.wantStatus(id, "200", false, tt.name)
		assert.Equal(t, tt.accept, h["sec-websocket-accept"], tt.name)
		assert.NotContains(t, h, "content-length", "P25")
		assert.NotContains(t, h, "transfer-encoding", "P25")
		require.NoError(t, p.fr.WriteRSTStream(id, http2.ErrCodeCancel))
	}
	p.wantAlive("the connection goes on")
}

func TestP5ProtocolWithoutTheSetting(t *testing.T) {
	p := clientOf(t, &Server{DisableExtendedConnect: true}, socketHandler())
	settings := p.greet()
	assert.NotContains(t, settings, http2.SettingEnableConnectProtocol)
	p.headers(1, false, connect()...)
	p.wantReset(1, http2.ErrCodeProtocol, "malformed where it was not advertised")
	p.served(3)
}

func TestXC12HeadersAfterAcceptance(t *testing.T) {
	failed := make(chan error, 1)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			ordinary().ServeHTTP(w, r)
			return
		}
		c, err := Accept(w, r, nil)
		if assert.NoError(t, err) {
			_, _, err = c.Read(r.Context())
			failed <- err
		}
	}))
	p.greet()
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "accepted")
	p.headers(1, true, "x-trailer", "value")
	p.wantReset(1, http2.ErrCodeProtocol, "P24: only DATA from here on")
	err := <-failed
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
	p.served(3)
}

func TestXC15DataBeforeTheAnswer(t *testing.T) {
	accept := make(chan bool)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" && <-accept {
			echo(w, r)
			return
		}
		ordinary().ServeHTTP(w, r)
	}))
	p.greet()
	ws := wstest.NewClient(nil)
	early := ws.Append(nil, wstest.Text("early"))

	p.headers(1, false, connect()...)
	require.NoError(t, p.fr.WriteData(1, false, early))
	p.wantAlive("nothing is answered for the handler")
	accept <- true
	p.wantStatus(1, "200", false, "accepted")
	p.wantData(1, "\x81\x05early", false, "held, not lost")

	p.headers(3, false, connect()...)
	require.NoError(t, p.fr.WriteData(3, false, make([]byte, 16000)))
	accept <- false
	h := p.answer(3, false, "refused")
	assert.Equal(t, "404", h[":status"])
	p.served(5)
	p.ours.mu.Lock()
	defer p.ours.mu.Unlock()
	assert.Zero(t, p.ours.buffered.Load(), "what was held is given back")
}

func TestXC21QueuedMessagesTravelTogether(t *testing.T) {
	const n = 1000
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				assert.NoError(t, c.Write(r.Context(), websocket.MessageBinary, []byte("10 bytes.."+"")))
			})
		}
		all.Wait()
		c.Read(r.Context())
	}))
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "accepted")
	// All that fits into the stream's small buffer waits there.
	require.Eventually(t, func() bool {
		p.ours.mu.Lock()
		defer p.ours.mu.Unlock()
		st := p.ours.streams[1]
		return st != nil && st.send.pending() >= n*12
	}, 5*time.Second, time.Millisecond)
	require.NoError(t, p.fr.WriteWindowUpdate(1, 1<<20))
	got, frames := 0, 0
	for got < n*12 {
		d, ok := p.next("the messages").(*http2.DataFrame)
		require.True(t, ok)
		require.NotEmpty(t, d.Data(), "no empty DATA")
		require.LessOrEqual(t, len(d.Data()), 16384)
		got += len(d.Data())
		frames++
	}
	assert.Equal(t, n*12, got)
	assert.LessOrEqual(t, frames, 3, "messages that wait together travel together")
}

func TestC13PanicOfTheHandlerEndsTheSocketWithoutReset(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := Accept(w, r, nil); assert.NoError(t, err) {
			panic(http.ErrAbortHandler)
		}
	}))
	p.greet()
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "accepted")
	p.wantData(1, "\x88\x02\x03\xf3", false, "status 1011")
	ws := wstest.NewClient(nil)
	require.NoError(t, p.fr.WriteData(1, false, ws.Append(nil, wstest.Close(1011, ""))))
	p.wantData(1, "", true, "both Close frames have passed")
	require.NoError(t, p.fr.WriteData(1, true, nil))
	p.wantAlive("no reset for a socket that ended in an orderly way")
}

func TestP20SocketEndsWithEndStream(t *testing.T) {
	p := clientOf(t, nil, socketHandler())
	p.greet()
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "accepted")
	ws := wstest.NewClient(nil)
	require.NoError(t, p.fr.WriteData(1, false, ws.Append(nil, wstest.Close(1000, ""))))
	f, ok := p.next("Close is answered").(*http2.DataFrame)
	require.True(t, ok)
	assert.Equal(t, "\x88\x02\x03\xe8", string(f.Data()))
	if !f.StreamEnded() {
		p.wantData(1, "", true, "C2: the server ends its direction first")
	}
	require.NoError(t, p.fr.WriteData(1, true, nil))
	p.wantAlive("closed without a reset")
}

// An end that waits for a write which then gives up, by its deadline, is sent.
func TestTheEndBehindAWriteThatGivesUpIsSent(t *testing.T) {
	for name, end := range map[string]func(st *stream) error{
		"Close": (*stream).Close, "CloseWrite": (*stream).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			accepted, written := make(chan *stream, 1), make(chan error, 1)
			p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				st, err := responseWriterOf(w).accept()
				if !assert.NoError(t, err) {
					return
				}
				accepted <- st
				n, err := st.Write(make([]byte, 2*sendBuffer))
				assert.Equal(t, 10, n)
				written <- err
				<-r.Context().Done()
			}))
			p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
			p.headers(1, false, connect()...)
			p.wantStatus(1, "200", false, "")
			p.wantData(1, strings.Repeat("\x00", 10), false, "what the window allows")
			st := <-accepted
			require.NoError(t, end(st))
			p.wantAlive("the end waits")
			require.NoError(t, st.SetWriteDeadline(longAgo))
			require.ErrorIs(t, <-written, os.ErrDeadlineExceeded)
			p.wantData(1, "", true, "the end")
			p.fr.WriteData(1, true, nil)
			p.wantAlive("over in order")
		})
	}
}

func TestXC17ClientWaitsForSettings(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	dialled := make(chan error, 1)
	go func() {
		_, _, err := cc.Dial(testContext(t), "ws://localhost/ws", nil)
		dialled <- err
	}()
	f, ok := p.next("SETTINGS").(*http2.SettingsFrame)
	require.True(t, ok && !f.IsAck())
	push, ok := f.Value(http2.SettingEnablePush)
	assert.True(t, ok && push == 0, "H2-22: push is never enabled")
	require.NoError(t, p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}))
	f, ok = p.next("the acknowledgement comes before any request").(*http2.SettingsFrame)
	require.True(t, ok && f.IsAck())
	h := p.wantHeaders(1, false, "P3: only now :protocol may be sent")
	assert.Equal(t, map[string]string{
		":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":authority": "localhost", ":path": "/ws",
		"sec-websocket-version": "13",
	}, h, "T12: exactly what RFC 8441 §5.1 shows; no key (P14)")
	p.headers(1, false, ":status", "200", "content-length", "0")
	require.NoError(t, <-dialled, "P25: content-length is ignored")
	p.wantAlive("open")
}

// opening answers the next dial with a header block and returns its error.
func opening(t *testing.T, end bool, fields ...string) (*peer, error) {
	p, cc := serverOf(t, Limits{})
	require.NoError(t, p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}))
	p.settle()
	dialled := make(chan error, 1)
	go func() {
		_, _, err := cc.Dial(testContext(t), "ws://localhost/ws", nil)
		dialled <- err
	}()
	p.wantHeaders(1, false, "the request")
	p.headers(1, end, fields...)
	if !end {
		p.fr.WriteData(1, true, []byte("why"))
	}
	return p, <-dialled
}

func TestXC18AnswersThatAcceptNothing(t *testing.T) {
	for status, end := range map[string]bool{"101": true, "200": true, "204": true, "302": true, "404": true} {
		p, err := opening(t, end, ":status", status)
		var he *websocket.HandshakeError
		require.ErrorAs(t, err, &he, "%s", status)
		p.wantReset(1, http2.ErrCodeCancel, status)
		p.wantAlive("the connection is kept")
	}
}

func TestXC16SettingTakenBack(t *testing.T) {
	p, _ := serverOf(t, Limits{})
	require.NoError(t, p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}))
	p.settle()
	require.NoError(t, p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 0}))
	p.wantGoAway(http2.ErrCodeProtocol, "P2")
}

func TestXC19PlainConnectReachesTheHandlerAsInHTTP1(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "localhost:80", r.RequestURI)
		assert.NotContains(t, r.Header, ":protocol")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}))
	p.greet()
	p.headers(1, true, ":method", "CONNECT", ":authority", "localhost:80")
	p.wantStatus(1, "405", true, "never a tunnel")
}

// A 2xx of a handler that has accepted nothing opens no tunnel: the refusal ends the
// stream at once, although the handler goes on.
func TestXC22UnacceptedSuccessIsRefused(t *testing.T) {
	release := make(chan struct{})
	caused := make(chan error, 1)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Page", "1")
		w.WriteHeader(http.StatusOK)
		_, err := w.Write([]byte("page"))
		assert.ErrorIs(t, err, http.ErrBodyNotAllowed)
		assert.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrBodyNotAllowed)
		_, err = Accept(w, r, nil)
		assert.Error(t, err, "it is too late")
		<-r.Context().Done()
		caused <- context.Cause(r.Context())
		<-release
	}))
	p.greet()
	p.headers(1, false, connect()...)
	h := p.wantHeaders(1, false, "the refusal")
	delete(h, "date")
	assert.Equal(t, map[string]string{
		":status": "501", "content-type": "text/plain; charset=utf-8", "content-length": "52", "x-content-type-options": "nosniff",
	}, h)
	p.wantData(1, "501 Not Implemented: nothing opens a WebSocket here\n", true, "and why")
	p.wantReset(1, http2.ErrCodeNo, "what the client would still send is not wanted (RFC 9113 §8.1)")
	assert.ErrorIs(t, <-caused, http.ErrBodyNotAllowed)
	close(release)
	p.wantAlive("the connection stays")
}

// Only websocket is ours: a handler that speaks another protocol goes on as ever, and
// its 200 has no content-length.
func TestXC22OtherProtocolsAreTheHandlersOwn(t *testing.T) {
	for name, fields := range map[string][]string{
		"connect-udp":   with(connect(), ":protocol", "connect-udp"),
		"plain CONNECT": {":method", "CONNECT", ":authority", "localhost:80"},
	} {
		t.Run(name, func(t *testing.T) {
			p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "4")
				w.WriteHeader(http.StatusOK)
				assert.NoError(t, http.NewResponseController(w).Flush())
				_, err := io.Copy(w, r.Body)
				assert.NoError(t, err)
			}))
			p.greet()
			p.headers(1, false, fields...)
			h := p.wantHeaders(1, false, "a tunnel")
			assert.Equal(t, "200", h[":status"])
			assert.NotContains(t, h, "content-length", "RFC 9110 §9.3.6")
			require.NoError(t, p.fr.WriteData(1, true, []byte("datagram")))
			p.wantData(1, "datagram", true, "what the tunnel carries")
			p.wantAlive("closed without a reset")
		})
	}
}

// "Frame types other than DATA or stream management frames […] MUST NOT be sent on a
// connected stream and MUST be treated as a stream error (Section 5.4.2) of type
// PROTOCOL_ERROR if received" (RFC 9113 §8.5).
func TestNothingButDataFollowsAConnect(t *testing.T) {
	for name, fields := range map[string][]string{
		"connect-udp":   with(connect(), ":protocol", "connect-udp"),
		"plain CONNECT": {":method", "CONNECT", ":authority", "localhost:80"},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan error, 2)
			p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusOK)
				assert.NoError(t, http.NewResponseController(w).Flush())
				_, err := io.Copy(io.Discard, r.Body)
				got <- err
				w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
			}))
			p.greet()
			p.headers(1, false, fields...)
			p.wantStatus(1, "200", false, "a tunnel")
			p.headers(1, true, "x-sum", "1")
			p.wantReset(1, http2.ErrCodeProtocol, "a trailer section")
			var reset *StreamError
			require.ErrorAs(t, <-got, &reset)

			p.headers(3, false, fields...)
			p.wantStatus(3, "200", false, "another one")
			require.NoError(t, p.fr.WriteData(3, true, nil))
			assert.NoError(t, <-got)
			p.wantData(3, "", true, "no trailer section of the handler's either")
		})
	}
	t.Run("response", func(t *testing.T) {
		req, err := http.NewRequestWithContext(testContext(t), "CONNECT", "http://localhost:80", nil)
		require.NoError(t, err)
		p, result := asking(t, req)
		p.next("the request")
		p.headers(1, false, ":status", "200")
		p.headers(1, true, "x-sum", "1")
		p.wantReset(1, http2.ErrCodeProtocol, "a trailer section")
		assert.ErrorContains(t, (<-result).err, "CONNECT")
	})
}
