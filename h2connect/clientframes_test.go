package h2connect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// asking makes a client of ours send a request, and returns the server's end and
// where the response will be.
func asking(t *testing.T, req *http.Request, settings ...http2.Setting) (*peer, <-chan answered) {
	t.Helper()
	p, cc := serverOf(t, Limits{})
	require.NoError(t, p.fr.WriteSettings(settings...))
	p.settle()
	result := make(chan answered, 1)
	go func() {
		var a answered
		if a.resp, a.err = cc.RoundTrip(req); a.err == nil {
			var content []byte
			content, a.err = io.ReadAll(a.resp.Body)
			a.content = string(content)
			a.resp.Body.Close()
		}
		result <- a
	}()
	return p, result
}

type answered struct {
	resp    *http.Response
	content string
	err     error // of the round trip, or of reading the content
}

func requestTo(method string) *http.Request {
	req, _ := http.NewRequestWithContext(context.Background(), method, "http://localhost/", nil)
	return req
}

// A header block may come in pieces, content in any number of frames, and the end
// of the stream on the header, on content, on nothing, or on a trailer section.
func TestResponsesInEveryShape(t *testing.T) {
	block := func(p *peer, frames int, end bool, fields ...string) {
		b := p.block(fields...)
		first := b
		if frames > 1 {
			first, b = b[:1], b[1:]
		}
		p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndStream: end, EndHeaders: frames == 1, PadLength: 7})
		if frames > 1 {
			p.fr.WriteContinuation(1, true, b)
		}
	}
	for informational := range 3 {
		for headers := 1; headers <= 2; headers++ {
			for data := range 3 {
				for trailers := range 3 {
					name := fmt.Sprintf("%d informational, header in %d, content in %d, trailer in %d", informational, headers, data, trailers)
					p, result := asking(t, requestTo("GET"))
					p.wantHeaders(1, true, name)
					for range informational {
						block(p, headers, false, ":status", "103", "link", "</a>")
					}
					block(p, headers, data+trailers == 0, ":status", "200", "x", "y", "trailer", "x-sum")
					for i := range data {
						p.fr.WriteDataPadded(1, i == data-1 && trailers == 0, []byte("part"), make([]byte, i*9))
					}
					if trailers > 0 {
						block(p, trailers, true, "x-sum", "8")
					}
					a := <-result
					require.NoError(t, a.err, name)
					assert.Equal(t, 200, a.resp.StatusCode, name)
					assert.Equal(t, "y", a.resp.Header.Get("X"), name)
					assert.Equal(t, strings.Repeat("part", data), a.content, name)
					if trailers > 0 {
						assert.Equal(t, "8", a.resp.Trailer.Get("X-Sum"), name)
					}
					p.wantAlive(name)
					p.hangUp()
				}
			}
		}
	}
}

// What a server may not send behind what it has sent.
func TestResponsesOutOfOrder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		send   func(p *peer)
		code   http2.ErrCode
		want   string // the content, where the response is good as far as it goes
		good   bool
	}{
		{"content before any response", "GET", func(p *peer) {
			p.fr.WriteData(1, true, []byte("x"))
		}, http2.ErrCodeProtocol, "", false},
		{"content behind an informational response", "GET", func(p *peer) {
			p.headers(1, false, ":status", "100")
			p.fr.WriteData(1, true, []byte("x"))
		}, http2.ErrCodeProtocol, "", false},
		{"an informational response that ends the stream", "GET", func(p *peer) {
			p.headers(1, true, ":status", "100")
		}, http2.ErrCodeProtocol, "", false},
		{"no content although content-length promises it", "GET", func(p *peer) {
			p.headers(1, true, ":status", "200", "content-length", "5")
		}, http2.ErrCodeProtocol, "", false},
		{"a field name in upper case in a trailer section", "GET", func(p *peer) {
			p.headers(1, false, ":status", "200")
			p.headers(1, true, "Upper", "x")
		}, http2.ErrCodeProtocol, "", false},
		{"an empty field name in a trailer section", "GET", func(p *peer) {
			p.headers(1, false, ":status", "200")
			p.headers(1, true, "", "x")
		}, http2.ErrCodeProtocol, "", false},
		{"a trailer section without the end", "GET", func(p *peer) {
			p.headers(1, false, ":status", "200")
			p.headers(1, false, "x-sum", "8")
		}, http2.ErrCodeProtocol, "", false},
		{"content behind the end", "GET", func(p *peer) {
			p.headers(1, false, ":status", "200")
			p.fr.WriteData(1, true, []byte("whole"))
			p.fr.WriteData(1, true, []byte("more"))
		}, http2.ErrCodeStreamClosed, "whole", true},
	} {
		p, result := asking(t, requestTo(tt.method))
		p.wantHeaders(1, true, tt.name)
		tt.send(p)
		p.wantReset(1, tt.code, tt.name)
		a := <-result
		assert.Equal(t, tt.good, a.err == nil, "%s: %v", tt.name, a.err)
		assert.Equal(t, tt.want, a.content, tt.name)
		p.wantAlive(tt.name)
		p.hangUp()
	}
}

// Windows that a server makes too large, as those that a client makes too large
// (RFC 9113 §6.9.1, §6.9.2).
func TestServersThatMakeWindowsTooLarge(t *testing.T) {
	post := func() *http.Request {
		req, _ := http.NewRequestWithContext(context.Background(), "POST", "http://localhost/", strings.NewReader("x"))
		return req
	}
	p, result := asking(t, post())
	p.wantHeaders(1, false, "the request")
	p.wantContent(1, "x", "its content")
	p.fr.WriteWindowUpdate(1, 1<<31-1)
	p.wantReset(1, http2.ErrCodeFlowControl, "a stream's")
	assert.Error(t, (<-result).err)
	p.fr.WriteWindowUpdate(0, 1<<31-1)
	p.wantGoAway(http2.ErrCodeFlowControl, "the connection's")

	p, result = asking(t, post())
	p.wantHeaders(1, false, "the request")
	p.wantContent(1, "x", "its content")
	p.fr.WriteWindowUpdate(1, 1<<31-1-protocolWindow)
	p.wantAlive("as large as it may be")
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: protocolWindow + 2})
	p.wantGoAway(http2.ErrCodeFlowControl, "by INITIAL_WINDOW_SIZE")
	assert.Error(t, (<-result).err)
}

// Requests that are not sent, and leave the connection as it was.
func TestRequestsThatCannotBeSent(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 400}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	p.settle()
	for name, change := range map[string]func(*http.Request){
		"a header larger than the server takes": func(r *http.Request) { r.Header.Set("X", strings.Repeat("v", 400)) },
		"a field name that is none":             func(r *http.Request) { r.Header["a b"] = []string{"c"} },
		"a field name in another script":        func(r *http.Request) { r.Header["Ü"] = []string{"c"} },
		"a line feed in a value":                func(r *http.Request) { r.Header["A"] = []string{"b\nc: d"} },
		"a trailer field that may not be one":   func(r *http.Request) { r.Trailer = http.Header{"Content-Length": nil} },
		"no host":                               func(r *http.Request) { r.URL.Host, r.Host = "", "" },
		"a space in the host":                   func(r *http.Request) { r.Host = "a b" },
		"a method that is none":                 func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\n" },
	} {
		req := requestTo("GET")
		change(req)
		_, err := cc.RoundTrip(req)
		assert.Error(t, err, name)
	}
	p.wantAlive("nothing was sent")
	done := request(cc, requestTo("GET"))
	p.wantHeaders(1, true, "the one stream that is allowed is still free")
	p.headers(1, true, ":status", "204")
	assert.NoError(t, <-done)
}

// Fields that HTTP/2 has no place for are left out of a request.
func TestConnectionSpecificFieldsAreNotSent(t *testing.T) {
	req := requestTo("GET")
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Host", "Content-Length"} {
		req.Header.Set(name, "x")
	}
	req.Header.Set("Te", "gzip")
	req.Header.Set("X-Kept", "y")
	p, result := asking(t, req)
	h := p.wantHeaders(1, true, "the request")
	assert.Equal(t, map[string]string{
		":method": "GET", ":scheme": "http", ":authority": "localhost", ":path": "/", "x-kept": "y",
		"user-agent": "Go-http-client/2.0",
	}, h)
	p.headers(1, true, ":status", "204")
	assert.NoError(t, (<-result).err)
}

// A response to HEAD has the header of GET's and no content; content that comes
// all the same is never taken for some.
func TestResponsesToHEAD(t *testing.T) {
	p, result := asking(t, requestTo("HEAD"))
	p.wantHeaders(1, true, "the request")
	p.headers(1, true, ":status", "200", "content-length", "4")
	a := <-result
	require.NoError(t, a.err)
	assert.EqualValues(t, 4, a.resp.ContentLength)
	assert.Empty(t, a.content)

	p, result = asking(t, requestTo("HEAD"))
	p.wantHeaders(1, true, "the request")
	p.headers(1, false, ":status", "200", "content-length", "4")
	p.fr.WriteData(1, true, []byte("oops"))
	p.wantReset(1, http2.ErrCodeProtocol, "content")
	a = <-result
	assert.Error(t, a.err)
	assert.Empty(t, a.content)
	p.wantAlive("the connection is kept")
}
