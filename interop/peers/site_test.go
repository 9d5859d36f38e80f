//go:build unix

package peers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/negotiate"
)

// patience is how long anything may take that ought to happen at once.
const patience = 30 * time.Second

// soon returns a context that lasts as long as anything may take.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A visit is what the site saw of one socket. Everything but id is complete when
// done is closed.
type visit struct {
	id        string // the client's name for it
	bootstrap websocket.Bootstrap
	request   *http.Request
	refused   error // what Accept returned
	end       error // what the conversation returned
	stats     websocket.Stats
	done      chan struct{}
}

// outcome returns why the socket was refused, or else what it ended with.
func (v *visit) outcome() error { return cmp.Or(v.refused, v.end) }

// A site is our server, which stands behind the proxy.
type site struct {
	addr   string
	server *negotiate.Server
	served chan error

	mu     sync.Mutex
	visits map[string]*visit
	came   chan struct{} // closed, and made anew, when a visit has begun

	release chan struct{} // closed when /stalled is to read
}

// newSite starts a site, with TLS if secure. conf may be nil. It is closed at the end
// of the test.
func newSite(t *testing.T, id *authority.Identity, secure bool, conf *h2connect.Server) *site {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &site{
		addr:   l.Addr().String(),
		served: make(chan error, 1),
		visits: make(map[string]*visit),
		came:   make(chan struct{}),

		release: make(chan struct{}),
	}
	s.server = &negotiate.Server{Handler: s.routes(), TLSConfig: id.ServerConfig(), HTTP2: conf, UnencryptedHTTP2: true}
	go func() { // ends with the server
		if secure {
			s.served <- s.server.ServeTLS(l, nil, "", "")
		} else {
			s.served <- s.server.Serve(l)
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, s.server.Close())
		assert.ErrorIs(t, <-s.served, http.ErrServerClosed)
	})
	return s
}

// A conversation is what the site does with a socket. It returns what that ended
// with. The context is not the request's, which ends with the stream: a read that
// begins after that tells of the context, and not of how the socket ended.
type conversation func(ctx context.Context, c *websocket.Conn, r *http.Request) error

func (s *site) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", s.accept(echo))
	mux.HandleFunc("/pieces", s.accept(pieces))
	mux.HandleFunc("/pings", s.accept(pings))
	mux.HandleFunc("/close", s.accept(closeAsAsked))
	mux.HandleFunc("/cut", s.accept(cut))
	mux.HandleFunc("/stalled", s.accept(s.stalled))
	mux.HandleFunc("/forbidden", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "as asked", http.StatusForbidden)
	})
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	return mux
}

// accept returns a handler that accepts a socket, converses, and keeps record.
func (s *site) accept(talk conversation) http.HandlerFunc {
	o := &websocket.AcceptOptions{
		Subprotocols: []string{"second"},
		Compression:  compression(),
		Limits:       websocket.Limits{Message: 16 << 20},
	}
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{id: r.URL.Query().Get("id"), request: r, done: make(chan struct{})}
		defer close(v.done)
		s.mu.Lock()
		s.visits[v.id] = v
		close(s.came)
		s.came = make(chan struct{})
		s.mu.Unlock()
		c, err := negotiate.Accept(w, r, o)
		if err != nil {
			v.refused = err
			return
		}
		defer c.CloseNow()
		v.bootstrap = c.Bootstrap()
		v.end = talk(context.WithoutCancel(r.Context()), c, r)
		v.stats = c.Stats()
	}
}

// visit waits until the socket that the client calls id has ended at the site, and
// returns what the site saw of it.
func (s *site) visit(t *testing.T, id string) *visit {
	ctx := soon(t)
	for {
		s.mu.Lock()
		v, came := s.visits[id], s.came
		s.mu.Unlock()
		if v != nil {
			came = v.done
		}
		select {
		case <-came:
		case <-ctx.Done():
			require.FailNow(t, "the server has not seen the end of a socket", "it has seen its beginning: %t", v != nil)
		}
		if v != nil {
			return v
		}
	}
}

// compression is everything there is, for messages of every size.
func compression() *websocket.Compression {
	return &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true, Threshold: -1, Level: 7}
}

// echo sends every message back.
func echo(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, kind, p); err != nil {
			return err
		}
	}
}

// pieces sends every message back in fragments, with Pings between them.
func pieces(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := writePieces(ctx, c, kind, p); err != nil {
			return err
		}
	}
}

// writePieces writes p in fragments of 20,000 bytes, a Ping behind every third, and
// an empty one at the end.
func writePieces(ctx context.Context, c *websocket.Conn, kind websocket.MessageType, p []byte) error {
	w, err := c.Writer(ctx, kind)
	if err != nil {
		return err
	}
	for i := 0; len(p) > 0; i++ {
		n := min(20_000, len(p))
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		if p = p[n:]; i%3 == 2 {
			if err := c.Ping(ctx); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// pings sends Pings, each of which returns when its own Pong is here, then a
// message, and then echoes.
func pings(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	for range 10 {
		if err := c.Ping(ctx); err != nil {
			return err
		}
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("10 pongs")); err != nil {
		return err
	}
	return echo(ctx, c, r)
}

// closeAsAsked closes with the code and the reason of the query.
func closeAsAsked(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil {
		return err
	}
	return c.Close(ctx, websocket.StatusCode(code), r.URL.Query().Get("reason"))
}

// stalledMessages is how many messages stalled reads.
const stalledMessages = 16

// stalled reads nothing until it is told to, then as many messages as it is meant to
// get, and answers with the SHA-256 of them all. It does not answer before: HAProxy,
// with HTTP/2 in front, reads no WINDOW_UPDATE behind data that it has no room for.
func (s *site) stalled(ctx context.Context, c *websocket.Conn, r *http.Request) error {
	<-s.release // the test closes it in any case
	sum := sha256.New()
	for range stalledMessages {
		_, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		sum.Write(p)
	}
	if err := c.Write(ctx, websocket.MessageBinary, sum.Sum(nil)); err != nil {
		return err
	}
	return echo(ctx, c, r)
}

// cut ends the socket without a word, when it has had one.
func cut(ctx context.Context, c *websocket.Conn, _ *http.Request) error {
	if _, _, err := c.Read(ctx); err != nil {
		return err
	}
	return c.CloseNow()
}

// wantClosed wants err to be the end by the peer's Close frame.
func wantClosed(t *testing.T, err error, code websocket.StatusCode, reason string) {
	t.Helper()
	ce, ok := errors.AsType[*websocket.CloseError](err)
	if assert.True(t, ok, "%v", err) {
		assert.Equal(t, code, ce.Code)
		assert.Equal(t, reason, ce.Reason)
		assert.True(t, ce.Remote, "%v", err)
	}
}

// wantCut wants err to be an end without a Close frame, by the peer.
func wantCut(t *testing.T, err error) {
	t.Helper()
	wantClosed(t, err, websocket.StatusAbnormalClosure, "")
}
