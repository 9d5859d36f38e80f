package h3connect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
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
	require.Eventually(t, func() bool { return len(tr.connections()) > 0 }, patience, time.Millisecond,
		"so that it is the SETTINGS that are waited for, and not the connection")
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
			_, _ = str.Stream.Write(c.answer) // fails, as Close does, if the client was faster
			if c.fin {
				_ = str.Close()
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

// TestRefusalOfAHalfSentRequest: a server that has seen enough answers, and stops the
// rest of the request.
func TestRefusalOfAHalfSentRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer []byte
		fin    bool
		status int
	}{
		{"refusal", frames(headersFrame(":status: 103"), headersFrame(":status: 431"), dataFrame("too much")), true, 431},
		{"acceptance", headersFrame(":status: 200"), false, 0},
		{"no answer", nil, true, 0},
		{"silence", nil, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := listenRaw(t, &quic.Config{InitialStreamReceiveWindow: 2000, MaxStreamReceiveWindow: 2000})
			big := http.Header{"X-Big": {strings.Repeat("x", 12<<10)}}
			failing := goDial(soon(t), newTransport(t), s.addr, &websocket.DialOptions{Header: big})
			qs, err := s.accept(socketSettings()).qc.AcceptStream(soon(t))
			require.NoError(t, err)
			str := &rawStream{t: t, Stream: qs}
			_, err = io.ReadFull(qs, make([]byte, 100))
			require.NoError(t, err)
			str.send(c.answer)
			if c.fin {
				require.NoError(t, qs.Close())
			}
			qs.CancelRead(quic.StreamErrorCode(http3.ErrCodeExcessiveLoad))
			r := wantFailure(t, failing)
			he, ok := errors.AsType[*websocket.HandshakeError](r.err)
			require.True(t, ok, "%v", r.err)
			require.Equal(t, c.status, he.Status)
			if c.status != 0 {
				require.Equal(t, "too much", string(he.Body))
				require.Equal(t, c.status, r.resp.StatusCode)
			}
		})
	}
}

// The content of an ordinary request is closed, too, of which the server did not want to
// read so much as the fields.
func TestContentBehindAHalfSentRequestIsClosed(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, &quic.Config{InitialStreamReceiveWindow: 2000, MaxStreamReceiveWindow: 2000})
	tr := newTransport(t)
	r := newRequest(t, "https://"+s.addr)
	closed := make(chan struct{})
	r.Method, r.Body = http.MethodPost, closer(sync.OnceFunc(func() { close(closed) }))
	r.Header.Set("X-Big", strings.Repeat("x", 12<<10))
	status := make(chan int, 1)
	go func() {
		resp, err := tr.RoundTrip(r)
		if !assert.NoError(t, err) {
			status <- 0
			return
		}
		status <- resp.StatusCode
		assert.NoError(t, resp.Body.Close())
	}()
	qs, err := s.accept(socketSettings()).qc.AcceptStream(soon(t))
	require.NoError(t, err)
	str := &rawStream{t: t, Stream: qs}
	_, err = io.ReadFull(qs, make([]byte, 100))
	require.NoError(t, err)
	str.send(headersFrame(":status: 431"))
	require.NoError(t, qs.Close())
	qs.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	require.Equal(t, 431, <-status)
	select {
	case <-closed:
	case <-soon(t).Done():
		require.Fail(t, "the content is open")
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
