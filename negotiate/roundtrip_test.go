package negotiate_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A sendingHTTP3 sends a request that is not processed, and finds no other connection
// for it.
type sendingHTTP3 struct{ scriptedHTTP3 }

func (*sendingHTTP3) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.ReadFull(r.Body, make([]byte, 3))
	_ = r.Body.Close()
	return nil, websocket.ErrNotSupported
}

// A request whose content has been sent once is sent over TCP with all of it, or not at
// all. All contents are closed.
func TestContentOfAnotherAttempt(t *testing.T) {
	wstest.NoLeaks(t)
	s := start(t, &negotiate.Server{Handler: handler(t)}, true)
	for name, c := range map[string]struct {
		url    string
		policy negotiate.Policy
		again  bool
		want   string
		open   int32 // contents that were opened
	}{
		"again":      {"https://" + s.addr + "/", negotiate.Prefer(websocket.HTTP3), true, "HTTP/2.0 content", 2},
		"spent":      {"https://" + s.addr + "/", negotiate.Prefer(websocket.HTTP3), false, "", 1},
		"no attempt": {"http://" + s.addr + "/", negotiate.Only(websocket.HTTP3), true, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var opened atomic.Int32
			closed := make(chan struct{}, c.open) // RoundTrip may leave that to a goroutine
			content := func() (io.ReadCloser, error) {
				opened.Add(1)
				return &countedContent{Reader: strings.NewReader("content"), closed: closed}, nil
			}
			d := &negotiate.Dialer{TLSClientConfig: s.client, HTTP3: new(sendingHTTP3), HeadStart: -1, Policy: c.policy}
			defer d.Close()
			body, _ := content()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, body)
			require.NoError(t, err)
			if c.again {
				req.GetBody = content
			}
			resp, err := d.RoundTrip(req)
			if c.want == "" {
				assert.ErrorIs(t, err, websocket.ErrNotSupported)
			} else if assert.NoError(t, err) {
				p, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				assert.NoError(t, resp.Body.Close())
				assert.Equal(t, c.want, string(p))
			}
			require.NoError(t, d.Close())
			assert.Equal(t, c.open, opened.Load())
			for range c.open {
				<-closed
			}
		})
	}
}

// A countedContent says when it is closed.
type countedContent struct {
	io.Reader
	is     atomic.Bool
	closed chan<- struct{}
}

func (c *countedContent) Close() error {
	if !c.is.Swap(true) {
		c.closed <- struct{}{}
	}
	return nil
}

// A lateHTTP3 fails, and leaves the content of its request to somebody else.
type lateHTTP3 struct {
	scriptedHTTP3
	content io.Closer
}

func (l *lateHTTP3) RoundTrip(r *http.Request) (*http.Response, error) {
	l.content = r.Body
	return nil, io.ErrUnexpectedEOF
}

type closedContent struct {
	io.Reader
	times int
}

func (c *closedContent) Close() error { c.times++; return nil }

// A request's content is closed once, also if what has failed closes it only then.
func TestContentIsClosedOnce(t *testing.T) {
	h3, content := new(lateHTTP3), new(closedContent)
	d := &negotiate.Dialer{HTTP3: h3, Policy: negotiate.Only(websocket.HTTP3)}
	defer d.Close()
	req, err := http.NewRequest(http.MethodPost, "https://server.example/", content)
	require.NoError(t, err)
	_, err = d.RoundTrip(req)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, h3.content.Close())
	assert.Equal(t, 1, content.times)
}
