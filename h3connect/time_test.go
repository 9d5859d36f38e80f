package h3connect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestH3_15BlockedUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		tr := bubbleTransport(t, n)
		start := time.Now()
		_, _, err := tr.Dial(context.Background(), "wss://"+serverHost+"/", nil)
		require.Error(t, err)
		require.ErrorIs(t, err, websocket.ErrNotSupported, "another bootstrap may work")
		require.LessOrEqual(t, time.Since(start), 10*time.Second)

		start = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _, err = tr.Dial(ctx, "wss://"+serverHost+"/", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))

		start = time.Now()
		r, err := http.NewRequest(http.MethodGet, "https://"+serverHost+"/", nil)
		require.NoError(t, err)
		_, err = tr.RoundTrip(r)
		require.Error(t, err)
		require.LessOrEqual(t, time.Since(start), 10*time.Second, "an ordinary request does not hang either")
	})
}

// TestH3_16IdleTimeout: the other side falls silent.
func TestH3_16IdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := newAccepted()
		bubbleServer(t, n, new(Server), a)
		defer close(a.release)
		off := websocket.Limits{PingInterval: -1}
		c := bubbleDial(t, bubbleTransport(t, n), &websocket.DialOptions{Limits: off})
		synctest.Wait()
		n.setCut(true)
		start := time.Now()
		_, _, err := c.Read(context.Background())
		require.InDelta(t, defaultMaxIdle, time.Since(start), float64(20*time.Second))
		cause := want1006(t, err)
		ce, ok := errors.AsType[*ConnError](cause)
		require.True(t, ok)
		require.True(t, ce.Remote)
		_, ok = errors.AsType[*quic.IdleTimeoutError](cause)
		require.True(t, ok)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// serveRaw serves the first connection to serverHost by hand, until stop. A server
// that follows with the same key resets the connections that it does not know.
func serveRaw(t *testing.T, n *network, key *quic.StatelessResetKey, serve func(p *rawPeer)) (stop func()) {
	server, _ := wstest.Certificates()
	server.NextProtos = []string{http3.NextProtoH3}
	h := n.host(serverHost)
	tr := &quic.Transport{Conn: h, StatelessResetKey: key}
	ln, err := tr.Listen(server, nil)
	require.NoError(t, err)
	go func() {
		qc, err := ln.Accept(context.Background())
		if err != nil {
			return
		}
		p := &rawPeer{t: t, qc: qc}
		p.openControl(socketSettings())
		serve(p)
	}()
	return func() {
		assert.NoError(t, tr.Close())
		assert.NoError(t, h.Close())
	}
}

// TestH3_16StatelessReset: the server has forgotten the connection.
func TestH3_16StatelessReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var key quic.StatelessResetKey
		stop := serveRaw(t, n, &key, func(p *rawPeer) {
			str, _ := p.acceptStream()
			str.send(headersFrame(":status: 200"))
		})
		c := bubbleDial(t, bubbleTransport(t, n), nil)
		synctest.Wait()
		stop()

		defer serveRaw(t, n, &key, nil)()
		require.NoError(t, c.Write(context.Background(), websocket.MessageText, bytes.Repeat([]byte("x"), 200)))
		_, _, err := c.Read(context.Background())
		cause := want1006(t, err)
		_, ok := errors.AsType[*quic.StatelessResetError](cause)
		require.True(t, ok, "%v", cause)
	})
}

// A server that has forgotten the connection may have acted upon a request before.
func TestForgottenRequest(t *testing.T) {
	for method, times := range map[string]int{http.MethodPost: 1, http.MethodPut: 2} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				var key quic.StatelessResetKey
				seen := make(chan struct{}, 2)
				stop := serveRaw(t, n, &key, func(p *rawPeer) {
					p.acceptStream()
					seen <- struct{}{}
				})
				tr := bubbleTransport(t, n)
				done := make(chan error, 1)
				go func() { done <- page(tr, method) }()
				<-seen
				stop()
				defer serveRaw(t, n, &key, func(p *rawPeer) {
					str, err := p.qc.AcceptStream(context.Background())
					if err != nil {
						return // nothing is asked again
					}
					seen <- struct{}{}
					(&rawStream{Stream: str, t: t}).send(headersFrame(":status: 204"))
					assert.NoError(t, str.Close())
				})()
				synctest.Wait()
				str, err := tr.connections()[0].qc.OpenUniStream()
				require.NoError(t, err)
				_, err = str.Write(make([]byte, 200)) // of a type that means nothing; it is answered by a reset
				require.NoError(t, err)
				err = <-done
				require.Equal(t, times, 1+len(seen))
				if times == 2 {
					require.NoError(t, err)
					return
				}
				_, ok := errors.AsType[*quic.StatelessResetError](err)
				require.True(t, ok, "%v", err)
			})
		})
	}
}

// TestT23IdleSocketLives: a socket with nothing to say for an hour is alive.
func TestT23IdleSocketLives(t *testing.T) {
	for name, limits := range map[string]websocket.Limits{"with pings": {}, "without": {PingInterval: -1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				a := newAccepted()
				a.options = &websocket.AcceptOptions{Limits: limits}
				bubbleServer(t, n, new(Server), a)
				defer close(a.release)
				c := bubbleDial(t, bubbleTransport(t, n), &websocket.DialOptions{Limits: limits})
				server := <-a.ws
				time.Sleep(time.Hour)
				ctx := context.Background()
				require.NoError(t, c.Write(ctx, websocket.MessageText, []byte("still here")))
				_, p, err := server.Read(ctx)
				require.NoError(t, err)
				require.Equal(t, "still here", string(p))
			})
		})
	}
}

// TestH3_04StreamsWithoutHeaders: a connection on which a client opens streams and
// sends no complete header section is closed, keep-alive or not; a request in
// progress keeps it open.
func TestH3_04StreamsWithoutHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		bubbleServer(t, n, new(Server), http.HandlerFunc(echo))
		tr := bubbleTransport(t, n)
		tr.IdleTimeout = -1
		c := bubbleDial(t, tr, nil)
		qc := tr.connections()[0].qc
		for range 50 {
			str, err := qc.OpenStream()
			require.NoError(t, err)
			_, err = str.Write(headersFrame(connect()...)[:10])
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Minute)
		require.NoError(t, qc.Context().Err(), "there is a socket on it")

		require.NoError(t, c.Close(context.Background(), websocket.StatusNormalClosure, ""))
		start := time.Now()
		<-qc.Context().Done()
		require.InDelta(t, defaultServerIdle, time.Since(start), float64(time.Second))
		app, ok := errors.AsType[*quic.ApplicationError](context.Cause(qc.Context()))
		require.True(t, ok)
		require.True(t, app.Remote)
		require.EqualValues(t, http3.ErrCodeNoError, app.ErrorCode)
	})
}

// A stream that somebody else has taken over keeps its connection, also when its
// handler has returned, until our direction has ended.
func TestStreamTakenByHandKeepsItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		taken := make(chan *http3.Stream, 1)
		bubbleServer(t, n, new(Server), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			AcceptByHand(w)
			w.WriteHeader(http.StatusOK)
			hs, err := w.(http3.HTTPStreamer).HTTPStream()
			if assert.NoError(t, err) {
				taken <- hs
			}
		}))
		tr := bubbleTransport(t, n)
		tr.IdleTimeout = -1
		c := bubbleDial(t, tr, &websocket.DialOptions{Limits: websocket.Limits{PingInterval: -1}})
		qc := tr.connections()[0].qc
		time.Sleep(10 * time.Minute)
		require.NoError(t, qc.Context().Err(), "there is a socket on it")

		require.NoError(t, (<-taken).Close())
		start := time.Now()
		<-qc.Context().Done()
		require.InDelta(t, defaultServerIdle, time.Since(start), float64(time.Second))
		require.NoError(t, c.CloseNow())
	})
}

func TestIdleConnectionOfTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		bubbleServer(t, n, &Server{IdleTimeout: -1}, site)
		tr := bubbleTransport(t, n)
		resp, err := tr.RoundTrip(newBubbleRequest(t))
		require.NoError(t, err)
		qc := tr.connections()[0].qc
		time.Sleep(defaultClientIdle + time.Second)
		require.NoError(t, qc.Context().Err(), "the response has not been read")
		require.NoError(t, resp.Body.Close())
		start := time.Now()
		<-qc.Context().Done()
		require.Equal(t, defaultClientIdle, time.Since(start))
		synctest.Wait()
		require.Empty(t, tr.connections())
		require.Empty(t, tr.origins)
	})
}

// The server closes an idle connection just when something is asked for on it.
func TestIdleConnectionClosedByTheServer(t *testing.T) {
	for name, use := range map[string]func(*Transport, string) error{
		"socket": func(tr *Transport, _ string) error {
			c, _, err := tr.Dial(context.Background(), "wss://"+serverHost+"/", nil)
			if err != nil {
				return err
			}
			return c.Close(context.Background(), websocket.StatusNormalClosure, "")
		},
		http.MethodGet:  page,
		http.MethodPost: page,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				bubbleServer(t, n, &Server{IdleTimeout: 10 * time.Second}, site)
				tr := bubbleTransport(t, n)
				require.NoError(t, page(tr, http.MethodGet))
				qc := tr.connections()[0].qc
				time.Sleep(10*time.Second - n.latency)
				require.NoError(t, qc.Context().Err())
				err := use(tr, name)
				synctest.Wait() // streams learn of the end before the connection's context does
				require.Error(t, qc.Context().Err())
				if name == http.MethodPost {
					require.Error(t, err, "the server may have acted upon it")
					return
				}
				require.NoError(t, err)
			})
		})
	}
}

// page sends an ordinary request on the network.
func page(tr *Transport, method string) error {
	r, err := http.NewRequest(method, "https://"+serverHost+"/", nil)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

func newBubbleRequest(t testing.TB) *http.Request {
	r, err := http.NewRequest(http.MethodGet, "https://"+serverHost+"/", nil)
	require.NoError(t, err)
	return r
}

// TestH3_11PeerTakesNothing: the peer gives no credit. The write fails after the
// stall limit, the stream is reset, the connection lives.
func TestH3_11PeerTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		off := websocket.Limits{PingInterval: -1} // or it would read ahead
		a := newAccepted()
		a.options = &websocket.AcceptOptions{Limits: off}
		bubbleServer(t, n, new(Server), a)
		defer close(a.release)
		tr := bubbleTransport(t, n)
		c := bubbleDial(t, tr, &websocket.DialOptions{Limits: off})
		start := time.Now()
		err := c.Write(context.Background(), websocket.MessageBinary, make([]byte, 8<<20))
		want1006(t, err)
		// Conn looks every 30 s whether anything was taken since it last looked.
		require.GreaterOrEqual(t, time.Since(start), 30*time.Second)
		require.LessOrEqual(t, time.Since(start), 61*time.Second)
		_, _, err = (<-a.ws).Read(context.Background())
		require.Error(t, err)
		resp, err := tr.RoundTrip(newBubbleRequest(t))
		require.NoError(t, err, "the connection lives")
		require.NoError(t, resp.Body.Close())
	})
}

// TestH3_13BadNetwork: packets are lost, doubled and late; messages are not.
func TestH3_13BadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.faults = 5
		bubbleServer(t, n, new(Server), http.HandlerFunc(echo))
		c := bubbleDial(t, bubbleTransport(t, n), nil)
		r := rand.New(rand.NewPCG(3, 4))
		ctx := context.Background()
		go func() {
			r := rand.New(rand.NewPCG(3, 4))
			for range 200 {
				if c.Write(ctx, websocket.MessageBinary, randomMessage(r)) != nil {
					return
				}
			}
		}()
		for i := range 200 {
			_, p, err := c.Read(ctx)
			require.NoError(t, err)
			require.Equal(t, sha256.Sum256(randomMessage(r)), sha256.Sum256(p), "message %d", i)
		}
		require.NoError(t, c.Close(ctx, websocket.StatusNormalClosure, ""))
	})
}

func randomMessage(r *rand.Rand) []byte {
	p := make([]byte, r.IntN(20000))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// TestShutdownLingers: a client that keeps its connection after GOAWAY does not
// keep the server.
func TestShutdownLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		s := new(Server)
		bubbleServer(t, n, s, site)
		_, client := wstest.Certificates()
		client.ServerName, client.NextProtos = "localhost", []string{http3.NextProtoH3}
		h := n.host(clientHost)
		tr := &quic.Transport{Conn: h}
		defer h.Close()
		defer tr.Close()
		qc, err := tr.Dial(context.Background(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(serverHost)), client, nil)
		require.NoError(t, err)
		synctest.Wait()
		start := time.Now()
		require.NoError(t, s.Shutdown(context.Background()))
		took := time.Since(start)
		require.GreaterOrEqual(t, took, 100*time.Millisecond, "what was sent may still be on its way")
		require.Less(t, took, time.Second, "but the network is a fast one")
		<-qc.Context().Done()
	})
}

// TestHandshakeLimit: the server says nothing to a CONNECT.
func TestHandshakeLimit(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{0: defaultHandshake, time.Minute: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork()
			release := make(chan struct{})
			defer close(release)
			bubbleServer(t, n, new(Server), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
			start := time.Now()
			_, _, err := bubbleTransport(t, n).Dial(context.Background(), "wss://"+serverHost+"/",
				&websocket.DialOptions{Limits: websocket.Limits{Handshake: limit}})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, want, time.Since(start))
		})
	}
}

// TestSocketsAreOffTheBooksOfHTTP3: http3 keeps an account of its streams, from
// which its own idle timeout works. A socket that has ended is not on it.
func TestSocketsAreOffTheBooksOfHTTP3(t *testing.T) {
	for name, end := range map[string]func(*websocket.Conn) error{
		"closed": func(c *websocket.Conn) error {
			return c.Close(context.Background(), websocket.StatusNormalClosure, "")
		},
		"aborted": (*websocket.Conn).CloseNow,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				server, _ := wstest.Certificates()
				h := n.host(serverHost)
				defer h.Close()
				s := &http3.Server{Handler: http.HandlerFunc(echo), TLSConfig: server, IdleTimeout: 20 * time.Second}
				done := make(chan error, 1)
				go func() { done <- s.Serve(h) }()
				tr := bubbleTransport(t, n)
				tr.IdleTimeout = -1
				c := bubbleDial(t, tr, nil)
				qc := tr.connections()[0].qc
				require.NoError(t, end(c))
				start := time.Now()
				select {
				case <-qc.Context().Done():
				case <-time.After(time.Minute): // http3 still counts the stream
				}
				require.InDelta(t, 20*time.Second, time.Since(start), float64(time.Second))
				require.NoError(t, s.Close())
				<-done
			})
		})
	}
}
