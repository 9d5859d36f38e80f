package h2connect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// drainHandler has sockets, and requests that wait for goOn.
func drainHandler(goOn <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", socketHandler())
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-goOn:
			io.WriteString(w, "finished")
		case <-r.Context().Done():
		}
	})
	return mux
}

// shutdown calls Shutdown and returns where its result will be.
func shutdown(ctx context.Context, p *peer) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.conf.Shutdown(ctx) }()
	return done
}

// Every step of a goodbye in its order, seen from the other end.
func TestC14OP01ShutdownStepByStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		p := clientOf(t, nil, drainHandler(goOn))
		p.greet()
		ws := wstest.NewClient(nil)
		for _, id := range []uint32{1, 3} {
			p.headers(id, false, connect()...)
			p.wantStatus(id, "200", false, "a socket")
		}
		p.headers(5, true, get("/wait")...)
		p.wantAlive("the request has been taken")
		synctest.Wait() // and the sockets have been given to their handlers
		done := shutdown(t.Context(), p)

		told := map[uint32]bool{}
		for range 2 {
			d, ok := p.next("Close 1001 comes before GOAWAY").(*http2.DataFrame)
			require.True(t, ok)
			assert.Equal(t, "\x88\x02\x03\xe9", string(d.Data()))
			assert.False(t, d.StreamEnded())
			told[d.StreamID] = true
		}
		assert.Len(t, told, 2, "to every socket")
		first, ok := p.next("the first GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.EqualValues(t, 1<<31-1, first.LastStreamID)
		ping, ok := p.next("a round trip").(*http2.PingFrame)
		require.True(t, ok)
		for id := range told {
			require.NoError(t, p.fr.WriteData(id, true, ws.Append(nil, wstest.Close(1001, ""))))
			p.wantData(id, "", true, "both Close frames have passed")
		}
		p.served(7)
		p.fr.WritePing(true, ping.Data)
		last, ok := p.next("the second GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.EqualValues(t, 7, last.LastStreamID, "OP-02: what is above may be sent again elsewhere")
		p.headers(9, true, get("/hello")...)
		p.wantAlive("and is not looked at")
		time.Sleep(time.Minute)
		p.wantAlive("requests get the time that they need")
		close(goOn)
		p.wantStatus(5, "200", false, "")
		p.wantData(5, "finished", true, "")
		p.wantEOF("then the connection closes")
		assert.NoError(t, <-done)
		p.hangUp()
	})
}

// "Endpoints MUST NOT increase the value they send in the last stream identifier"
// (RFC 9113 §6.8): a client may have sent again elsewhere what was above it.
func TestOP02TheLastStreamOfGoAwayDoesNotRise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, drainHandler(nil))
		p.greet()
		p.headers(1, true, get("/wait")...)
		p.wantAlive("begun")
		done := shutdown(t.Context(), p)
		ping := p.toPing()
		p.fr.WritePing(true, ping.Data)
		g, ok := p.next("the second GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.EqualValues(t, 1, g.LastStreamID)
		p.headers(9, true, get("/hello")...)
		p.wantAlive("not looked at")
		p.nc.Write(raw(http2.FramePing, 0, 1, make([]byte, 8)))
		g, ok = p.next("a broken rule").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.Equal(t, http2.ErrCodeProtocol, g.ErrCode)
		assert.EqualValues(t, 1, g.LastStreamID)
		p.hangUp()
		assert.Error(t, <-done)
	})
}

// Shutdown's result says whether everything ended as it should.
func TestOP01ShutdownSaysHowItWent(t *testing.T) {
	lost := errors.New("the patience of the caller")
	for _, tt := range []struct {
		name  string
		begin func(p *peer)
		then  func(p *peer, cancel context.CancelCauseFunc)
		want  func(t *testing.T, err error)
		after time.Duration // how long Shutdown took
	}{
		{"an idle connection", nil, nil, func(t *testing.T, err error) { assert.NoError(t, err) }, 6 * time.Second},
		{"an idle connection that answers", nil, func(p *peer, _ context.CancelCauseFunc) {
			ping := p.toPing()
			p.fr.WritePing(true, ping.Data)
		}, func(t *testing.T, err error) { assert.NoError(t, err) }, time.Second},
		{"an idle connection that goes away too", nil, func(p *peer, _ context.CancelCauseFunc) {
			ping := p.toPing()
			p.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
			p.fr.WritePing(true, ping.Data)
		}, func(t *testing.T, err error) { assert.NoError(t, err) }, 10 * time.Millisecond},
		{"an idle connection that goes away later", nil, func(p *peer, _ context.CancelCauseFunc) {
			ping := p.toPing()
			p.fr.WritePing(true, ping.Data)
			time.Sleep(100 * time.Millisecond)
			p.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, func(t *testing.T, err error) { assert.NoError(t, err) }, 110 * time.Millisecond},
		{"a connection that closes when it has been told", nil, func(p *peer, _ context.CancelCauseFunc) {
			p.toPing()
			p.nc.Close()
		}, func(t *testing.T, err error) { assert.NoError(t, err) }, 0},
		{"a request that was cancelled", func(p *peer) { p.headers(1, true, get("/wait")...) }, func(p *peer, _ context.CancelCauseFunc) {
			ping := p.toPing()
			p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
			p.fr.WritePing(true, ping.Data)
		}, func(t *testing.T, err error) { assert.NoError(t, err) }, time.Second},
		{"a socket that does not answer", func(p *peer) {
			p.headers(1, false, connect()...)
			p.wantStatus(1, "200", false, "")
		}, func(p *peer, _ context.CancelCauseFunc) {
			ping := p.toPing()
			p.fr.WritePing(true, ping.Data)
		}, func(t *testing.T, err error) { assert.ErrorIs(t, err, context.DeadlineExceeded) }, 6 * time.Second},
		{"a socket that is reset", func(p *peer) {
			p.headers(1, false, connect()...)
			p.wantStatus(1, "200", false, "")
		}, func(p *peer, _ context.CancelCauseFunc) {
			p.next("Close")
			p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
			ping := p.toPing()
			p.fr.WritePing(true, ping.Data)
		}, func(t *testing.T, err error) {
			_, ok := errors.AsType[*websocket.CloseError](err)
			assert.True(t, ok, "%v", err)
		}, time.Second},
		{"a connection that is lost with a request", func(p *peer) { p.headers(1, true, get("/wait")...) }, func(p *peer, _ context.CancelCauseFunc) {
			p.toPing()
			p.nc.Close()
		}, func(t *testing.T, err error) {
			ce, ok := errors.AsType[*ConnError](err)
			require.True(t, ok, "%v", err)
			assert.True(t, ce.Remote)
		}, 0},
		{"a connection that breaks a rule", func(p *peer) { p.headers(1, true, get("/wait")...) }, func(p *peer, _ context.CancelCauseFunc) {
			p.toPing()
			p.nc.Write(raw(http2.FramePing, 0, 1, make([]byte, 8)))
		}, func(t *testing.T, err error) {
			ce, ok := errors.AsType[*ConnError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, http2.ErrCodeProtocol, ce.Code)
		}, time.Second},
		{"a request that takes too long", func(p *peer) { p.headers(1, true, get("/wait")...) }, func(p *peer, cancel context.CancelCauseFunc) {
			ping := p.toPing()
			p.fr.WritePing(true, ping.Data)
			time.Sleep(time.Hour)
			cancel(lost)
			p.wantEOF("cut")
		}, func(t *testing.T, err error) { assert.ErrorIs(t, err, lost) }, time.Hour},
		{"a socket, and a context that ends", func(p *peer) {
			p.headers(1, false, connect()...)
			p.wantStatus(1, "200", false, "")
		}, func(p *peer, cancel context.CancelCauseFunc) {
			p.next("Close")
			time.Sleep(time.Second)
			cancel(lost)
			p.wantEOF("cut")
		}, func(t *testing.T, err error) { assert.ErrorIs(t, err, lost) }, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := clientOf(t, nil, drainHandler(nil))
				p.greet()
				if tt.begin != nil {
					tt.begin(p)
					p.wantAlive("begun")
					synctest.Wait() // and a socket has been given to its handler
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				begin := time.Now()
				done := shutdown(ctx, p)
				if tt.then != nil {
					tt.then(p, cancel)
				}
				tt.want(t, <-done)
				assert.Equal(t, tt.after, time.Since(begin))
				p.wantEOF("closed")
				synctest.Wait()
				assert.Zero(t, p.conf.Stats().Connections)
				assert.Zero(t, p.conf.Stats().Streams)
				p.hangUp()
			})
		})
	}
}

// toPing reads up to the PING between the two GOAWAY frames.
func (p *peer) toPing() *http2.PingFrame {
	p.t.Helper()
	for {
		if f, ok := p.next("PING behind the first GOAWAY").(*http2.PingFrame); ok {
			return f
		}
	}
}

func TestShutdownTwiceAndBesideTheHTTPServers(t *testing.T) {
	wstest.NoLeaks(t)
	conf := &Server{}
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := startTLS(t, conf, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/wait" {
			socketHandler().ServeHTTP(w, r)
			return
		}
		close(begun)
		<-goOn
		io.WriteString(w, "finished")
	}))
	tr := testTransport(t)
	var ends sync.WaitGroup
	for range 5 {
		c, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
		require.NoError(t, err)
		ends.Go(func() {
			_, _, err := c.Read(testContext(t))
			ce, ok := errors.AsType[*websocket.CloseError](err)
			if assert.True(t, ok, "%v", err) {
				assert.Equal(t, websocket.StatusGoingAway, ce.Code)
			}
		})
	}
	ends.Go(func() {
		resp, err := (&http.Client{Transport: tr}).Get(s.url("/wait"))
		if assert.NoError(t, err) {
			content, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			assert.Equal(t, "finished", string(content))
			resp.Body.Close()
		}
	})
	<-begun
	results := make(chan error, 3)
	for _, f := range []func(context.Context) error{s.Shutdown, conf.Shutdown, conf.Shutdown} {
		go func() { results <- f(testContext(t)) }()
	}
	close(goOn)
	for range 3 {
		assert.NoError(t, <-results)
	}
	ends.Wait()
	assert.NoError(t, conf.Shutdown(t.Context()), "there is nothing left")
	assert.NoError(t, (&Server{}).Shutdown(t.Context()), "nor was there ever here")
}

// OP-02: a socket that is asked for behind Close 1001 and before the last GOAWAY is
// refused as one that nobody has looked at (RFC 9113 §8.7): its client may ask
// elsewhere at once. Ordinary requests are served.
func TestOP02ShutdownRefusesASocketAsNeverSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan string, 10)
		handler := socketHandler()
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- r.Method + r.URL.Path
			handler.ServeHTTP(w, r)
		}))
		p.greet()
		p.headers(1, false, connect()...)
		p.wantStatus(1, "200", false, "a socket")
		synctest.Wait()
		done := shutdown(t.Context(), p)
		p.wantData(1, "\x88\x02\x03\xe9", false, "the goodbye")
		ping := p.toPing()
		p.headers(3, false, connect()...)
		p.wantReset(3, http2.ErrCodeRefusedStream, "a new one")
		p.served(5)
		assert.NoError(t, p.fr.WriteData(1, true, wstest.NewClient(nil).Append(nil, wstest.Close(1001, ""))))
		p.wantData(1, "", true, "the old one ends as it should")
		p.fr.WritePing(true, ping.Data)
		p.wantGoAway(http2.ErrCodeNo, "")
		p.hangUp()
		assert.NoError(t, <-done, "a refusal is nothing unclean")
		close(seen)
		var all []string
		for s := range seen {
			all = append(all, s)
		}
		assert.Equal(t, []string{"CONNECT/ws", "GET/hello"}, all, "what the handler has seen")
	})
}
