//go:build unix

package foreign

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"testing"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

// TestHTTPClient sends ordinary requests with net/http's client.
func TestHTTPClient(t *testing.T) {
	for _, v := range []struct{ transport, proto string }{
		{"h1", "HTTP/1.1"}, {"h2", "HTTP/2.0"}, {"h2c", "HTTP/2.0"},
	} {
		t.Run(v.transport, func(t *testing.T) {
			s := newSite(t, v.transport != "h2c")
			protocols := new(http.Protocols)
			protocols.SetHTTP1(v.transport == "h1")
			protocols.SetHTTP2(v.transport == "h2")
			protocols.SetUnencryptedHTTP2(v.transport == "h2c")
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.id.roots}, Protocols: protocols}
			defer transport.CloseIdleConnections()
			goRequests(t, matrix.Row{Peer: "net/http", Role: matrix.Client, Transport: v.transport}, s, transport, v.proto)
		})
	}
}

// TestQUICGoClient sends ordinary requests with quic-go's client.
func TestQUICGoClient(t *testing.T) {
	s := newSite(t, true)
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: s.id.roots}}
	defer transport.Close()
	goRequests(t, matrix.Row{Peer: "quic-go http3", Role: matrix.Client, Transport: "h3"}, s, transport, "HTTP/3.0")
}

// goRequests sends requests to s by transport, which speaks proto.
func goRequests(t *testing.T, row matrix.Row, s *site, transport http.RoundTripper, proto string) {
	client := &http.Client{Transport: transport}
	do := func(t *testing.T, method, path string, body io.Reader, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.origin+path, body)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		content, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, proto, resp.Proto)
		return resp, string(content)
	}
	row.Run(t, get, func(t *testing.T) {
		_, content := do(t, "GET", "/hello", nil)
		assert.Equal(t, "hello", content)
		resp, content := do(t, "GET", "/bytes?n=5000000", nil)
		assert.EqualValues(t, 5_000_000, resp.ContentLength)
		assert.Len(t, content, 5_000_000)
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				resp, err := client.Get(s.origin + "/bytes?n=10000")
				if !assert.NoError(t, err) {
					return
				}
				defer resp.Body.Close()
				content, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				assert.Len(t, content, 10000)
			})
		}
		group.Wait()
		for _, r := range s.got("/bytes") {
			assert.Equal(t, proto, r.proto)
		}
		if row.Transport != "h1" && row.Transport != "h3" {
			assert.Equal(t, 1, s.accepted(), "for all requests")
		}
	})
	row.Run(t, head, func(t *testing.T) {
		resp, content := do(t, "HEAD", "/bytes?n=1000", nil)
		assert.EqualValues(t, 1000, resp.ContentLength)
		assert.Empty(t, content)
	})
	row.Run(t, ranges, func(t *testing.T) {
		resp, content := do(t, "GET", "/bytes?n=1000", nil, "Range", "bytes=900-999")
		assert.Equal(t, http.StatusPartialContent, resp.StatusCode)
		assert.Len(t, content, 100)
	})
	row.Run(t, post, func(t *testing.T) {
		content := make([]byte, 3_000_000)
		rand.Read(content)
		sum := sha256.Sum256(content)
		_, digest := do(t, "POST", "/digest", bytes.NewReader(content))
		assert.Equal(t, hex.EncodeToString(sum[:]), digest)
		_, digest = do(t, "POST", "/digest", io.MultiReader(bytes.NewReader(content))) // of unknown length
		assert.Equal(t, hex.EncodeToString(sum[:]), digest)
		_, digest = do(t, "PUT", "/digest", bytes.NewReader(content), "Expect", "100-continue")
		assert.Equal(t, hex.EncodeToString(sum[:]), digest)
	})
	row.Run(t, redirect, func(t *testing.T) {
		_, content := do(t, "GET", "/moved", nil)
		assert.Equal(t, "hello", content)
	})
	row.Run(t, trailers, func(t *testing.T) {
		resp, _ := do(t, "GET", "/trailer", nil, "TE", "trailers")
		assert.Equal(t, "abc", resp.Trailer.Get("Checksum"))
	})
	row.Run(t, hints, func(t *testing.T) {
		var link string
		req, err := http.NewRequest("GET", s.origin+"/hints", nil)
		require.NoError(t, err)
		resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				assert.Equal(t, http.StatusEarlyHints, code)
				link = header.Get("Link")
				return nil
			},
		})))
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, "</style.css>; rel=preload", link)
	})
	row.Run(t, cookies, func(t *testing.T) {
		resp, content := do(t, "GET", "/cookie", nil, "Cookie", "a=1; b=2")
		assert.Equal(t, "a=1; b=2", content)
		assert.Equal(t, []string{"set=1"}, resp.Header["Set-Cookie"])
	})
	row.Run(t, noContent, func(t *testing.T) {
		resp, content := do(t, "GET", "/status?code=204", nil)
		assert.Equal(t, http.StatusNoContent, resp.StatusCode)
		assert.Empty(t, content)
		resp, content = do(t, "GET", "/bytes?n=10", nil, "If-Modified-Since", "Fri, 02 Jan 2026 00:00:00 GMT")
		assert.Equal(t, http.StatusNotModified, resp.StatusCode)
		assert.Empty(t, content)
	})
}
