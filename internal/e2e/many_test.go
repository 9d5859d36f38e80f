package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
)

// A crowd is many sockets to one server.
type crowd struct {
	name        string
	transport   string
	sockets     int
	connections int // for the sockets and the requests beside them
}

// A Transport of h3connect puts 80 sockets on one connection: servers commonly
// allow 100 streams, and requests need some.
var crowds = []crowd{
	{"1000 sockets on one h2 connection", "h2", 1000, 1},
	{"250 sockets on one h2c connection", "h2c", 250, 1},
	{"80 sockets on one h3 connection", "h3", 80, 1},
	{"100 sockets on two h3 connections", "h3", 100, 2},
	{"50 sockets on 50 h1 connections", "h1", 50, 50},
}

// Many sockets that all talk, and ordinary requests beside them, share as few
// connections as their transport allows; when one is aborted the others do not
// notice.
func TestManySocketsBesideOrdinaryRequests(t *testing.T) {
	for _, c := range crowds {
		t.Run(c.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			tr := transportNamed(c.transport)
			var opened atomic.Int32
			d := tr.sharing(t, &opened)
			authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/ordinary" {
					io.Copy(w, r.Body)
					return
				}
				ws, err := tr.accept(w, r, &websocket.AcceptOptions{Limits: quick})
				if assert.NoError(t, err) {
					echo(ws)
				}
			}))
			conns := openCrowd(t, c.sockets, d.dial, tr.url(authority))
			var all sync.WaitGroup
			for i, ws := range conns {
				all.Go(func() { converse(t, ws, i, 3) })
				if d.requests != nil && i%10 == 0 {
					all.Go(func() { post(t, d.requests, tr.origin(authority), fmt.Sprint("body ", i)) })
				}
			}
			all.Wait()
			require.NoError(t, conns[0].CloseNow())
			for i, ws := range conns[1:] {
				all.Go(func() {
					converse(t, ws, i+1, 1)
					assert.NoError(t, ws.Close(soon(t), 1000, ""))
				})
			}
			all.Wait()
			assert.EqualValues(t, c.connections, opened.Load(), "connections")
		})
	}
}

// A sharer dials sockets and sends requests on connections that they share, where
// the transport can.
type sharer struct {
	dial     dialFunc
	requests http.RoundTripper // nil where they have connections of their own
}

// sharing returns a client that counts the connections that it opens.
func (tr transport) sharing(t testing.TB, opened *atomic.Int32) sharer {
	_, config := wstest.Certificates()
	switch tr.bootstrap {
	case websocket.HTTP1:
		return sharer{func(ctx context.Context, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
			o.DialContext, o.TLSClientConfig = counting(opened), config
			return h1upgrade.Dial(ctx, url, o)
		}, nil}
	case websocket.HTTP2:
		h2 := &h2connect.Transport{TLSClientConfig: config, AllowHTTP: true, DialContext: counting(opened), Limits: hasty}
		t.Cleanup(h2.CloseIdleConnections)
		return sharer{h2.Dial, h2}
	}
	config.VerifyConnection = func(tls.ConnectionState) error { // of every handshake
		opened.Add(1)
		return nil
	}
	h3 := &h3connect.Transport{TLSClientConfig: config}
	t.Cleanup(func() { assert.NoError(t, h3.Close()) })
	return sharer{h3.Dial, h3}
}

// openCrowd opens the first socket alone, and then the others at once.
func openCrowd(t testing.TB, n int, dial dialFunc, url string) []*websocket.Conn {
	t.Helper()
	conns := make([]*websocket.Conn, n)
	open := func(i int) {
		ws, _, err := dial(soon(t), url, &websocket.DialOptions{Limits: quick})
		if assert.NoError(t, err) {
			conns[i] = ws
		}
	}
	open(0)
	var all sync.WaitGroup
	for i := 1; i < n; i++ {
		all.Go(func() { open(i) })
	}
	all.Wait()
	require.False(t, t.Failed())
	return conns
}

// converse sends messages that are socket i's alone, and wants them back.
func converse(t testing.TB, c *websocket.Conn, i, messages int) {
	for n := range messages {
		want := string(random(byte(i), 10+1000*n))
		if !assert.NoError(t, c.Write(soon(t), websocket.MessageBinary, []byte(want))) {
			return
		}
		_, got, err := c.Read(soon(t))
		if !assert.NoError(t, err) || !assert.True(t, want == string(got), "another socket's message") {
			return
		}
	}
}

// post sends an ordinary request whose body comes back.
func post(t testing.TB, rt http.RoundTripper, origin, body string) {
	req, err := http.NewRequestWithContext(soon(t), http.MethodPost, origin+"/ordinary", strings.NewReader(body))
	if !assert.NoError(t, err) {
		return
	}
	resp, err := rt.RoundTrip(req)
	if !assert.NoError(t, err) {
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	assert.NoError(t, err)
	assert.Equal(t, body, string(got))
}

// A hundred sockets on one QUIC connection, opened by a client that is not ours,
// beside ordinary requests on it.
func TestHundredSocketsOnOneHTTP3Connection(t *testing.T) {
	wstest.NoLeaks(t)
	const count = 100
	server, client := wstest.Certificates()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	srv := &h3connect.Server{QUICConfig: &quic.Config{MaxIncomingStreams: count + 20}}
	served := begin(func() error {
		return srv.Serve(pc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ordinary" {
				io.Copy(w, r.Body)
				return
			}
			c, err := h3connect.Accept(w, r, nil)
			if assert.NoError(t, err) {
				echo(c)
			}
		}), server)
	})
	defer func() {
		assert.NoError(t, srv.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	}()
	client.NextProtos = []string{http3.NextProtoH3}
	qc, err := quic.DialAddr(soon(t), pc.LocalAddr().String(), client, nil)
	require.NoError(t, err)
	cc := new(http3.Transport).NewClientConn(qc)
	defer cc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")

	origin := "https://" + pc.LocalAddr().String()
	var peers []*wstest.Peer
	for range count {
		peers = append(peers, wstest.NewClient(openH3(t, cc, origin)))
	}
	for i, p := range peers {
		p.Send(t, wstest.Text(fmt.Sprint("socket ", i)))
		if i%10 == 0 {
			post(t, cc, origin, fmt.Sprint("body ", i))
		}
	}
	for i, p := range peers {
		p.WantFrame(t, frame.Text, fmt.Sprint("socket ", i), "its own")
		p.Send(t, wstest.Close(1000, ""))
	}
	for _, p := range peers {
		p.WantClose(t, 1000, "the answer")
		p.WantEOF(t, "END")
	}
}
