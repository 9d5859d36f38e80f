package h2connect

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestH2_15StreamWindowViolations(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	p.greet()
	p.headers(1, true, get("/")...)
	p.nc.Write(raw(http2.FrameWindowUpdate, 0, 1, word(0)))
	p.wantReset(1, http2.ErrCodeProtocol, "increment 0")
	p.headers(3, true, get("/")...)
	p.fr.WriteWindowUpdate(3, 1<<31-1)
	p.wantReset(3, http2.ErrCodeFlowControl, "overflow")
	p.headers(5, true, get("/")...)
	p.fr.WriteWindowUpdate(5, 1<<31-1-protocolWindow)
	p.wantAlive("as large as it may be")
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: protocolWindow + 1})
	p.wantGoAway(http2.ErrCodeFlowControl, "overflow through INITIAL_WINDOW_SIZE")
}

func TestH2_16SenderObeysAWindowThatTurnsNegative(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	p.headers(1, true, get("/big")...)
	p.wantStatus(1, "200", false, "")
	p.wantData(1, strings.Repeat("0123456789abcdef", 7)[:100], false, "100 bytes and no more")
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 40}) // −60
	_, ok := p.next("acknowledged").(*http2.SettingsFrame)
	require.True(t, ok)
	p.fr.WriteWindowUpdate(1, 60)
	p.wantAlive("the window is 0: nothing is sent")
	p.fr.WriteWindowUpdate(1, 5)
	p.wantData(1, "45678", false, "exactly what the window allows")
	p.wantAlive("and no more")
}

// A window that is less negative than those of the others, by an update that did not
// open it, is opened by the SETTINGS frame that makes it positive.
func TestH2_16ANegativeWindowThatGrowsIsOpenedBySettings(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	resize := func(size uint32) {
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: size})
		f, ok := p.next("acknowledged").(*http2.SettingsFrame)
		require.True(t, ok && f.IsAck())
	}
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	for id := uint32(1); id <= 3; id += 2 {
		p.headers(id, true, get("/big")...)
		p.wantStatus(id, "200", false, "")
		p.wantData(id, "0123456789", false, "its window is used up")
	}
	resize(0) // −10
	p.fr.WriteWindowUpdate(3, 5)
	p.wantAlive("−5: nothing is sent")
	resize(8)
	p.wantData(3, "abc", false, "3")
	p.wantAlive("and −2")
}

func TestH2_17ReceiveWindows(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	p.greet()
	p.headers(1, false, get("/")...)
	for range 4 {
		p.fr.WriteDataPadded(1, false, make([]byte, 16384-256), make([]byte, 255))
	}
	p.wantAlive("64 KiB, padding included, is the window")
	p.fr.WriteData(1, false, make([]byte, 4*256))
	p.wantAlive("padding comes back at once")
	p.fr.WriteData(1, false, []byte("x"))
	p.wantReset(1, http2.ErrCodeFlowControl, "a byte more than the stream's window")
}

func TestH2_18DataForClosedStreamsIsPaidBackOnce(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	p.headers(1, false, get("/hello")...)
	p.answer(1, false, "answered and asked to stop")
	sent := 0
	for range 200 {
		p.fr.WriteData(1, false, make([]byte, 16384))
		sent += 16384
	}
	p.wantAlive("our own reset is remembered: nothing is said")
	p.ours.mu.Lock()
	defer p.ours.mu.Unlock()
	assert.Equal(t, p.ours.inConn.size, p.ours.inConn.avail+p.ours.inConn.unsent, "every byte once")
	assert.Zero(t, p.ours.buffered.Load())
}

// Streams that wait for their windows are not touched by a SETTINGS frame that
// leaves them shut, however many there are.
func TestH2_10InitialWindowToAndFro(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 128<<10))
	}))
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	for i := range uint32(250) {
		id := 2*i + 1
		p.headers(id, true, get("/")...)
		p.wantStatus(id, "200", false, "")
		p.wantData(id, string(make([]byte, 100)), false, "its window is used up")
	}
	toggle := func(size uint32) {
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: size})
		f, ok := p.next("acknowledged, and nothing else").(*http2.SettingsFrame)
		require.True(t, ok && f.IsAck())
	}
	order := func() (ids []uint32) {
		p.ours.mu.Lock()
		defer p.ours.mu.Unlock()
		for st := p.ours.sched.blocked.head; st != nil; st = st.send.next {
			ids = append(ids, st.id)
		}
		return ids
	}
	before := order()
	require.Len(t, before, 250)
	begin := time.Now()
	for i := range uint32(4000) {
		toggle(i % 2 * 100)
	}
	assert.Less(t, time.Since(begin), 5*time.Second)
	p.ours.mu.Lock()
	p.ours.outBase.set(100, p.ours.deltas)
	p.ours.retryBlocked()
	assert.False(t, p.ours.sched.waiting(), "nobody is given a turn that is none")
	p.ours.mu.Unlock()
	assert.Equal(t, before, order())
	toggle(0)
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 101})
	got := make(map[uint32]bool)
	for len(got) < 250 {
		if d, ok := p.next("one byte of each").(*http2.DataFrame); ok {
			assert.Len(t, d.Data(), 1)
			got[d.StreamID] = true
		}
	}
}
func TestH2_23AStreamNobodyReadsStallsNobody(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stalled" {
			<-r.Context().Done()
			return
		}
		ordinary().ServeHTTP(w, r)
	}))
	p.greet()
	p.headers(1, false, with(get("/stalled"), ":method", "POST")...)
	for range 4 {
		p.fr.WriteData(1, false, make([]byte, 16384))
	}
	p.headers(3, false, with(get("/echo"), ":method", "POST")...)
	p.wantStatus(3, "200", false, "")
	for range 200 { // 3 MiB, three times the connection's window
		p.fr.WriteData(3, false, make([]byte, 16000))
		for got := 0; got < 16000; {
			d, ok := p.next("echoed").(*http2.DataFrame)
			require.True(t, ok)
			got += len(d.Data())
		}
		p.fr.WriteWindowUpdate(3, 16000)
		p.fr.WriteWindowUpdate(0, 16000)
	}
	p.wantAlive("undisturbed")
	assert.EqualValues(t, 64<<10, p.ours.buffered.Load())
}

func TestH2_23BufferedBytesAreCapped(t *testing.T) {
	limits := Limits{ConnWindow: 128 << 10, ConnBuffer: 256 << 10}
	p := clientOf(t, &Server{Limits: limits}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	p.greet()
	for id := uint32(1); id <= 7; id += 2 {
		p.headers(id, false, with(get("/"), ":method", "POST")...)
		for range 4 {
			p.fr.WriteData(id, false, make([]byte, 16384))
		}
	}
	p.wantAlive("256 KiB fit")
	p.headers(9, false, with(get("/"), ":method", "POST")...)
	p.fr.WriteData(9, false, []byte("x"))
	p.wantGoAway(http2.ErrCodeFlowControl, "and no byte more: its credit was held back")
}
