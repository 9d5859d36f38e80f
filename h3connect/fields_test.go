package h3connect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/handshake"
)

func decodeFields(t *testing.T, section []byte) (fields []string) {
	for next := qpack.NewDecoder().Decode(section); ; {
		f, err := next()
		if err == io.EOF {
			return fields
		}
		require.NoError(t, err)
		fields = append(fields, f.Name+": "+f.Value)
	}
}

// TestConnectFrame: pseudo-header fields first, names in lower case, no key, no
// Upgrade (P10, P12, P14, P15, P16, T12).
func TestConnectFrame(t *testing.T) {
	req, err := handshake.Request(context.Background(), "wss://example.com:8443/a%20b?c=d&e", websocket.HTTP3, &websocket.DialOptions{
		Header:       http.Header{"Origin": {"https://example.com"}, "Cookie": {"a=b"}, "X-Two": {"1", "2"}},
		Subprotocols: []string{"chat", "superchat"},
		Compression:  &websocket.Compression{},
	})
	require.NoError(t, err)
	frame, size := connectFrame(req)
	require.EqualValues(t, frameHeaders, frame[0])
	_, n, err := parseVarints(frame)
	require.NoError(t, err)
	fields := decodeFields(t, frame[n:])
	require.Equal(t, []string{
		":method: CONNECT",
		":protocol: websocket",
		":scheme: https",
		":authority: example.com:8443",
		":path: /a%20b?c=d&e",
		"cookie: a=b",
		"origin: https://example.com",
		"sec-websocket-extensions: " + req.Header["Sec-Websocket-Extensions"][0],
		"sec-websocket-protocol: chat, superchat",
		"sec-websocket-version: 13",
		"x-two: 1",
		"x-two: 2",
	}, fields)
	want := 0
	for _, f := range fields {
		want += len(f) - len(": ") + fieldOverhead
	}
	require.EqualValues(t, want, size)

	again, _ := connectFrame(req)
	require.Equal(t, frame, again, "the same request is the same bytes")
}

func section(fields ...string) []byte {
	f := headersFrame(fields...)
	_, n, err := parseVarints(f)
	if err != nil {
		panic(err)
	}
	return f[n:]
}

// parseVarints skips a frame's type and length.
func parseVarints(f []byte) (length uint64, n int, err error) {
	d := bytes.NewReader(f)
	s := &rawReader{d}
	if _, err = s.varint(); err == nil {
		length, err = s.varint()
	}
	return length, len(f) - d.Len(), err
}

func TestParseAnswer(t *testing.T) {
	resp, err := parseAnswer(section(":status: 200", "sec-websocket-protocol: chat", "set-cookie: a", "set-cookie: b"))
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "200 OK", resp.Status)
	require.Equal(t, 3, resp.ProtoMajor)
	require.Equal(t, "HTTP/3.0", resp.Proto)
	require.Equal(t, http.Header{"Sec-Websocket-Protocol": {"chat"}, "Set-Cookie": {"a", "b"}}, resp.Header)

	// P25: "A client MUST ignore any Content-Length […] in a successful
	// response to CONNECT."
	resp, err = parseAnswer(section(":status: 200", "content-length: 0"))
	require.NoError(t, err)
	require.EqualValues(t, -1, resp.ContentLength)

	// Of Unicode's spaces only those of ASCII may not stand around a value.
	for _, value := range []string{"b\u00a0", "\u3000b", "b\u0085"} {
		resp, err = parseAnswer(section(":status: 200", "a: "+value))
		require.NoError(t, err)
		require.Equal(t, value, resp.Header.Get("A"))
	}
}

func TestParseAnswerRejects(t *testing.T) {
	many := []string{":status: 200"}
	for i := range maxAnswerFields {
		many = append(many, fmt.Sprintf("x-%d: y", i))
	}
	for _, c := range []struct {
		name    string
		section []byte
		code    http3.ErrCode
		conn    bool
	}{
		{"no status", section("a: b"), http3.ErrCodeMessageError, false},
		{"empty", []byte{0, 0}, http3.ErrCodeMessageError, false},
		{"two statuses", section(":status: 200", ":status: 200"), http3.ErrCodeMessageError, false},
		{"status of two digits", section(":status: 99"), http3.ErrCodeMessageError, false},
		{"status of four digits", section(":status: 2000"), http3.ErrCodeMessageError, false},
		{"status not a number", section(":status: 2x0"), http3.ErrCodeMessageError, false},
		{"status with a sign", section(":status: +20"), http3.ErrCodeMessageError, false},
		{"status after a field", section("a: b", ":status: 200"), http3.ErrCodeMessageError, false},
		{"request pseudo-header", section(":status: 200", ":path: /"), http3.ErrCodeMessageError, false},
		{"unknown pseudo-header", section(":status: 200", ":what: /"), http3.ErrCodeMessageError, false},
		{"upper case", section(":status: 200", "Upper: x"), http3.ErrCodeMessageError, false},
		{"name not a token", section(":status: 200", "a b: x"), http3.ErrCodeMessageError, false},
		{"control in the value", section(":status: 200", "a: b\nc"), http3.ErrCodeMessageError, false},
		{"space around the value", section(":status: 200", "a: b "), http3.ErrCodeMessageError, false},
		{"connection", section(":status: 200", "connection: close"), http3.ErrCodeMessageError, false},
		{"upgrade", section(":status: 101", "upgrade: websocket"), http3.ErrCodeMessageError, false},
		{"transfer-encoding", section(":status: 200", "transfer-encoding: chunked"), http3.ErrCodeMessageError, false},
		{"too many fields", section(many...), http3.ErrCodeExcessiveLoad, false},
		{"too many bytes", section(":status: 200", "a: "+strings.Repeat("b", maxAnswerBytes)), http3.ErrCodeExcessiveLoad, false},
		{"dynamic table", []byte{0x02, 0x00, 0x80}, http3.ErrCodeQPACKDecompressionFailed, true},
		{"truncated prefix", []byte{0x00}, http3.ErrCodeQPACKDecompressionFailed, true},
		{"static index out of range", []byte{0x00, 0x00, 0xff, 0xff, 0x01}, http3.ErrCodeQPACKDecompressionFailed, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseAnswer(c.section)
			fe, ok := err.(*frameError)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.code, fe.code, fe.text)
			require.Equal(t, c.conn, fe.conn)
		})
	}
}

func TestReadAnswer(t *testing.T) {
	answer := headersFrame(":status: 200")
	for _, c := range []struct {
		name string
		in   []byte
		code http3.ErrCode // 0: fine
		conn bool
	}{
		{"HEADERS", answer, 0, false},
		{"GREASE before it", frames(greaseFrame("abc"), answer), 0, false},
		{"nothing", nil, http3.ErrCodeMessageError, false},
		{"cut in the header", answer[:1], http3.ErrCodeFrameError, true},
		{"cut in the section", answer[:3], http3.ErrCodeFrameError, true},
		{"cut in GREASE", greaseFrame("abc")[:3], http3.ErrCodeFrameError, true},
		{"DATA first", frames(dataFrame("x"), answer), http3.ErrCodeFrameUnexpected, true},
		{"SETTINGS first", frames(settingsFrame(), answer), http3.ErrCodeFrameUnexpected, true},
		{"H3-07 a declared length that is too much", []byte{frameHeaders, 0xbf, 0xff, 0xff, 0xff}, http3.ErrCodeExcessiveLoad, false},
		{"endless GREASE", []byte{0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, http3.ErrCodeExcessiveLoad, false},
		{"GREASE without end", bytes.Repeat(greaseFrame(""), maxIdleFrames), http3.ErrCodeExcessiveLoad, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := bytes.NewReader(append(bytes.Clone(c.in), "rest"...))
			if c.code != 0 {
				r = bytes.NewReader(c.in)
			}
			resp, err := readAnswer(r)
			if c.code == 0 {
				require.NoError(t, err)
				require.Equal(t, 200, resp.StatusCode)
				require.Equal(t, len("rest"), r.Len(), "not a byte more is read")
				return
			}
			fe, ok := err.(*frameError)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.code, fe.code, fe.text)
			require.Equal(t, c.conn, fe.conn)
		})
	}
}

// FuzzReadAnswer: an answer is a response with a status of three digits and with
// valid fields within the limits, or it is an error with a code.
func FuzzReadAnswer(f *testing.F) {
	f.Add(headersFrame(":status: 200", "sec-websocket-protocol: chat"))
	f.Add(frames(greaseFrame("x"), headersFrame(":status: 404")))
	f.Add([]byte{frameHeaders, 3, 0x02, 0x00, 0x80})
	f.Add([]byte{frameHeaders, 0xbf, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		resp, err := readAnswer(bytes.NewReader(in))
		if err != nil {
			fe, ok := err.(*frameError)
			require.True(t, ok, "%v", err)
			require.NotZero(t, fe.code)
			return
		}
		require.GreaterOrEqual(t, resp.StatusCode, 100)
		require.LessOrEqual(t, resp.StatusCode, 999)
		n := 0
		for name, values := range resp.Header {
			require.Equal(t, http.CanonicalHeaderKey(name), name)
			n += len(values)
		}
		require.LessOrEqual(t, n, maxAnswerFields)
		require.Empty(t, resp.Header["Connection"])
		require.Empty(t, resp.Header["Upgrade"])
	})
}
