package h2connect

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

func TestPriorityFieldValues(t *testing.T) {
	for in, want := range map[string]priority{
		"":                   {3, false},
		"u=0":                {0, false},
		"u=7, i":             {7, true},
		"i=?1;x, u=5":        {5, true},
		"i=?0":               {3, false},
		"u=1, u=2":           {2, false},
		"u=1, u=8":           {3, false},
		"u=8, u=1":           {1, false},
		"u=1, u":             {3, false},
		"i, i=1":             {3, false},
		"i, i=?0, u=2;u=1":   {2, false},
		"u=-1":               {3, false},
		"u=1.0, i=1":         {3, false},
		`u="1", i=?1`:        {3, true},
		"u=(1), i=true":      {3, false},
		"urgency=1, x=?1, i": {3, true},
	} {
		got, ok := parsePriority(in)
		assert.True(t, ok, "%q", in)
		assert.Equal(t, want, got, "%q", in)
	}
	got, ok := parsePriority("u=1, i, ((")
	assert.False(t, ok)
	assert.Equal(t, defaultPriority, got, "a value that cannot be parsed says nothing")
	_, ok = parsePriority("u=1" + strings.Repeat(", a=1", maxPriority/5-1))
	assert.True(t, ok)
	_, ok = parsePriority("u=1" + strings.Repeat(", a=1", maxPriority/5))
	assert.False(t, ok, "nor does one that is too long")
}

// priorityContent is how much each response of inOrder has.
const priorityContent = 256 << 10

// inOrder opens streams while the connection's window is shut, opens the window,
// and returns the order in which the responses are complete, and what there was
// of each when the first of them was.
func inOrder(t *testing.T, streams int, open func(p *peer)) (order []uint32, then map[uint32]int) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, priorityContent))
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.headers(1, true, get("/")...)
		p.wantStatus(1, "200", false, "uses up the connection's window")
		got := map[uint32]int{}
		for got[1] < protocolWindow {
			got[1] += len(p.next("content").(*http2.DataFrame).Data())
		}
		open(p)
		synctest.Wait()
		p.fr.WriteWindowUpdate(0, 1<<30)
		for len(order) < streams {
			d, ok := p.next("content").(*http2.DataFrame)
			if !ok {
				continue
			}
			got[d.StreamID] += len(d.Data())
			if len(d.Data()) == 0 || got[d.StreamID] < priorityContent || d.StreamID == 1 {
				continue // END_STREAM comes when the handler has returned, which is its affair
			}
			if order = append(order, d.StreamID); then == nil {
				then = make(map[uint32]int)
				for id, n := range got {
					then[id] = n
				}
			}
		}
		p.hangUp()
	})
	return order, then
}

func update(p *peer, id uint32, value string) {
	p.nc.Write(raw(http2.FramePriorityUpdate, 0, 0, append(word(id), value...)))
}

func TestResponsesGoOutByUrgency(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(p *peer)
		want []uint32
	}{
		{"by the field", func(p *peer) {
			for i := range uint32(8) {
				p.headers(3+2*i, true, get("/", "priority", fmt.Sprintf("u=%d", 7-i))...)
			}
		}, []uint32{17, 15, 13, 11, 9, 7, 5, 3}},
		{"by PRIORITY_UPDATE before the request, the last counts", func(p *peer) {
			for i := range uint32(4) {
				update(p, 3+2*i, "u=0")
				update(p, 3+2*i, fmt.Sprintf("u=%d", 7-i))
			}
			for i := range uint32(4) {
				p.headers(3+2*i, true, get("/", "priority", "u=0")...)
			}
		}, []uint32{9, 7, 5, 3}},
		{"by PRIORITY_UPDATE after the request", func(p *peer) {
			for i := range uint32(4) {
				p.headers(3+2*i, true, get("/", "priority", "u=0, i")...)
			}
			synctest.Wait()
			for i := range uint32(4) {
				update(p, 3+2*i, fmt.Sprintf("u=%d", 7-i))
			}
		}, []uint32{9, 7, 5, 3}},
		{"in the order of requests where the whole is wanted", func(p *peer) {
			for i := range uint32(5) {
				p.headers(3+2*i, true, get("/", "priority", "u=4")...)
			}
		}, []uint32{3, 5, 7, 9, 11}},
		{"the default is u=3, whole, of a client that knows", func(p *peer) {
			update(p, 3, "((")
			p.headers(3, true, get("/", "priority", "u=4")...)
			p.headers(5, true, get("/")...)
			p.headers(7, true, get("/")...)
			p.headers(9, true, get("/", "priority", "u=2, i")...)
		}, []uint32{9, 5, 7, 3}},
		{"PRIORITY_UPDATE of streams that are passed over is forgotten", func(p *peer) {
			for id := uint32(3); id < 403; id += 2 {
				update(p, id, "u=0")
			}
			p.headers(403, true, get("/", "priority", "u=5")...)
			for id := uint32(405); id < 605; id += 2 {
				update(p, id, "u=1")
			}
			p.headers(405, true, get("/")...)
		}, []uint32{405, 403}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			order, _ := inOrder(t, len(tt.want), tt.open)
			assert.Equal(t, tt.want, order)
		})
	}
}

func TestResponsesShareWhereTheyMay(t *testing.T) {
	four := func(fields ...string) func(p *peer) {
		return func(p *peer) {
			for i := range uint32(4) {
				p.headers(3+2*i, true, get("/", fields...)...)
			}
		}
	}
	for name, open := range map[string]func(p *peer){
		"incremental":                       four("priority", "u=2, i"),
		"of a client that says nothing":     four(),
		"of an intermediary, Via":           four("priority", "u=2", "via", "2 proxy"),
		"of an intermediary, Forwarded":     four("priority", "u=2", "forwarded", "for=192.0.2.1"),
		"of an intermediary, X-Forwarded-*": four("priority", "u=2", "x-forwarded-for", "192.0.2.1"),
	} {
		t.Run(name, func(t *testing.T) {
			_, then := inOrder(t, 4, open)
			for id := uint32(3); id <= 9; id += 2 {
				assert.GreaterOrEqual(t, then[id], priorityContent-2*maxData, "stream %d", id)
			}
		})
	}
}

// "It is RECOMMENDED that servers avoid such starvation where possible" (RFC 9218
// §10): behind more urgent responses without an end others get on all the same.
func TestUrgencyStarvesNobody(t *testing.T) {
	ours, _ := wstest.Pipe(wstest.PipeOptions{})
	c := newConn(ours.NetConn(), serverSide, Limits{}.withDefaults())
	c.outConn.window, c.outBase.initial = maxWindow, maxWindow
	add := func(id uint32, p priority) *stream {
		st := c.newStream(id)
		st.send.begin()
		st.priority, st.send.payload = p, make([]byte, 8<<20)
		c.sched.enqueue(st)
		return st
	}
	first := add(1, priority{0, false})
	var others []*stream
	for i := range uint8(urgencies) {
		others = append(others, add(uint32(3+4*i), priority{i, true}), add(uint32(5+4*i), priority{i, false}))
	}
	for range 400 {
		c.fill()
		c.out, c.lastData = c.out[:0], nil
	}
	for _, st := range others {
		assert.GreaterOrEqual(t, st.send.sent, int64(2*maxData), "stream %d", st.id)
	}
	assert.GreaterOrEqual(t, first.send.sent, c.dataSent/3, "and the first still is the first")
}

// A slow network is not a peer that takes nothing: who waits for a turn is not
// reset for it.
func TestWaitingForATurnIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 40
		p := clientOver(t, wstest.PipeOptions{Buffer: 4 << 10}, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 64<<10))
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.fr.WriteWindowUpdate(0, 1<<30)
		for i := range uint32(streams) {
			p.headers(2*i+1, true, get("/", "priority", "i")...)
		}
		begin := time.Now()
		for ended := 0; ended < streams; {
			f := p.next("content")
			_, reset := f.(*http2.RSTStreamFrame)
			require.False(t, reset, "%v", f)
			if d, ok := f.(*http2.DataFrame); ok {
				time.Sleep(time.Duration(len(d.Data())) * time.Second / (10 << 10)) // 10 KiB/s
				if d.StreamEnded() {
					ended++
				}
			}
		}
		assert.Greater(t, time.Since(begin), 4*30*time.Second, "slow enough to tell")
		assert.Empty(t, p.conf.Stats().LimitHits)
		p.hangUp()
	})
}

func TestH2_20PriorityUpdatesForStreamsToComeAreBounded(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	for id := uint32(1); id <= 499; id += 2 {
		update(p, id, "u=1")
	}
	p.wantAlive("250 are as many as streams are allowed")
	update(p, 1, "u=2")
	p.wantAlive("and each may be changed")
	p.served(1)
	update(p, 501, "u=1")
	p.wantAlive("one has become a stream, and ended")
	sc := p.ours.role.(*serverConn)
	p.ours.mu.Lock()
	assert.Len(t, sc.priorities.early, 250)
	p.ours.mu.Unlock()
	update(p, 503, "u=1")
	debug := p.wantGoAway(http2.ErrCodeProtocol, "RFC 9218 §7.1: one too many")
	assert.Contains(t, debug, "ConcurrentStreams")
	assert.EqualValues(t, 1, p.hits("ConcurrentStreams"))
}

// A client that has not seen our SETTINGS yet cannot know the limit.
func TestPriorityUpdatesBeforeOurSettingsAreAcknowledged(t *testing.T) {
	p := clientOf(t, &Server{Limits: Limits{ConcurrentStreams: 3}}, ordinary())
	p.nc.Write([]byte(http2.ClientPreface))
	p.fr.WriteSettings()
	for id := uint32(1); id <= 99; id += 2 {
		update(p, id, "u=1")
	}
	p.settle()
	p.served(1)
}

func TestPriorityUpdateFromAServer(t *testing.T) {
	p, _ := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	update(p, 1, "u=1")
	p.wantGoAway(http2.ErrCodeProtocol, "RFC 9218 §7.1: servers send none")
}
