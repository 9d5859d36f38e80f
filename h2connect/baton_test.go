package h2connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// lineUp makes streams of one connection whose readers stand in line.
func lineUp(n int) (*baton, []*stream) {
	c := &conn{}
	streams := make([]*stream, n)
	for i := range streams {
		st := &stream{c: c, id: uint32(2*i + 1)}
		st.recv.begin()
		st.recv.cond.on(&st.recv.mu)
		st.recv.due.Store(true)
		c.lineUp(st)
		streams[i] = st
	}
	return c.baton.Load(), streams
}

// wakeUp has a stream's reader wake up, in time however slow the machine is.
func (b *baton) wakeUp(st *stream) {
	b.mu.Lock()
	b.since = clock() + time.Hour
	b.mu.Unlock()
	st.wokeUp()
}

func TestTheBatonGoesFromOneToTheNext(t *testing.T) {
	b, streams := lineUp(4)
	b.start()
	assert.Same(t, streams[0], b.holder)
	b.wakeUp(streams[2]) // by something else
	assert.Same(t, streams[0], b.holder, "who does not hold it does not pass it on")
	b.wakeUp(streams[0])
	assert.Same(t, streams[1], b.holder)
	b.wakeUp(streams[1])
	assert.Same(t, streams[3], b.holder, "who has been woken by something else is passed over")
	assert.True(t, b.waiting())
	b.wakeUp(streams[3])
	assert.Nil(t, b.holder)
	assert.False(t, b.waiting())
}

func TestTheBatonComesBackToTheReader(t *testing.T) {
	b, streams := lineUp(3)
	back := make(chan struct{})
	go func() { // ends when all have passed the baton on
		b.run()
		close(back)
	}()
	for i, st := range streams {
		for held := false; !held; {
			runtime.Gosched()
			b.mu.Lock()
			held = b.holder == st
			b.mu.Unlock()
		}
		select {
		case <-back:
			require.Fail(t, "the reader was woken too early", "before stream %d", i)
		default:
		}
		b.wakeUp(st)
	}
	<-back
	b.run() // nobody is in line
}

func TestALateBatonWakesAllAtOnce(t *testing.T) {
	b, streams := lineUp(3)
	b.start()
	b.mu.Lock()
	b.since -= time.Hour
	b.mu.Unlock()
	woken := make(chan struct{})
	r := &streams[2].recv
	r.mu.Lock()
	go func() { // ends when the last in line is woken
		r.mu.Lock()
		defer r.mu.Unlock()
		close(woken)
	}()
	var waits sync.WaitGroup
	waits.Go(func() { // takes over the lock, and ends when it is woken
		r.cond.cond.Wait()
		r.mu.Unlock()
	})
	<-woken // it waits
	streams[0].wokeUp()
	waits.Wait()
	assert.Nil(t, b.holder)
	assert.False(t, b.waiting())
	for range batonPenalty {
		assert.False(t, b.add(streams[0]), "for a while nobody is lined up")
	}
	assert.True(t, b.add(streams[0]))
}

// A loop among others that waits for a large message is not woken for each record of
// a frame; one that is alone is.
func TestAPieceOfAFrameLinesUpALoopAmongOthers(t *testing.T) {
	for _, shares := range []bool{true, false} {
		c := &conn{}
		st := &stream{c: c, id: 1}
		st.recv.init(1 << 10)
		st.recv.begin()
		st.recv.dst = make([]byte, 4)
		c.data = dataFrame{st: st, shares: shares}
		for _, piece := range []string{"a", "b", "cde"} {
			require.NoError(t, c.deliver(st, []byte(piece), 0, true))
			assert.Equal(t, shares, c.baton.Load().waiting())
		}
		assert.Equal(t, "abcd", string(st.recv.dst))
		assert.Equal(t, 1, st.recv.unread())
		if shares {
			assert.Equal(t, []*stream{st}, c.baton.Load().line, "once")
		}
	}
}

// Loops that never come back from their first message, however many, keep no other
// socket of what arrived with it from its message.
func TestALoopThatIsBusyHoldsUpNobody(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		defer c.CloseNow()
		for {
			kind, m, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if r.URL.Path == "/busy" {
				<-release
			}
			c.Write(context.Background(), kind, m)
		}
	}))
	p.greet()
	const sockets = 20
	var burst []byte
	h := frame.Header{Fin: true, Opcode: frame.Text, Masked: true, Length: 2}
	for i := range sockets {
		id, path := uint32(2*i+1), "/busy"
		if i%2 == 1 {
			path = "/echo"
		}
		p.headers(id, false, with(connect(), ":path", path)...)
		p.wantStatus(id, "200", false, "")
		burst = dataFrames(burst, id, frame.AppendMasked(h.Append(nil), fmt.Append(nil, 10+i), h.Key, 0))
	}
	p.nc.Write(burst)
	answers := make(map[uint32]bool)
	for len(answers) < sockets/2 {
		f, ok := p.next("the answers of those that are not busy").(*http2.DataFrame)
		if !ok {
			continue
		}
		require.Equal(t, fmt.Sprint(10+(f.StreamID-1)/2), string(f.Data()[2:]))
		answers[f.StreamID] = true
	}
	for id := range answers {
		assert.EqualValues(t, 3, id%4, "the busy ones have not answered")
	}
}

// Many loops on few processors, some of which end or give up waiting meanwhile, get
// every message, and the connection's goroutines end.
func TestTheBatonIsNotLost(t *testing.T) {
	wstest.NoLeaks(t)
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		defer c.CloseNow()
		for n := 0; ; n++ {
			ctx, cancel := context.WithCancel(context.Background())
			if n%3 == 0 {
				go cancel() // while it waits, or when it has been lined up
			}
			kind, m, err := c.Read(ctx)
			cancelled := ctx.Err() != nil
			cancel()
			switch {
			case err != nil && cancelled && errors.Is(err, context.Canceled):
				continue
			case err != nil:
				return
			}
			c.Write(context.Background(), kind, m)
		}
	}))
	tr := testTransport(t)
	var all sync.WaitGroup
	for i := range 40 {
		c := dialHandled(t, tr, "wss://"+s.addr+"/")
		all.Go(func() { // ends with its messages
			defer c.CloseNow()
			for n := range 50 {
				want := fmt.Sprint(i, n)
				if !assert.NoError(t, c.Write(testContext(t), 1, []byte(want))) {
					return
				}
				_, got, err := c.Read(testContext(t))
				if !assert.NoError(t, err) || !assert.Equal(t, want, string(got)) {
					return
				}
			}
		})
	}
	all.Wait()
}
