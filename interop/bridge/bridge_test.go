package bridge

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/negotiate"
)

// patience bounds what happens on loopback unless something is wrong.
const patience = 30 * time.Second

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A site is a library's server behind a Bridge, on all three versions of HTTP.
type site struct {
	tcp, udp string // authorities
	ended    chan error
	remotes  sync.Map // addresses of clients
}

// serve serves a library until the test ends.
func serve(t *testing.T, l library) *site {
	s := &site{ended: make(chan error, 100)}
	mux := http.NewServeMux()
	for _, do := range []what{doEcho, doClose, doCut} {
		mux.HandleFunc("GET /"+string(do), func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "HTTP/1.1", r.Proto)
			s.remotes.Store(r.RemoteAddr, true)
			s.ended <- l.serve(w, r, do)
		})
	}
	s.listen(t, mux)
	return s
}

// serveAt serves a library at one route.
func serveAt(t *testing.T, l library, route string, do what) *site {
	s := new(site)
	mux := http.NewServeMux()
	mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) { _ = l.serve(w, r, do) })
	s.listen(t, mux)
	return s
}

// listen serves h behind a Bridge until the test ends.
func (s *site) listen(t *testing.T, h http.Handler) {
	config, _ := wstest.Certificates()
	srv := &negotiate.Server{Handler: negotiate.Bridge(h), TLSConfig: config, HTTP3: new(h3connect.Server)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s.tcp, s.udp = ln.Addr().String(), pc.LocalAddr().String()
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, pc, "", "") }()
	t.Cleanup(func() {
		_ = srv.Close()
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

// A client opens sockets by one bootstrap.
type client struct {
	*negotiate.Dialer
	site      *site
	library   library
	bootstrap websocket.Bootstrap
}

func newClient(t *testing.T, s *site, l library, b websocket.Bootstrap) *client {
	_, config := wstest.Certificates()
	h3 := &h3connect.Transport{TLSClientConfig: config}
	d := &negotiate.Dialer{TLSClientConfig: config, HTTP3: h3, Policy: negotiate.Only(b)}
	t.Cleanup(func() {
		d.CloseIdleConnections()
		assert.NoError(t, h3.Close())
	})
	return &client{d, s, l, b}
}

func (c *client) open(t *testing.T, do what, o *websocket.DialOptions) (*websocket.Conn, *http.Response) {
	t.Helper()
	if o == nil {
		o = new(websocket.DialOptions)
	}
	o.Limits.Message = most
	authority := c.site.tcp
	if c.bootstrap == websocket.HTTP3 {
		authority = c.site.udp
	}
	// x/net's server wants an Origin.
	o.Header = http.Header{"Origin": {"https://" + authority}}
	conn, resp, err := c.Dial(soon(t), "wss://"+authority+"/"+string(do), o)
	require.NoError(t, err)
	require.Equal(t, c.bootstrap, conn.Bootstrap())
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, resp
}

func wantEcho(t *testing.T, c *websocket.Conn, kind websocket.MessageType, p []byte) {
	t.Helper()
	ctx := soon(t)
	sent := make(chan error, 1)
	go func() { sent <- c.Write(ctx, kind, p) }() // ends with ctx at the latest
	back, q, err := c.Read(ctx)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	require.Equal(t, kind, back)
	require.True(t, bytes.Equal(p, q), "%d bytes came back as %d, or changed", len(p), len(q))
}

// text returns n bytes that compress.
func text(n int) []byte { return bytes.Repeat([]byte("text and "), n/9+1)[:n] }

// each runs a test with every library by every bootstrap; HTTP/1.1, which Bridge
// does not touch, shows that the expectation is right.
func each(t *testing.T, test func(t *testing.T, l library, c *client)) {
	for _, l := range libraries {
		s := serve(t, l)
		for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3} {
			t.Run(l.name+" over "+b.String(), func(t *testing.T) { test(t, l, newClient(t, s, l, b)) })
		}
	}
}

func TestShortMatrix(t *testing.T) {
	each(t, func(t *testing.T, l library, c *client) {
		row := l.row(c.bootstrap)
		row.Run(t, matrix.Bootstrap, func(t *testing.T) {
			conn, resp := c.open(t, doEcho, &websocket.DialOptions{Subprotocols: []string{"first", "second"}})
			assert.Equal(t, "second", conn.Subprotocol())
			assert.Equal(t, []string{"a=b"}, resp.Header["Set-Cookie"])
			wantEcho(t, conn, websocket.MessageText, []byte("through"))
			c.end(t, conn)
		})
		row.Run(t, matrix.Echo, func(t *testing.T) {
			conn, _ := c.open(t, doEcho, nil)
			for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
				wantEcho(t, conn, websocket.MessageBinary, text(n))
				wantEcho(t, conn, websocket.MessageText, text(n))
			}
			c.end(t, conn)
		})
		row.Run(t, matrix.Fragments, func(t *testing.T) {
			if l.name == "x-net" {
				row.Record(t, matrix.Fragments, matrix.None)
				t.Skip("x/net/websocket does not put fragments together")
			}
			conn, _ := c.open(t, doEcho, nil)
			w, err := conn.Writer(soon(t), websocket.MessageBinary)
			require.NoError(t, err)
			p := text(400_000)
			for rest := p; len(rest) > 0; rest = rest[min(20_000, len(rest)):] {
				_, err := w.Write(rest[:min(20_000, len(rest))])
				require.NoError(t, err)
			}
			require.NoError(t, w.Close())
			_, q, err := conn.Read(soon(t))
			require.NoError(t, err)
			assert.True(t, bytes.Equal(p, q))
			c.end(t, conn)
		})
		row.Run(t, matrix.Ping, func(t *testing.T) {
			conn, _ := c.open(t, doEcho, nil)
			for range 10 {
				require.NoError(t, conn.Ping(soon(t)))
			}
			c.end(t, conn)
		})
		row.Run(t, matrix.Deflate, func(t *testing.T) {
			conn, resp := c.open(t, doEcho, &websocket.DialOptions{Compression: &websocket.Compression{
				ServerContextTakeover: true, ClientContextTakeover: true, Threshold: -1,
			}})
			assert.Equal(t, l.deflate, strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate"))
			if l.deflate {
				for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
					wantEcho(t, conn, websocket.MessageText, text(n))
				}
				s := conn.Stats()
				assert.Less(t, s.CompressedWritten, s.DeflatedWritten/5)
				assert.Positive(t, s.CompressedRead)
			} else {
				row.Record(t, matrix.Deflate, matrix.None) // as it is used here
			}
			c.end(t, conn)
		})
		row.Run(t, matrix.CloseClient, func(t *testing.T) {
			conn, _ := c.open(t, doEcho, nil)
			reason := strings.Repeat("why ", 30) + "not"
			err := conn.Close(soon(t), endCode, reason)
			ended := <-c.site.ended
			if l.silent {
				row.Record(t, matrix.CloseClient, "silent") // x/net/websocket neither tells nor answers
				return
			}
			require.NoError(t, err)
			assert.ErrorContains(t, ended, fmt.Sprint(endCode))
			assert.ErrorContains(t, ended, reason)
		})
		row.Run(t, matrix.CloseServer, func(t *testing.T) {
			conn, _ := c.open(t, doClose, nil)
			require.NoError(t, conn.Write(soon(t), websocket.MessageText, []byte("now")))
			_, _, err := conn.Read(soon(t))
			var ce *websocket.CloseError
			require.ErrorAs(t, err, &ce)
			assert.EqualValues(t, endCode, ce.Code)
			<-c.site.ended
			if l.silent {
				row.Record(t, matrix.CloseServer, "no reason") // x/net/websocket can send none
				return
			}
			assert.Equal(t, endReason, ce.Reason)
		})
		row.Run(t, matrix.ResetClient, func(t *testing.T) {
			conn, _ := c.open(t, doEcho, nil)
			wantEcho(t, conn, websocket.MessageText, []byte("still here"))
			require.NoError(t, conn.CloseNow())
			assert.Error(t, <-c.site.ended)
		})
		row.Run(t, matrix.ResetServer, func(t *testing.T) {
			conn, _ := c.open(t, doCut, nil)
			require.NoError(t, conn.Write(soon(t), websocket.MessageText, []byte("now")))
			_, _, err := conn.Read(soon(t))
			var ce *websocket.CloseError
			require.ErrorAs(t, err, &ce)
			assert.Equal(t, websocket.StatusAbnormalClosure, ce.Code)
			<-c.site.ended
		})
		row.Run(t, matrix.Twenty, func(t *testing.T) {
			c.site.remotes.Clear()
			var all []*websocket.Conn
			for range 20 {
				conn, _ := c.open(t, doEcho, nil)
				all = append(all, conn)
			}
			var wg sync.WaitGroup
			for i, conn := range all {
				wg.Go(func() {
					for j := range 20 {
						wantEcho(t, conn, websocket.MessageBinary, text(1+i+j*797))
					}
				})
			}
			wg.Wait()
			for _, conn := range all {
				c.end(t, conn)
			}
			carriers := 0
			c.site.remotes.Range(func(any, any) bool { carriers++; return true })
			if c.bootstrap == websocket.HTTP1 {
				assert.Equal(t, 20, carriers)
			} else {
				assert.Equal(t, 1, carriers)
			}
		})
	})
}

// end closes a socket from the client's side and waits for the server's handler.
func (c *client) end(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	err := conn.Close(soon(t), websocket.StatusNormalClosure, "")
	if !c.library.silent {
		assert.NoError(t, err)
	}
	select {
	case <-c.site.ended:
	case <-soon(t).Done():
		t.Error("the handler did not return")
	}
}

// A library refuses what it would over HTTP/1.1, with the same status.
func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, l library, c *client) {
		authority := c.site.tcp
		if c.bootstrap == websocket.HTTP3 {
			authority = c.site.udp
		}
		_, _, err := c.Dial(soon(t), "wss://"+authority+"/nowhere", nil)
		var he *websocket.HandshakeError
		require.ErrorAs(t, err, &he)
		assert.Equal(t, http.StatusNotFound, he.Status)
		if l.name != "gorilla" && l.name != "coder" {
			return // the others leave the origin to their user
		}
		_, _, err = c.Dial(soon(t), "wss://"+authority+"/echo", &websocket.DialOptions{
			Header: http.Header{"Origin": {"https://evil.example"}},
		})
		require.ErrorAs(t, err, &he)
		assert.Equal(t, http.StatusForbidden, he.Status)
		assert.Error(t, <-c.site.ended)
	})
}
