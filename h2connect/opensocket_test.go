package h2connect

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// socketPeers returns a Transport whose connections lead to peers that accept
// extended CONNECT, and those peers, greeted.
func socketPeers(t *testing.T, settings ...http2.Setting) (*Transport, <-chan *peer) {
	peers := make(chan *peer, 10)
	settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	tr := &Transport{AllowHTTP: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := wstest.Pipe(wstest.PipeOptions{})
		p := newPeer(t, server.NetConn())
		go func() {
			io.ReadFull(p.nc, make([]byte, len(http2.ClientPreface)))
			p.noAcks = true
			p.fr.WriteSettings(settings...)
			if _, ok := p.next("SETTINGS come first").(*http2.SettingsFrame); assert.True(t, ok) {
				p.fr.WriteSettingsAck()
				peers <- p
			}
		}()
		return client.NetConn(), nil
	}}
	t.Cleanup(func() { closeTransport(tr) })
	return tr, peers
}

type dialed struct {
	conn *websocket.Conn
	err  error
}

func dialInBackground(tr *Transport) <-chan dialed {
	done := make(chan dialed, 1)
	go func() {
		c, _, err := tr.Dial(context.Background(), "ws://localhost/ws", &websocket.DialOptions{
			Limits: websocket.Limits{Handshake: time.Minute, PingInterval: -1},
		})
		done <- dialed{c, err}
	}()
	return done
}

// accept accepts the socket that comes next.
func (p *peer) accept(id uint32) {
	p.t.Helper()
	h := p.wantHeaders(id, false, "the socket")
	assert.Equal(p.t, "websocket", h[":protocol"])
	p.headers(id, false, ":status", "200")
}

func TestSocketThatWasNotLookedAtIsAskedForElsewhereOnce(t *testing.T) {
	for name, refuse := range map[string]func(*peer){
		"P28 REFUSED_STREAM":        func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) },
		"P28 H2-27 GOAWAY below it": func(p *peer) { p.fr.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			tr, peers := socketPeers(t)
			done := dialInBackground(tr)
			first := <-peers
			first.wantHeaders(1, false, "the socket")
			refuse(first)
			(<-peers).accept(1)
			d := <-done
			require.NoError(t, d.err)
			d.conn.CloseNow()
		})
	}
}

func TestServerThatRefusesTwiceIsLeft(t *testing.T) {
	tr, peers := socketPeers(t)
	done := dialInBackground(tr)
	for range 2 {
		p := <-peers
		p.wantHeaders(1, false, "the socket")
		p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream)
	}
	d := <-done
	require.ErrorIs(t, d.err, websocket.ErrNotSupported, "another bootstrap may be tried")
	var reset *StreamError
	require.ErrorAs(t, d.err, &reset)
	assert.Equal(t, http2.ErrCodeRefusedStream, reset.Code)
	assert.Empty(t, peers, "no third connection")
}

func TestSocketIsNotAskedForAgainWhereItMayHaveBeenOpened(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"a new connection that breaks": func(p *peer) { p.nc.Close() },
		"INTERNAL_ERROR":               func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeInternal) },
	} {
		t.Run(name, func(t *testing.T) {
			tr, peers := socketPeers(t)
			done := dialInBackground(tr)
			p := <-peers
			p.wantHeaders(1, false, "the socket")
			end(p)
			d := <-done
			require.Error(t, d.err)
			assert.NotErrorIs(t, d.err, websocket.ErrNotSupported)
			assert.Empty(t, peers)
		})
	}
}

func TestSocketOnAnOldConnectionThatBreaksIsAskedForAgain(t *testing.T) {
	tr, peers := socketPeers(t)
	done := dialInBackground(tr)
	old := <-peers
	old.accept(1)
	d := <-done
	require.NoError(t, d.err)
	defer d.conn.CloseNow()
	done = dialInBackground(tr)
	old.wantHeaders(3, false, "the second socket")
	old.nc.Close()
	(<-peers).accept(1)
	d = <-done
	require.NoError(t, d.err)
	d.conn.CloseNow()
}

func TestHTTP11RequiredOfTheConnection(t *testing.T) {
	tr, peers := socketPeers(t)
	done := dialInBackground(tr)
	p := <-peers
	p.wantHeaders(1, false, "the socket")
	p.fr.WriteGoAway(0, http2.ErrCodeHTTP11Required, nil)
	require.ErrorIs(t, (<-done).err, websocket.ErrNotSupported)
	assert.Empty(t, peers, "another connection would hear the same")
}

func TestServerThatAllowsNoStreams(t *testing.T) {
	tr, peers := socketPeers(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
	d := <-dialInBackground(tr)
	require.ErrorIs(t, d.err, websocket.ErrNotSupported)
	<-peers
	assert.Empty(t, peers, "no connection after the other")
}

func TestOldConnectionIsAskedBeforeASocketIsPutOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, peers := socketPeers(t)
		done := dialInBackground(tr)
		p := <-peers
		p.accept(1)
		first := <-done
		require.NoError(t, first.err)
		time.Sleep(trustTime - time.Second)
		done = dialInBackground(tr)
		p.accept(3) // without a PING
		second := <-done
		require.NoError(t, second.err)
		time.Sleep(trustTime)
		begin := time.Now()
		done = dialInBackground(tr)
		another := dialInBackground(tr)
		synctest.Wait()
		ping := p.wantPing("nothing has come for long")
		p.fr.WritePing(true, ping.Data)
		p.wantHeaders(5, false, "both go on after one PING")
		p.wantHeaders(7, false, "both go on after one PING")
		p.headers(5, false, ":status", "200")
		p.headers(7, false, ":status", "200")
		third, fourth := <-done, <-another
		require.NoError(t, third.err)
		require.NoError(t, fourth.err)
		assert.Zero(t, time.Since(begin))
		p.nc.Close()
		for _, d := range []dialed{first, second, third, fourth} {
			d.conn.CloseNow()
		}
		closeTransport(tr)
	})
}

func TestDeadConnectionsArePassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, peers := socketPeers(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		var conns []dialed
		var dead []*peer
		for range 3 {
			done := dialInBackground(tr)
			p := <-peers
			p.accept(1)
			conns = append(conns, <-done)
			dead = append(dead, p)
		}
		for i, d := range conns {
			require.NoError(t, d.err)
			d.conn.CloseNow()
			dead[i].wantReset(1, http2.ErrCodeCancel, "the socket is gone")
		}
		time.Sleep(time.Minute) // in which the servers die
		begin := time.Now()
		done := dialInBackground(tr)
		p := <-peers
		p.accept(1)
		d := <-done
		require.NoError(t, d.err)
		assert.Equal(t, answerTime, time.Since(begin), "one of them is asked, the others are as old")
		assert.True(t, tr.Connected("ws://localhost/"))
		d.conn.CloseNow()
		for _, p := range append(dead, p) {
			p.nc.Close()
		}
		closeTransport(tr)
	})
}

func TestBusyConnectionIsNotCutByAnUnansweredPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, peers := socketPeers(t)
		done := dialInBackground(tr)
		old := <-peers
		old.accept(1)
		first := <-done
		require.NoError(t, first.err)
		time.Sleep(trustTime)
		done = dialInBackground(tr)
		p := <-peers // after answerTime
		p.accept(1)
		second := <-done
		require.NoError(t, second.err)
		old.wantPing("the old one was asked")
		old.fr.WriteData(1, false, []byte("\x81\x05hello"))
		_, text, err := first.conn.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "hello", string(text), "the slow one lives on")
		first.conn.CloseNow()
		second.conn.CloseNow()
		old.nc.Close()
		p.nc.Close()
		closeTransport(tr)
	})
}

func TestNobodyWaitsNobodyDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		begun := make(chan struct{}, 1)
		tr := &Transport{AllowHTTP: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			begun <- struct{}{}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 2)
		dial := func(ctx context.Context) { _, _, err := tr.Dial(ctx, "ws://localhost/ws", nil); results <- err }
		go dial(ctx)
		<-begun
		patient, stop := context.WithCancel(t.Context())
		go dial(patient)
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-results, context.Canceled)
		synctest.Wait()
		assert.Empty(t, ended, "another one waits")
		stop()
		require.ErrorIs(t, <-results, context.Canceled)
		require.ErrorIs(t, <-ended, context.Canceled)
		assert.Empty(t, tr.dials)
	})
}

// A Dial whose context ends says so, also where that has reset the stream before it is
// looked at.
func TestDialSaysThatItsContextHasEnded(t *testing.T) {
	wstest.NoLeaks(t)
	s := startTLS(t, nil, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	tr := testTransport(t)
	for range 20 { // of two things that are ready select takes either
		ctx, req, cancel, err := newDial(testContext(t), s.url("/ws"), nil)
		require.NoError(t, err)
		cc, err := tr.getSocket(ctx, &search{key: keyOf(req.URL)})
		require.NoError(t, err)
		_, _, err = cc.dialReserved(&endsWhenAsked{Context: ctx, cc: cc}, req, nil, nil)
		require.ErrorIs(t, err, context.Canceled)
		cancel()
	}
}

// An endsWhenAsked is a context that ends when Done is called behind AfterFunc: first
// for the function that was given to that, which resets cc's only stream.
type endsWhenAsked struct {
	context.Context
	cc   *ClientConn
	tell func()
	err  error
}

func (c *endsWhenAsked) AfterFunc(f func()) (stop func() bool) {
	c.tell = f
	return func() bool { return c.err == nil }
}

func (c *endsWhenAsked) Err() error { return c.err }

func (c *endsWhenAsked) Done() <-chan struct{} {
	done := make(chan struct{})
	if c.tell != nil {
		c.err = context.Canceled
		c.tell()
		for reset := false; !reset; runtime.Gosched() {
			c.cc.c.mu.Lock()
			reset = len(c.cc.c.streams) == 0
			c.cc.c.mu.Unlock()
		}
		close(done)
	}
	return done
}

func TestDialSaysThatItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &websocket.DialOptions{DialContext: wstest.LateDial}
		for _, url := range []string{"ws://a", "wss://a"} {
			_, _, err := Dial(t.Context(), url, o)
			assert.ErrorIs(t, err, context.DeadlineExceeded, url)
		}
	})
}

func TestTransportsClose(t *testing.T) {
	wstest.NoLeaks(t)
	s := startTLS(t, nil, socketHandler())
	tr := testTransport(t)
	ok, err := tr.Connect(testContext(t), s.url("/"))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.True(t, tr.Connected("wss"+s.url("/")[len("https"):]), "by either scheme")
	c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	require.NoError(t, tr.Close())
	_, _, err = c.Read(testContext(t))
	require.ErrorIs(t, err, net.ErrClosed)
	assert.False(t, tr.Connected(s.url("/")))
	_, _, err = tr.Dial(testContext(t), s.url("/ws"), nil)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = (&http.Client{Transport: tr}).Get(s.url("/hello"))
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestConnectSaysWhetherThereAreSockets(t *testing.T) {
	s := startTLS(t, &Server{DisableExtendedConnect: true}, socketHandler())
	tr := testTransport(t)
	ok, err := tr.Connect(testContext(t), s.url("/"))
	require.NoError(t, err)
	assert.False(t, ok)
	assert.False(t, tr.Connected(s.url("/")))
	_, err = tr.Connect(testContext(t), "ftp://localhost/")
	require.Error(t, err)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	plain.Close()
	_, err = tr.Connect(testContext(t), "https://"+plain.Addr().String())
	var op *net.OpError
	require.True(t, errors.As(err, &op), "%v", err)
}
