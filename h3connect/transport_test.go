package h3connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// wantFailure waits for a dial to fail.
func wantFailure(t testing.TB, c <-chan dialResult) dialResult {
	t.Helper()
	r := <-c
	require.Error(t, r.err)
	require.Nil(t, r.ws)
	return r
}

func wantSocket(t testing.TB, c <-chan dialResult) *websocket.Conn {
	t.Helper()
	r := <-c
	require.NoError(t, r.err)
	t.Cleanup(func() { _ = r.ws.CloseNow() })
	require.Equal(t, http.StatusOK, r.resp.StatusCode)
	require.NotNil(t, r.resp.TLS)
	body, err := io.ReadAll(r.resp.Body)
	require.NoError(t, err)
	require.Empty(t, body)
	return r.ws
}

func TestH3_06XC16ServerWithoutExtendedCONNECT(t *testing.T) {
	for name, settings := range map[string][]byte{
		"not there": settingsFrame(), "off": settingsFrame(settingEnableConnectProtocol, 0),
	} {
		t.Run(name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := listenRaw(t, nil)
			c := goDial(soon(t), newTransport(t), s.addr, nil)
			p := s.accept(settings)
			require.ErrorIs(t, wantFailure(t, c).err, websocket.ErrNotSupported)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, err := p.qc.AcceptStream(ctx)
			require.ErrorIs(t, err, context.Canceled, "no stream was opened (P3)")
		})
	}
}

func TestH3_06SettingOutOfRange(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	c := goDial(soon(t), newTransport(t), s.addr, nil)
	p := s.accept(settingsFrame(settingEnableConnectProtocol, 2))
	require.Equal(t, http3.ErrCodeSettingsError, p.closed())
	ce, ok := errors.AsType[*ConnError](wantFailure(t, c).err)
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeSettingsError, ce.Code)
	require.False(t, ce.Remote)
}

func TestXC17WaitsForSettings(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	ctx, cancel := context.WithCancel(soon(t))
	first := goDial(ctx, tr, s.addr, nil)
	p := s.accept() // no SETTINGS
	cancel()
	require.ErrorIs(t, wantFailure(t, first).err, context.Canceled)

	second := goDial(soon(t), tr, s.addr, nil)
	p.openControl(socketSettings())
	str, fields := p.acceptStream()
	require.Equal(t, ":method: CONNECT", fields[0])
	require.EqualValues(t, 0, str.StreamID(), "the first dial has opened no stream")
	str.send(headersFrame(":status: 200"))
	wantSocket(t, second)
}

// TestXC18 has answers that open no socket: the stream is reset, the connection
// is kept.
func TestXC18AnswersThatOpenNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer []byte
		fin    bool
		code   http3.ErrCode
		check  func(t *testing.T, r dialResult, he *websocket.HandshakeError)
	}{
		{"P19 101", headersFrame(":status: 101"), false, http3.ErrCodeRequestCanceled, func(t *testing.T, r dialResult, he *websocket.HandshakeError) {
			require.Equal(t, 101, he.Status)
		}},
		{"204", headersFrame(":status: 204"), true, http3.ErrCodeRequestCanceled, nil},
		{"302", headersFrame(":status: 302", "location: /x"), true, http3.ErrCodeRequestCanceled, func(t *testing.T, r dialResult, he *websocket.HandshakeError) {
			require.Equal(t, 302, he.Status)
			require.Equal(t, "/x", he.Header.Get("Location"))
		}},
		{"403 with content", frames(headersFrame(":status: 403"), dataFrame("for"), greaseFrame("x"), dataFrame("bidden")), true, http3.ErrCodeRequestCanceled, func(t *testing.T, r dialResult, he *websocket.HandshakeError) {
			require.Equal(t, 403, he.Status)
			require.True(t, he.Remote)
			require.Equal(t, "forbidden", string(he.Body))
			body, err := io.ReadAll(r.resp.Body)
			require.NoError(t, err)
			require.Equal(t, "forbidden", string(body))
		}},
		{"404 with trailers", frames(headersFrame(":status: 404"), dataFrame("gone"), headersFrame("x-t: y")), true, http3.ErrCodeRequestCanceled, func(t *testing.T, r dialResult, he *websocket.HandshakeError) {
			require.Equal(t, "gone", string(he.Body))
		}},
		{"500 with much content", frames(headersFrame(":status: 500"), dataFrame(strings.Repeat("x", 5000))), false, http3.ErrCodeRequestCanceled, func(t *testing.T, r dialResult, he *websocket.HandshakeError) {
			require.Len(t, he.Body, 1024)
		}},
		{"subprotocol not offered", headersFrame(":status: 200", "sec-websocket-protocol: x"), false, http3.ErrCodeRequestCanceled, func(t *testing.T, r dialResult, he *websocket.HandshakeError) {
			require.False(t, he.Remote)
		}},
		{"extension not offered", headersFrame(":status: 200", "sec-websocket-extensions: permessage-deflate"), false, http3.ErrCodeRequestCanceled, nil},
		{"malformed", headersFrame(":status: 200", "connection: close"), false, http3.ErrCodeMessageError, nil},
		{"too large", headersFrame(":status: 200", "a: "+strings.Repeat("x", 17<<10)), false, http3.ErrCodeExcessiveLoad, nil},
		{"nothing but FIN", nil, true, http3.ErrCodeMessageError, nil},
		{"informational for ever", frames(headersFrame(":status: 103"), headersFrame(":status: 103"), headersFrame(":status: 103"), headersFrame(":status: 103"), headersFrame(":status: 103"), headersFrame(":status: 103")), false, http3.ErrCodeExcessiveLoad, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := listenRaw(t, nil)
			tr := newTransport(t)
			failing := goDial(soon(t), tr, s.addr, nil)
			p := s.accept(socketSettings())
			str, _ := p.acceptStream()
			str.send(c.answer)
			if c.fin {
				_ = str.Close() // fails if the client was faster
			}
			r := wantFailure(t, failing)
			he, ok := errors.AsType[*websocket.HandshakeError](r.err)
			require.True(t, ok, "%v", r.err)
			if c.check != nil {
				c.check(t, r, he)
			}
			str.wantReset(c.code)

			next := goDial(soon(t), tr, s.addr, nil)
			str, _ = p.acceptStream()
			str.send(headersFrame(":status: 103"), headersFrame(":status: 200"))
			wantSocket(t, next)
		})
	}
}

func TestXC18AcceptanceThatEndsTheStream(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	first := goDial(soon(t), tr, s.addr, nil)
	p := s.accept(socketSettings())
	refused := false
	for range 50 { // until FIN and HEADERS come in one packet
		str, _ := p.acceptStream()
		str.send(headersFrame(":status: 200"))
		_ = str.Close()
		r := <-first
		if r.err != nil {
			_, refused = errors.AsType[*websocket.HandshakeError](r.err)
			str.wantReset(http3.ErrCodeRequestCanceled)
			break
		}
		_, _, err := r.ws.Read(soon(t))
		want1006(t, err)
		first = goDial(soon(t), tr, s.addr, nil)
	}
	require.True(t, refused)
}

// TestAnswersThatCostTheConnection: what RFC 9114 calls a connection error.
func TestAnswersThatCostTheConnection(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer []byte
		fin    bool
		code   http3.ErrCode
	}{
		{"DATA before HEADERS", dataFrame("x"), false, http3.ErrCodeFrameUnexpected},
		{"a frame cut short", headersFrame(":status: 200")[:4], true, http3.ErrCodeFrameError},
		{"dynamic table", []byte{frameHeaders, 3, 0x02, 0x00, 0x80}, false, http3.ErrCodeQPACKDecompressionFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := listenRaw(t, nil)
			failing := goDial(soon(t), newTransport(t), s.addr, nil)
			p := s.accept(socketSettings())
			str, _ := p.acceptStream()
			str.send(c.answer)
			if c.fin {
				_ = str.Close() // fails if the client was faster
			}
			ce, ok := errors.AsType[*ConnError](wantFailure(t, failing).err)
			require.True(t, ok)
			require.EqualValues(t, c.code, ce.Code)
			require.Equal(t, c.code, p.closed())
		})
	}
}

func TestDialCancelledWhileWaitingForAnswer(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	ctx, cancel := context.WithCancel(soon(t))
	failing := goDial(ctx, newTransport(t), s.addr, nil)
	p := s.accept(socketSettings())
	str, _ := p.acceptStream()
	cancel()
	require.ErrorIs(t, wantFailure(t, failing).err, context.Canceled)
	str.wantReset(http3.ErrCodeRequestCanceled)
	str.wantStop(http3.ErrCodeRequestCanceled)
}

func TestHandshakeLimit(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	failing := goDial(context.Background(), newTransport(t), s.addr,
		&websocket.DialOptions{Limits: websocket.Limits{Handshake: 50 * time.Millisecond}})
	p := s.accept(socketSettings())
	str, _ := p.acceptStream()
	require.ErrorIs(t, wantFailure(t, failing).err, context.DeadlineExceeded)
	str.wantReset(http3.ErrCodeRequestCanceled)
}

func TestP43RejectedIsTriedAgainElsewhere(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	c := goDial(soon(t), newTransport(t), s.addr, nil)
	str, _ := s.accept(socketSettings()).acceptStream()
	str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	str, _ = s.accept(socketSettings()).acceptStream()
	str.send(headersFrame(":status: 200"))
	wantSocket(t, c)
}

func TestP43RejectedTwice(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	c := goDial(soon(t), newTransport(t), s.addr, nil)
	for range 2 {
		str, _ := s.accept(socketSettings()).acceptStream()
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	}
	err := wantFailure(t, c).err
	require.ErrorIs(t, err, websocket.ErrNotSupported, "another bootstrap may be tried (T37)")
	se, ok := errors.AsType[*StreamError](err)
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeRequestRejected, se.Code)
}

func TestResetsOfTheHandshake(t *testing.T) {
	for _, c := range []struct {
		code http3.ErrCode
		also bool // ErrNotSupported
	}{{http3.ErrCodeInternalError, false}, {http3.ErrCodeVersionFallback, true}} {
		wstest.NoLeaks(t)
		s := listenRaw(t, nil)
		failing := goDial(soon(t), newTransport(t), s.addr, nil)
		str, _ := s.accept(socketSettings()).acceptStream()
		str.CancelWrite(quic.StreamErrorCode(c.code))
		err := wantFailure(t, failing).err
		he, ok := errors.AsType[*websocket.HandshakeError](err)
		require.True(t, ok)
		require.True(t, he.Remote)
		se, ok := errors.AsType[*StreamError](err)
		require.True(t, ok)
		require.EqualValues(t, c.code, se.Code)
		require.Equal(t, c.also, errors.Is(err, websocket.ErrNotSupported))
	}
}

func TestC8GoAwayRejectsDial(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	c := goDial(soon(t), newTransport(t), s.addr, nil)
	old := s.accept(socketSettings())
	old.acceptStream()
	_, err := old.control.Write(goAwayFrame(0))
	require.NoError(t, err)
	str, _ := s.accept(socketSettings()).acceptStream()
	str.send(headersFrame(":status: 200"))
	wantSocket(t, c)
	require.Equal(t, http3.ErrCodeNoError, old.closed())
}

func TestC7SocketLivesOnAfterGoAway(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	first := goDial(soon(t), tr, s.addr, nil)
	old := s.accept(socketSettings())
	str, _ := old.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, first)
	_, err := old.control.Write(goAwayFrame(4))
	require.NoError(t, err)

	conn := tr.connections()[0]
	require.Eventually(t, func() bool {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return conn.goneAway
	}, patience, time.Millisecond)
	next := goDial(soon(t), tr, s.addr, nil)
	other := s.accept(socketSettings())
	second, _ := other.acceptStream()
	second.send(headersFrame(":status: 200"))
	wantSocket(t, next)

	server := wstest.NewServer(str)
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("alive")))
	server.WantFrame(t, frame.Text, "alive", "a stream below GOAWAY's goes on")
	closed := make(chan error, 1)
	go func() { closed <- c.Close(soon(t), websocket.StatusNormalClosure, "") }()
	server.WantClose(t, websocket.StatusNormalClosure, "")
	server.Send(t, wstest.Close(1000, ""))
	require.NoError(t, str.Close())
	require.NoError(t, <-closed)
	str.wantEnd()
	require.Equal(t, http3.ErrCodeNoError, old.closed(), "closed behind the last stream")
}

// connections counts the QUIC connections that a handler sees.
type connections struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *connections) wrap(h http.Handler) http.Handler {
	c.seen = make(map[string]int)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		qc := r.Context().Value(connKey{}).(*serverConn).qc
		c.mu.Lock()
		c.seen[fmt.Sprintf("%p", qc)]++
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

// TestXC20 has sockets and ordinary requests on one connection; closing one
// socket leaves the rest.
func TestXC20SocketsAndRequestsOnOneConnection(t *testing.T) {
	wstest.NoLeaks(t)
	var conns connections
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			echo(w, r)
			return
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	})
	addr := serve(t, new(Server), conns.wrap(h))
	tr := newTransport(t)
	client := &http.Client{Transport: tr}
	a, b := dial(t, tr, addr, nil), dial(t, tr, addr, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				path := fmt.Sprintf("/%d/%d", i, j)
				resp, err := client.Post("https://"+addr+path, "text/plain", strings.NewReader("body"))
				if !assert.NoError(t, err) {
					return
				}
				got, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				assert.Equal(t, path+" body", string(got))
				assert.NoError(t, resp.Body.Close())
			}
		})
	}
	for i := range 50 {
		wantEcho(t, a, fmt.Sprint("a", i))
		wantEcho(t, b, fmt.Sprint("b", i))
	}
	require.NoError(t, a.Close(soon(t), websocket.StatusNormalClosure, ""))
	wantEcho(t, b, "still here")
	wg.Wait()
	require.Equal(t, 1, conns.count())
}

func TestConcurrentDialsShareOneConnection(t *testing.T) {
	wstest.NoLeaks(t)
	var conns connections
	addr := serve(t, new(Server), conns.wrap(http.HandlerFunc(echo)))
	tr := newTransport(t)
	var results []<-chan dialResult
	for range 20 {
		results = append(results, goDial(soon(t), tr, addr, nil))
	}
	for _, r := range results {
		wantEcho(t, wantSocket(t, r), "hello")
	}
	require.Equal(t, 1, conns.count())
}

// TestT36StreamLimit: more sockets than a connection may have streams.
func TestT36StreamLimit(t *testing.T) {
	wstest.NoLeaks(t)
	var conns connections
	addr := serve(t, &Server{QUICConfig: &quic.Config{MaxIncomingStreams: 3}}, conns.wrap(site))
	tr := newTransport(t)
	var sockets []*websocket.Conn
	for range 10 {
		sockets = append(sockets, dial(t, tr, addr, nil))
	}
	resp, err := (&http.Client{Transport: tr}).Get("https://" + addr)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	for _, c := range sockets {
		wantEcho(t, c, "hello")
	}
	require.Equal(t, 4, conns.count())
}

func TestT36SocketsLeaveRoomForRequests(t *testing.T) {
	wstest.NoLeaks(t)
	var conns connections
	addr := serve(t, new(Server), conns.wrap(site))
	tr := newTransport(t)
	for range maxSockets {
		dial(t, tr, addr, nil)
	}
	resp, err := tr.RoundTrip(newRequest(t, "https://"+addr))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 1, conns.count())
	dial(t, tr, addr, nil)
	require.Equal(t, 2, conns.count())
}

// TestResetDoesNotOvertakeAcceptance: an abrupt end right behind the 200 does not
// lose it.
func TestResetDoesNotOvertakeAcceptance(t *testing.T) {
	wstest.NoLeaks(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, nil); err == nil {
			_ = c.CloseNow()
		}
	})
	addr := serve(t, new(Server), h)
	tr := newTransport(t)
	for range 100 {
		c := dial(t, tr, addr, nil)
		_, _, err := c.Read(soon(t))
		want1006(t, err)
	}
}

func TestDialOnConnectionOfItsOwn(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	_, client := wstest.Certificates()
	dialled := make(chan dialResult, 1)
	go func() {
		ws, resp, err := Dial(soon(t), "wss://"+s.addr+"/", withTLS(client))
		dialled <- dialResult{ws, resp, err}
	}()
	p := s.accept(socketSettings())
	str, _ := p.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, dialled)

	// The server closes; the client's answer and FIN arrive although the
	// connection ends with the socket.
	server := wstest.NewServer(str)
	server.Send(t, wstest.Close(1000, ""))
	require.NoError(t, str.Close())
	_, _, err := c.Read(soon(t))
	ce, ok := errors.AsType[*websocket.CloseError](err)
	require.True(t, ok)
	require.Equal(t, websocket.StatusNormalClosure, ce.Code)
	server.WantClose(t, 1000, "a Close is answered")
	str.wantEnd()
	require.Equal(t, http3.ErrCodeNoError, p.closed())
}

func TestDialFailsOnArguments(t *testing.T) {
	wstest.NoLeaks(t)
	tr := newTransport(t)
	for _, url := range []string{"", "ftp://localhost/", "wss://", "wss://localhost/#f", "wss://localhost:99999/"} {
		_, _, err := tr.Dial(soon(t), url, nil)
		require.Error(t, err, url)
		require.True(t, strings.HasPrefix(err.Error(), "h3connect: "), err.Error())
	}
	_, _, err := tr.Dial(soon(t), "ws://localhost/", nil)
	require.ErrorIs(t, err, websocket.ErrNotSupported, "there is no HTTP/3 in cleartext")
	require.Nil(t, tr.quic, "nothing was dialled (H1-C4)")
}

// TestC1ManyTimes closes in order times: every time both sides see 1000 and FIN (T34).
func TestC1ManyTimes(t *testing.T) {
	wstest.NoLeaks(t)
	var clean atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if err != nil {
			return
		}
		_, _, err = c.Read(r.Context())
		if ce, ok := errors.AsType[*websocket.CloseError](err); ok && ce.Code == websocket.StatusNormalClosure && ce.Remote {
			clean.Add(1)
		}
	})
	addr := serve(t, new(Server), h)
	tr := newTransport(t)
	const n = 300
	for range n {
		c := dial(t, tr, addr, nil)
		require.NoError(t, c.Close(soon(t), websocket.StatusNormalClosure, "done"))
	}
	require.Eventually(t, func() bool { return clean.Load() == n }, patience, time.Millisecond)
}

func TestTransportClose(t *testing.T) {
	wstest.NoLeaks(t)
	addr := serve(t, new(Server), http.HandlerFunc(echo))
	tr := newTransport(t)
	c := dial(t, tr, addr, nil)
	require.NoError(t, tr.Close())
	_, _, err := c.Read(soon(t))
	want := want1006(t, err)
	ce, ok := errors.AsType[*ConnError](want)
	require.True(t, ok)
	require.False(t, ce.Remote)
	require.ErrorIs(t, wantFailure(t, goDial(soon(t), tr, addr, nil)).err, errClosed)
	_, err = tr.RoundTrip(newRequest(t, "https://"+addr))
	require.ErrorIs(t, err, errClosed)
	require.NoError(t, tr.Close())
}

func newRequest(t testing.TB, url string) *http.Request {
	r, err := http.NewRequestWithContext(soon(t), http.MethodGet, url, nil)
	require.NoError(t, err)
	return r
}

func TestCloseIdleConnections(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	first := goDial(soon(t), tr, s.addr, nil)
	p := s.accept(socketSettings())
	str, _ := p.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, first)
	tr.CloseIdleConnections()
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("x")), "a socket is a use")
	_ = c.CloseNow()
	str.wantReset(http3.ErrCodeRequestCanceled)
	require.Eventually(t, func() bool {
		tr.CloseIdleConnections()
		return p.qc.Context().Err() != nil
	}, patience, time.Millisecond)
	require.Equal(t, http3.ErrCodeNoError, p.closed())
}

func TestRoundTripRetries(t *testing.T) {
	rejected := func(str *rawStream) {
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	}
	body := func(s string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	for _, c := range []struct {
		name    string
		getBody func() (io.ReadCloser, error)
		body    bool
		again   bool
	}{
		{"without body", nil, false, true},
		{"with a body that can be had again", body("hello"), true, true},
		{"with a body that is spent", nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := listenRaw(t, nil)
			tr := newTransport(t)
			r := newRequest(t, "https://"+s.addr)
			if c.body {
				r.Body, _ = body("hello")()
				r.GetBody = c.getBody
			}
			type result struct {
				resp *http.Response
				err  error
			}
			done := make(chan result, 1)
			go func() {
				resp, err := tr.RoundTrip(r)
				done <- result{resp, err}
			}()
			str, _ := s.accept(socketSettings()).acceptStream()
			rejected(str)
			if !c.again {
				require.Error(t, (<-done).err)
				return
			}
			str, _ = s.accept(socketSettings()).acceptStream()
			if c.body {
				b, err := io.ReadAll(str)
				require.NoError(t, err)
				require.Equal(t, "hello", string(b))
			}
			str.send(headersFrame(":status: 204"))
			require.NoError(t, str.Close())
			got := <-done
			require.NoError(t, got.err)
			require.Equal(t, 204, got.resp.StatusCode)
			require.Same(t, r, got.resp.Request)
			require.NoError(t, got.resp.Body.Close())
		})
	}
}

func TestRoundTripAfterConnectionWasClosed(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	for range 3 {
		c := goDial(soon(t), tr, s.addr, nil)
		p := s.accept(socketSettings())
		str, _ := p.acceptStream()
		str.send(headersFrame(":status: 200"))
		ws := wantSocket(t, c)
		require.NoError(t, p.qc.CloseWithError(0x100, "")) // the next one needs a new connection
		_, _, err := ws.Read(soon(t))
		ce, ok := errors.AsType[*ConnError](want1006(t, err))
		require.True(t, ok)
		require.True(t, ce.Remote)
		require.NotErrorIs(t, err, context.Canceled)
	}
}

func TestRoundTripRefusesWhatHTTP3CannotSend(t *testing.T) {
	wstest.NoLeaks(t)
	tr := newTransport(t)
	for name, change := range map[string]func(*http.Request){
		"scheme":           func(r *http.Request) { r.URL.Scheme = "http" },
		"URL":              func(r *http.Request) { r.URL = nil },
		"host":             func(r *http.Request) { r.Host = "a b" },
		"no host":          func(r *http.Request) { r.Host, r.URL.Host = "", "" },
		"method":           func(r *http.Request) { r.Method = "GET /" },
		"field name":       func(r *http.Request) { r.Header["a b"] = []string{"c"} },
		"field value":      func(r *http.Request) { r.Header["A"] = []string{"b\nc"} },
		"opaque":           func(r *http.Request) { r.URL.Opaque = "x" },
		"extended CONNECT": func(r *http.Request) { r.Method, r.Proto = http.MethodConnect, "websocket" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(t, "https://localhost/")
			closed := false
			r.Body = closer(func() { closed = true })
			change(r)
			_, err := tr.RoundTrip(r)
			require.Error(t, err)
			require.True(t, closed, "the body is closed also then")
			require.Nil(t, tr.quic, "nothing was dialled")
		})
	}
}

type closer func()

func (c closer) Read([]byte) (int, error) { return 0, io.EOF }
func (c closer) Close() error             { c(); return nil }
