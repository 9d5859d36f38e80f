package h1upgrade

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
)

// FuzzAnswer: whatever a server answers, the client reads a bounded part of it,
// takes for an acceptance only what holds the key's answer, and loses nothing of
// what stands behind the header. Arriving byte by byte changes nothing.
func FuzzAnswer(f *testing.F) {
	req := fixedRequest(f)
	good := switching(req, "Sec-WebSocket-Protocol: chat")
	for _, s := range []string{
		good, good + "\x81\x05hello", "HTTP/1.1 100 Continue\r\n\r\n" + good,
		strings.Replace(good, "1.1", "1.0", 1), "HTTP/1.1 101\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "", "\r\n", good[:40],
		strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 6) + good,
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n Connection: Upgrade\r\n\r\n", strings.ReplaceAll(good, "\r\n", "\n"),
	} {
		f.Add([]byte(s))
	}
	o := &websocket.DialOptions{Subprotocols: []string{"chat"}}
	accept := []byte(handshake.AcceptKey(req.Header.Get("Sec-WebSocket-Key")))
	read := func(t *testing.T, whole bool, answer []byte) (behind []byte, accepted bool) {
		src := bytes.NewReader(answer)
		in := newAnswerReader(src)
		if !whole {
			in = newAnswerReader(iotest.OneByteReader(src))
		}
		resp, err := in.next(req)
		if err == nil {
			_, err = handshake.CheckResponse(resp, req, o)
		}
		require.LessOrEqual(t, len(answer)-src.Len(), (maxInformational+2)*maxAnswer)
		if err != nil {
			return nil, false
		}
		n := in.buffer.Buffered()
		behind, err = in.buffer.Peek(n)
		require.NoError(t, err)
		return append(behind, answer[len(answer)-src.Len():]...), true
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		behind, accepted := read(t, true, answer)
		slowly, acceptedSlowly := read(t, false, answer)
		require.Equal(t, accepted, acceptedSlowly)
		if !accepted {
			return
		}
		require.Contains(t, string(answer), string(accept))
		require.True(t, bytes.HasSuffix(answer, behind))
		require.Equal(t, behind, slowly)
		header := answer[:len(answer)-len(behind)]
		require.True(t, bytes.HasSuffix(header, []byte("\n")))
	})
}

// fixedRequest returns a request with the key of RFC 6455 §1.3.
func fixedRequest(tb testing.TB) *http.Request {
	req, err := handshake.Request(tb.Context(), "ws://example.com", websocket.HTTP1, nil)
	require.NoError(tb, err)
	req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	return req
}
