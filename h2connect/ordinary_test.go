package h2connect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ordinary is a handler with a path for each thing that net/http promises.
func ordinary() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<p>hello") })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("/none", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Length", strconv.FormatInt(r.ContentLength, 10))
		w.WriteHeader(200)
		rc := http.NewResponseController(w)
		rc.Flush()
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			rc.Flush()
			if err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "content")
		w.Header().Set("X-Sum", "request:"+r.Trailer.Get("X-Request"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "after")
	})
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic("the handler's") })
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "ten bytes.")
	})
	mux.HandleFunc("/ignore", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })
	return mux
}

// The same promises are kept to net/http's client and to ours.
func clients(t *testing.T, test func(t *testing.T, c *http.Client, s *testServer)) {
	for _, kind := range []string{"net/http client", "our client"} {
		t.Run(kind, func(t *testing.T) {
			s := startTLS(t, nil, ordinary())
			c := goClient(t)
			if kind == "our client" {
				c = &http.Client{Transport: testTransport(t)}
			}
			test(t, c, s)
		})
	}
}

func TestSmallResponseIsWholeTypedDatedAndCounted(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		resp, err := c.Get(s.url("/hello"))
		require.NoError(t, err)
		assert.Equal(t, "<p>hello", readAll(t, resp.Body))
		assert.Equal(t, 2, resp.ProtoMajor)
		assert.EqualValues(t, 8, resp.ContentLength)
		assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
		_, err = http.ParseTime(resp.Header.Get("Date"))
		assert.NoError(t, err)
		require.NotNil(t, resp.TLS)
	})
}

func TestResponsesWithoutContent(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		resp, err := c.Head(s.url("/hello"))
		require.NoError(t, err)
		assert.Equal(t, "", readAll(t, resp.Body))
		assert.EqualValues(t, 8, resp.ContentLength)
		resp, err = c.Get(s.url("/empty"))
		require.NoError(t, err)
		assert.Equal(t, "", readAll(t, resp.Body))
		assert.EqualValues(t, 0, resp.ContentLength)
		resp, err = c.Get(s.url("/none"))
		require.NoError(t, err)
		assert.Equal(t, 204, resp.StatusCode)
		assert.Equal(t, "", readAll(t, resp.Body))
		assert.Empty(t, resp.Header.Get("Content-Length"))
	})
}

func TestContentIsStreamedBothWays(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		r, w := io.Pipe()
		req, _ := http.NewRequest("POST", s.url("/echo"), r)
		resp, err := c.Do(req)
		require.NoError(t, err)
		buf := make([]byte, 16)
		for i := range 10 {
			msg := fmt.Sprintf("message %d", i)
			_, err := io.WriteString(w, msg)
			require.NoError(t, err)
			_, err = io.ReadFull(resp.Body, buf[:len(msg)])
			require.NoError(t, err)
			assert.Equal(t, msg, string(buf[:len(msg)]))
		}
		w.Close()
		assert.Equal(t, "", readAll(t, resp.Body))
	})
}

func TestLargeContentPassesTheWindows(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		content := make([]byte, 5<<20)
		for i := range content {
			content[i] = byte(i * 7 >> 3)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				resp, err := c.Post(s.url("/echo"), "x/y", bytes.NewReader(content))
				if !assert.NoError(t, err) {
					return
				}
				sum := sha256.New()
				_, err = io.Copy(sum, resp.Body)
				assert.NoError(t, err)
				resp.Body.Close()
				want := sha256.Sum256(content)
				assert.Equal(t, want[:], sum.Sum(nil))
				assert.Equal(t, strconv.Itoa(len(content)), resp.Header.Get("X-Length"))
			})
		}
		all.Wait()
	})
}

func TestTrailersBothWays(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		req, _ := http.NewRequest("POST", s.url("/trailers"), io.NopCloser(strings.NewReader("content")))
		req.Trailer = http.Header{"X-Request": {"from the client"}}
		resp, err := c.Do(req)
		require.NoError(t, err)
		assert.Equal(t, "content", readAll(t, resp.Body))
		assert.Equal(t, "request:from the client", resp.Trailer.Get("X-Sum"))
		assert.Equal(t, "late", resp.Trailer.Get("X-Late"))
	})
}

func TestInformationalResponses(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		var hints []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		}}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", s.url("/early"), nil)
		resp, err := c.Do(req)
		require.NoError(t, err)
		assert.Equal(t, "after", readAll(t, resp.Body))
		assert.Equal(t, []string{"103 </style.css>"}, hints)
	})
}

func TestExpectContinue(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		var asked atomic.Bool
		trace := &httptrace.ClientTrace{Got100Continue: func() { asked.Store(true) }}
		ctx := httptrace.WithClientTrace(context.Background(), trace)
		req, _ := http.NewRequestWithContext(ctx, "POST", s.url("/trailers"), strings.NewReader("wanted"))
		req.Header.Set("Expect", "100-continue")
		resp, err := c.Do(req)
		require.NoError(t, err)
		readAll(t, resp.Body)
		assert.True(t, asked.Load(), "reading the content asks for it")
	})
}

func TestPanicsCostTheStreamOnly(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		_, err := c.Get(s.url("/panic"))
		require.ErrorContains(t, err, "INTERNAL_ERROR")
		assert.Contains(t, s.log.String(), "the handler's")
		before := s.log.String()
		_, err = c.Get(s.url("/abort"))
		require.Error(t, err)
		assert.Equal(t, before, s.log.String(), "http.ErrAbortHandler is quiet")
		resp, err := c.Get(s.url("/hello"))
		require.NoError(t, err)
		readAll(t, resp.Body)
	})
}

func TestResponseShorterThanPromisedDoesNotLookWhole(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		resp, err := c.Get(s.url("/short"))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		require.Error(t, err)
	})
}

func TestResponseBeforeTheContentIsRead(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		for range 20 {
			resp, err := c.Post(s.url("/ignore"), "x/y", bytes.NewReader(make([]byte, 1<<20)))
			require.NoError(t, err)
			assert.Equal(t, 403, resp.StatusCode)
			readAll(t, resp.Body)
		}
	})
}

func TestCancelledRequestCancelsTheHandler(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	}))
	c := &http.Client{Transport: testTransport(t)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-started
		cancel()
	}()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.url("/"), nil)
	_, err := c.Do(req)
	require.ErrorIs(t, err, context.Canceled)
	var se *StreamError
	require.ErrorAs(t, <-ended, &se)
	assert.True(t, se.Remote)
	assert.Equal(t, "CANCEL", se.Code.String())
}

func TestManyRequestsAtOnce(t *testing.T) {
	clients(t, func(t *testing.T, c *http.Client, s *testServer) {
		var all sync.WaitGroup
		for i := range 300 {
			all.Go(func() {
				resp, err := c.Post(s.url("/echo"), "x/y", strings.NewReader(strings.Repeat("x", i*100)))
				if !assert.NoError(t, err) {
					return
				}
				p, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				assert.NoError(t, err)
				assert.Len(t, p, i*100)
			})
		}
		all.Wait()
	})
}

func TestDeadlinesOfAResponseMayMove(t *testing.T) {
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.SetReadDeadline(time.Now().Add(-time.Second))
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprintln(w, errors.Is(err, context.DeadlineExceeded) || err.Error() == "i/o timeout")
		rc.SetReadDeadline(time.Time{})
		p, err := io.ReadAll(r.Body)
		fmt.Fprintln(w, string(p), err)
	}))
	c := &http.Client{Transport: testTransport(t)}
	resp, err := c.Post(s.url("/"), "x/y", strings.NewReader("content"))
	require.NoError(t, err)
	assert.Equal(t, "true\ncontent <nil>\n", readAll(t, resp.Body))
}

func TestCleartextPriorKnowledge(t *testing.T) {
	s := startCleartext(t, nil, ordinary())
	ours := &http.Client{Transport: testTransport(t)}
	theirs := &http.Transport{Protocols: new(http.Protocols)}
	theirs.Protocols.SetUnencryptedHTTP2(true)
	defer theirs.CloseIdleConnections()
	for _, c := range []*http.Client{ours, {Transport: theirs}} {
		resp, err := c.Post("http://"+s.addr+"/echo", "x/y", strings.NewReader("content"))
		require.NoError(t, err)
		assert.Equal(t, "content", readAll(t, resp.Body))
		assert.Equal(t, 2, resp.ProtoMajor)
	}
	resp, err := http.Get("http://" + s.addr + "/hello")
	require.NoError(t, err)
	readAll(t, resp.Body)
	assert.Equal(t, 1, resp.ProtoMajor, "HTTP/1.1 lives on beside it")
	http.DefaultClient.CloseIdleConnections()
}

// A read that finds the end may go on beside another goroutine's SetReadDeadline.
func TestReadAtTheEndBesideADeadline(t *testing.T) {
	ended := make(chan struct{})
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-ended
		var both sync.WaitGroup
		both.Go(func() {
			assert.NoError(t, http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Hour)))
		})
		_, err := r.Body.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
		both.Wait()
	}))
	p.greet()
	p.headers(1, false, with(get("/"), ":method", "POST")...)
	p.fr.WriteData(1, true, nil)
	p.wantAlive("the end has come")
	close(ended)
	p.wantStatus(1, "200", true, "")
}
