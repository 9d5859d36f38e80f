package h2connect

import (
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"golang.org/x/net/http2"
)

// An uploader is a peer that obeys the connection's window.
type uploader struct {
	*peer
	credit chan uint32
	resets chan *http2.RSTStreamFrame
	window int
}

func newUploader(p *peer) *uploader {
	u := &uploader{peer: p, credit: make(chan uint32, 1024), resets: make(chan *http2.RSTStreamFrame, 1024), window: 1 << 20}
	go func() {
		for {
			f, err := p.fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					u.credit <- f.Increment
				}
			case *http2.RSTStreamFrame:
				reset := *f
				u.resets <- &reset
			}
		}
	}()
	return u
}

// upload sends as much of n bytes as the connection's window allows until
// nothing moves any more, and returns how much that was.
func (u *uploader) upload(id uint32, n int) int {
	for sent := 0; ; {
		synctest.Wait()
		for len(u.credit) > 0 {
			u.window += int(<-u.credit)
		}
		part := min(n-sent, u.window, maxFrame)
		if part == 0 {
			return sent
		}
		u.fr.WriteData(id, false, make([]byte, part))
		u.window -= part
		sent += part
	}
}

func stalledHandler(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/stalled" {
		<-r.Context().Done()
		return
	}
	io.Copy(io.Discard, r.Body)
}

// H2-23's bound is 64 windows. Streams that nobody reads may fill it, but not
// starve the others for ever.
func TestH2_23StalledStreamsDoNotStarveTheOthersForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, http.HandlerFunc(stalledHandler))
		p.greet()
		u := newUploader(p)
		const stalled, window = 70, 64 << 10
		total := 0
		for i := range uint32(stalled) {
			p.headers(2*i+1, false, with(get("/stalled"), ":method", "POST")...)
			total += u.upload(2*i+1, window)
		}
		assert.Equal(t, 4<<20, total, "all that fits")
		assert.EqualValues(t, 4<<20, p.ours.buffered.Load())
		const reader = 2*stalled + 1
		p.headers(reader, false, with(get("/"), ":method", "POST")...)
		assert.Zero(t, u.upload(reader, 1000), "it starves")
		time.Sleep(30 * time.Second)
		assert.Equal(t, 60_000, u.upload(reader, 60_000), "it is served")
		assert.LessOrEqual(t, p.ours.buffered.Load(), int64(2<<20), "half of the buffer is free")
		assert.Len(t, u.resets, 32)
		for range 32 {
			f := <-u.resets
			assert.Equal(t, http2.ErrCodeCancel, f.ErrCode)
			assert.Less(t, f.StreamID, uint32(reader))
		}
		time.Sleep(time.Hour)
		assert.Empty(t, u.resets, "the rest may wait")
		assert.EqualValues(t, 32, p.hits("ReadStall"))
		assert.EqualValues(t, 1, p.hits("ConnBuffer"))
		p.hangUp()
	})
}

func TestH2_23StalledStreamsThatStarveNobodyMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, http.HandlerFunc(stalledHandler))
		p.greet()
		u := newUploader(p)
		for i := range uint32(64) {
			p.headers(2*i+1, false, with(get("/stalled"), ":method", "POST")...)
			u.upload(2*i+1, 64<<10)
		}
		time.Sleep(time.Hour)
		assert.Empty(t, u.resets)
		assert.EqualValues(t, 4<<20, p.ours.buffered.Load())
		p.hangUp()
	})
}

// holdsNothing asserts that no byte waits for a handler.
func (p *peer) holdsNothing() {
	p.t.Helper()
	p.ours.mu.Lock()
	assert.Empty(p.t, p.ours.leftovers)
	p.ours.mu.Unlock()
	assert.Zero(p.t, p.ours.buffered.Load())
}

// Bytes of streams that the peer has reset wait for their handlers, too.
func TestH2_23StreamsThatWereResetDoNotHoldTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stalled" {
				<-release
				return
			}
			io.Copy(io.Discard, r.Body)
		}))
		p.greet()
		u := newUploader(p)
		for i := range uint32(64) {
			p.headers(2*i+1, false, with(get("/stalled"), ":method", "POST")...)
			u.upload(2*i+1, 64<<10)
			p.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}
		p.headers(201, false, with(get("/"), ":method", "POST")...)
		assert.Zero(t, u.upload(201, 1000), "it starves")
		time.Sleep(30 * time.Second)
		assert.Equal(t, 1000, u.upload(201, 1000), "it is served")
		close(release)
		synctest.Wait()
		p.holdsNothing()
		p.hangUp()
	})
}

// So do those of sockets whose HTTP handlers have returned.
func TestH2_23SocketsThatWereResetDoNotHoldTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		o := &websocket.AcceptOptions{Limits: websocket.Limits{PingInterval: -1}}
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect {
				io.Copy(io.Discard, r.Body)
				return
			}
			c, err := Accept(w, r, o)
			if assert.NoError(t, err) {
				assert.NoError(t, c.Handle(messageFunc(func(*websocket.Conn, websocket.MessageType, []byte) { <-release })))
			}
		}))
		p.greet()
		u := newUploader(p)
		for i := range uint32(70) {
			p.headers(2*i+1, false, connect()...)
			synctest.Wait()
			if u.window > 8 {
				p.fr.WriteData(2*i+1, false, []byte{0x82, 0x80, 0, 0, 0, 0}) // keeps the Handler
				u.window -= 6
			}
			u.upload(2*i+1, 64_000)
			p.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}
		p.headers(201, false, with(get("/"), ":method", "POST")...)
		assert.Less(t, u.upload(201, 1000), 1000, "it starves")
		time.Sleep(31 * time.Second)
		assert.Equal(t, 1000, u.upload(201, 1000), "it is served")
		close(release)
		synctest.Wait()
		p.holdsNothing()
		p.hangUp()
	})
}

// What has come for a request that the client has cancelled is given back, whatever
// its handler does about it, or if it has never had one.
func TestH2_23CancelledUploadsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		p := clientOf(t, &Server{Limits: Limits{ConcurrentStreams: 1}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			<-goOn
			switch r.URL.Path {
			case "/content":
				io.WriteString(w, "too late")
			case "/panic":
				panic(http.ErrAbortHandler)
			}
		}))
		p.greet()
		id := uint32(1)
		for _, path := range []string{"/", "/content", "/panic"} {
			goOn = make(chan struct{})
			for range 2 { // the second waits for the first one's handler
				p.headers(id, false, with(get(path), ":method", "POST")...)
				p.fr.WriteData(id, false, make([]byte, 1000))
				p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
				id += 2
			}
			p.wantAlive(path)
			assert.EqualValues(t, 2000, p.ours.buffered.Load(), path)
			close(goOn)
			synctest.Wait()
			assert.Zero(t, p.ours.buffered.Load(), path)
		}
		p.hangUp()
	})
}

// The connection starves while the last of what waits is read: who reads does not know
// that it does, and nobody else would end it.
func TestH2_23WhatIsReadMeanwhileEndsTheStarving(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(stalledHandler))
	p.greet()
	p.headers(1, false, with(get("/stalled"), ":method", "POST")...)
	p.wantAlive("open")
	c := p.ours
	c.mu.Lock()
	st, n := c.streams[1], c.limits.ConnBuffer
	c.mu.Unlock()
	for i := range 10_000 {
		c.mu.Lock()
		c.inConn, c.out, c.queued = inflow{size: int32(n)}, c.out[:0], 0
		c.buffered.Store(int64(n))
		c.mu.Unlock()
		var ready atomic.Int32
		meet := func() {
			for ready.Add(1); ready.Load() < 2; {
				runtime.Gosched()
			}
		}
		var both sync.WaitGroup
		both.Go(func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			meet()
			c.giveConn(n)
		})
		both.Go(func() {
			meet()
			c.consumed(st, n, 0)
		})
		both.Wait()
		require.False(t, c.starved.Load(), "round %d: nothing waits", i)
	}
}

// A client's streams are its application's: however many responses nobody reads
// yet, each may fill its window.
func TestClientHoldsWhatItAskedFor(t *testing.T) {
	p, cc := serverOf(t, Limits{ConnBuffer: 1})
	p.fr.WriteSettings()
	p.settle()
	const n = 40 // of 64 KiB: more than twice the connection's window
	responses := make([]*http.Response, n)
	for i := range uint32(n) {
		got := make(chan *http.Response, 1)
		go func() {
			resp, err := cc.RoundTrip(getRequest(t.Context()))
			assert.NoError(t, err)
			got <- resp
		}()
		p.wantHeaders(2*i+1, true, "a request")
		p.headers(2*i+1, false, ":status", "200")
		responses[i] = <-got
		for range 4 {
			require.NoError(t, p.fr.WriteData(2*i+1, false, make([]byte, 16000)))
		}
		p.wantAlive("the connection's window has not been passed")
	}
	for i, resp := range responses {
		ended := make(chan error, 1)
		go func() { ended <- p.fr.WriteData(uint32(2*i+1), true, nil) }()
		assert.Len(t, readAll(t, resp.Body), 64000)
		require.NoError(t, <-ended)
	}
}
