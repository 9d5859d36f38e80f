package h3connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/altsvc"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestP43RejectedIsTriedAgainElsewhere(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	c := goDial(soon(t), newTransport(t), s.addr, nil)
	str, _ := s.accept(socketSettings()).acceptStream()
	str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	str, _ = s.accept(socketSettings()).acceptStream()
	str.send(headersFrame(":status: 200"))
	wantSocket(t, c)
}

func TestP43RejectedTwice(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	c := goDial(soon(t), newTransport(t), s.addr, nil)
	for range 2 {
		str, _ := s.accept(socketSettings()).acceptStream()
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	}
	err := wantFailure(t, c).err
	require.ErrorIs(t, err, websocket.ErrNotSupported, "another bootstrap may be tried (T37)")
	se, ok := errors.AsType[*StreamError](err)
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeRequestRejected, se.Code)
}

// roundTrip sends an empty GET with ctx and returns where its error, if it gets one,
// is to be had.
func roundTrip(ctx context.Context, t *testing.T, s *rawServer) <-chan error {
	tr, done := newTransport(t), make(chan error, 1)
	r := newRequest(t, "https://"+s.addr).WithContext(ctx)
	go func() {
		resp, err := tr.RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	return done
}

func TestP43RequestRejectedTwice(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	done := roundTrip(soon(t), t, s)
	for range 2 {
		str, _ := s.accept(socketSettings()).acceptStream()
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	}
	err := <-done
	require.ErrorIs(t, err, websocket.ErrNotSupported, "another HTTP version may be tried")
	e, ok := errors.AsType[*http3.Error](err)
	require.True(t, ok)
	require.Equal(t, http3.ErrCodeRequestRejected, e.ErrorCode)
}

func TestResetRequestIsNotForAnotherVersion(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	done := roundTrip(soon(t), t, s)
	str, _ := s.accept(socketSettings()).acceptStream()
	str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeInternalError))
	str.CancelRead(quic.StreamErrorCode(http3.ErrCodeInternalError))
	err := <-done
	require.Error(t, err)
	require.NotErrorIs(t, err, websocket.ErrNotSupported)
}

// A GET may be sent again behind a connection that the server has closed, but no later
// rejection says that nobody has acted upon it.
func TestRequestRejectedBehindOneThatWasPerhapsProcessed(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	done := roundTrip(altsvc.WithHeadStart(soon(t), 0), t, s) // there is time all the same
	p := s.accept(socketSettings())
	p.acceptStream()
	require.NoError(t, p.qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), ""))
	str, _ := s.accept(socketSettings()).acceptStream()
	str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	err := <-done
	require.Error(t, err)
	require.NotErrorIs(t, err, websocket.ErrNotSupported)
}

// Where there is TCP too, a server that is being replaced need not have a successor
// over HTTP/3: the other connection gets HTTP/3's head start and not QUIC's time.
func TestRejectedDialDoesNotWaitForAConnectionThatNeverComes(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	// Without a bound it would be the context that ends the dial.
	c := goDial(altsvc.WithHeadStart(soon(t), 50*time.Millisecond), newTransport(t), s.addr, nil)
	str, _ := s.accept(socketSettings()).acceptStream()
	require.NoError(t, s.ln.Close()) // nobody answers any more, and what is open goes on
	str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	err := wantFailure(t, c).err
	require.ErrorIs(t, err, errNoSuccessor)
	require.ErrorIs(t, err, websocket.ErrNotSupported, "another bootstrap may be tried")
}

func TestRejectedRequestDoesNotWaitForAConnectionThatNeverComes(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	done := roundTrip(altsvc.WithHeadStart(soon(t), 50*time.Millisecond), t, s)
	str, _ := s.accept(socketSettings()).acceptStream()
	require.NoError(t, s.ln.Close())
	str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	err := <-done
	require.ErrorIs(t, err, errNoSuccessor)
	require.ErrorIs(t, err, websocket.ErrNotSupported, "another HTTP version may be tried")
}

func TestC8GoAwayRejectsDial(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	c := goDial(soon(t), newTransport(t), s.addr, nil)
	old := s.accept(socketSettings())
	old.acceptStream()
	_, err := old.control.Write(goAwayFrame(0))
	require.NoError(t, err)
	str, _ := s.accept(socketSettings()).acceptStream()
	str.send(headersFrame(":status: 200"))
	wantSocket(t, c)
	require.Equal(t, http3.ErrCodeNoError, old.closed())
}

// TestC8GoAwayBeforeTheRequest: GOAWAY may come between the choice of a connection
// and the request. None may follow it, whatever its stream (RFC 9114 §5.2).
func TestC8GoAwayBeforeTheRequest(t *testing.T) {
	wstest.NoLeaks(t)
	for _, limit := range []uint64{0, 4, 1 << 60} {
		s := listenRaw(t, nil)
		tr := newTransport(t)
		chosen := make(chan *clientConn, 1)
		go func() {
			c, err := tr.acquire(soon(t), s.addr, tr.TLSClientConfig, forSocket, nil)
			assert.NoError(t, err)
			chosen <- c
		}()
		p := s.accept(socketSettings())
		c := <-chosen
		_, err := p.control.Write(goAwayFrame(limit))
		require.NoError(t, err)
		<-c.gone.Done()
		req, err := handshake.Request(soon(t), "wss://"+s.addr, websocket.HTTP3, nil)
		require.NoError(t, err)
		_, _, err = c.openSocket(soon(t), req, new(websocket.DialOptions))
		require.Equal(t, unprocessed{errGoneAway}, err)
		require.Equal(t, http3.ErrCodeNoError, p.closed())
		if str, err := p.qc.AcceptStream(soon(t)); err == nil {
			n, _ := str.Read(make([]byte, 1))
			require.Zero(t, n, "a request behind GOAWAY")
		}
	}
}

// An ordinary request goes to another connection then, too.
func TestC8GoAwayBeforeAPage(t *testing.T) {
	wstest.NoLeaks(t)
	for range 5 {
		s := listenRaw(t, nil)
		tr := newTransport(t)
		chosen := make(chan *clientConn, 1)
		go func() {
			c, err := tr.acquire(soon(t), s.addr, tr.TLSClientConfig, forRequest, nil)
			assert.NoError(t, err)
			chosen <- c
		}()
		p := s.accept(socketSettings())
		c := <-chosen
		_, err := p.control.Write(goAwayFrame(1 << 60))
		require.NoError(t, err)
		<-c.gone.Done()
		r := newRequest(t, "https://"+s.addr).WithContext(soon(t))
		r.Method = http.MethodPost
		w := watchRequest(r)
		_, err = c.roundTrip(w)
		require.Equal(t, errGoneAway, err)
		_, again := w.again(err)
		require.True(t, again)
		require.Equal(t, http3.ErrCodeNoError, p.closed())
		if str, err := p.qc.AcceptStream(soon(t)); err == nil {
			n, _ := str.Read(make([]byte, 1))
			require.Zero(t, n, "a request behind GOAWAY")
		}
	}
}

// A request that GOAWAY rejects goes to another connection, also if the server does
// not care to reset its stream, and one that is below GOAWAY's id is waited for.
func TestC8GoAwayRejectsAPage(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	post := func(body string) <-chan error {
		failed := make(chan error, 1)
		go func() {
			r, err := http.NewRequestWithContext(soon(t), http.MethodPost, "https://"+s.addr, strings.NewReader(body))
			if assert.NoError(t, err) {
				var resp *http.Response
				if resp, err = tr.RoundTrip(r); err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
			failed <- err
		}()
		return failed
	}
	socket := goDial(soon(t), tr, s.addr, nil)
	old := s.accept(socketSettings())
	str, _ := old.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, socket)
	first := post("seen")
	seen, _ := old.acceptStream()
	second := post("unseen")
	unseen, _ := old.acceptStream()
	require.EqualValues(t, 8, unseen.StreamID())
	_, err := old.control.Write(goAwayFrame(8))
	require.NoError(t, err)

	str, _ = s.accept(socketSettings()).acceptStream()
	body := make([]byte, 6)
	_, err = io.ReadFull(str, body)
	require.NoError(t, err)
	require.Equal(t, "unseen", string(body))
	str.send(headersFrame(":status: 204"))
	require.NoError(t, str.Close())
	require.NoError(t, <-second)
	unseen.wantReset(http3.ErrCodeRequestCanceled)

	seen.send(headersFrame(":status: 204"))
	require.NoError(t, seen.Close())
	require.NoError(t, <-first)
	require.Empty(t, tr.connections()[0].asked)
	require.NoError(t, c.CloseNow())
	require.Equal(t, http3.ErrCodeNoError, old.closed())
}

// The content that a request gets for another attempt is closed where there is none.
func TestContentOfAnotherAttemptIsClosed(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.addr, strings.NewReader("unseen"))
	require.NoError(t, err)
	fresh, w := io.Pipe()
	r.GetBody = func() (io.ReadCloser, error) { cancel(); return fresh, nil }
	failed := make(chan error, 1)
	go func() {
		_, err := tr.RoundTrip(r)
		failed <- err
	}()
	old := s.accept(socketSettings())
	old.acceptStream()
	_, err = old.control.Write(goAwayFrame(0))
	require.NoError(t, err)
	require.ErrorIs(t, <-failed, context.Canceled)
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

// The last stream may end just when somebody finds that there is none to be had. Such
// a connection could not be used any more.
func TestConnectionWithoutStreamsIsNotFull(t *testing.T) {
	wstest.NoLeaks(t)
	tr := newTransport(t)
	c := dial(t, tr, serve(t, new(Server), site), nil)
	conn := tr.connections()[0]
	require.True(t, conn.reserve(forSocket))
	conn.setFull()
	require.False(t, conn.reserve(forSocket))
	conn.release(forSocket)
	require.NoError(t, c.Close(soon(t), websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return conn.sockets == 0
	}, patience, time.Millisecond)
	conn.setFull()
	require.True(t, conn.reserve(forSocket))
	conn.release(forSocket)
}

// A request that is given up for want of a stream may have got one at that moment.
func TestAgainAfterBeingGivenUp(t *testing.T) {
	for _, err := range []error{errFull, errGoneAway} {
		for method, want := range map[string]bool{"": true, "GET": true, "DELETE": true, "POST": false, "PATCH": false} {
			r := newRequest(t, "https://localhost")
			r.Method = method
			w := watchRequest(r)
			_, again := w.again(err)
			require.True(t, again, "not sent")
			w.left.Store(true)
			_, again = w.again(err)
			require.Equal(t, want, again, method)
		}
	}
}

func TestC8GoAwayEndsTheWaitForAStream(t *testing.T) {
	wstest.NoLeaks(t)
	for _, begin := range []func(tr *Transport, addr string) error{
		func(tr *Transport, addr string) error {
			return (<-goDial(soon(t), tr, addr, nil)).err
		},
		func(tr *Transport, addr string) error {
			_, err := tr.RoundTrip(newRequest(t, "https://"+addr))
			return err
		},
	} {
		s := listenRaw(t, &quic.Config{MaxIncomingStreams: -1})
		tr := newTransport(t)
		failed := make(chan error, 1)
		go func() { failed <- begin(tr, s.addr) }()
		old := s.accept(socketSettings())
		awaitUse(tr)
		_, err := old.control.Write(goAwayFrame(0))
		require.NoError(t, err)
		s.accept() // another connection
		require.NoError(t, tr.Close())
		require.Error(t, <-failed)
	}
}

// awaitUse waits until there is a connection, of which the server's SETTINGS are known
// and which something wants to use.
func awaitUse(tr *Transport) {
	inUse := func() bool {
		list := tr.connections()
		if len(list) == 0 {
			return false
		}
		list[0].mu.Lock()
		defer list[0].mu.Unlock()
		return list[0].sockets+list[0].requests == 1
	}
	for !inUse() {
		runtime.Gosched()
	}
	<-tr.connections()[0].settled
}

func TestC7SocketLivesOnAfterGoAway(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	first := goDial(soon(t), tr, s.addr, nil)
	old := s.accept(socketSettings())
	str, _ := old.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, first)
	_, err := old.control.Write(goAwayFrame(4))
	require.NoError(t, err)

	conn := tr.connections()[0]
	require.Eventually(t, func() bool {
		return conn.gone.Err() != nil
	}, patience, time.Millisecond)
	next := goDial(soon(t), tr, s.addr, nil)
	other := s.accept(socketSettings())
	second, _ := other.acceptStream()
	second.send(headersFrame(":status: 200"))
	wantSocket(t, next)

	server := wstest.NewServer(str)
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("alive")))
	server.WantFrame(t, frame.Text, "alive", "a stream below GOAWAY's goes on")
	closed := make(chan error, 1)
	go func() { closed <- c.Close(soon(t), websocket.StatusNormalClosure, "") }()
	server.WantClose(t, websocket.StatusNormalClosure, "")
	server.Send(t, wstest.Close(1000, ""))
	require.NoError(t, str.Close())
	require.NoError(t, <-closed)
	str.wantEnd()
	require.Equal(t, http3.ErrCodeNoError, old.closed(), "closed behind the last stream")
}

// connections counts the QUIC connections that a handler sees.
type connections struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *connections) wrap(h http.Handler) http.Handler {
	c.seen = make(map[string]int)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		qc := r.Context().Value(connKey{}).(*serverConn).qc
		c.mu.Lock()
		c.seen[fmt.Sprintf("%p", qc)]++
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

// TestXC20 has sockets and ordinary requests on one connection; closing one
// socket leaves the rest.
func TestXC20SocketsAndRequestsOnOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var conns connections
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				echo(w, r)
				return
			}
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s", r.URL.Path, b)
		})
		bubbleServer(t, n, new(Server), conns.wrap(h))
		tr := bubbleTransport(t, n)
		client := &http.Client{Transport: tr}
		a, b := dial(t, tr, serverHost, nil), dial(t, tr, serverHost, nil)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 50 {
					path := fmt.Sprintf("/%d/%d", i, j)
					resp, err := client.Post("https://"+serverHost+path, "text/plain", strings.NewReader("body"))
					if !assert.NoError(t, err) {
						return
					}
					got, err := io.ReadAll(resp.Body)
					assert.NoError(t, err)
					assert.Equal(t, path+" body", string(got))
					assert.NoError(t, resp.Body.Close())
				}
			})
		}
		for i := range 50 {
			wantEcho(t, a, fmt.Sprint("a", i))
			wantEcho(t, b, fmt.Sprint("b", i))
		}
		require.NoError(t, a.Close(soon(t), websocket.StatusNormalClosure, ""))
		wantEcho(t, b, "still here")
		wg.Wait()
		require.Equal(t, 1, conns.count())
	})
}

func TestConcurrentDialsShareOneConnection(t *testing.T) {
	wstest.NoLeaks(t)
	var conns connections
	addr := serve(t, new(Server), conns.wrap(http.HandlerFunc(echo)))
	tr := newTransport(t)
	var results []<-chan dialResult
	for range 20 {
		results = append(results, goDial(soon(t), tr, addr, nil))
	}
	for _, r := range results {
		wantEcho(t, wantSocket(t, r), "hello")
	}
	require.Equal(t, 1, conns.count())
}

// A connection that CloseIdleConnections finds just when it is open, and before those
// who have waited for it can use it, does not make them fail.
func TestCloseIdleConnectionsBesideADial(t *testing.T) {
	wstest.NoLeaks(t)
	addr := serve(t, new(Server), site)
	tr := newTransport(t)
	require.NoError(t, dial(t, tr, addr, nil).Close(soon(t), websocket.StatusNormalClosure, ""))
	idle := tr.connections()[0]
	tr.mu.Lock()
	o := tr.origins[place{addr: addr}]
	o.conns = nil
	d := &dialing{cancel: func() {}, done: make(chan struct{}), conn: idle}
	o.dialing = d
	tr.mu.Unlock()
	acquired := make(chan error, 1)
	go func() {
		c, err := tr.acquire(soon(t), addr, tr.TLSClientConfig, forRequest, nil)
		if err == nil {
			c.release(forRequest)
		}
		acquired <- err
	}()
	waits := func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return d.waiting == 1
	}
	for !waits() {
		runtime.Gosched()
	}
	for idle.gone.Err() == nil { // the socket may take a moment to be released
		idle.retire()
		runtime.Gosched()
	}
	tr.mu.Lock()
	o.dialing = nil
	close(d.done)
	tr.mu.Unlock()
	require.NoError(t, <-acquired)
}

// A connection of a socket's own that is open just when the Dial is given up is of no
// use to anybody.
func TestConnectionApartThatNobodyTakesEnds(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	ctx := altsvc.WithApart(soon(t))
	tr.mu.Lock()
	o := &origin{at: place{s.addr, altsvc.ApartOf(ctx)}}
	tr.origins = map[place]*origin{o.at: o}
	o.dialing = tr.startDialing(ctx, o, tr.TLSClientConfig)
	d := o.dialing
	d.waiting++
	tr.mu.Unlock()
	p := s.accept(socketSettings())
	<-d.done
	require.NoError(t, d.err)
	tr.leave(o, d)
	require.Equal(t, http3.ErrCodeNoError, p.closed())
}

// TestT36StreamLimit: more sockets than a connection may have streams.
func TestT36StreamLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var conns connections
		bubbleServer(t, n, &Server{QUICConfig: &quic.Config{MaxIncomingStreams: 3}}, conns.wrap(site))
		tr := bubbleTransport(t, n)
		var sockets []*websocket.Conn
		for range 10 {
			sockets = append(sockets, dial(t, tr, serverHost, nil))
		}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + serverHost)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		for _, c := range sockets {
			wantEcho(t, c, "hello")
		}
		require.Equal(t, 4, conns.count())
	})
}

// TestT36RequestsWithoutAStream: sockets, or responses that take long, have all
// streams that the server allows.
func TestT36RequestsWithoutAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var conns connections
		bubbleServer(t, n, &Server{QUICConfig: &quic.Config{MaxIncomingStreams: 3}}, conns.wrap(
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodConnect {
					echo(w, r)
					return
				}
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})))
		tr := bubbleTransport(t, n)
		for range 3 {
			dial(t, tr, serverHost, nil)
		}
		for n := range 7 {
			resp, err := tr.RoundTrip(newRequest(t, "https://"+serverHost))
			require.NoError(t, err)
			t.Cleanup(func() { _ = resp.Body.Close() })
			require.Equal(t, 2+n/3, conns.count())
		}
	})
}

// A request that waits for the first stream that a server allows goes nowhere else.
func TestRequestWaitsForTheFirstStream(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, &quic.Config{MaxIncomingStreams: -1})
	tr := newTransport(t)
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := tr.RoundTrip(newRequest(t, "https://"+s.addr).WithContext(ctx))
		failed <- err
	}()
	s.accept(socketSettings())
	awaitUse(tr)
	time.AfterFunc(2*streamTime, cancel)
	require.Equal(t, context.Canceled, <-failed)
	require.Len(t, tr.connections(), 1)
}

func TestT36SocketsLeaveRoomForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var conns connections
		bubbleServer(t, n, new(Server), conns.wrap(site))
		tr := bubbleTransport(t, n)
		for range maxSockets {
			dial(t, tr, serverHost, nil)
		}
		resp, err := tr.RoundTrip(newRequest(t, "https://"+serverHost))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 1, conns.count())
		dial(t, tr, serverHost, nil)
		require.Equal(t, 2, conns.count())
	})
}

// TestC1ManyTimes closes in order times: every time both sides see 1000 and FIN (T34).
func TestC1ManyTimes(t *testing.T) {
	wstest.NoLeaks(t)
	var clean atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if err != nil {
			return
		}
		_, _, err = c.Read(r.Context())
		if ce, ok := errors.AsType[*websocket.CloseError](err); ok && ce.Code == websocket.StatusNormalClosure && ce.Remote {
			clean.Add(1)
		}
	})
	addr := serve(t, new(Server), h)
	tr := newTransport(t)
	const n = 300
	for range n {
		c := dial(t, tr, addr, nil)
		require.NoError(t, c.Close(soon(t), websocket.StatusNormalClosure, "done"))
	}
	require.Eventually(t, func() bool { return clean.Load() == n }, patience, time.Millisecond)
}

// A server that ends every connection as soon as it is open, or goes away on it,
// is given up after the second one.
func TestServerThatEndsEveryConnection(t *testing.T) {
	for name, end := range map[string]func(*quic.Conn){
		"closes": func(qc *quic.Conn) { _ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") },
		"goes away": func(qc *quic.Conn) {
			if str, err := qc.OpenUniStream(); err == nil {
				_, _ = str.Write(bytes.Join([][]byte{{streamControl}, socketSettings(), goAwayFrame(0)}, nil))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := listenRaw(t, nil)
			conns, stopped := 0, make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { // until the test has counted
				defer close(stopped)
				for {
					qc, err := s.ln.Accept(ctx)
					if err != nil {
						return
					}
					conns++
					defer qc.CloseWithError(0x100, "")
					end(qc)
				}
			}()
			tr := newTransport(t)
			const dials = 10
			for range dials {
				_, _, err := tr.Dial(soon(t), "wss://"+s.addr+"/", nil)
				require.ErrorIs(t, err, websocket.ErrNotSupported)
				require.NotErrorIs(t, err, context.DeadlineExceeded)
			}
			cancel()
			<-stopped
			require.LessOrEqual(t, conns, 2*dials)
		})
	}
}

func TestTransportClose(t *testing.T) {
	wstest.NoLeaks(t)
	addr := serve(t, new(Server), http.HandlerFunc(echo))
	tr := newTransport(t)
	c := dial(t, tr, addr, nil)
	require.NoError(t, tr.Close())
	_, _, err := c.Read(soon(t))
	want := want1006(t, err)
	ce, ok := errors.AsType[*ConnError](want)
	require.True(t, ok)
	require.False(t, ce.Remote)
	require.ErrorIs(t, wantFailure(t, goDial(soon(t), tr, addr, nil)).err, errClosed)
	_, err = tr.RoundTrip(newRequest(t, "https://"+addr))
	require.ErrorIs(t, err, errClosed)
	require.NoError(t, tr.Close())
}

func newRequest(t testing.TB, url string) *http.Request {
	r, err := http.NewRequestWithContext(soon(t), http.MethodGet, url, nil)
	require.NoError(t, err)
	return r
}

func TestCloseIdleConnections(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	first := goDial(soon(t), tr, s.addr, nil)
	p := s.accept(socketSettings())
	str, _ := p.acceptStream()
	str.send(headersFrame(":status: 200"))
	c := wantSocket(t, first)
	tr.CloseIdleConnections()
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("x")), "a socket is a use")
	_ = c.CloseNow()
	str.wantReset(http3.ErrCodeRequestCanceled)
	require.Eventually(t, func() bool {
		tr.CloseIdleConnections()
		return p.qc.Context().Err() != nil
	}, patience, time.Millisecond)
	require.Equal(t, http3.ErrCodeNoError, p.closed())
}

func TestRoundTripRetries(t *testing.T) {
	rejected := func(str *rawStream) {
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	}
	body := func(s string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	for _, c := range []struct {
		name    string
		getBody func() (io.ReadCloser, error)
		body    bool
		again   bool
	}{
		{"without body", nil, false, true},
		{"with a body that can be had again", body("hello"), true, true},
		{"with a body that is spent", nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := listenRaw(t, nil)
			tr := newTransport(t)
			r := newRequest(t, "https://"+s.addr)
			if c.body {
				r.Body, _ = body("hello")()
				r.GetBody = c.getBody
			}
			type result struct {
				resp *http.Response
				err  error
			}
			done := make(chan result, 1)
			go func() {
				resp, err := tr.RoundTrip(r)
				done <- result{resp, err}
			}()
			str, _ := s.accept(socketSettings()).acceptStream()
			rejected(str)
			if !c.again {
				require.Error(t, (<-done).err)
				return
			}
			str, _ = s.accept(socketSettings()).acceptStream()
			if c.body {
				b, err := io.ReadAll(str)
				require.NoError(t, err)
				require.Equal(t, "hello", string(b))
			}
			str.send(headersFrame(":status: 204"))
			require.NoError(t, str.Close())
			got := <-done
			require.NoError(t, got.err)
			require.Equal(t, 204, got.resp.StatusCode)
			require.Same(t, r, got.resp.Request)
			require.NoError(t, got.resp.Body.Close())
		})
	}
}

func TestRoundTripAfterConnectionWasClosed(t *testing.T) {
	wstest.NoLeaks(t)
	s := listenRaw(t, nil)
	tr := newTransport(t)
	for range 3 {
		c := goDial(soon(t), tr, s.addr, nil)
		p := s.accept(socketSettings())
		str, _ := p.acceptStream()
		str.send(headersFrame(":status: 200"))
		ws := wantSocket(t, c)
		require.NoError(t, p.qc.CloseWithError(0x100, "")) // the next one needs a new connection
		_, _, err := ws.Read(soon(t))
		ce, ok := errors.AsType[*ConnError](want1006(t, err))
		require.True(t, ok)
		require.True(t, ce.Remote)
		require.NotErrorIs(t, err, context.Canceled)
	}
}

func TestRoundTripRefusesWhatHTTP3CannotSend(t *testing.T) {
	wstest.NoLeaks(t)
	tr := newTransport(t)
	for name, change := range map[string]func(*http.Request){
		"scheme":           func(r *http.Request) { r.URL.Scheme = "http" },
		"URL":              func(r *http.Request) { r.URL = nil },
		"host":             func(r *http.Request) { r.Host = "a b" },
		"no host":          func(r *http.Request) { r.Host, r.URL.Host = "", "" },
		"method":           func(r *http.Request) { r.Method = "GET /" },
		"field name":       func(r *http.Request) { r.Header["a b"] = []string{"c"} },
		"field value":      func(r *http.Request) { r.Header["A"] = []string{"b\nc"} },
		"opaque":           func(r *http.Request) { r.URL.Opaque = "x" },
		"extended CONNECT": func(r *http.Request) { r.Method, r.Proto = http.MethodConnect, "websocket" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(t, "https://localhost/")
			closed := false
			r.Body = closer(func() { closed = true })
			change(r)
			_, err := tr.RoundTrip(r)
			require.Error(t, err)
			require.True(t, closed, "the body is closed also then")
			require.Nil(t, tr.quic, "nothing was dialled")
		})
	}
}

type closer func()

func (c closer) Read([]byte) (int, error) { return 0, io.EOF }

func (c closer) Close() error { c(); return nil }
