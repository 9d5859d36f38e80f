package e2e

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
	"golang.org/x/net/http2"
)

// A backend that ends without a Close frame has failed: the client is told by
// 1012 and END, or by a reset if a frame has broken off.
func TestProxyTellsClientsOfALostBackend(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		for _, half := range []bool{false, true} {
			authority := tr.rawListen(t, func(raw rawStream) {
				p := wstest.NewServer(raw)
				f, err := p.TryNext()
				assert.NoError(t, err)
				assert.Equal(t, frame.Text, f.Opcode)
				assert.NoError(t, p.TrySend(wstest.Text("in mid-message").Fragment()))
				if half {
					_, err = raw.Write([]byte{0x80, 100, 1, 2, 3}) // a frame that breaks off
					assert.NoError(t, err)
				}
				assert.NoError(t, raw.CloseWrite())
				<-t.Context().Done()
			})
			c := tr.mustDial(t, authority, nil)
			require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("open")))
			_, _, err := c.Read(soon(t))
			if half {
				wantEnd(t, err, websocket.StatusAbnormalClosure, true)
				continue
			}
			ce := wantEnd(t, err, websocket.StatusServiceRestart, true)
			assert.Equal(t, "backend lost", ce.Reason)
		}
	})
}

// proxyOn serves a proxy to handlers by a negotiate.Server, and returns that and the
// proxy's authority.
func (tr transport) proxyOn(t testing.TB, h http.Handler) (s *negotiatedServer, authority string) {
	back := tr.hop.back
	s = serveNegotiated(t, reverseProxy(newDialer(t, back.bootstrap), back, back.listen(t, h)), tr.tls)
	return s, s.authority(tr.bootstrap)
}

// The server that is shut down with the proxy's sockets says goodbye to both
// sides.
func TestOP01ProxyShutsDown(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		ended := make(chan error, 2)
		s, authority := tr.proxyOn(t, tr.handler(t, nil, func(c *websocket.Conn) {
			_, _, err := c.Read(context.Background())
			ended <- err
		}))
		c := tr.mustDial(t, authority, nil)
		closed := begin(func() error { _, _, err := c.Read(context.Background()); return err })
		require.NoError(t, s.Shutdown(soon(t)))
		wantEnd(t, <-closed, websocket.StatusGoingAway, true)
		wantEnd(t, <-ended, websocket.StatusGoingAway, true)
	})
}

// The server's Close cuts proxied sockets on both sides.
func TestProxyServerCloseCutsBothSides(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		ended := make(chan error, 1)
		s, authority := tr.proxyOn(t, tr.handler(t, nil, func(c *websocket.Conn) {
			_, _, err := c.Read(context.Background())
			ended <- err
		}))
		c := tr.mustDial(t, authority, nil)
		require.NoError(t, s.Close())
		_, _, err := c.Read(soon(t))
		wantEnd(t, err, websocket.StatusAbnormalClosure, true)
		wantEnd(t, <-ended, websocket.StatusAbnormalClosure, true)
	})
}

// A socket on which nothing moves is ended with 1001 on both sides.
func TestProxyEndsIdleSockets(t *testing.T) {
	idle := func(p *negotiate.ReverseProxy) { p.IdleTimeout = 100 * time.Millisecond }
	onProxies(t, idle, func(t *testing.T, tr transport) {
		still := websocket.Limits{PingInterval: -1, CloseTimeout: 2 * time.Second}
		p := tr.connect(t, &websocket.AcceptOptions{Limits: still}, &websocket.DialOptions{Limits: still})
		server := begin(func() error { _, _, err := p.server.Read(context.Background()); return err })
		_, _, err := p.client.Read(soon(t))
		assert.Equal(t, "idle", wantEnd(t, err, websocket.StatusGoingAway, true).Reason)
		wantEnd(t, <-server, websocket.StatusGoingAway, true)
	})
}

// A backend that takes nothing has failed: 1011.
func TestProxyTellsClientsOfAStalledBackend(t *testing.T) {
	stall := func(p *negotiate.ReverseProxy) { p.StallTimeout, p.CloseTimeout = 200*time.Millisecond, 3*time.Second }
	onProxies(t, stall, func(t *testing.T, tr transport) {
		limits := websocket.Limits{PingInterval: -1, CloseTimeout: time.Second}
		c := tr.mustDial(t, tr.listen(t, tr.handler(t, &websocket.AcceptOptions{Limits: limits}, func(c *websocket.Conn) {
			<-t.Context().Done()
			c.CloseNow()
		})), &websocket.DialOptions{Limits: limits})
		ended := begin(func() error { _, _, err := c.Read(context.Background()); return err })
		writing, cancel := context.WithCancel(context.Background())
		defer cancel()
		wrote := begin(func() error {
			for {
				if err := c.Write(writing, websocket.MessageBinary, random(1, 1<<20)); err != nil {
					return err
				}
			}
		})
		err := <-ended
		assert.Equal(t, "backend stalled", wantEnd(t, err, websocket.StatusInternalError, true).Reason)
		cancel()
		<-wrote
	})
}

// A client that takes nothing is cut, and so is the backend's side.
func TestProxyCutsStalledClients(t *testing.T) {
	stall := func(p *negotiate.ReverseProxy) { p.StallTimeout = 200 * time.Millisecond }
	onProxies(t, stall, func(t *testing.T, tr transport) {
		ended := make(chan error, 1)
		c := tr.mustDial(t, tr.listen(t, tr.handler(t, nil, func(c *websocket.Conn) {
			for {
				if err := c.Write(soon(t), websocket.MessageBinary, random(1, 1<<20)); err != nil {
					ended <- err
					return
				}
			}
		})), &websocket.DialOptions{Limits: websocket.Limits{PingInterval: -1}})
		wantEnd(t, <-ended, websocket.StatusAbnormalClosure, true)
		require.NoError(t, c.CloseNow())
	})
}

// A connection that carries many sockets to a backend, and is lost, ends all of
// them with 1012.
func TestC9ProxyLosesABackendsConnection(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		back := tr.hop.back
		if back.bootstrap == websocket.HTTP1 {
			t.Skip("on HTTP/1.1 a socket is its connection, and the server's end of it a reset")
		}
		s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				_, _, err := c.Read(context.Background())
				assert.Error(t, err)
			}
		}), back.tls)
		events := make(chan negotiate.ProxyEvent, 6)
		at := tr.hop.via(t, s.authority(back.bootstrap), func(p *negotiate.ReverseProxy) {
			p.Observer = func(e negotiate.ProxyEvent) { events <- e }
		})
		var clients []*websocket.Conn
		for range 3 {
			clients = append(clients, tr.mustDial(t, at, nil))
			e := <-events
			assert.True(t, e.Opened && !e.Ended)
			assert.Equal(t, tr.bootstrap, e.Front)
			assert.Equal(t, back.bootstrap, e.Back)
			assert.Equal(t, back.origin(s.authority(back.bootstrap)), e.Backend)
		}
		require.NoError(t, s.Close())
		for _, c := range clients {
			_, _, err := c.Read(soon(t))
			wantEnd(t, err, websocket.StatusServiceRestart, true)
		}
		for range clients {
			e := <-events
			assert.True(t, e.Opened && e.Ended)
			assert.Error(t, e.Err)
		}
	})
}

// After a closing handshake the observer hears of no error, and of every byte.
func TestProxyObserver(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		events := make(chan negotiate.ProxyEvent, 2)
		target := tr.hop.back.listen(t, tr.handler(t, nil, echo))
		c := tr.mustDial(t, tr.hop.via(t, target, func(p *negotiate.ReverseProxy) {
			p.Observer = func(e negotiate.ProxyEvent) { events <- e }
		}), nil)
		<-events
		require.NoError(t, c.Write(soon(t), websocket.MessageBinary, random(1, 100_000)))
		wantMessage(t, c, websocket.MessageBinary, random(1, 100_000))
		require.NoError(t, c.Close(soon(t), 1000, "done"))
		e := <-events
		assert.NoError(t, e.Err)
		assert.Equal(t, c.Stats().BytesWritten, e.Up)
		assert.Equal(t, c.Stats().BytesRead, e.Down)
		assert.Positive(t, e.Duration)
		assert.Equal(t, "/socket", e.Request.URL.Path)
	})
}

// A reset is a reset on the other side, also one that TCP tells the proxy while it
// writes, and behind another proxy: never a backend that is lost in order.
func TestC11ProxyKnowsAResetWhileItWrites(t *testing.T) {
	limits := websocket.Limits{PingInterval: -1, CloseTimeout: 2 * time.Second}
	onProxies(t, nil, func(t *testing.T, tr transport) {
		accepted := make(chan *websocket.Conn, 1)
		authority := tr.listen(t, tr.handler(t, &websocket.AcceptOptions{Limits: limits}, func(c *websocket.Conn) {
			accepted <- c
			<-t.Context().Done()
		}))
		if tr.name == "h1 to h1" {
			authority = tr.hop.via(t, authority, nil)
		}
		// Each time megabytes are on their way, in both directions, that the client has
		// to read. Only TCP can tell the proxy of a reset in two ways, by a read and by a
		// write, of which it is not certain which one is first.
		times := 2
		if tr.hop.back.bootstrap == websocket.HTTP1 {
			times = 10
		}
		for range times {
			c := tr.mustDial(t, authority, &websocket.DialOptions{Limits: limits})
			server := <-accepted
			for _, ends := range (pair{server, c}).ends() {
				_ = begin(func() error {
					for {
						if err := ends[0].Write(soon(t), websocket.MessageBinary, make([]byte, 3000)); err != nil {
							return err
						}
					}
				})
			}
			for range 20 {
				_, _, err := server.Read(soon(t))
				require.NoError(t, err)
				_, _, err = c.Read(soon(t))
				require.NoError(t, err)
			}
			require.NoError(t, server.CloseNow())
			err := error(nil)
			for err == nil {
				_, _, err = c.Read(soon(t))
			}
			wantEnd(t, err, websocket.StatusAbnormalClosure, true)
		}
	})
}

// The bytes of both directions arrive as they were sent, whatever they are.
func TestProxyPassesAnyBytes(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		up, down := random(1, 700_000), random(2, 500_000)
		down[0], up[0] = 0x8f, 0x8f // unknown opcodes, whose lengths are noise as well
		arrived := make(chan struct{})
		raw := tr.rawDial(t, tr.rawListen(t, func(raw rawStream) {
			sent := begin(func() error { _, err := raw.Write(down); return err })
			got := make([]byte, len(up))
			_, err := io.ReadFull(raw, got)
			assert.NoError(t, err)
			assert.True(t, string(up) == string(got))
			assert.NoError(t, <-sent)
			close(arrived)
			<-t.Context().Done()
		}))
		sent := begin(func() error { _, err := raw.Write(up); return err })
		got := make([]byte, len(down))
		_, err := io.ReadFull(raw, got)
		require.NoError(t, err)
		assert.True(t, string(down) == string(got))
		require.NoError(t, <-sent)
		<-arrived
		require.NoError(t, raw.Abort())
	})
}

// What a client has no room for yet when both sides have ended, END included, is not
// taken back.
func TestProxyLeavesWhatTheClientHasNoRoomForYet(t *testing.T) {
	wstest.NoLeaks(t)
	front, back := transportNamed("h2c"), transportNamed("h1")
	answer := wstest.NewServer(nil).Append(nil, wstest.Binary(random(1, 9000)), wstest.Close(1000, ""))
	ended := make(chan negotiate.ProxyEvent, 2)
	p := reverseProxy(newDialer(t, back.bootstrap), back, back.rawListen(t, func(raw rawStream) {
		_, err := raw.Write(answer)
		assert.NoError(t, err)
		assert.NoError(t, raw.CloseWrite())
		_, _ = io.Copy(io.Discard, raw)
	}))
	p.Observer = func(e negotiate.ProxyEvent) { ended <- e }
	authority := front.listen(t, p)
	nc := dialTCP(t, authority, "")
	s := newH2Stream(nc)
	_, err := nc.Write([]byte(http2.ClientPreface))
	require.NoError(t, err)
	require.NoError(t, s.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}))
	received := begin(func() bool { s.receive(); return true })
	defer func() {
		nc.Close()
		<-received
	}()
	<-s.greeted
	require.NoError(t, s.headers(false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http",
		":authority", authority, ":path", "/socket", "sec-websocket-version", "13"))
	require.Equal(t, "200", <-s.opened)
	require.NoError(t, s.CloseWrite())
	for e := range ended {
		if e.Ended {
			assert.NoError(t, e.Err)
			break
		}
	}
	s.locked(func() { assert.NoError(t, s.fr.WriteWindowUpdate(1, 1<<20)) })
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	assert.True(t, string(answer) == string(got), "%d bytes", len(got))
}

// A server that is shut down says so if a proxied socket has not ended in order, as
// with its own.
func TestProxyShutdownCountsClientsThatDoNotAnswer(t *testing.T) {
	onProxies(t, nil, func(t *testing.T, tr transport) {
		back := tr.hop.back
		p := reverseProxy(newDialer(t, back.bootstrap), back, back.listen(t, tr.handler(t, nil, echo)))
		p.CloseTimeout = 100 * time.Millisecond
		s := serveNegotiated(t, p, tr.tls)
		raw := tr.hop.front.rawDial(t, s.authority(tr.bootstrap))
		var e *negotiate.ShutdownError
		require.ErrorAs(t, s.Shutdown(soon(t)), &e)
		assert.Equal(t, map[websocket.Bootstrap]int{tr.bootstrap: 1}, e.Sockets)
		_ = raw.Abort()
	})
}

// An Observer that panics costs the socket that it is told of, and no more.
func TestProxyObserverMayPanic(t *testing.T) {
	wstest.NoLeaks(t)
	tr := transportNamed("h1")
	for _, opened := range []bool{false, true} {
		p := reverseProxy(newDialer(t, websocket.HTTP1), tr, tr.listen(t, tr.handler(t, nil, echo)))
		p.Observer = func(e negotiate.ProxyEvent) {
			if e.Ended == opened {
				panic(http.ErrAbortHandler)
			}
		}
		s := serveNegotiated(t, p, false)
		c := tr.mustDial(t, s.tcp, nil)
		require.NoError(t, c.CloseNow())
		err := s.Shutdown(soon(t))
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
	}
}
