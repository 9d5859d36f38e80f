//go:build unix

package foreign

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

// Features of ordinary HTTP.
const (
	get       matrix.Feature = "GET"
	reuse     matrix.Feature = "connection reuse"
	ranges    matrix.Feature = "range"
	post      matrix.Feature = "POST"
	redirect  matrix.Feature = "redirect"
	trailers  matrix.Feature = "trailers"
	hints     matrix.Feature = "103"
	cookies   matrix.Feature = "cookies"
	noContent matrix.Feature = "204 and 304"
	head      matrix.Feature = "HEAD"
	many      matrix.Feature = "100,000 requests"
)

// TestCurlRequests sends ordinary requests with curl.
func TestCurlRequests(t *testing.T) {
	matrix.Program(t, "curl", "curl")
	for _, v := range []struct{ transport, option, proto string }{
		{"h1", "--http1.1", "HTTP/1.1"},
		{"h2", "--http2", "HTTP/2.0"},
		{"h2c", "--http2-prior-knowledge", "HTTP/2.0"},
	} {
		t.Run(v.transport, func(t *testing.T) {
			row := matrix.Row{Peer: "curl", Role: matrix.Client, Transport: v.transport}
			s := newSite(t, v.transport != "h2c")
			options := []string{"--silent", "--show-error", v.option, "--cacert", file(t, "authority.pem", s.id.authority)}
			run := func(t *testing.T, args ...string) string { return output(t, "curl", append(options, args...)...) }
			curlRequests(t, row, s, run)
			for _, r := range s.got("") {
				assert.Equal(t, v.proto, r.proto, "%s", r.path)
			}
		})
	}
}

// curlRequests is TestCurlRequests over one version of HTTP. run runs curl.
func curlRequests(t *testing.T, row matrix.Row, s *site, run func(t *testing.T, args ...string) string) {
	urls := slices.Repeat([]string{s.origin + "/hello"}, 20)
	const code = "%{http_code} %{size_download}"
	row.Run(t, get, func(t *testing.T) {
		assert.Equal(t, "hello", run(t, s.origin+"/hello"))
		assert.Equal(t, 5_000_000, len(run(t, s.origin+"/bytes?n=5000000")))
	})
	if row.Transport != "h2c" { // there curl 7.88 fails at a second request (interop/NOTES.md)
		row.Run(t, reuse, func(t *testing.T) {
			before := len(s.got("/hello"))
			assert.Equal(t, strings.Repeat("hello", 20), run(t, urls...))
			for _, r := range s.got("/hello")[before:] {
				assert.Equal(t, s.accepted(), r.connection, "all by the newest connection")
			}
			assert.Equal(t, strings.Repeat("hello", 20), run(t, append([]string{"--parallel"}, urls...)...))
		})
		row.Run(t, redirect, func(t *testing.T) {
			assert.Equal(t, "hello", run(t, "--location", s.origin+"/moved"))
		})
	}
	row.Run(t, head, func(t *testing.T) {
		assert.Contains(t, strings.ToLower(run(t, "--head", s.origin+"/bytes?n=1000")), "content-length: 1000\r\n")
	})
	row.Run(t, ranges, func(t *testing.T) {
		assert.Equal(t, "206 100", run(t, "--output", os.DevNull, "--write-out", code, "--range", "900-999", s.origin+"/bytes?n=1000"))
	})
	row.Run(t, post, func(t *testing.T) {
		content := make([]byte, 3_000_000)
		rand.Read(content)
		sum := sha256.Sum256(content)
		upload := file(t, "content", content)
		// With Expect: 100-continue, in chunks or DATA frames, and by PUT.
		assert.Equal(t, hex.EncodeToString(sum[:]), run(t, "--header", "Expect: 100-continue", "--data-binary", "@"+upload, s.origin+"/digest"))
		assert.Equal(t, hex.EncodeToString(sum[:]), run(t, "--header", "Transfer-Encoding: chunked", "--data-binary", "@"+upload, s.origin+"/digest"))
		assert.Equal(t, hex.EncodeToString(sum[:]), run(t, "--upload-file", upload, s.origin+"/digest"))
	})
	row.Run(t, trailers, func(t *testing.T) {
		assert.Regexp(t, `(?is)trailer: checksum.*checksum: abc\r\n`, run(t, "--dump-header", "-", s.origin+"/trailer"))
	})
	row.Run(t, hints, func(t *testing.T) {
		got := run(t, "--include", s.origin+"/hints")
		assert.Regexp(t, `(?is)^HTTP/[0-9.]+ 103.*link: .*HTTP/[0-9.]+ 200.*hinted$`, got)
	})
	row.Run(t, cookies, func(t *testing.T) {
		assert.Equal(t, "a=1; b=2", run(t, "--cookie", "a=1; b=2", s.origin+"/cookie"))
	})
	row.Run(t, noContent, func(t *testing.T) {
		assert.Equal(t, "204 0", run(t, "--write-out", code, s.origin+"/status?code=204"))
		assert.Equal(t, "304 0", run(t, "--write-out", code, "--header", "If-Modified-Since: Fri, 02 Jan 2026 00:00:00 GMT", s.origin+"/bytes?n=10"))
	})
}

// TestNghttp sends ordinary requests with nghttp and reads its frame trace.
func TestNghttp(t *testing.T) {
	matrix.Program(t, "nghttp", "nghttp")
	row := matrix.Row{Peer: "nghttp", Role: matrix.Client, Transport: "h2"}
	s := newSite(t, true)
	run := func(t *testing.T, args ...string) string {
		return output(t, "nghttp", append([]string{"--no-verify-peer"}, args...)...)
	}
	row.Run(t, get, func(t *testing.T) {
		assert.Equal(t, "hello", run(t, s.origin+"/hello"))
		trace := run(t, "--verbose", "--null-out", "--multiply=50", s.origin+"/bytes?n=100000")
		assert.Equal(t, 50, strings.Count(trace, ":status: 200"))
		assert.Contains(t, trace, "SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):1")
		assert.NotContains(t, trace, "RST_STREAM")
	})
	row.Run(t, "tiny windows", func(t *testing.T) {
		// A stream's window of 2^1-1 bytes, the connection's of 2^16-1.
		assert.Equal(t, "hello", run(t, "--window-bits=1", s.origin+"/hello"))
		assert.Len(t, run(t, "--window-bits=10", s.origin+"/bytes?n=200000"), 200000)
	})
	row.Run(t, post, func(t *testing.T) {
		content := make([]byte, 1_000_000)
		rand.Read(content)
		sum := sha256.Sum256(content)
		upload := file(t, "content", content)
		assert.Equal(t, hex.EncodeToString(sum[:]), run(t, "--data="+upload, s.origin+"/digest"))
		assert.Equal(t, hex.EncodeToString(sum[:]), run(t, "--expect-continue", "--data="+upload, s.origin+"/digest"))
		assert.Equal(t, hex.EncodeToString(sum[:]), run(t, "--padding=100", "--data="+upload, s.origin+"/digest"))
	})
	row.Run(t, trailers, func(t *testing.T) {
		assert.Contains(t, run(t, "--verbose", s.origin+"/trailer"), "checksum: abc")
	})
	row.Run(t, hints, func(t *testing.T) {
		assert.Contains(t, run(t, "--verbose", s.origin+"/hints"), ":status: 103")
	})
}

// TestNghttpUpgrade: HTTP/2 by Upgrade (h2c) is obsolete (RFC 9113 §3.1). The
// server answers the request as HTTP/1.1 does, and nghttp says so.
func TestNghttpUpgrade(t *testing.T) {
	matrix.Program(t, "nghttp", "nghttp")
	s := newSite(t, false)
	var b strings.Builder
	cmd := command(t, "nghttp", "--upgrade", "--verbose", s.origin+"/hello")
	cmd.Stdout = &b
	require.NoError(t, cmd.Run(), b.String())
	result := matrix.Result("h2 by Upgrade")
	if all := s.got("/hello"); assert.Len(t, all, 1) && all[0].proto == "HTTP/1.1" {
		result = "answered on HTTP/1.1"
	}
	matrix.Row{Peer: "nghttp", Role: matrix.Client, Transport: "h1"}.Record(t, "Upgrade: h2c", result)
}

var succeeded = regexp.MustCompile(`requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)

// TestH2load sends 100,000 requests, of which none may fail.
func TestH2load(t *testing.T) {
	matrix.Program(t, "h2load", "h2load")
	const requests = 100_000
	for _, v := range []struct {
		transport, path string
		options         []string
	}{
		{"h2", "/hello", []string{"--clients=10", "--max-concurrent-streams=100"}},
		{"h2c", "/hello", []string{"--clients=10", "--max-concurrent-streams=100"}},
		{"h1", "/hello", []string{"--h1", "--clients=20"}},
	} {
		t.Run(v.transport, func(t *testing.T) {
			row := matrix.Row{Peer: "h2load", Role: matrix.Client, Transport: v.transport}
			row.Run(t, many, func(t *testing.T) {
				s := newSite(t, v.transport != "h2c")
				said := output(t, "h2load", append(v.options, fmt.Sprintf("--requests=%d", requests), s.origin+v.path)...)
				got := succeeded.FindStringSubmatch(said)
				require.NotNil(t, got, said)
				assert.Equal(t, []string{fmt.Sprint(requests), fmt.Sprint(requests), "0", "0", "0"}, got[1:], said)
				assert.Contains(t, said, fmt.Sprintf("status codes: %d 2xx, 0 3xx, 0 4xx, 0 5xx", requests))
				assert.Len(t, s.got(v.path), requests, "what the server saw")
				t.Log(regexp.MustCompile(`(?m)^finished in.*$`).FindString(said))
			})
		})
	}
}
