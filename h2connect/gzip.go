package h2connect

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// asksForGzip reports whether gzip is to be asked for on the caller's behalf:
// not if the caller says what it accepts, nor for a part of the content, which
// could not be unpacked, nor where there is none.
func asksForGzip(req *http.Request) bool {
	return req.Method != http.MethodHead && req.Header.Get("Accept-Encoding") == "" && req.Header.Get("Range") == ""
}

// unpack makes a response whose content is compressed, because we asked for it,
// look as if it were not.
func unpack(resp *http.Response) {
	if resp.Body == http.NoBody || !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return
	}
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
	resp.ContentLength = -1
	resp.Uncompressed = true
	resp.Body = &gzipBody{packed: resp.Body}
}

// A gzipBody unpacks content as it is read. Nothing is read before the first
// call of Read, because whoever waits for the response does not wait for its
// content.
type gzipBody struct {
	packed io.ReadCloser
	closed atomic.Bool

	// Whoever reads owns these.
	unpack *gzip.Reader
	err    error
}

// Read implements io.Reader.
func (b *gzipBody) Read(p []byte) (n int, err error) {
	switch {
	case b.closed.Load():
		return 0, errBodyClosed
	case b.err != nil:
		return 0, b.err
	}
	if b.unpack == nil {
		if b.unpack, b.err = gzip.NewReader(b.packed); b.err != nil {
			return 0, b.err
		}
	}
	n, b.err = b.unpack.Read(p)
	return n, b.err
}

// Close implements io.Closer. It ends a Read that another goroutine waits in.
func (b *gzipBody) Close() error {
	b.closed.Store(true)
	return b.packed.Close()
}
