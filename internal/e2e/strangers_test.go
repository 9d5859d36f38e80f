package e2e

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
)

const pageText = "<!doctype html><title>a page</title>"

// page is a handler that knows nothing of sockets.
func page(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", fmt.Sprint(len(pageText)))
	h.Set("ETag", `"1"`)
	h.Set("Trailer", "X-Sum")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, pageText)
}

// A gzipWriter is what middleware that compresses puts around a ResponseWriter.
type gzipWriter struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (w gzipWriter) Write(p []byte) (int, error) { return w.z.Write(p) }
func (w gzipWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func compressed(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		h.ServeHTTP(gzipWriter{w, z}, r)
	}
}

// A blindWriter is a ResponseWriter of middleware that does not say what it wraps.
type blindWriter struct{ w http.ResponseWriter }

func (w blindWriter) Header() http.Header         { return w.w.Header() }
func (w blindWriter) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w blindWriter) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w blindWriter) Flush()                      { w.w.(http.Flusher).Flush() }

// routed puts h behind a ServeMux.
func routed(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	return mux
}

// A route that knows nothing of sockets is never taken for one: any 2xx to an
// extended CONNECT opens a tunnel (RFC 9110 §9.3.6, RFC 8441 §5).
func TestXC22ResponsesThatNobodyAccepted(t *testing.T) {
	files := http.FileServerFS(fstest.MapFS{"socket": {Data: []byte(pageText)}})
	for name, h := range map[string]http.Handler{
		"200 and a page":           http.HandlerFunc(page),
		"a Write":                  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, pageText) }),
		"a Flush":                  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }),
		"no word":                  http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		"204":                      http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		"ServeMux":                 routed(http.HandlerFunc(page)),
		"FileServer":               files,
		"FileServer in a ServeMux": routed(files),
		"TimeoutHandler":           http.TimeoutHandler(http.HandlerFunc(page), patience, ""),
		"compressed":               compressed(http.HandlerFunc(page)),
		"behind a blind writer": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			page(blindWriter{w}, r)
		}),
		"much content": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 1<<20))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			on(t, direct(), func(t *testing.T, tr transport) {
				authority := tr.listen(t, h)
				_, resp, err := tr.tryDial(soon(t), authority, nil)
				var he *websocket.HandshakeError
				require.ErrorAs(t, err, &he)
				assert.True(t, he.Remote)
				if tr.bootstrap == websocket.HTTP1 {
					assert.Equal(t, 2, he.Status/100, "which is no 101")
					return
				}
				require.Equal(t, http.StatusNotImplemented, he.Status)
				assert.Equal(t, "501 Not Implemented: nothing opens a WebSocket here\n", string(he.Body))
				assert.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
				assert.Equal(t, fmt.Sprint(len(he.Body)), resp.Header.Get("Content-Length"))
				for _, of := range []string{"Etag", "Content-Encoding", "Last-Modified", "Trailer"} {
					assert.NotContains(t, resp.Header, of, "of the page")
				}
			})
		})
	}
}

// What is no 2xx passes as it is: it refuses already.
func TestXC22OtherStatusesPass(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/socket", http.RedirectHandler("/elsewhere", http.StatusFound))
	for name, c := range map[string]struct {
		h      http.Handler
		status int
		body   string
	}{
		"redirect":     {mux, http.StatusFound, ""},
		"not found":    {http.NotFoundHandler(), http.StatusNotFound, "404 page not found\n"},
		"unauthorized": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who?", http.StatusUnauthorized) }), http.StatusUnauthorized, "who?\n"},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, direct(), func(t *testing.T, tr transport) {
				authority := tr.listen(t, c.h)
				_, resp, err := tr.tryDial(soon(t), authority, nil)
				var he *websocket.HandshakeError
				require.ErrorAs(t, err, &he)
				assert.Equal(t, c.status, he.Status)
				if c.body != "" {
					assert.Equal(t, c.body, string(he.Body))
				}
				assert.Equal(t, c.status == http.StatusFound, resp.Header.Get("Location") == "/elsewhere")
			})
		})
	}
}

// A handler whose response has no end is told: by its writes and by its context.
func TestXC22AnEventStreamEnds(t *testing.T) {
	onTunnels(t, func(t *testing.T, tr transport) {
		ended := make(chan error, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			_, err := io.WriteString(w, "data: x\n\n")
			err = errors.Join(err, http.NewResponseController(w).Flush())
			<-r.Context().Done()
			ended <- err
		}))
		assert.Equal(t, http.StatusNotImplemented, refusedBy(t, tr, authority).Status)
		select {
		case err := <-ended:
			assert.ErrorIs(t, err, http.ErrBodyNotAllowed)
			assert.ErrorContains(t, err, "no Accept was called")
		case <-time.After(patience):
			require.Fail(t, "the handler goes on for nobody")
		}
	})
}

// acceptByHand answers as a handler does that has a codec of its own.
func acceptByHand(w http.ResponseWriter, r *http.Request) error {
	if r.ProtoMajor == 2 {
		h2connect.AcceptByHand(w)
	} else {
		h3connect.AcceptByHand(w)
	}
	w.WriteHeader(http.StatusOK)
	return http.NewResponseController(w).Flush()
}

// onTunnels runs f on the transports where any 2xx accepts.
func onTunnels(t *testing.T, f func(*testing.T, transport)) {
	on(t, slices.DeleteFunc(direct(), func(p path) bool { return strings.HasPrefix(p.name, "h1") }), f)
}

// Handlers with a codec of their own say so.
func TestXC22AcceptByHand(t *testing.T) {
	onTunnels(t, func(t *testing.T, tr transport) {
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, acceptByHand(blindWriter{w}, r))
			var b [64]byte
			n, err := io.ReadAtLeast(r.Body, b[:], 2+4+5)
			if assert.NoError(t, err) && assert.Equal(t, 11, n) {
				for i := range 5 {
					b[6+i] ^= b[2+i%4]
				}
				_, err = w.Write(append([]byte{0x81, 5}, b[6:11]...))
				assert.NoError(t, err)
			}
			_, _ = w.Write([]byte{0x88, 2, 0x03, 0xe8})
		}))
		c, resp, err := tr.tryDial(soon(t), authority, nil)
		require.NoError(t, err)
		assert.NotContains(t, resp.Header, "Content-Length")
		require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("hello")))
		wantMessage(t, c, websocket.MessageText, []byte("hello"))
		_, _, err = c.Read(soon(t))
		wantEnd(t, err, websocket.StatusNormalClosure, true)
	})
}

// Accept accepts through middleware that hides what it wraps, where it can at all;
// where it cannot it says so and the client is not left with a tunnel.
func TestXC22AcceptBehindABlindWriter(t *testing.T) {
	onTunnels(t, func(t *testing.T, tr transport) {
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tr.bootstrap == websocket.HTTP3 {
				_, err := tr.accept(blindWriter{w}, r, nil)
				assert.ErrorIs(t, err, websocket.ErrNotSupported, "it has to find http3's")
				return
			}
			c, err := tr.accept(blindWriter{w}, r, &websocket.AcceptOptions{Limits: quick})
			if assert.NoError(t, err) {
				_, p, err := c.Read(r.Context())
				assert.NoError(t, err)
				assert.NoError(t, c.Write(r.Context(), websocket.MessageText, p))
				_ = c.Close(r.Context(), websocket.StatusNormalClosure, "")
			}
		}))
		if tr.bootstrap == websocket.HTTP3 {
			assert.Equal(t, http.StatusNotImplemented, refusedBy(t, tr, authority).Status)
			return
		}
		c := tr.mustDial(t, authority, nil)
		require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("hello")))
		wantMessage(t, c, websocket.MessageText, []byte("hello"))
		_, _, err := c.Read(soon(t))
		wantEnd(t, err, websocket.StatusNormalClosure, true)
	})
	t.Run("that cannot flush", func(t *testing.T) {
		onTunnels(t, func(t *testing.T, tr transport) {
			authority := tr.listen(t, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := tr.accept(w, r, nil)
				assert.Error(t, err)
			}), patience, ""))
			assert.Equal(t, http.StatusNotImplemented, refusedBy(t, tr, authority).Status)
		})
	})
}

// A server that is not ours lets pages pass for sockets. A client knows a page when
// it is called one; Content-Length it has to ignore (P25).
func TestXC22ThePageOfAnotherServer(t *testing.T) {
	onTunnels(t, func(t *testing.T, tr transport) {
		for contentType, refused := range map[string]bool{
			"text/html": true, "Text/HTML; charset=utf-8": true, "text/plain": false, "application/octet-stream": false,
		} {
			authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", contentType)
				_ = acceptByHand(w, r) // the client may reset the stream as soon as it sees the type
				<-r.Context().Done()
			}))
			c, resp, err := tr.tryDial(soon(t), authority, nil)
			if !refused {
				require.NoError(t, err, contentType)
				_ = c.CloseNow()
				continue
			}
			var he *websocket.HandshakeError
			require.ErrorAs(t, err, &he, contentType)
			assert.False(t, he.Remote)
			assert.Contains(t, he.Reason, "text/html")
			assert.Equal(t, http.StatusOK, resp.StatusCode)
		}
	})
}

// What middleware says about content is not said about a socket.
func TestAcceptanceSaysNothingAboutContent(t *testing.T) {
	on(t, direct(), func(t *testing.T, tr transport) {
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding"} {
				w.Header().Set(name, "1")
			}
			w.Header().Set("X-Request-Id", "42")
			if c, err := tr.accept(w, r, nil); assert.NoError(t, err) {
				_ = c.Close(r.Context(), websocket.StatusNormalClosure, "")
			}
		}))
		c, resp, err := tr.tryDial(soon(t), authority, nil)
		require.NoError(t, err)
		for name := range resp.Header {
			assert.False(t, strings.HasPrefix(name, "Content-"), name)
		}
		assert.Equal(t, "42", resp.Header.Get("X-Request-Id"))
		_, _, err = c.Read(soon(t))
		wantEnd(t, err, websocket.StatusNormalClosure, true)
	})
}
